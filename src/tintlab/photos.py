"""One photograph in: any bit depth, orientation, colour profile and transparency, or a reason why not.

Files come from strangers: every fault of a decoder ends as a `PhotoError`, never as another exception.
"""

import functools
import io
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageCms, UnidentifiedImageError
from PIL.TiffImagePlugin import PHOTOMETRIC_INTERPRETATION, TiffImageFile

from tintlab import color, program
from tintlab.errors import TintlabError

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
_WHITE_IS_ZERO = 0


class PhotoError(TintlabError):
    """A file that can't be used as a photograph; the message is the reason, without the file's name."""


@dataclass(frozen=True)
class Photo:
    """A decoded photograph, upright and in sRGB.

    Attributes:
        pixels: `(h, w)` for grey photographs or `(h, w, 3)`; uint8, or uint16 for 16-bit grey.
        format: the file's format as Pillow names it, such as `JPEG`.
        mode: the pixel mode that the file was stored in, such as `CMYK` or `I;16`.
    """

    pixels: NDArray[np.uint8] | NDArray[np.uint16]
    format: str
    mode: str

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

    The first frame is taken, EXIF orientation applied, an ICC profile converted to sRGB, transparency laid
    on white. 16-bit grey keeps its depth (and is taken as sRGB, whatever its profile says).

    Raises:
        PhotoError: no picture, a broken one, or one of more than `max_megapixels` (told by its header).
    """
    data = source if isinstance(source, bytes) else _bytes_of(source)
    if not data:
        raise PhotoError("the file is empty")
    # Pillow's own guard follows ours, so that one number decides.
    Image.MAX_IMAGE_PIXELS = int(max_megapixels * 1e6)
    try:
        with Image.open(io.BytesIO(data), formats=_formats()) as image:
            megapixels = image.width * image.height / 1e6
            if megapixels > max_megapixels:
                raise PhotoError(
                    f"{megapixels:.1f} megapixels, more than photos.max_megapixels {max_megapixels:g}"
                )
            stored_format, stored_mode = image.format or "?", image.mode
            image.load()
            pixels = _pixels(_upright(image))
            if _is_deep_negative(image):
                pixels = (65535 - pixels).astype(np.uint16)
            return Photo(pixels, stored_format, stored_mode)
    except PhotoError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise PhotoError(f"more pixels than photos.max_megapixels {max_megapixels:g} allows") from error
    except Exception as error:  # decoders raise nearly anything on broken files
        raise PhotoError(_reason(error)) from error


def _bytes_of(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise PhotoError(f"can't be opened: {error.strerror}") from error


@functools.cache
def _formats() -> list[str]:
    # Pillow warns of odd metadata on stderr, without saying in which file.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.init()
    return [name for name in _FORMATS if name in Image.OPEN]


def _reason(error: Exception) -> str:
    if isinstance(error, UnidentifiedImageError):
        return "not a picture in a format that can be read"
    text = program.printable(program.one_line(error))[:120]
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
    numbers = values.astype(np.float64)
    if not (numbers.min() >= 0 and numbers.max() <= white):
        raise PhotoError(f"32-bit grey values outside 0 to {white:g} have no known white")
    return np.rint(numbers * (65535 / white)).astype(np.uint16)


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
