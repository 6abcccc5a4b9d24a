"""One photograph in: any bit depth, orientation, colour profile and transparency, or a reason why not.

Files come from strangers: every fault of a decoder ends as a `PhotoError`, never as another exception.
"""

import functools
import io
import os
import re
import stat
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.TiffImagePlugin import (
    BITSPERSAMPLE,
    PHOTOMETRIC_INTERPRETATION,
    PLANAR_CONFIGURATION,
    TiffImageFile,
)

from tintlab.imaging import color
from tintlab.imaging.metadata import CaptureMetadata, capture_metadata
from tintlab.system import console
from tintlab.system.errors import TintlabError

# What cameras, scanners and archives write, each with a signature. Pillow knows more, but those are icons,
# textures and films, are told by guessing, or are handed to other programs.
_FORMATS = (
    "JPEG",
    "PNG",
    "TIFF",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "JPEG2000",
    "AVIF",
    "PSD",
    "PPM",
    "PCD",
    "QOI",
    "SGI",
)
_TRANSPARENT_MODES = {"LA", "PA", "RGBA", "RGBa"}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE_IS_ZERO, _IN_PLANES = 0, 2
_DEEP = re.compile(r";16|SGI16|', \d{4,5}\)")  # in what Pillow's decoders of more than 8 bits are told
_FEW_STEPS = 100  # of the 255 that an 8-bit curve has
_LONGEST_SIDE = 100_000
_SLOW_DECODERS = {"bmp_rle", "ppm", "ppm_plain", "qoi"}
_SLOW_MEGAPIXELS = 4
_MOST_READS = 2_000_000
_FEW_SCANS = 50  # encoders make ten
_MOST_SCANNED = 2000  # scans times megapixels


class PhotoError(TintlabError):
    """A file that can't be used as a photograph; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Photo:
    """A decoded photograph, upright and in sRGB.

    Attributes:
        pixels: `(h, w)` for grey photographs or `(h, w, 3)`; uint8, or uint16 for 16-bit grey.
        format: the file's format as Pillow names it, such as `JPEG`.
        mode: the pixel mode that the file was stored in, such as `CMYK` or `I;16`.
        metadata: what the file says of its capture.
        notes: what the pixels lack of the file's.
        more_pages: pages or frames of the file beside the one that was read.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    format: str
    mode: str
    metadata: CaptureMetadata = field(default_factory=CaptureMetadata)
    notes: tuple[str, ...] = ()
    more_pages: int = 0

    @property
    def height(self) -> int:
        """Rows, after the orientation was applied."""
        return int(self.pixels.shape[0])

    @property
    def width(self) -> int:
        """Columns, after the orientation was applied."""
        return int(self.pixels.shape[1])

    def rgb(self) -> color.Byte:
        """The photograph as 8-bit sRGB `(h, w, 3)`."""
        pixels = self.pixels
        if pixels.dtype == np.uint16:
            pixels = np.rint(pixels / 257).astype(np.uint8)
        if pixels.ndim == 2:
            return np.stack([pixels] * 3, axis=-1).astype(np.uint8, copy=False)
        return pixels.astype(np.uint8, copy=False)

    def lightness(self) -> color.Float:
        """L* `(h, w)` float32 in [0, 100], from all the bits that the file has."""
        return color.lightness(self.pixels)


def read_photo(source: Path | bytes, max_megapixels: float) -> Photo:
    """Decode a photograph from a file or from its bytes.

    The type of `source` alone decides which: a `Path` is opened, `bytes` are a file's contents. Text is
    neither, so that nothing a client sends can be mistaken for the name of a file.

    The first frame is taken, EXIF orientation applied, an ICC profile converted to sRGB, transparency laid
    on white. 16-bit grey keeps its depth; of 16-bit colours Pillow reads 8 bits, as `Photo.notes` then say.

    Raises:
        PhotoError: no picture, a broken one, one that Pillow would read wrongly, or one of more than
            `max_megapixels` (told by its header).
        TypeError: `source` is neither a `Path` nor `bytes`.
    """
    if not isinstance(source, Path | bytes):
        raise TypeError(f"a photograph is a Path or bytes, not {type(source).__name__}")
    # Pillow's own guard follows ours, so that one number decides.
    Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
    try:
        with _opened(source) as file, Image.open(file, formats=_formats()) as image:
            megapixels = image.width * image.height / 1e6
            if megapixels > max_megapixels:
                raise PhotoError(
                    f"{megapixels:.1f} megapixels, more than photos.max_megapixels {max_megapixels:g}"
                )
            if max(image.size) > _LONGEST_SIDE:
                raise PhotoError(f"{image.width} × {image.height} pixels: a line, no photograph")
            stored_format, stored_mode = image.format or "?", image.mode
            _refuse_slow(image, megapixels)
            _refuse_deep_planes(image)
            notes = _notes(image)
            if stored_format == "JPEG":
                _refuse_many_scans(file, megapixels)
            image.load()
            pixels = _pixels(_upright(image))
            if _is_deep_negative(image):
                pixels = (65535 - pixels).astype(np.uint16)
            if pixels.dtype == np.uint16 and (profile := image.info.get("icc_profile")):
                pixels = _deep_curve(profile)[pixels]
            return Photo(pixels, stored_format, stored_mode, capture_metadata(image), notes)
    except PhotoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"more pixels than photos.max_megapixels {max_megapixels:g} allows") from error
    except Exception as error:  # decoders raise nearly anything on broken files
        raise PhotoError(_reason(error)) from error


