"""Loops over a photograph's pixels, compiled by numba: each passes over memory once and releases the GIL.

Each loop does the same operations as numpy in `color`, `inference.guided` and `encoding`, in the same order
and precision, so its results are the same bits. `fastmath` must stay off: it would fuse sums and products,
which changes the rounding.

numba caches compiled code until this file changes. So edit this file, too, when one of `color`'s constants
changes.

Import this module through `compiled`, which checks whether numba is installed.
"""

# mypy: disable-error-code="untyped-decorator,no-any-return"

import numba
import numpy as np
from numpy.typing import NDArray

from tintlab.imaging.color import CHROMA_ROUNDS, KAPPA, KNEE, RGB_FROM_WHITE, ROUNDING, Byte, Float

Number = np.float32

_BLOCK = 256  # pixels whose planes stay in the first cache
_ZERO, _HALF, _ONE, _TWO, _THREE, _FOUR = (np.float32(value) for value in (0, 0.5, 1, 2, 3, 4))
_SIXTEEN, _LAST = np.float32(16), np.float32(65535)
_PER_116, _PER_500, _PER_200 = np.float32(1 / 116), np.float32(1 / 500), np.float32(1 / 200)
_PER_KAPPA = np.float32(1) / KAPPA
_MOST = np.float32(1) + ROUNDING
_RED_X, _GREEN_X, _BLUE_X = RGB_FROM_WHITE[0]
_RED_Z, _GREEN_Z, _BLUE_Z = RGB_FROM_WHITE[2]

_compiled = numba.njit(nogil=True, cache=True, error_model="numpy")


@_compiled
def _from_f(f: Number) -> Number:
    cube = f if f > KNEE else KNEE
    return cube * cube * cube + (f - cube) * _PER_KAPPA


@_compiled
def _is_shown(red: Number, green: Number, blue: Number, y: Number) -> np.bool:
    """Without a branch, so that the loop around it runs on vectors."""
    least, most = -ROUNDING * y, _MOST
    low = (red >= least) & (green >= least) & (blue >= least)
    return low & (red <= most) & (green <= most) & (blue <= most)


@_compiled
def _linear(y: Number, x: Number, z: Number) -> tuple[Number, Number, Number]:
    """Linear sRGB of Y, X - Y and Z - Y."""
    return x * _RED_X + y + z * _RED_Z, x * _GREEN_X + y + z * _GREEN_Z, x * _BLUE_X + y + z * _BLUE_Z


@_compiled
def _with_chroma(
    fy: Number, y: Number, along_a: Number, along_b: Number, share: Number
) -> tuple[Number, Number, Number]:
    return _linear(y, _from_f(fy + along_a * share) - y, _from_f(fy - along_b * share) - y)


@_compiled
def _mapped(fy: Number, y: Number, along_a: Number, along_b: Number) -> tuple[Number, Number, Number]:
    """The colour with as much chroma as sRGB can show; see `color._with_shown_chroma`."""
    shown, step = _ZERO, _ONE
    for _ in range(CHROMA_ROUNDS):
        step = step / _FOUR
        count = _ZERO
        for quarter in (_ONE, _TWO, _THREE):
            red, green, blue = _with_chroma(fy, y, along_a, along_b, shown + quarter * step)
            if not _is_shown(red, green, blue, y):
                break
            count = quarter
        shown = shown + step * count
    return _with_chroma(fy, y, along_a, along_b, shown)


@_compiled
def _to_linear(lightness: Float, a: Float, b: Float, linear: Float) -> None:
    """Linear sRGB of L*, a* and b* of up to `_BLOCK` pixels; see `color.linear_in_gamut`.

    The planes of `linear` lie in one row, `_BLOCK` apart. With three arrays the compiler could not know that
    they don't overlap, and would not vectorise the loop.
    """
    outside = 0
    for i in range(len(lightness)):
        fy = (lightness[i] + _SIXTEEN) * _PER_116
        y = _from_f(fy)
        x, z = _from_f(fy + a[i] * _PER_500) - y, _from_f(fy - b[i] * _PER_200) - y
        red, green, blue = _linear(y, x, z)
        linear[i] = red
        linear[i + _BLOCK] = green
        linear[i + 2 * _BLOCK] = blue
        outside += 0 if _is_shown(red, green, blue, y) else 1
    if outside == 0:
        return
    for i in range(len(lightness)):
        fy = (lightness[i] + _SIXTEEN) * _PER_116
        y = _from_f(fy)
        if not _is_shown(linear[i], linear[i + _BLOCK], linear[i + 2 * _BLOCK], y):
            red, green, blue = _mapped(fy, y, a[i] * _PER_500, b[i] * _PER_200)
            linear[i] = red
            linear[i + _BLOCK] = green
            linear[i + 2 * _BLOCK] = blue


