"""Write a film: first shots as parts of encoded packets, then all parts with the sound in one container.

A part is a file of the encoded packets of some frames. Codecs use a fixed number of threads and no B-frames, so
that the same frames become the same bytes.
"""

import heapq
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from tintlab.scoring.film_file import Film, open_container
from tintlab.system import console
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

FilmCodec = Literal["h264", "hevc", "ffv1", "prores"]

_PACKET = struct.Struct("<qqqBI")
_NO_TIME = -(2**63)
_BT709, _LIMITED = 1, 1
_SAME_BYTES = 0x0400  # AVFMT_FLAG_BITEXACT


@dataclass(frozen=True)
class _Coding:
    """How a codec is used.

    Attributes:
        encoder: FFmpeg's name of it.
        formats: of pixels: for 8 bits, and for more.
        odd_formats: the same for sides that are not even.
        options: of the encoder.
        containers: suffixes of the files that it goes into.
    """

    encoder: str
    formats: tuple[str, str]
    odd_formats: tuple[str, str]
    options: dict[str, str]
    containers: tuple[str, ...]


_CODINGS: dict[FilmCodec, _Coding] = {
    "h264": _Coding(
        "libx264",
        ("yuv420p", "yuv420p"),
        ("yuv444p", "yuv444p"),
        {"preset": "fast", "bf": "0", "g": "250"},
        (".mp4", ".mkv", ".mov"),
    ),
    "hevc": _Coding(
        "libx265",
        ("yuv420p", "yuv420p10le"),
        ("yuv444p", "yuv444p10le"),
        {
            "preset": "fast",
            "x265-params": "bframes=0:pools=1:frame-threads=1:log-level=none:repeat-headers=1",
        },
        (".mp4", ".mkv", ".mov"),
    ),
    "ffv1": _Coding(
        "ffv1", ("bgr0", "gbrp16le"), ("bgr0", "gbrp16le"), {"level": "3", "slices": "4", "g": "1"}, (".mkv",)
    ),
    "prores": _Coding(
        "prores_ks",
        ("yuv422p10le", "yuv422p10le"),
        ("yuv444p10le", "yuv444p10le"),
        {"profile": "3", "vendor": "apl0"},
        (".mov", ".mkv"),
    ),
}
SUFFIXES = (".mp4", ".mkv", ".mov")
"""Of all coloured films."""
QUALITY = 17
"""Of H.264 and H.265: their constant rate factor."""

_THREADS = 2


@dataclass(frozen=True)
class Coding:
    """How a film is coded.

    Attributes:
        codec: of the pictures.
        quality: constant rate factor of H.264 and H.265.
        deep: whether more than 8 bits are written where the codec has them.
    """

    codec: FilmCodec = "h264"
    quality: int = QUALITY
    deep: bool = False

    @property
    def takes_deep(self) -> bool:
        """Whether frames are given with 16 bits a channel."""
        return self.codec == "prores" or (self.deep and self.codec in ("hevc", "ffv1"))


def check_output(path: Path, coding: Coding, film: Film) -> None:
    """Refuse an output that can't hold the film, before any work is done.

    Raises:
        TintlabError: another suffix is needed.
    """
    suffixes = _CODINGS[coding.codec].containers
    if path.suffix.lower() not in suffixes:
        raise TintlabError(f"{path}: {coding.codec} goes into {' or '.join(suffixes)}: choose such a name")
    import av

    container = _format_of(path)
    known = av.open(_Nowhere(), "w", format=container).supported_codecs
    for sound in film.sounds:
        if av.codec.Codec(sound, "r").canonical_name not in known and sound not in known:
            raise TintlabError(f"{path}: its container can't hold sound in {sound}: name the output .mkv")


class _Nowhere:
    """A file that keeps nothing."""

    def write(self, data: bytes) -> int:
        return len(data)

    def seek(self, place: int, whence: int = 0) -> int:
        return place

    def tell(self) -> int:
        return 0


def _format_of(path: Path) -> str:
    return {".mp4": "mp4", ".mov": "mov"}.get(path.suffix.lower(), "matroska")


def write_part(path: Path, film: Film, coding: Coding, frames: Iterable[tuple[int, NDArray[Any]]]) -> int:
    """Code frames, each a time and pixels `(h, w, 3)` of sRGB; how many there were."""
    count = 0
    with path.open("wb") as file, _container("null") as nowhere:
        stream = _add_video(nowhere, film, coding)
        pixel_format = stream.codec_context.pix_fmt
        for pts, pixels in frames:
            _append(file, stream.encode(_frame(pixels, pts, film, pixel_format)))
            count += 1
        _append(file, stream.encode(None))
    return count


def _append(file: Any, packets: Iterable[Any]) -> None:
    for packet in packets:
        times = (_NO_TIME if time is None else time for time in (packet.pts, packet.dts, packet.duration))
        data = bytes(packet)
        file.write(_PACKET.pack(*times, packet.is_keyframe, len(data)) + data)


