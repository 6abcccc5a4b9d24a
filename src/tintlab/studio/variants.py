"""Visibly different colourings of a photograph, and the colours that a model finds likely at a place.

Both come from many draws of the noise, coloured small. Draws that stray too far from the colouring without noise
are left out. Those of the others that differ most are chosen by farthest-point sampling: each next one is the one
that is farthest from all that are chosen (Gonzalez 1985, "Clustering to minimize the maximum intercluster
distance").
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tintlab.imaging.color import Float, lab_to_pixels
from tintlab.inference import noise_vectors
from tintlab.inference.working_size import reduced, working_shape
from tintlab.studio.models import Model

DRAWS = 96
"""Noise vectors that a few are chosen from."""
DRAWN_SIDE = 512
"""Pixels of the longer side of the L* that they are drawn for: the same for page, HTTP and command."""

_SIDE = 96  # what the network sees of each: a quarter of the time
_NEAR = 6.0  # ab units: nearer colours look the same
_AROUND = 0.01  # share of the longer side on either side of a place

# Both limits were chosen on validation photographs: a draw beyond them looks wrong twice as often.
_FARTHEST = 10.0  # mean ab distance from the colouring without noise
_GREENEST = 2.0  # mean of a* below that of the colouring without noise


@dataclass(frozen=True)
class Draws:
    """Many colourings of one photograph, small.

    Attributes:
        seed: of the noise.
        lightness: L* `(h, w)`.
        ab: `(n, h, w, 2)`; the first is without noise, then one for each number from 1.
    """

    seed: int
    lightness: Float
    ab: Float


@dataclass(frozen=True)
class Variant:
    """One of several colourings.

    Attributes:
        number: of the draw, from 1; see `Look.variant`.
        distance: mean ab distance to the nearest of the others.
    """

    number: int
    distance: float


@dataclass(frozen=True)
class LikelyColour:
    """A colour that a model finds likely at a place.

    Attributes:
        a: CIE a*.
        b: CIE b*.
        rgb: with the photograph's lightness, as `#rrggbb`.
        share: of the draws.
    """

    a: float
    b: float
    rgb: str
    share: float


def draw(model: Model, lightness: Float, sha256: str, seed: int, count: int = DRAWS) -> Draws:
    """Colour a photograph by many noise vectors; only once where the model takes none.

    Args:
        model: to colour it.
        lightness: L* `(h, w)`.
        sha256: of the photograph's file.
        seed: of the noise.
        count: how many vectors.
    """
    settings = model.colorizer.settings.model_copy(
        update={"flip_average": False, "saturation": model.settings.saturation}
    )
    small = reduced(lightness, working_shape(lightness.shape, min(_SIDE, settings.working_size)))
    z = np.zeros((1, model.colorizer.z_dim), np.float32)
    if model.colorizer.z_dim:
        z = np.concatenate([z, noise_vectors.draw(seed, sha256, count, model.colorizer.z_dim)])
    colorizer = model.colorizer.with_settings(settings)
    return Draws(seed, small, colorizer.predict_variants(small, z if model.colorizer.z_dim else None))


def choose_variants(draws: Draws, count: int) -> list[Variant]:
    """The draws that differ most; fewer where there are fewer, none where the model takes no noise."""
    ab = draws.ab[1:]
    if not len(ab):
        return []
    likely = _likely_draws(ab, draws.ab[0], 2 * count)
    distances = pairwise_distances(ab[likely])
    chosen = farthest_points(distances, count)
    among = distances[np.ix_(chosen, chosen)] + np.diag(np.full(len(chosen), np.inf))
    nearest = among.min(axis=1) if len(chosen) > 1 else np.zeros(1)
    return [Variant(int(likely[place]) + 1, float(far)) for place, far in zip(chosen, nearest, strict=True)]


def _likely_draws(ab: Float, plain: Float, least: int) -> NDArray[np.int64]:
    """Indices of the draws `(n, h, w, 2)` that stay near the colouring without noise `(h, w, 2)`.

    Where fewer than `least` do, the nearest `least`.
    """
    change = ab - plain
    far = np.hypot(change[..., 0], change[..., 1]).mean(axis=(1, 2)) / _FARTHEST
    green = -change[..., 0].mean(axis=(1, 2)) / _GREENEST
    straying = np.maximum(far, green)
    count = max(int((straying <= 1).sum()), least)
    return np.sort(np.argsort(straying, kind="stable")[:count])


def pairwise_distances(ab: Float) -> NDArray[np.float64]:
    """Mean ab distances `(n, n)` of colourings `(n, h, w, 2)`."""
    count = len(ab)
    distances = np.zeros((count, count))
    for first in range(count):
        difference = ab[first + 1 :] - ab[first]
        far = np.hypot(difference[..., 0], difference[..., 1]).mean(axis=(1, 2))
        distances[first, first + 1 :] = distances[first + 1 :, first] = far
    return distances


def farthest_points(distances: NDArray[np.float64], count: int) -> list[int]:
    """Indices of `count` points that are far from each other, by their distances `(n, n)`; ties: the first."""
    first, second = np.unravel_index(int(distances.argmax()), distances.shape)
    chosen = [int(first), int(second)] if len(distances) > 1 else [0]
    while len(chosen) < min(count, len(distances)):
        chosen.append(int(distances[chosen].min(axis=0).argmax()))
    return chosen[:count]


def likely_colours(draws: Draws, x: float, y: float, most: int = 6) -> tuple[float, list[LikelyColour]]:
    """L* at a place, and the colours that draws have there, the commonest first.

    Args:
        draws: of the photograph.
        x: share of the width, from the left.
        y: share of the height, from the top.
        most: how many colours.
    """
    height, width = draws.lightness.shape
    row, column = min(int(y * height), height - 1), min(int(x * width), width - 1)
    reach = round(_AROUND * max(height, width))
    rows, columns = _window(row, reach, height), _window(column, reach, width)
    lightness = float(draws.lightness[rows, columns].mean())
    there = draws.ab[:, rows, columns].mean(axis=(1, 2))
    centres = _apart(there, most)
    nearest = np.linalg.norm(there[:, None] - there[centres], axis=2).argmin(axis=1)
    found = []
    for number in range(len(centres)):
        a, b = (float(value) for value in there[nearest == number].mean(axis=0))
        share = float((nearest == number).mean())
        found.append(LikelyColour(round(a, 2), round(b, 2), hex_colour(lightness, a, b), round(share, 3)))
    return lightness, sorted(found, key=lambda colour: -colour.share)


def hex_colour(lightness: float, a: float, b: float) -> str:
    """A colour as `#rrggbb`, mapped into sRGB."""
    planes = [np.array([value], np.float32) for value in (lightness, a, b)]
    red, green, blue = lab_to_pixels(planes[0], planes[1], planes[2], np.uint8)[0].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def _window(centre: int, reach: int, size: int) -> slice:
    return slice(max(0, centre - reach), min(size, centre + reach + 1))


def _apart(colours: Float, most: int) -> Sequence[int]:
    """Indices of colours `(n, 2)` at least `_NEAR` apart, from the first (without noise) on."""
    chosen = [0]
    while len(chosen) < most:
        far = np.linalg.norm(colours[:, None] - colours[chosen], axis=2).min(axis=1)
        if far.max() < _NEAR:
            break
        chosen.append(int(far.argmax()))
    return chosen
