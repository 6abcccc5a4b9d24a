"""sRGB <-> CIE L*a*b*, as float32 arrays and as the bytes that training reads.

sRGB is IEC 61966-2-1; L*a*b* is CIE 15:2004 under D65 and the 2° observer, with the constants scikit-image
uses, so that both agree.
"""

import functools

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Byte = NDArray[np.uint8]

AB_SCALE = 110.0
"""ab are divided by this to lie in [-1, 1]; sRGB's own reach from -107.9 to 98.3."""

_XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
_TO_WHITE = (_XYZ_FROM_RGB / _WHITE[:, None]).T.astype(np.float32)
_FROM_WHITE = np.linalg.inv(_XYZ_FROM_RGB / _WHITE[:, None]).T.astype(np.float32)
_EPSILON = np.float32(0.008856)
_KAPPA = np.float32(7.787)


def rgb_to_lab(rgb: NDArray[np.generic]) -> Float:
    """Convert sRGB `(..., 3)` to L*a*b* `(..., 3)` float32: L* in [0, 100], a* and b* in about ±108.

    uint8 and uint16 are taken over their full range, floats as [0, 1].
    """
    xyz = _linear(rgb) @ _TO_WHITE
    f = np.where(xyz > _EPSILON, np.cbrt(xyz), _KAPPA * xyz + np.float32(16 / 116))
    lab = np.empty_like(f)
    lab[..., 0] = 116 * f[..., 1] - 16
    lab[..., 1] = 500 * (f[..., 0] - f[..., 1])
    lab[..., 2] = 200 * (f[..., 1] - f[..., 2])
    return lab


def lab_to_rgb(lab: Float) -> Float:
    """Convert L*a*b* `(..., 3)` to sRGB `(..., 3)` float32, **unclipped**: outside [0, 1] is out of gamut."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1, dtype=np.float32)
    cube = f * f * f
    xyz = np.where(cube > _EPSILON, cube, (f - np.float32(16 / 116)) / _KAPPA)
    return _companded(xyz @ _FROM_WHITE)


def grey_to_lightness(grey: NDArray[np.generic]) -> Float:
    """Convert grey sRGB values of any shape to L* float32 in [0, 100] (uint8, uint16, or floats in [0, 1])."""
    y = _linear(grey)
    return np.where(y > _EPSILON, 116 * np.cbrt(y) - 16, np.float32(903.292) * y).astype(np.float32)


def lightness_to_grey(lightness: Float) -> Float:
    """Convert L* in [0, 100] to the grey sRGB value in [0, 1] that has it."""
    fy = (lightness + np.float32(16)) / np.float32(116)
    cube = fy * fy * fy
    return _companded(np.where(cube > _EPSILON, cube, (fy - np.float32(16 / 116)) / _KAPPA))


def quantise(lab: Float) -> Byte:
    """Pack L*a*b* `(..., 3)` into uint8: L*·2.55, a* + 128, b* + 128, rounded.

    The step is 0.39 in L* and 1 in a* and b*.
    """
    scaled = lab * np.array([2.55, 1, 1], np.float32) + np.array([0, 128, 128], np.float32)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def dequantise(packed: Byte) -> Float:
    """Undo `quantise`, up to its rounding."""
    return packed * np.array([1 / 2.55, 1, 1], np.float32) - np.array([0, 128, 128], np.float32)


def to_bytes(rgb: Float) -> Byte:
    """Clip sRGB floats to [0, 1] and round them to uint8."""
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def colourfulness(rgb: Byte) -> float:
    """Hasler-Süsstrunk colourfulness M of an sRGB photo `(h, w, 3)`: 0 is grey, 45 fairly colourful, 100 vivid.

    The opponent axes keep their sign, as in the paper ("Measuring colourfulness in natural images", 2003,
    eq. 7); implementations that take absolute values report less.
    """
    red, green, blue = np.moveaxis(rgb.astype(np.float32), -1, 0)
    rg, yb = red - green, (red + green) / 2 - blue
    spread = np.hypot(rg.std(dtype=np.float64), yb.std(dtype=np.float64))
    shift = np.hypot(rg.mean(dtype=np.float64), yb.mean(dtype=np.float64))
    return float(spread + 0.3 * shift)


def _linear(values: NDArray[np.generic]) -> Float:
    if values.dtype in (np.uint8, np.uint16):
        return _linear_table(np.iinfo(values.dtype).max)[values]
    return _linearised(values.astype(np.float32, copy=False))


@functools.cache
def _linear_table(largest: int) -> Float:
    return _linearised(np.arange(largest + 1, dtype=np.float64) / largest).astype(np.float32)


def _linearised(companded: NDArray[np.floating]) -> NDArray[np.floating]:
    return np.where(companded > 0.04045, ((companded + 0.055) / 1.055) ** 2.4, companded / 12.92)


def _companded(linear: Float) -> Float:
    # Negative values (out of gamut) take the linear branch; the power would make them NaN.
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear > 0.0031308, curve, 12.92 * linear).astype(np.float32)
