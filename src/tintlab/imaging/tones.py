"""Turn decoded values into upright sRGB: profile, gamma, transparency, significant bits and orientation."""

from typing import cast

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image

from tintlab.imaging import color, profiles
from tintlab.imaging.guards import PhotoError
from tintlab.imaging.headers import Header

Pixels = NDArray[np.uint8] | NDArray[np.uint16]

_TRANSPARENT_MODES = {"LA", "La", "PA", "RGBA", "RGBa"}


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turn pixels upright by EXIF's orientation (tag 274); values outside 1 to 8 change nothing."""
    if orientation in (5, 6, 7, 8):
        pixels = np.swapaxes(pixels, 0, 1)
    rows = slice(None, None, -1) if orientation in (3, 4, 7, 8) else slice(None)
    columns = slice(None, None, -1) if orientation in (2, 3, 6, 7) else slice(None)
    return cast(Pixels, np.ascontiguousarray(pixels[rows, columns]))


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation; 1 if the EXIF block is broken."""
    try:
        return int(image.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # Pillow's parsers raise nearly anything; such a block says nothing about orientation
        return 1


def finish_image(image: Image.Image, header: Header) -> Pixels:
    """The sRGB pixels of a loaded picture: grey `(h, w)` or colours `(h, w, 3)`.

    Raises:
        PhotoError: its values have no known white.
    """
    profile = b"" if header.ignores_profile else image.info.get("icc_profile", b"") or header.profile
    levels: Pixels | None = _deep_levels(image, header)
    value = image.info.get("transparency")
    if image.mode == "L" and isinstance(value, int) and header.depth in (2, 4):
        # Pillow scales such pixels to 8 bits, but not the transparent value of PNG's tRNS chunk.
        image.info["transparency"] = value * 255 // ((1 << header.depth) - 1)
    if levels is None and (image.mode in _TRANSPARENT_MODES or "transparency" in image.info):
        image = _lay_on_white(image)
    if levels is None and image.mode in ("1", "L"):
        levels = np.asarray(image.convert("L"))
    if levels is None and image.mode not in ("RGB", "CMYK", "LAB"):
        image = image.convert("RGB")
    if levels is None and profile and image.mode == "RGB" and profiles.profile_space(profile) == "GRAY":
        levels = _grey_of(image)
    return _finish_colours(image, profile, header) if levels is None else finish_grey(levels, profile, header)


def _deep_levels(image: Image.Image, header: Header) -> NDArray[np.uint16] | None:
    """Grey levels of more than 8 bits; None for other pictures."""
    if header.is_deep_with_alpha:
        deep = np.asarray(image).view(">u2").astype(np.uint16)
        return cast(NDArray[np.uint16], on_white(deep[..., :1], deep[..., 1:])[..., 0])
    if image.mode.startswith("I;16"):
        return _without_transparent(image, np.asarray(image).astype(np.uint16))
    if image.mode in ("I", "F"):
        return _deep_grey(np.asarray(image), 65535 if image.mode == "I" else 1.0)
    return None


def _finish_colours(image: Image.Image, profile: bytes, header: Header) -> NDArray[np.uint8]:
    if image.mode == "RGB" and _has_significant(header):
        image = Image.fromarray(_with_significant(np.asarray(image), header))
    if profile:
        image.info["icc_profile"] = profile
    else:
        image.info.pop("icc_profile", None)
    shown = profiles.to_srgb(image)
    rgb = np.asarray(shown if shown.mode == "RGB" else shown.convert("RGB"))  # converting RGB copies it
    return header.calibration.to_srgb(rgb) if header.calibration and not profile else rgb


def finish_grey(levels: Pixels, profile: bytes, header: Header) -> Pixels:
    """Grey levels `(h, w)` in sRGB, of the same depth."""
    most = np.iinfo(levels.dtype).max
    levels = _with_significant(_with_full_range(levels, header), header)
    if header.is_negative:
        levels = ~levels
    curve = None
    if profile:
        curve = profiles.grey_curve(profile, most + 1)
    elif header.calibration:
        curve = header.calibration.curve(most + 1)
    if curve is None:
        return levels
    return curve[levels] if most == 65535 else np.rint(curve / 257).astype(np.uint8)[levels]


def _with_full_range(levels: Pixels, header: Header) -> Pixels:
    """Pillow shifts JPEG 2000's samples to 8 or 16 bits, so that white is less than the highest number."""
    most = np.iinfo(levels.dtype).max
    width = 8 * levels.itemsize
    if not header.is_shifted or header.depth >= width or header.depth < 1:
        return levels
    table = np.arange(most + 1, dtype=np.uint32) >> (width - header.depth)
    full = np.rint(table * (most / ((1 << header.depth) - 1))).astype(levels.dtype)
    return cast(Pixels, full[levels])