def megapixels_of(source: Path | bytes, max_megapixels: float) -> float:
    """The size of a photograph by its header alone; 0 where `read_photo` will say what is wrong with it."""
    Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
    try:
        with _opened(source) as file, Image.open(file, formats=_formats()) as image:
            return image.width * image.height / 1e6
    except Exception:  # see `read_photo`
        return 0.0


class _Watched:
    """A file for Pillow, which may read it `_MOST_READS` times.

    Some of Pillow's decoders ask for a few bytes at a time, for each chunk or each run of pixels: small files
    can keep them busy for hours. A number of reads, unlike seconds, is the same on every machine.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_READS
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        self._left -= 1
        if self._left < 0:
            raise PhotoError("its data is in too many small pieces: save it anew, as PNG or TIFF")
        return self._file.read(size)


@contextmanager
def _opened(source: Path | bytes) -> Iterator[Any]:
    if isinstance(source, bytes):
        if not source:
            raise PhotoError("the file is empty")
        yield _Watched(io.BytesIO(source))
        return
    try:
        # Else a pipe that nobody writes to would be waited for.
        file = open(source, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))  # noqa: SIM115
    except OSError as error:
        raise PhotoError(f"can't be opened: {error.strerror}") from error
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise PhotoError("a device or pipe, no file")
        if not found.st_size:
            raise PhotoError("the file is empty")
        yield _Watched(file)


def _refuse_slow(image: Image.Image, megapixels: float) -> None:
    """Some of Pillow's decoders are written in Python, and take a microsecond a pixel."""
    slow = any(tile[0] in _SLOW_DECODERS for tile in getattr(image, "tile", ()))
    if slow and megapixels > _SLOW_MEGAPIXELS:
        raise PhotoError(
            f"{megapixels:.1f} megapixels of a kind of {image.format} that takes long to read: "
            "save it as PNG or TIFF"
        )


def _refuse_deep_planes(image: Image.Image) -> None:
    """Pillow takes uncompressed planes of 16 bits for planes of 8: noise, and no word of it."""
    if not isinstance(image, TiffImageFile) or image.tag_v2.get(PLANAR_CONFIGURATION) != _IN_PLANES:
        return
    bits = image.tag_v2.get(BITSPERSAMPLE, (1,))
    if len(bits) > 1 and max(bits) > 8 and any(tile[0] == "raw" for tile in image.tile):
        raise PhotoError(f"{max(bits)} bits a channel in planes can't be read: save it anew, pixel by pixel")


def _notes(image: Image.Image) -> tuple[str, ...]:
    """To be asked before the pixels are read: what has been decoded says nothing of its depth."""
    told = str(getattr(image, "tile", ())[:1])
    deep = _DEEP.search(told) is not None and not image.mode.startswith("I")
    return ("of its 16 bits a channel 8 were read",) if deep else ()


def _refuse_many_scans(file: _Watched, megapixels: float) -> None:
    """A progressive JPEG goes over all its pixels in each scan, and a scan takes ten bytes."""
    place = file.tell()
    file.seek(0)
    scans = 0
    tail = b""
    while block := file.read(1 << 20):
        scans += (tail + block).count(b"\xff\xda")
        tail = block[-1:]
    file.seek(place)
    if scans > _FEW_SCANS and scans * megapixels > _MOST_SCANNED:
        raise PhotoError(f"{scans} scans over {megapixels:.1f} megapixels, as bombs have")


