"""The network's colours at a photo's full size, along its edges, and joined with its own L*."""

import functools
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import color, compiled

_RADIUS = 1  # of the guided filter's windows, in pixels of the working size
_EPSILON = 16.0  # (L* units)²: L* that varies by less than its root is texture, not an edge


class GuidedColours:
    """The network's ab at the photo's full size: upsampled along the edges of L*.

    As in the fast guided filter (He & Sun 2015, arXiv 1505.00996) ab is modelled locally as slope·L* + offset
    at working size; slopes and offsets are interpolated linearly and applied to the full-size L*, so colours
    change where the photo's lightness does. Rows can be asked for in strips of any height, with the same
    result.

    Args:
        ab: `(h, w, 2)` at working size.
        lightness: L* `(h, w)` at working size.
        shape: height and width of the photo.
    """

    def __init__(self, ab: color.Float, lightness: color.Float, shape: tuple[int, ...]) -> None:
        height, width = shape
        models = local_models(ab, lightness)
        low, high, share = _neighbours(models.shape[2], width)
        self._columns = models.take(low, axis=2)
        self._columns += share * (models.take(high, axis=2) - self._columns)
        self._low, _, self._share = _neighbours(len(lightness), height)
        self._down = np.zeros_like(self._columns)  # to the next row; none at the last
        np.subtract(self._columns[1:], self._columns[:-1], out=self._down[:-1])

    def ab(self, lightness: color.Float, rows: slice) -> color.Float:
        """ab `(n, w, 2)` of some of the photo's rows, from the same rows of its L*, `(n, w)`."""
        return np.stack(self.planes(lightness, rows), axis=-1)

    def planes(self, lightness: color.Float, rows: slice) -> tuple[color.Float, color.Float]:
        """As `ab`, a* and b* apart."""
        models = self._models(rows)
        slopes, offsets = models[:, :2], models[:, 2:]
        slopes *= lightness[:, None]
        slopes += offsets
        return slopes[:, 0], slopes[:, 1]

    def join(self, lightness: color.Float) -> color.Byte | None:
        """8-bit sRGB of the whole photo, in one pass over its L*; None where that is not compiled."""
        return compiled.join(lightness, self._columns, self._down, self._low, self._share)

    def _models(self, rows: slice) -> color.Float:
        """The models of rows, `(n, 4, w)`."""
        models: color.Float = self._down.take(self._low[rows], axis=0)
        models *= self._share[rows, None, None]
        models += self._columns.take(self._low[rows], axis=0)
        return models


def local_models(ab: color.Float, lightness: color.Float) -> color.Float:
    """Models of `ab` `(h, w, 2)` by L* `(h, w)` around each pixel, `(h, 4, w)`: two slopes, then two offsets.

    The slopes are the guided filter's. Its offsets would smooth the network's colours as well, and with them
    the texture that makes them believable; here each pixel's model passes through the pixel's own ab.
    """
    mean_l = _box_mean(lightness)
    variance = _box_mean(lightness * lightness) - mean_l * mean_l
    regularised = np.maximum(variance, np.float32(0)) + np.float32(_EPSILON)
    height, width = lightness.shape
    models = np.empty((height, 4, width), np.float32)
    for channel in (0, 1):
        plane = np.ascontiguousarray(ab[..., channel])
        covariance = _box_mean(lightness * plane) - mean_l * _box_mean(plane)
        slope = _box_mean(covariance / regularised)
        models[:, channel] = slope
        models[:, channel + 2] = plane - slope * lightness
    return models


def coloured(lightness: color.Float, colours: GuidedColours) -> color.Byte:
    """Join a photo's own L* `(h, w)` with colours to 8-bit sRGB `(h, w, 3)`.

    Colours that sRGB can't show lose chroma, not lightness or hue. Works in strips, to keep memory small.
    """
    return cast(color.Byte, _in_strips(lightness, colours, np.uint8))


def coloured_deep(lightness: color.Float, colours: GuidedColours) -> NDArray[np.uint16]:
    """As `coloured`, with 16 bits a channel."""
    return cast(NDArray[np.uint16], _in_strips(lightness, colours, np.uint16))


def joined(lightness: color.Float, ab: color.Float) -> color.Byte:
    """8-bit sRGB `(..., 3)` of L* `(...)` and ab `(..., 2)`, mapped into the gamut."""
    return cast(color.Byte, compiled.lab_to_pixels(lightness, ab[..., 0], ab[..., 1], np.uint8))


def _in_strips(
    lightness: color.Float, colours: GuidedColours, dtype: type[np.uint8 | np.uint16]
) -> color.Pixels:
    if dtype is np.uint8 and (found := colours.join(lightness)) is not None:
        return found
    result = np.empty((*lightness.shape, 3), dtype)
    for rows in color.strips(lightness.shape):
        strip = lightness[rows]
        result[rows] = compiled.lab_to_pixels(strip, *colours.planes(strip, rows), dtype)
    return result


def _box_mean(values: NDArray[np.floating]) -> color.Float:
    """Means of `values` `(h, w)` over square windows; at the border the outermost pixels repeat."""
    height, width = values.shape
    steps = range(2 * _RADIUS + 1)
    wide = np.pad(values, _RADIUS, mode="edge")
    rows = functools.reduce(np.add, [wide[step : step + height] for step in steps])
    total: color.Float = functools.reduce(np.add, [rows[:, step : step + width] for step in steps])
    return total / np.float32(len(steps) ** 2)


def _neighbours(small: int, large: int) -> tuple[NDArray[np.intp], NDArray[np.intp], color.Float]:
    """For linear interpolation from `small` to `large` pixels: the two neighbours, and the second's share."""
    places = np.clip((np.arange(large) + 0.5) * (small / large) - 0.5, 0, small - 1)
    low = places.astype(np.intp)
    return low, np.minimum(low + 1, small - 1), (places - low).astype(np.float32)
