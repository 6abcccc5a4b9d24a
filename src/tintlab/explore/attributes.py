"""Computed attributes of a colouring: warmth, saturation, tint, blue of skies, green of leaves."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tintlab.evaluation.metrics import Numbers
from tintlab.explore.subjects import Subject
from tintlab.imaging.color import Float

Mask = NDArray[np.bool]

_WARM, _GREEN = 70.0, 160.0  # degrees of CIE Lab hue, at right angles
_LEAST_REGION = 0.03  # of the picture
_SKY_HUES, _FOLIAGE_HUES = (200, 300), (95, 160)


@dataclass(frozen=True)
class Attribute:
    """A figure of a colouring.

    Attributes:
        low: the word for a picture with less of it.
        high: the word for a picture with more.
        where: the region of a photo that it is about.
        value: computes it from ab `(n, 2)` in that region.
        held: attributes that its conditional direction leaves alone. A sky can't become bluer and not cooler, so
            `sky` does not hold `warm`.
    """

    low: str
    high: str
    where: Callable[[Subject], Mask]
    value: Callable[[Float], float]
    held: tuple[str, ...]


def along(ab: Float, degrees: float) -> float:
    """Mean of ab `(..., 2)` along a hue, in ab units."""
    angle = np.deg2rad(degrees)
    return float((ab[..., 0] * np.cos(angle) + ab[..., 1] * np.sin(angle)).mean())


def hue(ab: Float) -> Float:
    """Hue angle of ab `(..., 2)` in degrees, [0, 360)."""
    degrees: Float = np.rad2deg(np.arctan2(ab[..., 1], ab[..., 0])) % 360
    return degrees


def chroma(ab: Float) -> Float:
    """Distance of ab `(..., 2)` from grey."""
    distance: Float = np.hypot(ab[..., 0], ab[..., 1])
    return distance


def everywhere(subject: Subject) -> Mask:
    """The whole photo."""
    return np.ones(subject.lightness.shape, np.bool)


def sky(subject: Subject) -> Mask:
    """Light pixels of the upper half whose true colour is blue."""
    found = (subject.lightness > 45) & _between(subject.ab, *_SKY_HUES, 6)
    found[len(found) // 2 :] = False
    return found


def foliage(subject: Subject) -> Mask:
    """Pixels whose true colour is green."""
    return _between(subject.ab, *_FOLIAGE_HUES, 12)


ATTRIBUTES = {
    "warm": Attribute("cool", "warm", everywhere, lambda ab: along(ab, _WARM), ("saturation", "green")),
    "saturation": Attribute(
        "dull", "vivid", everywhere, lambda ab: float(chroma(ab).mean()), ("warm", "green")
    ),
    "green": Attribute("magenta", "green", everywhere, lambda ab: along(ab, _GREEN), ("warm", "saturation")),
    "sky": Attribute(
        "less blue", "bluer", sky, lambda ab: -float(ab[..., 1].mean()), ("saturation", "green")
    ),
    "foliage": Attribute(
        "less green", "greener", foliage, lambda ab: -float(ab[..., 0].mean()), ("warm", "saturation")
    ),
}
"""By name. Skies and leaves are found by the true colours of a photo, so all its colourings are measured on the
same pixels."""


def scores(subject: Subject, colourings: Float) -> Numbers:
    """The attributes of colourings `(n, h, w, 2)` of a photo, `(n, attributes)`; NaN without sky or leaves."""
    columns = []
    for attribute in ATTRIBUTES.values():
        mask = attribute.where(subject)
        known = mask.mean() >= _LEAST_REGION
        columns.append([attribute.value(ab[mask]) if known else np.nan for ab in colourings])
    return np.asarray(columns, np.float64).T


def _between(ab: Float, low: float, high: float, least_chroma: float) -> Mask:
    angle = hue(ab)
    found: Mask = (angle >= low) & (angle < high) & (chroma(ab) > least_chroma)
    return found
