"""Convert a file's values to sRGB, by its ICC profile or by a gamma and primaries that the file states.

LittleCMS applies the profiles. Its optimised transforms have errors of up to five units of L* in the shadows
of grey pictures, so grey is converted by curves that are computed without that optimisation.
"""

import functools
import io
import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tintlab.imaging import color

_ERRORS = (OSError, TypeError, ValueError, ImageCms.PyCMSError)
_D50 = (0.9642, 1.0, 0.8249)
_SRGB_CURVE = (
    2.4,
    1 / 1.055,
    0.055 / 1.055,
    1 / 12.92,
    0.04045,
)  # IEC 61966-2-1, as ICC's parametric curve 3
_SRGB_WHITE = (0.3127, 0.3290)
SRGB_PRIMARIES = (0.64, 0.33, 0.30, 0.60, 0.15, 0.06)
_BRADFORD = np.array([[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]])


Transfer = float | tuple[float, ...] | Literal["srgb", "bt709"]


@dataclass(frozen=True)
class Calibration:
    """The colour space that a file without a profile states.

    Attributes:
        transfer: the exponent from value to light; or the light of evenly spaced values from 0 to 1; or
            `srgb`, or `bt709` (ITU-T H.273).
        primaries: x and y of red, green and blue; None for sRGB's.
        white: x and y of white.
    """

    transfer: Transfer = "srgb"
    primaries: tuple[float, ...] | None = None
    white: tuple[float, float] = _SRGB_WHITE

    def curve(self, size: int) -> NDArray[np.uint16]:
        """The sRGB value, in 16 bits, of each of `size` evenly spaced grey values from 0 to 1."""
        return np.rint(companded(self._light(size)) * 65535).astype(np.uint16)

    def to_srgb(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Convert colours `(h, w, 3)`; what sRGB can't show is clipped."""
        light = self._light(256)
        if self.primaries is None:
            table = np.rint(companded(light) * 255).astype(np.uint8)
            return table[rgb]
        matrix = _to_linear_srgb(self.primaries, self.white)
        result = np.empty_like(rgb)
        for rows in color.strips(rgb.shape):
            shown = np.clip(light[rgb[rows]] @ matrix.T, 0, 1)
            result[rows] = np.rint(companded(shown) * 255)
        return result

    def _light(self, size: int) -> NDArray[np.float64]:
        value = np.linspace(0, 1, size)
        if self.transfer == "srgb":
            return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)
        if self.transfer == "bt709":
            return np.where(value < 0.081, value / 4.5, ((value + 0.099) / 1.099) ** (1 / 0.45))
        if isinstance(self.transfer, tuple):
            return np.interp(value, np.linspace(0, 1, len(self.transfer)), self.transfer)
        return np.asarray(value**self.transfer)


