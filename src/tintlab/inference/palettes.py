"""The palette of a reference picture, and the mild change that moves a colouring towards it.

A generator that takes a palette follows it only in part, and at times turns away from it. One affine map of ab
then brings the mean and covariance of its colours nearer to the palette's: the linear Monge-Kantorovitch map,
within limits (Pitié & Kokaram 2007, "The linear Monge-Kantorovitch linear colour mapping for example-based colour
transfer"). The map is found for the generator's colours with the palette and without; the nearer ones are taken.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tintlab.gan.hint_maps import GRID_SIDE, GRID_STEP, Array, palette_vector
from tintlab.imaging import color
from tintlab.inference.hints import LARGEST_AB, Hint

DEFAULT_STRENGTH = 0.75

_REFERENCE_SIDE = 256
_LARGEST_SHIFT = 30.0  # ab units
_LEAST_SCALE, _LARGEST_SCALE = 0.5, 2.0
_LEAST_VARIANCE = 4.0  # ab units squared
_OF_THE_GRID = GRID_STEP**2 / 6  # variance that sharing a colour among grid points adds, in the mean
_LEAST_FACTOR = 0.5
_DIRECTIONS = 8  # of the distance to a palette

Matrix = NDArray[np.float64]


@dataclass(frozen=True)
class Palette:
    """The colours of a reference picture: their histogram on the ab plane, and how strong they are.

    Attributes:
        vector: see `gan.hint_maps.palette_vector`.
        strength: share of the way from the generator's colours to the palette's mean and covariance, in [0, 1].
    """

    vector: Array
    strength: float = DEFAULT_STRENGTH

    @classmethod
    def of(cls, rgb: NDArray[np.uint8], strength: float = DEFAULT_STRENGTH) -> Self:
        """The palette of an sRGB picture `(h, w, 3)` uint8."""
        picture = Image.fromarray(rgb)
        picture.thumbnail((_REFERENCE_SIDE, _REFERENCE_SIDE), Image.Resampling.BOX)
        return cls(palette_vector(color.rgb_to_lab(np.asarray(picture))[..., 1:]), strength)

    def statistics(self) -> tuple[Matrix, Matrix]:
        """Mean `(2,)` and covariance `(2, 2)` of the palette's colours."""
        shares = self.vector[:-1].astype(np.float64)
        shares /= max(float(shares.sum()), 1e-9)
        colours = _grid_colours()
        mean = shares @ colours
        covariance = (colours * shares[:, None]).T @ colours - np.outer(mean, mean)
        return mean, covariance - _OF_THE_GRID * np.eye(2)

    def distance(self, ab: color.Float) -> float:
        """How far colours ab `(..., 2)` are from the palette's, in ab units: the sliced Wasserstein distance.

        Bonneel et al. 2015, "Sliced and Radon Wasserstein barycenters of measures".
        """
        angles = np.pi * np.arange(_DIRECTIONS) / _DIRECTIONS
        places = np.stack([np.cos(angles), np.sin(angles)]).T @ _grid_colours().T
        order = np.argsort(places, axis=1)
        more = (palette_vector(ab) - self.vector)[:-1].astype(np.float64)
        below = np.cumsum(more[order], axis=1)[:, :-1]
        return float((np.abs(below) * np.diff(np.take_along_axis(places, order, axis=1))).sum(axis=1).mean())


@dataclass(frozen=True)
class Move:
    """An affine map of ab: c becomes matrix · c + offset.

    Attributes:
        matrix: `(2, 2)`, can be inverted.
        offset: `(2,)`.
        factor: on the moved colours.
    """

    matrix: Matrix
    offset: Matrix
    factor: float = 1.0

    def apply(self, ab: color.Float) -> color.Float:
        """Move colours ab `(..., 2)`."""
        moved = ab @ self.matrix.T.astype(np.float32) + self.offset.astype(np.float32)
        scaled: color.Float = moved * np.float32(self.factor)
        return scaled

    def undo(self, hint: Hint) -> Hint:
        """The hint whose colour is moved to this one's; where the factor is small, its colour becomes duller."""
        wanted = np.array([hint.a, hint.b]) / max(self.factor, _LEAST_FACTOR) - self.offset
        a, b = np.clip(np.linalg.solve(self.matrix, wanted), -LARGEST_AB, LARGEST_AB).tolist()
        return replace(hint, a=a, b=b)


def follow(
    decode: Callable[[Palette | None], color.Float], palette: Palette, factor: float = 1.0
) -> tuple[color.Float, Move, Palette | None]:
    """The colours ab `(h, w, 2)` of a photo before the move, the move, and what the generator was given.

    Args:
        decode: colours the photo, with a palette as the generator's input or without.
        palette: to follow.
        factor: see `Move`.
    """
    tried = []
    for given in (palette, None):
        ab = decode(given)
        move = find_move(ab, palette, factor)
        tried.append((palette.distance(replace(move, factor=1.0).apply(ab)), ab, move, given))
    return min(tried, key=lambda each: each[0])[1:]


def find_move(ab: color.Float, palette: Palette, factor: float = 1.0) -> Move:
    """The map that moves a colouring ab `(h, w, 2)` towards a palette, as far as its strength says.

    The full map shifts the mean by 30 at most, and stretches or shrinks no direction by more than 2.
    """
    flat = ab.reshape(-1, 2).astype(np.float64)
    mean, (wanted, covariance) = flat.mean(axis=0), palette.statistics()
    shift = wanted - mean
    shift *= min(1.0, _LARGEST_SHIFT / max(float(np.hypot(*shift)), 1e-9))
    full = _linear_map(np.cov(flat, rowvar=False, ddof=0), covariance)
    matrix = (1 - palette.strength) * np.eye(2) + palette.strength * full
    return Move(matrix, mean + palette.strength * shift - matrix @ mean, factor)


def _grid_colours() -> Matrix:
    """The colours ab `(GRID_SIDE ** 2, 2)` of the histogram's points."""
    steps = (np.arange(GRID_SIDE) - GRID_SIDE // 2) * float(GRID_STEP)
    return np.stack(np.meshgrid(steps, steps, indexing="ij"), axis=-1).reshape(-1, 2)


def _linear_map(source: Matrix, target: Matrix) -> Matrix:
    """The symmetric matrix that turns one covariance into another, its eigenvalues within limits."""
    root = _root(source)
    inverse = np.linalg.inv(root)
    full = inverse @ _root(root @ _positive(target) @ root) @ inverse
    values, vectors = np.linalg.eigh((full + full.T) / 2)
    return np.asarray((vectors * np.clip(values, _LEAST_SCALE, _LARGEST_SCALE)) @ vectors.T)


def _positive(covariance: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.maximum(values, _LEAST_VARIANCE)) @ vectors.T)


def _root(covariance: Matrix) -> Matrix:
    values, vectors = np.linalg.eigh(covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, _LEAST_VARIANCE))) @ vectors.T)
