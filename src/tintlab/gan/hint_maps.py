"""Encode colour hints and palettes as the arrays that a generator takes, with NumPy only.

A hint map has three planes: a* and b* over 110 inside the hints' discs, and a mask, 1 there and 0 elsewhere.
A palette vector holds the histogram of a picture's ab on a fixed grid, and its mean chroma.
"""

import numpy as np
from numpy.typing import NDArray

from tintlab.imaging.color import AB_SCALE

Array = NDArray[np.float32]

GRID_STEP = 20
"""Distance of the palette's grid points in units of ab."""
GRID_SIDE = 11
"""Grid points along a* and along b*, from -100 to 100."""
PALETTE_LENGTH = GRID_SIDE**2 + 1

_LARGEST = GRID_STEP * (GRID_SIDE // 2)


def empty_map(height: int, width: int) -> Array:
    """A hint map `(3, height, width)` without hints."""
    return np.zeros((3, height, width), np.float32)


def disc(shape: tuple[int, int], x: float, y: float, radius: float) -> tuple[slice, slice, NDArray[np.bool_]]:
    """The pixels of a disc: rows, columns, and which of these pixels; at least the one under its centre.

    Args:
        shape: height and width of the picture.
        x: of the centre, in pixels from the left edge.
        y: of the centre, in pixels from the top edge.
        radius: in pixels.
    """
    height, width = shape
    column, row = min(max(int(x), 0), width - 1), min(max(int(y), 0), height - 1)
    reach = int(np.ceil(radius)) + 1
    rows = slice(max(row - reach, 0), min(row + reach + 1, height))
    columns = slice(max(column - reach, 0), min(column + reach + 1, width))
    down = np.arange(rows.start, rows.stop) + 0.5 - y
    right = np.arange(columns.start, columns.stop) + 0.5 - x
    inside = down[:, None] ** 2 + right**2 <= radius**2
    inside[row - rows.start, column - columns.start] = True
    return rows, columns, inside


def draw_hint(hint_map: Array, x: float, y: float, radius: float, ab: tuple[float, float]) -> None:
    """Draw a hint into a map, over earlier hints; see `disc`. ab is in units of CIE L*a*b*."""
    rows, columns, inside = disc((hint_map.shape[1], hint_map.shape[2]), x, y, radius)
    for plane, value in zip(hint_map, (ab[0] / AB_SCALE, ab[1] / AB_SCALE, 1.0), strict=True):
        plane[rows, columns][inside] = value


def palette_vector(ab: NDArray[np.floating]) -> Array:
    """The palette of colours ab `(..., 2)`: shares of the grid points, row by row of a*, then mean chroma / 110.

    Each colour is shared among its four nearest grid points (bilinear), so a small change of colour is a small
    change of the palette. The shares sum to 1.
    """
    flat = ab.reshape(-1, 2).astype(np.float32)
    chroma = float(np.hypot(flat[:, 0], flat[:, 1]).mean()) / AB_SCALE
    place = (np.clip(flat, -_LARGEST, _LARGEST) + _LARGEST) / GRID_STEP
    low = np.minimum(place.astype(np.int64), GRID_SIDE - 2)
    share = place - low
    histogram = np.zeros(GRID_SIDE**2)
    for down in (0, 1):
        for right in (0, 1):
            weight = np.abs(1 - down - share[:, 0]) * np.abs(1 - right - share[:, 1])
            bins = (low[:, 0] + down) * GRID_SIDE + low[:, 1] + right
            histogram += np.bincount(bins, weight, GRID_SIDE**2)
    return np.append(histogram / len(flat), chroma).astype(np.float32)
