"""Read a film: its header, and its frames as upright L*, in order, from the start or from a given time."""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import color
from tintlab.imaging.headers import HDR_TRANSFERS
from tintlab.system import console
from tintlab.system.errors import TintlabError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

MOST_MEGAPIXELS = 40.0
"""A frame has no more: 8K has 33."""

_LEAST_SIDE = 16
_NEUTRAL = 3  # of 255: chroma that noise and rounding leave in grey films
_FULL_RANGE = 2
_HD_HEIGHT = 720
_MOST_DAMAGED = 10_000
_PLANAR = ("yuv", "gray")
_FORMATS = (
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,mpeg,mpegts,mpegvideo,h264,hevc,dv,nut,ogg,asf,flv,mxf,gif,m4v"
)


@dataclass(frozen=True)
class Film:
    """The facts in a film's header.

    Attributes:
        path: of the file.
        width: of a frame as it is seen, in pixels.
        height: see `width`.
        turns: quarter turns, counter-clockwise, that a frame needs to be seen upright.
        time_base: seconds of a tick.
        rate: frames a second, in the mean.
        frames: how many, or 0 where the header does not say.
        bits: of a sample.
        aspect: width of a pixel over its height, as it is seen.
        sounds: names of the codecs of its sound.
        left_out: kinds of its other streams.
    """

    path: Path
    width: int
    height: int
    turns: int
    time_base: Fraction
    rate: Fraction
    frames: int
    bits: int
    aspect: Fraction
    sounds: tuple[str, ...]
    left_out: tuple[str, ...]


@dataclass(frozen=True)
class Frame:
    """One frame.

    Attributes:
        pts: when it is shown, in ticks of the film; greater than that of the frame before.
        lightness: L* `(h, w)` float32.
    """

    pts: int
    lightness: color.Float


def open_film(path: Path) -> Film:
    """Read what a film's header says.

    Raises:
        TintlabError: it is no film, has no video, or one that is not read; the message names the file.
    """
    with open_container(path) as container:
        stream = _video(container, path)
        first = next(_decode(container, stream, _Damage()), None)
        if first is None:
            raise TintlabError(f"{path}: no frame of its video can be read")
        turns = round(first.rotation / 90) % 4
        width, height = (first.height, first.width) if turns % 2 else (first.width, first.height)
        if min(width, height) < _LEAST_SIDE:
            raise TintlabError(f"{path}: frames of {width} × {height} pixels: too small to be a film")
        if width * height > MOST_MEGAPIXELS * 1e6:
            raise TintlabError(
                f"{path}: frames of {width} × {height} pixels, more than {MOST_MEGAPIXELS:g} megapixels"
            )
        if first.color_trc in HDR_TRANSFERS:
            raise TintlabError(
                f"{path}: film in high dynamic range ({HDR_TRANSFERS[first.color_trc]}), which is not read: "
                "convert it to BT.709"
            )
        aspect = Fraction(stream.sample_aspect_ratio or 1)
        others = {one.type for one in container.streams if one.type not in ("video", "audio")}
        return Film(
            path,
            width,
            height,
            turns,
            Fraction(stream.time_base or Fraction(1, 90_000)),
            Fraction(stream.average_rate or stream.guessed_rate or 25),
            int(stream.frames or 0),
            max(component.bits for component in first.format.components),
            1 / aspect if turns % 2 and aspect else aspect,
            tuple(one.codec_context.name for one in container.streams.audio if one.codec_context),
            tuple(sorted(others)),
        )


def open_container(path: Path) -> "InputContainer":
    """Open a media file for reading.

    Raises:
        TintlabError: it can't be opened, or is none.
    """
    import av

    av.logging.set_level(av.logging.PANIC)  # else it writes to stderr what is wrong with a packet
    if not path.is_file():
        raise TintlabError(f"{path}: {'no file' if path.exists() else 'there is no such file'}")
    # A path with a colon would be taken for an address, and a playlist may name other files.
    options = {"protocol_whitelist": "file", "format_whitelist": _FORMATS}
    try:
        return av.open(f"file:{path}", options=options, metadata_errors="replace")
    except (av.FFmpegError, OSError, ValueError) as error:
        raise TintlabError(f"{path}: can't be read as a film ({_reason(error)})") from None


def _reason(error: BaseException) -> str:
    text = console.printable(console.one_line(error)).partition(": '")[0].partition(";")[0]
    return text.partition("] ")[2][:120] or "damaged, or cut short"


def _video(container: "InputContainer", path: Path) -> "VideoStream":
    import av

    pictures = av.stream.Disposition.attached_pic
    streams = [one for one in container.streams.video if not one.disposition & pictures]
    if not streams:
        raise TintlabError(f"{path}: has no video")
    stream: VideoStream = streams[0]
    if stream.codec_context is None:
        raise TintlabError(f"{path}: its video is of a codec that is not read")
    # Threads that decode a frame each can wait forever for Python's lock when the decoder is closed.
    stream.thread_type = "SLICE"
    stream.codec_context.thread_count = 1
    return stream


class _Damage:
    """How many packets could not be decoded."""

    def __init__(self) -> None:
        self.packets = 0


