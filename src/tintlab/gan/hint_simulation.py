"""Hints and palettes as people might give them, made from true colours: what the hint layers learn from.

Numbers, places and sizes are drawn much as by Zhang et al. 2017 (arXiv 1705.02999, section 3.1). In some pictures
all colours are turned about grey first, hints and truth alike, so that an unlikely hint is obeyed too.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from tintlab.gan.hint_maps import PALETTE_LENGTH, Array, disc, empty_map, palette_vector
from tintlab.imaging.color import AB_SCALE

_HINTS_ALONE, _PALETTE_ALONE = 0.65, 0.15  # shares of the pictures; the rest has both
_TURNED = 0.3  # share of the pictures with hints
_FEW = 0.5  # share with a geometric number of hints; the others have any number up to _MOST
_STOP = 1 / 8  # probability of the geometric distribution, as published
_MOST = 64
_RADII = (0.5, 4.5)  # pixels; in use a hint's radius is 1/50 of the longer side


class Guidance(NamedTuple):
    """What a step of the hint layers learns from.

    Attributes:
        ab: the colours to paint, ab / 110 `(n, 2, h, w)`.
        hints: `(n, 3, h, w)`, see `hint_maps`.
        palettes: `(n, PALETTE_LENGTH)`; rows of zeros where a picture has none.
    """

    ab: Tensor
    hints: Tensor
    palettes: Tensor


def simulate_guidance(ab: Tensor, seed: Sequence[int]) -> Guidance:
    """Give each picture hints, a palette, or both.

    Args:
        ab: true colours, ab / 110 `(n, 2, h, w)`, on any device.
        seed: of all that is drawn.
    """
    random = np.random.default_rng(seed)
    targets, maps, palettes = [], [], []
    for true in ab.detach().float().cpu().numpy():
        colours: Array = true
        kind = random.random()
        has_hints = kind < _HINTS_ALONE or kind >= _HINTS_ALONE + _PALETTE_ALONE
        if has_hints and random.random() < _TURNED:
            colours = turn_colours(colours, random.uniform(0, 2 * math.pi), random.uniform(0.5, 1.5))
        targets.append(colours)
        maps.append(
            simulate_hints(colours, draw_count(random), random)
            if has_hints
            else empty_map(*colours.shape[1:])
        )
        palettes.append(
            np.zeros(PALETTE_LENGTH, np.float32)
            if kind < _HINTS_ALONE
            else palette_vector(colours.transpose(1, 2, 0) * AB_SCALE)
        )
    stacked = (torch.from_numpy(np.stack(each)).to(ab.device) for each in (targets, maps, palettes))
    return Guidance(*stacked)


def draw_count(random: np.random.Generator) -> int:
    """How many hints a picture gets: most often a few, at times up to 64."""
    if random.random() < _FEW:
        return min(int(random.geometric(_STOP)), _MOST)
    return round(math.exp(random.uniform(0, math.log(_MOST))))


def simulate_hints(ab: Array, count: int, random: np.random.Generator) -> Array:
    """A map of `count` hints at random places; each has the mean colour of its disc of ab / 110 `(2, h, w)`."""
    height, width = ab.shape[1:]
    hint_map = empty_map(height, width)
    for _ in range(count):
        x, y = random.uniform(0, width), random.uniform(0, height)
        rows, columns, inside = disc((height, width), x, y, random.uniform(*_RADII))
        for plane, true in zip(hint_map, ab, strict=False):
            plane[rows, columns][inside] = true[rows, columns][inside].mean()
        hint_map[2, rows, columns][inside] = 1
    return hint_map


def turn_colours(ab: Array, angle: float, strength: float) -> Array:
    """Turn the hues of ab / 110 `(2, h, w)` by an angle in radians and scale their chroma; greys stay grey."""
    cosine, sine = strength * math.cos(angle), strength * math.sin(angle)
    turned = np.stack([cosine * ab[0] - sine * ab[1], sine * ab[0] + cosine * ab[1]])
    clipped: Array = np.clip(turned, -1, 1).astype(np.float32)
    return clipped
