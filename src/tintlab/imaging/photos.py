"""Read one photograph of any bit depth, orientation, profile and transparency, or say why it can't be read.

Files are untrusted: an exception that a decoder raises becomes a `PhotoError`.
"""

import re
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.ImageFile import ImageFile

from tintlab.imaging import camera_raw, color, compiled, formats, guards, tones
from tintlab.imaging.guards import PatchedFile, PhotoError, WatchedFile
from tintlab.imaging.headers import Header, as_rgba, read_header
from tintlab.imaging.jxl import JxlFile, is_jxl, jxl_size, open_jxl
from tintlab.imaging.metadata import CaptureMetadata, read_metadata
from tintlab.imaging.profiles import ADOBE_RGB
from tintlab.imaging.tiff import HEADERS as TIFF_HEADERS
from tintlab.imaging.tiff_pages import CameraRawError, TaggedPage, find_photographs, page_file
from tintlab.imaging.tiff_pictures import read_tiff, tiff_size
from tintlab.system import console

__all__ = ["Photo", "PhotoError", "count_pages", "megapixels_of", "read_photo"]

_DEEP = re.compile(r";16|SGI16|', \d{4,5}\)")  # how Pillow's decoders of more than 8 bits are described
_EXIF_SRGB = 1
_PHOTOSHOP_VERSION = 1057
_FEWEST_BYTES_A_FRAME = 12
_RAW_MEGAPIXELS = 30.0  # taken for the size of camera raw, which only its reading tells
_FRAME_TYPE = 0xB002  # of a multi-picture file: its list of pictures
_PICTURES = (
    "Multi-Frame Image (Disparity)",
    "Multi-Frame Image (Panorama)",
    "Multi-Frame Image (Multi-Angle)",
)


