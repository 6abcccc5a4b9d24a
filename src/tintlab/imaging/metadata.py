"""Read a photograph's EXIF, XMP, IPTC and resolution, in a form that can be written to another file.

Metadata are untrusted, as pixels are. Entries that can't be parsed are left out, and reading goes on.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from PIL import ExifTags, Image, IptcImagePlugin
from PIL.ImageFile import ImageFile

T = TypeVar("T")

_IFD0 = (
    ExifTags.Base.ImageDescription,
    ExifTags.Base.Make,
    ExifTags.Base.Model,
    ExifTags.Base.XResolution,
    ExifTags.Base.YResolution,
    ExifTags.Base.ResolutionUnit,
    ExifTags.Base.Software,
    ExifTags.Base.DateTime,
    ExifTags.Base.Artist,
    ExifTags.Base.HostComputer,
    ExifTags.Base.Copyright,
    ExifTags.Base.XPTitle,
    ExifTags.Base.XPComment,
    ExifTags.Base.XPAuthor,
    ExifTags.Base.XPKeywords,
    ExifTags.Base.XPSubject,
)
"""Tags of a main directory that describe the capture; all others, and `_OF_THE_FILE`, describe the file."""

_OF_THE_FILE = {
    ExifTags.Base.ExifInteroperabilityOffset,
    ExifTags.Base.ExifImageWidth,
    ExifTags.Base.ExifImageHeight,
    ExifTags.Base.ColorSpace,
    ExifTags.Base.ComponentsConfiguration,
    ExifTags.Base.CompressedBitsPerPixel,
}
_UPRIGHT, _SRGB = 1, 1
_EXIF_HEADER = b"Exif\0\0"
_UTF8_MARK = b"\x1b%G"  # the value of IPTC's coded character set for UTF-8


@dataclass(frozen=True)
class CaptureMetadata:
    """Metadata of the capture.

    Attributes:
        exif: a TIFF structure without the header that JPEG needs, or empty. Its orientation is upright and its
            colour space sRGB.
        xmp: the unchanged packet of the file, or empty.
        iptc: texts of the IPTC data sets, by record and number.
        dpi: pixels per inch, horizontal and vertical.
    """

    exif: bytes = b""
    xmp: bytes = b""
    iptc: Mapping[tuple[int, int], tuple[str, ...]] = field(default_factory=dict)
    dpi: tuple[float, float] | None = None


def read_metadata(image: ImageFile) -> CaptureMetadata:
    """The metadata of an opened and loaded picture."""
    return CaptureMetadata(
        exif=_try_read(_read_exif, image) or b"",
        xmp=_try_read(_read_xmp, image) or b"",
        iptc=_try_read(_read_iptc, image) or {},
        dpi=_try_read(_read_dpi, image),
    )


def _try_read(read: Callable[[ImageFile], T], image: ImageFile) -> T | None:
    try:
        return read(image)
    except Exception:  # Pillow's parsers raise nearly anything on broken metadata
        return None


def _read_exif(image: ImageFile) -> bytes:
    theirs = image.getexif()
    kept: dict[int, Any] = {tag: theirs[tag] for tag in _IFD0 if tag in theirs}
    details = {
        tag: value for tag, value in theirs.get_ifd(ExifTags.IFD.Exif).items() if tag not in _OF_THE_FILE
    }
    place = dict(theirs.get_ifd(ExifTags.IFD.GPSInfo))
    if not (kept or details or place):
        return b""
    details[ExifTags.Base.ColorSpace] = _SRGB
    kept[ExifTags.Base.Orientation] = _UPRIGHT
    try:
        return _write_exif(kept, details, place)
    except Exception:  # Pillow can read some values that it can't write
        return _write_exif(
            {tag: value for tag, value in kept.items() if _can_be_written({tag: value}, {}, {})},
            {tag: value for tag, value in details.items() if _can_be_written({}, {tag: value}, {})},
            {tag: value for tag, value in place.items() if _can_be_written({}, {}, {tag: value})},
        )


def _write_exif(kept: dict[int, Any], details: dict[int, Any], place: dict[int, Any]) -> bytes:
    exif = Image.Exif()
    for tag, value in kept.items():
        exif[tag] = value
    for ifd, values in ((ExifTags.IFD.Exif, details), (ExifTags.IFD.GPSInfo, place)):
        if values:
            exif.get_ifd(ifd).update(values)
    return exif.tobytes().removeprefix(_EXIF_HEADER)


def _can_be_written(*directories: dict[int, Any]) -> bool:
    try:
        _write_exif(*directories)
    except Exception:  # see `_read_exif`
        return False
    return True


def _read_xmp(image: ImageFile) -> bytes:
    packet = image.info.get("xmp", b"")
    return packet if isinstance(packet, bytes) else str(packet).encode()


def _read_dpi(image: ImageFile) -> tuple[float, float] | None:
    across, down = (float(value) for value in image.info["dpi"])
    return (across, down) if min(across, down) >= 1 and max(across, down) <= 100_000 else None


def _read_iptc(image: ImageFile) -> dict[tuple[int, int], tuple[str, ...]]:
    found = IptcImagePlugin.getiptcinfo(image) or {}
    utf8 = found.get((1, 90)) == _UTF8_MARK
    texts = {}
    for key, value in found.items():
        values = value if isinstance(value, list) else [value]
        texts[key] = tuple(_decode_text(one, utf8) for one in values)
    return texts


def _decode_text(value: bytes, utf8: bool) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("utf-8", "replace") if utf8 else value.decode("latin-1")