@functools.lru_cache(maxsize=8)
def grey_curve(profile: bytes, size: int) -> NDArray[np.uint16] | None:
    """The sRGB value, in 16 bits, of each of `size` grey values, by a profile of grey or of RGB.

    Args:
        profile: as the file has it.
        size: 256 for 8-bit values, 65536 for those of 16 bits.

    Returns:
        None if the profile is broken or is for other colours; the values then count as sRGB.
    """
    space = profile_space(profile)
    if space == "GRAY":
        ramp = np.arange(size, dtype=np.uint8 if size == 256 else np.uint16)
        return _through(profile, Image.fromarray(ramp.reshape(size // 256, 256)))
    if space != "RGB":
        return None
    # Pillow passes only 8-bit colours to LittleCMS; the values between are interpolated on a smooth curve.
    grey = np.arange(256, dtype=np.uint8)
    curve = _through(profile, Image.fromarray(np.stack([grey] * 3, axis=-1)[None]))
    if curve is None or size == 256:
        return curve
    from scipy.interpolate import PchipInterpolator  # the import takes half a second

    between = PchipInterpolator(np.linspace(0, 1, 256), curve)(np.linspace(0, 1, size))
    fine: NDArray[np.uint16] = np.rint(between).astype(np.uint16)
    return fine


@functools.lru_cache(maxsize=8)
def profile_space(profile: bytes) -> str:
    """`GRAY`, `RGB`, `CMYK` or another of ICC's names; empty if the profile is broken."""
    try:
        return str(ImageCms.getOpenProfile(io.BytesIO(profile)).profile.xcolor_space).strip()
    except _ERRORS:
        return ""


def to_srgb(image: Image.Image) -> Image.Image:
    """Convert colours by the embedded profile; a broken or unfitting profile is ignored.

    Returns:
        A picture of mode RGB, or `image` as it was.
    """
    if image.mode == "LAB":
        source = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB"))
    elif profile := image.info.get("icc_profile"):
        try:
            source = ImageCms.getOpenProfile(io.BytesIO(profile))
        except _ERRORS:
            return image
    else:
        return image
    working = image if image.mode in ("RGB", "CMYK", "LAB") else image.convert("RGB")
    try:
        converted = ImageCms.profileToProfile(
            working, source, ImageCms.createProfile("sRGB"), outputMode="RGB"
        )
    except _ERRORS:
        return image
    return converted if converted is not None else image


ADOBE_RGB = Calibration(563 / 256, (0.64, 0.33, 0.21, 0.71, 0.15, 0.06))
"""Adobe RGB (1998), version 2005-05."""


@functools.cache
def _grey_srgb() -> bytes:
    """A grey ICC profile (ICC.1:2010) with sRGB's curve, needed for 16-bit values; Pillow can't make one."""
    curve = b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(_SRGB_CURVE)
    white = b"XYZ " + bytes(4) + _fixed(_D50)
    start = 132 + 2 * 12
    table = struct.pack(">I", 2)
    for name, offset, content in ((b"wtpt", start, white), (b"kTRC", start + len(white), curve)):
        table += name + struct.pack(">II", offset, len(content))
    size = start + len(white) + len(curve)
    header = struct.pack(">I4xI", size, 0x04200000) + b"mntrGRAYXYZ " + bytes(12) + b"acsp"
    return (header + bytes(28) + _fixed(_D50)).ljust(128, b"\0") + table + white + curve


def _fixed(numbers: tuple[float, ...]) -> bytes:
    """Numbers of ICC's s15Fixed16 kind."""
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def _through(profile: bytes, ramp: Image.Image) -> NDArray[np.uint16] | None:
    try:
        shown = ImageCms.profileToProfile(
            ramp,
            ImageCms.getOpenProfile(io.BytesIO(profile)),
            ImageCms.getOpenProfile(io.BytesIO(_grey_srgb())),
            outputMode="I;16",
            flags=ImageCms.Flags.NOOPTIMIZE,
        )
    except _ERRORS:
        return None
    return None if shown is None else np.asarray(shown).astype(np.uint16).ravel()


def companded(light: NDArray[np.float64]) -> NDArray[np.float64]:
    """IEC 61966-2-1: the value in [0, 1] of linear light in [0, 1]."""
    return np.where(light <= 0.0031308, 12.92 * light, 1.055 * np.maximum(light, 1e-9) ** (1 / 2.4) - 0.055)


def _to_linear_srgb(primaries: tuple[float, ...], white: tuple[float, float]) -> NDArray[np.float64]:
    """The matrix from linear RGB of these primaries to linear sRGB; white stays white (Bradford)."""
    theirs, ours = _to_xyz(primaries, white), _to_xyz(SRGB_PRIMARIES, _SRGB_WHITE)
    before, after = _BRADFORD @ theirs.sum(axis=1), _BRADFORD @ ours.sum(axis=1)
    adapt = np.linalg.inv(_BRADFORD) @ np.diag(after / before) @ _BRADFORD
    matrix: NDArray[np.float64] = np.linalg.inv(ours) @ adapt @ theirs
    return matrix


def _to_xyz(primaries: tuple[float, ...], white: tuple[float, float]) -> NDArray[np.float64]:
    """The matrix from linear RGB to CIE XYZ."""
    columns = np.array([_xyz(x, y) for x, y in zip(primaries[::2], primaries[1::2], strict=True)]).T
    scaled: NDArray[np.float64] = columns * np.linalg.solve(columns, _xyz(*white))
    return scaled


def _xyz(x: float, y: float) -> NDArray[np.float64]:
    return np.array([x / y, 1.0, (1 - x - y) / y])