@dataclass(frozen=True)
class Photo:
    """A decoded photograph, upright and in sRGB.

    Attributes:
        pixels: `(h, w)` for grey photographs or `(h, w, 3)`; uint8, or uint16 for deep grey.
        format: the file's format as Pillow names it, such as `JPEG`.
        mode: the pixel mode that the file was stored in, such as `CMYK` or `I;16`.
        metadata: the capture's metadata from the file.
        notes: one line about each part of the file that the pixels lack.
        more_pages: pages or frames of the file beside the one that was read.
        form: what stands for the photograph, where that is not the file's own picture: of camera raw.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    format: str
    mode: str
    metadata: CaptureMetadata = field(default_factory=CaptureMetadata)
    notes: tuple[str, ...] = ()
    more_pages: int = 0
    form: str = ""

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
        """L* `(h, w)` float32 in [0, 100], from `pixels` at their full depth."""
        return compiled.lightness(self.pixels)


def read_photo(source: Path | bytes, max_megapixels: float, page: int = 0) -> Photo:
    """Decode a photograph from a file or from its bytes.

    The type of `source` decides: a `Path` is opened, `bytes` are a file's contents. Text is refused, so that
    text from a client can't be mistaken for a file name.

    EXIF orientation is applied. Values with an ICC profile, or with a gamma that a PNG states, are converted
    to sRGB. Transparent pixels are laid on white. Deep grey keeps 16 bits. Deeper colours are read with 8
    bits, and `Photo.notes` says so.

    Args:
        source: see above.
        max_megapixels: largest size that is read, by the file's header.
        page: of a TIFF file, from 1, counted as `count_pages` does. 0 is the first page or frame of any file;
            the notes then say how many more there are.

    Raises:
        PhotoError: the file is not a picture, is broken or too large, or does not say what its values mean.
        TypeError: `source` is neither a `Path` nor `bytes`.
    """
    # Pillow's own guard gets the same limit, so that one number decides.
    Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
    head = b""
    try:
        with guards.open_source(source) as file:
            head = _head(file)
            if name := formats.camera_raw_name(head):
                return _read_raw(file, name, max_megapixels)
            if head.startswith(TIFF_HEADERS):
                return _read_tiff(file, max_megapixels, page)
            if page > 1:
                raise PhotoError("the file has one page only")
            if is_jxl(head):
                packed = open_jxl(file, max_megapixels)
                return _read_other(packed.file, packed.header, max_megapixels, packed)
            return _read_other(file, read_header(file, head), max_megapixels)
    except (PhotoError, TypeError) as error:
        if isinstance(error, PhotoError) or not isinstance(source, Path | bytes):
            raise
        raise PhotoError(_reason(error, head)) from error
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"more pixels than photos.max_megapixels {max_megapixels:g} allows") from error
    except Exception as error:  # decoders raise nearly anything on broken files
        raise PhotoError(_reason(error, head)) from error


def count_pages(source: Path | bytes) -> int:
    """How many photographs a file holds: more than 1 only for TIFF; previews and masks don't count.

    A page that is listed but missing counts, because `read_photo` reports what is wrong with it. A file that
    can't be read counts as one for the same reason.
    """
    try:
        with guards.open_source(source) as file:
            return find_photographs(file).count if _head(file).startswith(TIFF_HEADERS) else 1
    except Exception:  # see `read_photo`
        return 1


def megapixels_of(source: Path | bytes, max_megapixels: float, page: int = 0) -> float:
    """The size of a photograph by its header; 0 for a file that `read_photo` refuses."""
    Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
    try:
        with guards.open_source(source) as file:
            head = _head(file)
            if formats.camera_raw_name(head):
                return _RAW_MEGAPIXELS
            if head.startswith(TIFF_HEADERS):
                width, height = tiff_size(file, max(page, 1))
                return width * height / 1e6
            if is_jxl(head):
                width, height = jxl_size(file)
                return width * height / 1e6
            with Image.open(file, formats=formats.pillow_formats()) as image:  # type: ignore[arg-type]
                return image.width * image.height / 1e6
    except CameraRawError:
        return _RAW_MEGAPIXELS
    except Exception:  # see `read_photo`
        return 0.0


def _head(file: WatchedFile) -> bytes:
    """The start of a file, which stays at its start.

    Raises:
        PhotoError: it is of a format that is not read.
    """
    head = file.read(formats.HEAD_SIZE)
    file.seek(0)
    if reason := formats.unread_reason(head):
        raise PhotoError(reason)
    return head


def _read_other(
    file: WatchedFile, header: Header, max_megapixels: float, packed: JxlFile | None = None
) -> Photo:
    if header.is_deep_with_alpha:
        file = as_rgba(file)
    with Image.open(file, formats=formats.pillow_formats()) as image:  # type: ignore[arg-type]
        guards.refuse_large(image.width, image.height, max_megapixels)
        stored_format, stored_mode = image.format or "?", "LA;16" if header.is_deep_with_alpha else image.mode
        guards.refuse_slow(image)
        more = _more_frames(image, file.size())
        notes = _notes(image, header) + _more(more) + (packed.notes if packed else ())
        if stored_format in ("JPEG", "MPO"):
            guards.refuse_many_scans(file, image.width * image.height / 1e6)
        if stored_format == "PSD":
            _refuse_without_composite(image)
        image.load()
        # Before the pixels are converted, because the conversion drops Pillow's information about the file.
        if packed:
            image.info |= {"exif": packed.exif, "xmp": packed.xmp}
        orientation, metadata = tones.orientation_of(image), read_metadata(image)
        orientation = 1 if packed else orientation  # the decoder has applied it
        if not image.info.get("icc_profile") and _is_adobe_rgb(image):
            header = replace(header, calibration=ADOBE_RGB)
        pixels = tones.turn(tones.finish_image(image, header), orientation)
        return Photo(pixels, stored_format, stored_mode, metadata, notes, more)


def _read_tiff(file: WatchedFile, max_megapixels: float, page: int) -> Photo:
    try:
        found = read_tiff(file, max_megapixels, max(page, 1))
    except CameraRawError as raw:
        return _read_raw(file, str(raw), max_megapixels)
    more = 0 if page else found.more_pages
    return Photo(found.pixels, "TIFF", found.mode, found.metadata, found.notes + _more(more), more)


def _read_raw(file: WatchedFile, name: str, max_megapixels: float) -> Photo:
    """Camera raw: its full-size preview, or developed."""
    preview = camera_raw.find_preview(file)
    if preview is None:
        return _develop(file, name, max_megapixels)
    guards.refuse_large(preview.width, preview.height, max_megapixels)
    photo = _read_other(preview.file, Header(), max_megapixels)
    form = f"the full-size preview in {name}"
    photo = replace(photo, format="RAW", notes=(*photo.notes, form), form=form)
    if not preview.outer:
        return photo
    outer = TaggedPage(page_file(file, preview.outer))
    preview.file.seek(0)
    with Image.open(preview.file, formats=["JPEG"]) as image:  # type: ignore[arg-type]
        is_turned = ExifTags.Base.Orientation in image.getexif()
    return replace(
        photo,
        pixels=photo.pixels if is_turned else tones.turn(photo.pixels, tones.orientation_of(outer)),
        metadata=photo.metadata if photo.metadata.exif else read_metadata(outer),
    )


def _develop(file: WatchedFile, name: str, max_megapixels: float) -> Photo:
    developed, form = camera_raw.develop(file, name, max_megapixels)
    file.seek(0)
    is_tiff = file.read(4) in TIFF_HEADERS
    metadata = read_metadata(TaggedPage(PatchedFile(file, b""))) if is_tiff else CaptureMetadata()
    return Photo(developed, "RAW", "RGB", metadata, (form,), form=form)


def _refuse_without_composite(image: ImageFile) -> None:
    """Refuse a PSD without a composite picture: resource 1057 says so, and Pillow would read plain white."""
    for number, _, data in getattr(image, "resources", ()):
        if number == _PHOTOSHOP_VERSION and data[4:5] == b"\0":
            raise PhotoError(
                "PSD of layers alone, without the picture that they make: save it as TIFF or PNG"
            )


def _is_adobe_rgb(image: ImageFile) -> bool:
    """Whether the camera declares Adobe RGB as DCF 2.0 defines: interoperability index R03, and not sRGB."""
    try:
        exif = image.getexif()
        index = exif.get_ifd(ExifTags.IFD.Interop).get(1)
        return index == "R03" and exif.get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.ColorSpace) != _EXIF_SRGB
    except Exception:  # Pillow's parsers raise nearly anything on broken metadata
        return False


def _notes(image: Image.Image, header: Header) -> tuple[str, ...]:
    """Notes on lost depth. Call it before the pixels are decoded: later the file's depth is unknown."""
    if image.mode.startswith("I") or image.mode == "F" or header.is_deep_with_alpha:
        return ()
    if header.depth > 8:
        return (f"of its {header.depth} bits a channel 8 were read",)
    deep = _DEEP.search(str(getattr(image, "tile", ())[:1])) is not None
    return ("of its 16 bits a channel 8 were read",) if deep else ()