def _decode(container: "InputContainer", stream: "VideoStream", damage: _Damage) -> Iterator["VideoFrame"]:
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):  # the file ends in the middle
            damage.packets += 1
            packet = None
        if packet is None:
            return
        try:
            yield from packet.decode()
        except av.FFmpegError:
            damage.packets += 1
            if damage.packets > _MOST_DAMAGED:
                return


class FrameReader:
    """Reads a film's frames.

    Args:
        film: see `open_film`.

    Attributes:
        damaged: packets that could not be decoded so far.
        is_timed: whether all frames so far had times of their own, in order.
    """

    def __init__(self, film: Film) -> None:
        self.film = film
        self.is_timed = True
        self._damage = _Damage()
        self._tables: dict[tuple[int, bool], color.Float] = {}

    @property
    def damaged(self) -> int:
        """Packets that could not be decoded so far."""
        return self._damage.packets

    def read(self, start: int | None = None, skip: int = 0) -> Iterator[Frame]:
        """The frames in turn.

        Args:
            start: begin with the frame of this time; None reads from the first frame on.
            skip: frames to leave out after that; they are decoded and nothing more.
        """
        step = max(1, round(1 / (self.film.rate * self.film.time_base)))
        last = None if start is None else start - 1
        for frame in self._frames(start):
            pts = frame.pts
            if pts is None or (last is not None and pts <= last):
                if start is not None and pts is not None and last == start - 1:
                    continue  # before the point that was asked for
                self.is_timed = False
                pts = 0 if last is None else last + (step if frame.pts is None else 1)
            last = pts
            if skip:
                skip -= 1
                continue
            yield Frame(pts, self._lightness(frame))

    def _frames(self, start: int | None) -> Iterator["VideoFrame"]:
        with open_container(self.film.path) as container:
            stream = _video(container, self.film.path)
            if start is not None:
                import av

                try:
                    container.seek(start, stream=stream)
                except (av.FFmpegError, OSError):
                    start = None
            for frame in _decode(container, stream, self._damage):
                if start is not None and frame.pts is not None and frame.pts > start:
                    break  # the index led too far
                start = None
                yield frame
            else:
                return
        yield from self._frames(None)

    def _lightness(self, frame: "VideoFrame") -> color.Float:
        width, height = self._stored_size()
        if (frame.width, frame.height) != (width, height):
            frame = frame.reformat(width=width, height=height)
        lightness = self._of_grey(frame)
        if lightness is None:
            lightness = color.lightness(_to_rgb(frame))
        if self.film.turns:
            lightness = np.ascontiguousarray(np.rot90(lightness, self.film.turns))
        return lightness

    def _stored_size(self) -> tuple[int, int]:
        size = self.film.width, self.film.height
        return size[::-1] if self.film.turns % 2 else size

    def _of_grey(self, frame: "VideoFrame") -> color.Float | None:
        """L* of a frame without colours, at the depth that it has; None of another."""
        name, bits = frame.format.name, max(one.bits for one in frame.format.components)
        if not name.startswith(_PLANAR) or frame.format.is_big_endian or name.startswith("yuva"):
            return None
        if not all(_is_neutral(_plane(frame, index, bits), bits) for index in range(1, len(frame.planes))):
            return None
        full = frame.color_range == _FULL_RANGE or name.startswith(("yuvj", "gray"))
        if (bits, full) not in self._tables:
            self._tables[bits, full] = _table(bits, full)
        found: color.Float = self._tables[bits, full][_plane(frame, 0, bits)]
        return found


def _plane(frame: "VideoFrame", index: int, bits: int) -> NDArray[Any]:
    plane = frame.planes[index]
    dtype = np.dtype(np.uint8 if bits == 8 else "<u2")
    rows: NDArray[Any] = np.frombuffer(memoryview(plane), dtype).reshape(
        plane.height, plane.line_size // dtype.itemsize
    )
    return rows[:, : plane.width]


def _is_neutral(plane: NDArray[Any], bits: int) -> bool:
    middle, most = 1 << (bits - 1), _NEUTRAL << (bits - 8)
    sample = plane[::2, ::2]
    return bool(sample.min() >= middle - most and sample.max() <= middle + most)


def _table(bits: int, full: bool) -> color.Float:
    """L* of each sample: from black to white 16 to 235 of 8 bits (BT.709), or all."""
    levels = np.arange(1 << (8 if bits == 8 else 16), dtype=np.float64)
    scale = 1 << (bits - 8)
    share = levels / ((1 << bits) - 1) if full else (levels - 16 * scale) / (219 * scale)
    found: color.Float = color.lightness(np.rint(np.clip(share, 0, 1) * 65535).astype(np.uint16)[None])[0]
    return found


def _to_rgb(frame: "VideoFrame") -> NDArray[Any]:
    deep = max(one.bits for one in frame.format.components) > 8
    unknown = frame.colorspace in (0, 2)
    matrix = "ITU709" if unknown and frame.height >= _HD_HEIGHT else None
    return frame.reformat(format="rgb48le" if deep else "rgb24", src_colorspace=matrix).to_ndarray()