def _frame(pixels: NDArray[Any], pts: int, film: Film, pixel_format: str | None) -> Any:
    import av

    given = "rgb48le" if pixels.dtype == np.uint16 else "rgb24"
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(pixels), format=given)
    if pixel_format and pixel_format.startswith("yuv"):
        frame = frame.reformat(
            format=pixel_format,
            dst_colorspace="ITU709",
            src_color_range="JPEG",
            dst_color_range="MPEG",
            interpolation="BICUBIC",
        )
        frame.colorspace, frame.color_range = _BT709, _LIMITED
    else:
        frame = frame.reformat(format=pixel_format)
    frame.pts, frame.time_base = pts, film.time_base
    return frame


def _container(name: str) -> "OutputContainer":
    import av

    container = av.open(_Nowhere(), "w", format=name)
    container.flags |= _SAME_BYTES
    return container


def _add_video(container: "OutputContainer", film: Film, coding: Coding) -> "VideoStream":
    how = _CODINGS[coding.codec]
    odd = film.width % 2 or film.height % 2
    options = dict(how.options)
    if coding.codec in ("h264", "hevc"):
        options["crf"] = str(coding.quality)
    stream = cast("VideoStream", container.add_stream(how.encoder, rate=film.rate, options=options))
    context = stream.codec_context
    context.width, context.height = film.width, film.height
    context.pix_fmt = (how.odd_formats if odd else how.formats)[coding.takes_deep]
    context.time_base = film.time_base
    context.framerate = film.rate
    context.sample_aspect_ratio = film.aspect
    context.thread_count = _THREADS
    context.flags |= 1 << 23  # AV_CODEC_FLAG_BITEXACT
    if container.format.flags & 0x0040:  # AVFMT_GLOBALHEADER
        context.flags |= 1 << 22
    if context.pix_fmt.startswith("yuv"):
        context.colorspace = context.color_primaries = context.color_trc = _BT709
        context.color_range = _LIMITED
    stream.time_base = film.time_base
    return stream


def read_part(path: Path) -> Iterator[tuple[int, int, int, bool, bytes]]:
    """Of each packet: when it is shown and decoded, for how long, whether it is a key frame, and its data."""
    with path.open("rb") as file:
        while head := file.read(_PACKET.size):
            pts, dts, duration, key, size = _PACKET.unpack(head)
            yield pts, dts, duration, bool(key), file.read(size)


def join_parts(output: Path, film: Film, coding: Coding, parts: Iterable[Path], comment: str) -> None:
    """Put parts and the film's sound into one file, which appears when it is whole.

    Args:
        output: the file.
        film: whose sound is taken over, packet by packet.
        coding: with which the parts were written.
        parts: in turn.
        comment: for the container's metadata, which are otherwise the film's.

    Raises:
        TintlabError: the container can't hold it.
    """
    import av

    with atomic_path(output) as temporary, open_container(film.path) as source:
        flags = {"movflags": "+faststart"} if _format_of(output) != "matroska" else {}
        try:
            with av.open(str(temporary), "w", format=_format_of(output), container_options=flags) as result:
                result.flags |= _SAME_BYTES
                result.metadata.update(_metadata(source.metadata) | {"comment": comment})
                video = _add_video(result, film, coding)
                video.codec_context.open()
                sounds = {
                    one.index: result.add_stream_from_template(one)
                    for one in source.streams.audio
                    if one.codec_context
                }
                streams = [_video_packets(parts, video, film), _sound_packets(source, sounds)]
                for _, _, packet in heapq.merge(*streams, key=lambda one: one[:2]):
                    result.mux_one(packet)
        except (av.FFmpegError, ValueError) as error:
            raise TintlabError(
                f"{output}: can't be written ({console.printable(console.one_line(error))[:150]})"
            ) from None


def _metadata(found: dict[str, str]) -> dict[str, str]:
    kept = (
        "title",
        "artist",
        "date",
        "creation_time",
        "copyright",
        "description",
        "location",
        "album",
        "genre",
    )
    return {name: value for name, value in found.items() if name.lower() in kept}


def _video_packets(
    parts: Iterable[Path], stream: "VideoStream", film: Film
) -> Iterator[tuple[Fraction, int, Any]]:
    import av

    for path in parts:
        for pts, dts, duration, key, data in read_part(path):
            packet = av.Packet(data)
            packet.pts = pts
            packet.dts = pts if dts == _NO_TIME else dts
            packet.duration = max(0, duration)
            packet.is_keyframe = key
            packet.time_base = film.time_base
            packet.stream = stream
            yield (packet.dts or 0) * film.time_base, 0, packet


def _sound_packets(source: Any, sounds: dict[int, Any]) -> Iterator[tuple[Fraction, int, Any]]:
    import av

    if not sounds:
        return
    packets = source.demux([source.streams[index] for index in sounds])
    while True:
        try:
            packet = next(packets, None)
        except (av.FFmpegError, OSError):
            return  # the film ends in the middle
        if packet is None:
            return
        if packet.dts is None:
            continue
        when = packet.dts * Fraction(packet.time_base)
        packet.stream = sounds[packet.stream.index]
        yield when, 1, packet