def _more_frames(image: ImageFile, size: int) -> int:
    """Number of frames after the first; in a camera's multi-picture file, previews and maps don't count."""
    if image.format in ("GIF", "PNG", "WEBP", "AVIF", "HEIF"):
        return max(0, min(getattr(image, "n_frames", 1), size // _FEWEST_BYTES_A_FRAME) - 1)
    if image.format == "MPO":
        entries = getattr(image, "mpinfo", {}).get(_FRAME_TYPE, ())
        return sum(entry["Attribute"]["MPType"] in _PICTURES for entry in entries[1:])
    return 0


def _more(pages: int) -> tuple[str, ...]:
    if not pages:
        return ()
    return (
        f"{pages} more page{'s' if pages > 1 else ''} of the file {'were' if pages > 1 else 'was'} not read",
    )


def _reason(error: Exception, head: bytes) -> str:
    if isinstance(error, UnidentifiedImageError):
        if formats.is_heif(head):
            return "broken picture data (HEIC or AVIF that is cut short or damaged)"
        return "not a picture in a format that can be read"
    if is_jxl(head):
        return "broken picture data (JPEG XL that is cut short or damaged)"
    text = console.printable(console.one_line(error))[:120]
    if "truncated" in text.lower() or "unexpected end" in text or isinstance(error, EOFError):
        return "the picture's data is cut short"
    return f"broken picture data ({text})"