def _has_significant(header: Header) -> bool:
    return any(bits < header.depth for bits in header.significant)


def _with_significant(pixels: Pixels, header: Header) -> Pixels:
    """Scale pixels to the full range if their lower bits are zeros; other pixels stay.

    PNG's encoders should scale or replicate the bits (ISO/IEC 15948, 12.4). Lower bits other than zero show
    that the encoder did so.
    """
    depth = 8 * pixels.itemsize
    if not _has_significant(header) or header.depth != depth:
        return pixels
    most = np.iinfo(pixels.dtype).max
    planes = pixels[..., None] if pixels.ndim == 2 else pixels
    result = planes.copy()
    for channel in range(planes.shape[2]):
        bits = header.significant[min(channel, len(header.significant) - 1)]
        lower = (1 << (depth - bits)) - 1
        if bits < depth and not (planes[..., channel] & lower).any():
            table = np.rint((np.arange(most + 1) >> (depth - bits)) * (most / ((1 << bits) - 1)))
            result[..., channel] = table.astype(pixels.dtype)[planes[..., channel]]
    return result.reshape(pixels.shape)


def _deep_grey(values: NDArray[np.generic], white: float) -> NDArray[np.uint16]:
    """Grey values of 32 bits as uint16, if they lie in a range with a known white."""
    low, high = values.min(), values.max()
    if not (low >= 0 and high <= white):
        raise PhotoError(
            f"32-bit grey values from {low:g} to {high:g} have no known white: save it with 16 bits"
        )
    deep = np.empty(values.shape, np.uint16)
    for rows in color.strips(values.shape):
        deep[rows] = np.rint(values[rows].astype(np.float64) * (65535 / white))
    return deep


def _without_transparent(image: Image.Image, levels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    """Deep grey with the one value that PNG's tRNS calls transparent as white."""
    value = image.info.get("transparency")
    if isinstance(value, int) and 0 <= value <= 65535:
        levels[levels == value] = 65535
    return levels


def _lay_on_white(image: Image.Image) -> Image.Image:
    if image.mode == "La":
        image = image.convert("LA")
    profile = image.info.get("icc_profile")
    rgba = image.convert("RGBA")
    flat = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba).convert("RGB")
    if profile:
        flat.info["icc_profile"] = profile
    return flat.convert("L") if image.mode in ("1", "L", "LA") else flat


def on_white(colours: Pixels, alpha: Pixels, premultiplied: bool = False) -> Pixels:
    """Colours `(h, w, n)` with their opacity `(h, w, 1)` over white."""
    most = np.iinfo(colours.dtype).max
    result = np.empty_like(colours)
    for rows in color.strips(colours.shape):
        opacity = alpha[rows].astype(np.float32) / most
        shown = colours[rows].astype(np.float32)
        if not premultiplied:
            shown *= opacity
        result[rows] = np.rint(np.minimum(shown + most * (1 - opacity), most))
    return result


def _grey_of(image: Image.Image) -> NDArray[np.uint8] | None:
    """The channel of an RGB picture whose channels are all the same; None for other pictures."""
    red, green, blue = image.split()
    same = red.tobytes() == green.tobytes() == blue.tobytes()
    return np.asarray(green) if same else None