@functools.cache
def _formats() -> list[str]:
    # Pillow warns of odd metadata on stderr, without saying in which file.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a format that can be read"
    text = console.printable(console.one_line(error))[:120]
    if "truncated" in text.lower() or "unexpected end" in text or isinstance(error, EOFError):
        return "the picture's data is cut short"
    return f"broken picture data ({text})"


def _upright(image: Image.Image) -> Image.Image:
    # ImageOps.exif_transpose also writes a new EXIF block, and fails where the old one holds odd values.
    try:
        turn = _TURNS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # an EXIF block that can't be parsed says nothing about orientation
        return image
    return image if turn is None else image.transpose(turn)


def _pixels(image: Image.Image) -> NDArray[np.uint8] | NDArray[np.uint16]:
    if image.mode.startswith("I;16"):
        return np.asarray(image).astype(np.uint16)
    if image.mode == "I":
        return _deep_grey(np.asarray(image), 65535)
    if image.mode == "F":
        return _deep_grey(np.asarray(image), 1.0)
    if image.mode in _TRANSPARENT_MODES or "transparency" in image.info:
        image = _on_white(image)
    if image.mode in ("1", "L"):
        return np.asarray(_to_srgb(image.convert("L")).convert("L"))
    return np.asarray(_to_srgb(image).convert("RGB"))


def _is_deep_negative(image: Image.Image) -> bool:
    # Pillow inverts such scans where they have 8 bits, not where they have 16.
    if not (isinstance(image, TiffImageFile) and image.mode.startswith("I;16")):
        return False
    return bool(image.tag_v2.get(PHOTOMETRIC_INTERPRETATION) == _WHITE_IS_ZERO)


def _deep_grey(values: NDArray[np.generic], white: float) -> NDArray[np.uint16]:
    """Grey values of 32 bits as uint16, where they keep to a range with a known white."""
    if not (values.min() >= 0 and values.max() <= white):
        raise PhotoError(f"32-bit grey values outside 0 to {white:g} have no known white")
    deep = np.empty(values.shape, np.uint16)
    for rows in color.strips(values.shape):
        deep[rows] = np.rint(values[rows].astype(np.float64) * (65535 / white))
    return deep


def _on_white(image: Image.Image) -> Image.Image:
    profile = image.info.get("icc_profile")
    rgba = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if profile:
        flat.info["icc_profile"] = profile
    return flat.convert("L") if image.mode in ("1", "L", "LA") else flat


def _to_srgb(image: Image.Image) -> Image.Image:
    """Convert by the embedded ICC profile; a broken or unfitting profile is as good as none."""
    if image.mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif profile := image.info.get("icc_profile"):
        try:
            source = ImageCms.getOpenProfile(io.BytesIO(profile))
        except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
            return image
    else:
        return image
    working = image if image.mode in ("L", "RGB", "CMYK", "LAB") else image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            working, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except (OSError, ValueError, ImageCms.PyCMSError):
        return image
    return converted if converted is not None else image


@functools.lru_cache(maxsize=8)
def _deep_curve(profile: bytes) -> NDArray[np.uint16]:
    """The sRGB value of each 16-bit grey value, by a grey profile; an unfitting profile is as good as none.

    LittleCMS gives Pillow 8 bits: where they step from one value to the next tells the curve to within 0.05
    of an 8-bit level.
    """
    from scipy.interpolate import PchipInterpolator  # half a second

    ramp = np.arange(1 << 16, dtype=np.uint16)
    same: NDArray[np.uint16] = ramp
    try:
        source = ImageCms.getOpenProfile(io.BytesIO(profile))
        shown = ImageCms.profileToProfile(
            Image.fromarray(ramp.reshape(256, 256)),
            source,
            ImageCms.createProfile("sRGB"),
            outputMode="RGB",
            # Optimised, it is off by up to ten levels in the shadows.
            flags=ImageCms.Flags.NOOPTIMIZE,
        )
    except (OSError, TypeError, ValueError, ImageCms.PyCMSError):
        return same
    levels = np.asarray(shown)[..., 0].ravel().astype(np.int64) if shown else same[:0]
    steps = np.flatnonzero(np.diff(levels))
    if len(steps) < _FEW_STEPS or np.diff(levels).min() < 0:
        return same
    known = np.concatenate([[0], steps + 0.5, [65535]])
    values = np.concatenate([levels[:1], (levels[steps] + levels[steps + 1]) / 2, levels[-1:]])
    curve = PchipInterpolator(known, values)(ramp) * 257
    rounded: NDArray[np.uint16] = np.rint(curve).astype(np.uint16)
    return rounded
