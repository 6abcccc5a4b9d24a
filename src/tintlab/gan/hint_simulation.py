"""Simulate the hints and palettes of users from true colours, as training data for the hint layers.

Numbers, places and sizes are drawn much as in Zhang et al. 2017 (arXiv 1705.02999, section 3.1). In some
pictures all hues are rotated first, in hints and truth alike, so that the network learns to follow unlikely
hints. In other pictures one object gets a different colour and a hint, so that a hint learns to colour its
object and not the surroundings.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import binary_closing, label, uniform_filter
from torch import Tensor

from tintlab.gan.hint_maps import PALETTE_LENGTH, Array, disc, empty_map, palette_vector
from tintlab.imaging.color import AB_SCALE

_HINTS_ALONE, _PALETTE_ALONE = 0.65, 0.15  # shares of the pictures; the rest has both
_TURNED, _PAINTED = 0.15, 0.45  # shares of the pictures with hints
_FEW = 0.5  # share with a geometric number of hints; the others have any number up to _MOST
_STOP = 1 / 8  # probability of the geometric distribution, as published
_MOST = 64
_RADII = (0.5, 4.5)  # pixels; in use a hint's radius is 1/50 of the longer side
_TRIALS = 8
_LIGHT_LIMITS = (0.15, 0.7)  # how far a region's L / 50 may be from that of its first place
_COLOUR_LIMITS = (0.05, 0.2)  # and its ab / 110
_LEAST_REGION, _LARGEST_REGION = 0.02, 0.5  # shares of the picture
_PAINT_CHROMA = (0.1, 0.65)  # of 110

Mask = NDArray[np.bool_]


class Guidance(NamedTuple):
    """The training data for a step of the hint layers.

    Attributes:
        ab: the colours to paint, ab / 110 `(n, 2, h, w)`.
        hints: `(n, 3, h, w)`, see `hint_maps`.
        palettes: `(n, PALETTE_LENGTH)`; a row of zeros for a picture without a palette.
    """

    ab: Tensor
    hints: Tensor
    palettes: Tensor


def simulate_guidance(L: Tensor, ab: Tensor, seed: Sequence[int]) -> Guidance:
    """Give each picture hints, a palette, or both.

    Args:
        L: of the pictures, L / 50 - 1 `(n, 1, h, w)`, on any device.
        ab: their true colours, ab / 110 `(n, 2, h, w)`.
        seed: of all random numbers.
    """
    random = np.random.default_rng(seed)
    targets, maps, palettes = [], [], []
    for light, true in zip(_array(L), _array(ab), strict=True):
        colours: Array = true
        hint_map = empty_map(*true.shape[1:])
        kind = random.random()
        if kind < _HINTS_ALONE or kind >= _HINTS_ALONE + _PALETTE_ALONE:
            colours, hint_map = recolour_and_hint(light[0], true, random)
        targets.append(colours)
        maps.append(hint_map)
        palettes.append(
            np.zeros(PALETTE_LENGTH, np.float32)
            if kind < _HINTS_ALONE
            else palette_vector(colours.transpose(1, 2, 0) * AB_SCALE)
        )
    stacked = (torch.from_numpy(np.stack(each)).to(ab.device) for each in (targets, maps, palettes))
    return Guidance(*stacked)


def recolour_and_hint(light: Array, true: Array, random: np.random.Generator) -> tuple[Array, Array]:
    """The target colours, which are the true ones or changed ones, and a map of hints that fit them.

    Args:
        light: L / 50 - 1 `(h, w)`.
        true: ab / 110 `(2, h, w)`.
        random: generator of all random numbers.
    """
    kind, count = random.random(), draw_count(random)
    if kind < _TURNED:
        turned = turn_colours(true, random.uniform(0, 2 * math.pi), random.uniform(0.5, 1.5))
        return turned, simulate_hints(turned, count, random)
    if kind < _TURNED + _PAINTED and (region := draw_region(light, true, random)) is not None:
        painted = paint_region(light, true, region, random)
        others = random.integers(0, count, endpoint=True) if random.random() < 0.5 else 0
        hint_map = simulate_hints(painted, int(others), random)
        return painted, simulate_hints(painted, 1 + int(random.random() < 0.3), random, region, hint_map)
    return true, simulate_hints(true, count, random)


def draw_region(light: Array, ab: Array, random: np.random.Generator) -> Mask | None:
    """The connected part of a picture around a random place that has a similar lightness and colour.

    If it is nearly nothing or nearly the whole picture, other places and limits are tried a few times.
    Returns None if they fail, too.

    Args:
        light: L / 50 - 1 `(h, w)`.
        ab: ab / 110 `(2, h, w)`.
        random: of place and limits.
    """
    smooth = [uniform_filter(plane, 3, mode="nearest") for plane in (light, *ab)]
    height, width = light.shape
    for _ in range(_TRIALS):
        row, column = int(random.integers(height)), int(random.integers(width))
        apart = np.abs(smooth[0] - smooth[0][row, column]) < random.uniform(*_LIGHT_LIMITS)
        limit = random.uniform(*_COLOUR_LIMITS)
        away = np.hypot(*(plane - plane[row, column] for plane in smooth[1:])) < limit
        parts, _ = label(apart & away)
        own = parts == parts[row, column]
        region: Mask = own | binary_closing(
            own, iterations=2
        )  # `own |`: closing alone would remove pixels at the picture's border
        if parts[row, column] and _LEAST_REGION < region.mean() < _LARGEST_REGION:
            return region
    return None


def paint_region(light: Array, ab: Array, region: Mask, random: np.random.Generator) -> Array:
    """Change the colour of a region of ab / 110 `(2, h, w)`, as paint would; the rest stays."""
    angle, chroma = random.uniform(0, 2 * math.pi), random.uniform(*_PAINT_CHROMA)
    own = random.uniform(0, 1)
    painted = ab.copy()
    # Neither black nor white shows a hue.
    shown = 1 - np.abs(light) ** 3
    for plane, value, true in zip(painted, (math.cos(angle), math.sin(angle)), ab, strict=True):
        mean = true[region].mean()
        plane[region] = (chroma * value * shown + own * (true - mean))[region]
    clipped: Array = np.clip(painted, -1, 1).astype(np.float32)
    return clipped


def _array(pictures: Tensor) -> Array:
    found: Array = pictures.detach().float().cpu().numpy()
    return found


def draw_count(random: np.random.Generator) -> int:
    """Draw the number of hints of a picture: usually a few, sometimes up to 64."""
    if random.random() < _FEW:
        return min(int(random.geometric(_STOP)), _MOST)
    return round(math.exp(random.uniform(0, math.log(_MOST))))


def simulate_hints(
    ab: Array, count: int, random: np.random.Generator, region: Mask | None = None, onto: Array | None = None
) -> Array:
    """A map of `count` hints at random places; each has the mean colour of its disc of ab / 110 `(2, h, w)`.

    Args:
        ab: the picture's colours.
        count: of the hints.
        random: of places and sizes.
        region: the area that contains the discs' centres and clips the discs; None is the whole picture.
        onto: a map with earlier hints, which the new ones cover; None is an empty map.
    """
    height, width = ab.shape[1:]
    hint_map = empty_map(height, width) if onto is None else onto
    places = None if region is None else np.argwhere(region)
    for _ in range(count):
        if places is None:
            x, y = random.uniform(0, width), random.uniform(0, height)
        else:
            y, x = (places[random.integers(len(places))] + 0.5).tolist()
        rows, columns, inside = disc((height, width), x, y, random.uniform(*_RADII))
        if region is not None:
            inside = inside & region[rows, columns]
        for plane, true in zip(hint_map, ab, strict=False):
            plane[rows, columns][inside] = true[rows, columns][inside].mean()
        hint_map[2, rows, columns][inside] = 1
    return hint_map


def turn_colours(ab: Array, angle: float, strength: float) -> Array:
    """Rotate the hues of ab / 110 `(2, h, w)` by an angle in radians, and scale the chroma; grey stays grey."""
    cosine, sine = strength * math.cos(angle), strength * math.sin(angle)
    turned = np.stack([cosine * ab[0] - sine * ab[1], sine * ab[0] + cosine * ab[1]])
    clipped: Array = np.clip(turned, -1, 1).astype(np.float32)
    return clipped
