"""sRGB <-> CIE L*a*b*, as float32 arrays and as the bytes that training reads.

sRGB is IEC 61966-2-1; L*a*b* is CIE 15:2004 under D65 and the 2° observer, with the constants scikit-image
uses, so that both agree.
"""

import functools
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Byte = NDArray[np.uint8]
Pixels = NDArray[np.uint8] | NDArray[np.uint16]

AB_SCALE = 110.0
"""ab are divided by this to lie in [-1, 1]; sRGB's own reach from -107.9 to 98.3."""

_XYZ_FROM_RGB = np.array(
    [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
)
_WHITE = np.array([0.95047, 1.0, 1.08883])
TO_WHITE = (_XYZ_FROM_RGB / _WHITE[:, None]).T.astype(np.float32)
RGB_FROM_WHITE = np.linalg.inv(_XYZ_FROM_RGB / _WHITE[:, None]).T.astype(np.float32)
EPSILON = np.float32(0.008856)
KAPPA = np.float32(7.787)
SLOPE_AT_BLACK = np.float32(903.292)
KNEE = np.float32(6 / 29)
ROUNDING = np.float32(1e-4)  # linear light may leave [0, 1] by this share; clipped, it moves L* by < 0.005
CHROMA_ROUNDS = 6  # chroma is exact to 1/4096 of the requested chroma


def rgb_to_lab(rgb: NDArray[np.generic]) -> Float:
    """Convert sRGB `(..., 3)` to L*a*b* `(..., 3)` float32: L* in [0, 100], a* and b* in about ±108.

    uint8 and uint16 values span their full range, floats span [0, 1]. Other dtypes raise a TypeError.
    """
    xyz = _linear(rgb) @ TO_WHITE
    f = np.where(xyz > EPSILON, np.cbrt(xyz), KAPPA * xyz + np.float32(16 / 116))
    lab = np.empty(f.shape, np.float32)
    lab[..., 0] = 116 * f[..., 1] - 16
    lab[..., 1] = 500 * (f[..., 0] - f[..., 1])
    lab[..., 2] = 200 * (f[..., 1] - f[..., 2])
    return lab


def lab_to_rgb(lab: Float) -> Float:
    """Convert L*a*b* `(..., 3)` to sRGB `(..., 3)` float32, **unclipped**: outside [0, 1] is out of gamut."""
    fy = (lab[..., 0] + 16) / 116
    f = np.stack([fy + lab[..., 1] / 500, fy, fy - lab[..., 2] / 200], axis=-1, dtype=np.float32)
    return companded(_from_f(f) @ RGB_FROM_WHITE)


def lab_to_rgb_in_gamut(lab: Float) -> Float:
    """Convert L*a*b* `(..., 3)`, L* in [0, 100], to sRGB `(..., 3)` float32 within [0, 1].

    Colours outside the gamut lose chroma until sRGB can show them. They keep their L* and hue angle, which
    clipping the channels would change. Colours inside the gamut are the same as those of `lab_to_rgb`.
    """
    linear = linear_in_gamut(lab[..., 0], lab[..., 1], lab[..., 2])
    return np.moveaxis(companded(np.clip(linear, 0, 1, out=linear)), 0, -1)


def lab_to_pixels(lightness: Float, a: Float, b: Float, dtype: type[np.uint8 | np.uint16]) -> Pixels:
    """Pixels `(..., 3)` of L*, a* and b*, each `(...)`, by `lab_to_rgb_in_gamut` and rounding.

    8-bit values come from a table of the companding curve, within 0.03 of a level before they are rounded.

    Args:
        lightness: in [0, 100].
        a: may lie outside sRGB, as may `b`.
        b: see `a`.
        dtype: 8 bits a channel or 16.
    """
    linear = linear_in_gamut(lightness, a, b)
    pixels = np.empty((*lightness.shape, 3), dtype)
    for channel in range(3):
        plane = linear[channel]
        if dtype is np.uint8:
            # Not as np.intp: numpy converts to 32 bits in vectors, to 64 one by one.
            plane *= np.float32(65535)
            plane += np.float32(0.5)
            pixels[..., channel] = byte_table().take(plane.astype(np.int32), mode="clip")
        else:
            pixels[..., channel] = to_words(plane)
    return pixels


def linear_in_gamut(lightness: Float, a: Float, b: Float) -> Float:
    """Linear sRGB, planes first, of colours that keep their L* and hue; in [0, 1] up to `ROUNDING`."""
    fy = (lightness + np.float32(16)) * np.float32(1 / 116)
    along_a, along_b = a * np.float32(1 / 500), b * np.float32(1 / 200)
    y = _from_f(fy)
    linear = _linear_rgb(fy, y, along_a, along_b)
    outside = ~_in_gamut(linear, y)
    if outside.any():
        colours = (fy[outside], y[outside], along_a[outside], along_b[outside])
        linear[:, outside] = _with_shown_chroma(*colours)
    return linear


def _with_shown_chroma(fy: Float, y: Float, along_a: Float, along_b: Float) -> Float:
    """Linear sRGB `(3, n)` of colours whose chroma is scaled down to the gamut's surface.

    Each round tries three chroma values between the largest known to be in gamut and the smallest known to be
    out.
    """
    shown = np.zeros_like(fy)
    quarters = np.array([[1], [2], [3]], np.float32)
    step = np.float32(1)
    for _ in range(CHROMA_ROUNDS):
        step = step / 4
        tried = shown + quarters * step
        first, second, third = _in_gamut(_linear_rgb(fy, y, along_a * tried, along_b * tried), y)
        second &= first
        third &= second
        shown = shown + step * (first.astype(np.float32) + second + third)
    return _linear_rgb(fy, y, along_a * shown, along_b * shown)


def _in_gamut(linear: Float, y: Float) -> NDArray[np.bool]:
    red, green, blue = linear
    least = np.minimum(np.minimum(red, green), blue)
    most = np.maximum(np.maximum(red, green), blue)
    inside: NDArray[np.bool] = (least >= -ROUNDING * y) & (most <= 1 + ROUNDING)
    return inside


def _linear_rgb(fy: Float, y: Float, along_a: Float, along_b: Float) -> Float:
    """Linear sRGB, planes first, from the f values of CIE L*a*b*: f(Y), Y itself, a*/500 and b*/200.

    Written so that a colour without chroma gives exactly R = G = B. With the plain matrix it would not,
    because its rows add up to 1 only up to the rounding of its constants.
    """
    x, z = _from_f(fy + along_a), _from_f(fy - along_b)
    x -= y
    z -= y
    linear, share = np.empty((3, *x.shape), np.float32), np.empty_like(x)
    for channel, weights in enumerate(RGB_FROM_WHITE.T):
        np.multiply(x, weights[0], out=linear[channel])
        linear[channel] += y
        np.multiply(z, weights[2], out=share)
        linear[channel] += share
    return linear


def _from_f(f: Float) -> Float:
    # A cube above the knee, a line below it; without a branch this is three times as fast.
    cube = np.full_like(f, KNEE)  # numpy is slower with a number
    np.maximum(f, cube, out=cube)
    line = f - cube
    line *= np.float32(1) / KAPPA
    result: Float = cube * cube
    result *= cube
    result += line
    return result


def grey_to_lightness(grey: NDArray[np.generic]) -> Float:
    """Convert grey sRGB values of any shape to L* float32 in [0, 100]: uint8, uint16, or floats in [0, 1]."""
    if grey.dtype in (np.uint8, np.uint16):
        known: Float = _lightness_table(grey.dtype).take(cast(Pixels, grey))
        return known
    return lightness_of_y(_linear(grey))


def lightness(pixels: NDArray[np.generic]) -> Float:
    """L* `(h, w)` float32 in [0, 100] of grey pixels `(h, w)` or sRGB ones `(h, w, 3)`, uint8 or uint16.

    Works strip by strip, so that large photographs need little more memory than their result.
    """
    if pixels.ndim == 2:
        return grey_to_lightness(pixels)
    result = np.empty(pixels.shape[:2], np.float32)
    for rows in strips(result.shape):
        result[rows] = lightness_of_y(_linear(pixels[rows]) @ TO_WHITE[:, 1])
    return result


def strips(shape: tuple[int, ...], pixels: int = 1 << 17) -> Iterator[slice]:
    """Cut the rows of a `(h, w, …)` array into strips of about `pixels`, which a core's cache can hold."""
    height, width = shape[:2]
    rows = max(1, pixels // max(width, 1))
    for top in range(0, height, rows):
        yield slice(top, min(top + rows, height))


def lightness_to_grey(lightness: Float) -> Float:
    """Convert L* in [0, 100] to the grey sRGB value in [0, 1] that has it."""
    fy = (lightness + np.float32(16)) / np.float32(116)
    return companded(_from_f(fy))


def quantise(lab: Float) -> Byte:
    """Pack L*a*b* `(..., 3)` into uint8: L*·2.55, a* + 128, b* + 128, rounded.

    The step is 0.39 in L* and 1 in a* and b*. Over the whole sRGB cube that costs a mean ΔE00 of 0.21,
    at most 0.88 (in near-blacks), and a mean ΔE76 of 0.40, at most 0.74.
    """
    scaled = lab * np.array([2.55, 1, 1], np.float32) + np.array([0, 128, 128], np.float32)
    return np.clip(np.rint(scaled), 0, 255).astype(np.uint8)


def dequantise(packed: Byte) -> Float:
    """Undo `quantise`, up to its rounding."""
    return packed.astype(np.float32) * np.array([1 / 2.55, 1, 1], np.float32) - np.array(
        [0, 128, 128], np.float32
    )


def to_bytes(rgb: Float) -> Byte:
    """Clip sRGB floats to [0, 1] and round them to uint8."""
    return np.rint(np.clip(rgb, 0, 1) * 255).astype(np.uint8)


def to_words(linear: Float) -> NDArray[np.uint16]:
    """Linear light to 16-bit sRGB, clipped."""
    words: NDArray[np.uint16] = np.rint(companded(np.clip(linear, 0, 1)) * np.float32(65535)).astype(
        np.uint16
    )
    return words


def colourfulness(rgb: Byte) -> float:
    """Hasler-Süsstrunk colourfulness M of an sRGB photo `(h, w, 3)`: 0 grey, 45 fairly colourful, 100 vivid.

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
        # By `take`, which is twice as fast as an index.
        known: Float = linear_table(values.dtype).take(cast(Pixels, values))
        return known
    if not np.issubdtype(values.dtype, np.floating):
        raise TypeError(f"sRGB values are uint8, uint16 or floats in [0, 1], not {values.dtype}")
    return _linearised(values.astype(np.float32, copy=False))


def lightness_of_y(y: Float) -> Float:
    """L* in [0, 100] of luminances; white has the luminance 1."""
    dark = y <= EPSILON
    lightness: Float = np.asarray(np.cbrt(y))
    lightness *= np.float32(116)
    lightness -= np.float32(16)
    np.multiply(y, SLOPE_AT_BLACK, out=lightness, where=dark)
    return np.clip(lightness, np.float32(0), np.float32(100), out=lightness)


@functools.cache
def _lightness_table(dtype: np.dtype[Any]) -> Float:
    return lightness_of_y(linear_table(dtype))


@functools.cache
def linear_table(dtype: np.dtype[Any]) -> Float:
    """Linear light in [0, 1] of all the values of uint8 or uint16."""
    largest = np.iinfo(dtype).max
    return _linearised(np.arange(largest + 1, dtype=np.float64) / largest).astype(np.float32)


@functools.cache
def byte_table() -> Byte:
    """8-bit sRGB of linear light in 65,536 steps; the last index is light 1."""
    return to_bytes(companded(np.arange(1 << 16, dtype=np.float32) / np.float32(65535)))


def _linearised(companded: NDArray[np.floating]) -> NDArray[np.floating]:
    # As in companded, negative values take the linear branch.
    curve = ((np.maximum(companded, 0.04045) + 0.055) / 1.055) ** 2.4
    return np.where(companded > 0.04045, curve, companded / 12.92)


def companded(linear: Float) -> Float:
    """sRGB values of linear light, which may lie outside [0, 1]."""
    # Negative values (out of gamut) take the linear branch; the power would make them NaN.
    curve = 1.055 * np.maximum(linear, 0.0031308) ** (1 / 2.4) - 0.055
    return np.where(linear > 0.0031308, curve, 12.92 * linear).astype(np.float32)