@_compiled
def _to_bytes(linear: Float, levels: NDArray[np.int32], table: Byte, pixels: Byte) -> None:
    for i in range(3 * _BLOCK):
        value = linear[i] * _LAST + _HALF
        value = value if value > _ZERO else _ZERO
        levels[i] = np.int32(value if value < _LAST else _LAST)
    for i in range(len(pixels)):
        pixels[i, 0] = table[levels[i]]
        pixels[i, 1] = table[levels[i + _BLOCK]]
        pixels[i, 2] = table[levels[i + 2 * _BLOCK]]


@_compiled
def lab_to_bytes(lightness: Float, a: Float, b: Float, table: Byte, pixels: Byte) -> None:
    """8-bit sRGB `(n, 3)` of L*, a* and b* `(n)`, by `color.byte_table`."""
    linear, levels = np.zeros(3 * _BLOCK, np.float32), np.empty(3 * _BLOCK, np.int32)
    for start in range(0, len(lightness), _BLOCK):
        end = min(start + _BLOCK, len(lightness))
        _to_linear(lightness[start:end], a[start:end], b[start:end], linear)
        _to_bytes(linear, levels, table, pixels[start:end])


@_compiled
def lab_to_linear(lightness: Float, a: Float, b: Float, planes: Float) -> None:
    """Linear sRGB `(3, n)` of L*, a* and b* `(n)`."""
    linear = np.empty(3 * _BLOCK, np.float32)
    for start in range(0, len(lightness), _BLOCK):
        end = min(start + _BLOCK, len(lightness))
        _to_linear(lightness[start:end], a[start:end], b[start:end], linear)
        for channel in range(3):
            first = channel * _BLOCK
            planes[channel, start:end] = linear[first : first + end - start]


@_compiled
def _apply_models(
    lightness: Float, slopes: Float, offsets: Float, more: Float, further: Float, share: Number, ab: Float
) -> None:
    """One plane of ab `(n)` of a stretch of a row, from the models above it and the way to those below."""
    for i in range(len(ab)):
        ab[i] = (more[i] * share + slopes[i]) * lightness[i] + (further[i] * share + offsets[i])


@_compiled
def join(
    lightness: Float,
    columns: Float,
    down: Float,
    low: NDArray[np.intp],
    share: Float,
    table: Byte,
    pixels: Byte,
) -> None:
    """8-bit sRGB `(h, w, 3)` of L* `(h, w)` and the models of `GuidedColours`."""
    a, b = np.empty(_BLOCK, np.float32), np.empty(_BLOCK, np.float32)
    linear, levels = np.zeros(3 * _BLOCK, np.float32), np.empty(3 * _BLOCK, np.int32)
    width = lightness.shape[1]
    for row in range(len(lightness)):
        above, way = columns[low[row]], down[low[row]]
        for start in range(0, width, _BLOCK):
            end = min(start + _BLOCK, width)
            size, part = end - start, lightness[row, start:end]
            for plane, ab in ((0, a[:size]), (1, b[:size])):
                slopes, offsets = above[plane, start:end], above[plane + 2, start:end]
                more, further = way[plane, start:end], way[plane + 2, start:end]
                _apply_models(part, slopes, offsets, more, further, share[row], ab)
            _to_linear(part, a[:size], b[:size], linear)
            _to_bytes(linear, levels, table, pixels[row, start:end])


@_compiled
def look_up(values: Byte, table: Float, found: Float) -> None:
    """The table's entry for each value."""
    for i in range(len(values)):
        found[i] = table[values[i]]


@_compiled
def _filter(left: Byte, above: Byte, here: Byte, result: Byte) -> None:
    for i in range(len(here)):
        mean = np.uint8(((left[i] ^ above[i]) >> 1) + (left[i] & above[i]))
        result[i] = np.uint8(here[i] - mean)


@_compiled
def filter_rows(rows: Byte, pixel: int, filtered: Byte) -> None:
    """PNG's filter "average" of all rows `(h + 1, n)` but the first, marked: `(h, n + 1)`."""
    nothing = np.zeros(pixel, np.uint8)
    for row in range(len(filtered)):
        above, here, result = rows[row], rows[row + 1], filtered[row]
        result[0] = 3
        _filter(nothing, above[:pixel], here[:pixel], result[1 : pixel + 1])
        _filter(here[:-pixel], above[pixel:], here[pixel:], result[pixel + 1 :])
