"""Choose between two implementations of the loops over pixels: numpy, and `kernels`, which numba compiles.

Both give the same bits, so a process may change from one to the other. Loading numba takes half a second, and
compiling takes a few seconds at the first use on a machine. A process therefore loads numba only after
`ENOUGH` pixels, when the compiled loops begin to pay. A command for one ordinary photograph does not wait for
numba.
"""

import importlib.util
import threading
from types import ModuleType
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import color
from tintlab.imaging.color import Byte, Float, Pixels

ENOUGH = 50_000_000
"""Number of pixels that a process handles with numpy before it loads numba. Each loop adds its pixels."""


def _is_installed() -> bool:
    try:
        return importlib.util.find_spec("numba") is not None
    except ValueError:  # something has hidden it, such as a test
        return False


class _Loops:
    """The compiled loops, when they are there.

    Attributes:
        module: `kernels`, once loaded.
        pixels: handled so far.
    """

    def __init__(self) -> None:
        self.module: ModuleType | None = None
        self.pixels = 0
        self.lock = threading.Lock()
        self.is_possible = _is_installed()


_loops = _Loops()


def load() -> bool:
    """Use the compiled loops from now on, if that is possible; returns whether it is."""
    with _loops.lock:
        if _loops.module is None and _loops.is_possible:
            try:
                from tintlab.imaging import kernels

                _loops.module = kernels
            except (ImportError, RuntimeError, OSError):
                # numba does not support this numpy, or finds no writable folder for its compiled code.
                _loops.is_possible = False
    return _loops.module is not None


def unload() -> None:
    """Use numpy from now on, and start to count the pixels from 0."""
    _loops.module, _loops.pixels = None, 0


def kernels(pixels: int) -> ModuleType | None:
    """The module `kernels`, or None if numpy is to handle these pixels."""
    if _loops.module is None and _loops.is_possible:
        _loops.pixels += pixels
        if _loops.pixels >= ENOUGH:
            load()
    return _loops.module


def lightness(pixels: NDArray[np.generic]) -> Float:
    """The same as `color.lightness`, compiled if possible."""
    if pixels.ndim == 2 or pixels.dtype != np.uint8:
        return color.lightness(pixels)
    loops = kernels(pixels.size // 3)
    if loops is None:
        return color.lightness(pixels)
    table, weights = color.linear_table(pixels.dtype), color.TO_WHITE[:, 1]
    result = np.empty(pixels.shape[:2], np.float32)
    for rows in color.strips(result.shape):
        strip = np.ascontiguousarray(pixels[rows])
        linear = np.empty(strip.shape, np.float32)
        loops.look_up(strip.ravel(), table, linear.ravel())
        # numpy computes this product: a compiled loop could not reproduce its rounding on every machine.
        result[rows] = color.lightness_of_y(linear @ weights)
    return result


def lab_to_pixels(lightness: Float, a: Float, b: Float, dtype: type[np.uint8 | np.uint16]) -> Pixels:
    """The same as `color.lab_to_pixels`, compiled if possible."""
    loops = kernels(lightness.size)
    if loops is None:
        return color.lab_to_pixels(lightness, a, b, dtype)
    planes = [np.ascontiguousarray(plane, np.float32).ravel() for plane in (lightness, a, b)]
    pixels = np.empty((lightness.size, 3), dtype)
    if dtype is np.uint8:
        loops.lab_to_bytes(*planes, color.byte_table(), pixels)
    else:
        linear = np.empty((3, lightness.size), np.float32)
        loops.lab_to_linear(*planes, linear)
        for channel in range(3):
            pixels[:, channel] = color.to_words(linear[channel])
    return cast(Pixels, pixels.reshape(*lightness.shape, 3))


def join(lightness: Float, columns: Float, down: Float, low: NDArray[np.intp], share: Float) -> Byte | None:
    """8-bit sRGB `(h, w, 3)` of L* `(h, w)` and the models of `guided.GuidedColours`; None: use numpy."""
    loops = kernels(lightness.size)
    if loops is None:
        return None
    pixels = np.empty((*lightness.shape, 3), np.uint8)
    whole = np.ascontiguousarray(lightness, np.float32)
    loops.join(whole, columns, down, low, share, color.byte_table(), pixels)
    return pixels


def filter_rows(rows: Byte, pixel: int) -> Byte | None:
    """Rows `(h + 1, n)` by PNG's filter "average", marked, `(h, n + 1)`; None: use numpy."""
    loops = kernels(0)
    if loops is None:
        return None
    filtered = np.empty((len(rows) - 1, rows.shape[1] + 1), np.uint8)
    loops.filter_rows(rows, pixel, filtered)
    return filtered
