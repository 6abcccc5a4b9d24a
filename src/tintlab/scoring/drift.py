"""Measure how far photographs differ from a model's training photographs, by population stability indices.

PSI = Σ (pᵢ - qᵢ)·ln(pᵢ/qᵢ) over bins, p of the photos seen and q of the training set. As a rule of thumb
below 0.1 is no shift, 0.1 to 0.25 a moderate one, above 0.25 a large one. That rule is for large samples:
without any drift n photos beside m have about (bins - 1)·(1/n + 1/m), 0.23 for 47 beside 219, and
PSI / (1/n + 1/m) follows a χ² distribution of bins - 1 degrees of freedom (Yurdakul 2018, "Statistical
properties of population stability index"). So a figure has drifted if its PSI less that expectation exceeds the
threshold, *and* chance is an unlikely cause.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy.stats import chi2

from tintlab.imaging.statistics import HISTOGRAM, SCALARS, Reference, count_by_bin, summarize

__all__ = [
    "MIN_PHOTOS",
    "SIGNIFICANCE",
    "THRESHOLD",
    "DriftReport",
    "FigureDrift",
    "Reference",
    "compare",
    "population_stability_index",
    "summarize",
]

THRESHOLD = 0.25
"""The default of `drift.threshold`, where there is no params.yaml."""

SIGNIFICANCE = 0.01
"""The same of `drift.significance`."""

MIN_PHOTOS = 30
"""The same of `drift.min_photos`."""

MEANINGS: Mapping[str, str] = {
    "luminance": "histogram of L*, ten bins",
    "l_mean": "mean L* of a photo",
    "l_spread": "contrast: standard deviation of L*",
    "sharpness": "variance of the Laplacian at 224² pixels",
    "near_black": "share of pixels with L* below 5",
    "near_white": "share of pixels with L* above 95",
}
"""The figures that are compared, and what they are.

The size of a photo is not among them: the network sees every photo at the same size, so scans that are larger
than the training photographs are no sign of unfamiliar content.
"""

COMPARED = tuple(name for name in SCALARS if name in MEANINGS)
"""The figures of `SCALARS` that are compared."""

_SMOOTHING = 0.5  # of a photo, in each bin: an empty one gives no infinity

Numbers = NDArray[np.float64]


@dataclass(frozen=True)
class FigureDrift:
    """One figure of the photos seen beside the training set's.

    Attributes:
        name: see `MEANINGS`.
        psi: population stability index, as it is.
        expected: what it is on average for so many photos without any drift.
        p_value: how often it would be as large by chance.
        seen: mean over the photos seen; None of the histogram.
        drifted: beyond the threshold, and no chance.
    """

    name: str
    psi: float
    expected: float
    p_value: float
    seen: float | None
    drifted: bool

    @property
    def excess(self) -> float:
        """PSI less what chance adds to it: what the threshold is held against."""
        return max(0.0, self.psi - self.expected)


@dataclass(frozen=True)
class DriftReport:
    """Photos seen beside a training set.

    Attributes:
        photos: how many were seen.
        trained_on: how many the training set has.
        threshold: see `params.DriftParams`, as are the next two.
        significance: shared by all figures.
        min_photos: of either set.
        figures: one for each of `MEANINGS`; none where there are too few photos.
    """

    photos: int
    trained_on: int
    threshold: float
    significance: float
    min_photos: int
    figures: tuple[FigureDrift, ...]

    @property
    def verdict(self) -> Literal["drift", "none", "too few"]:
        """Whether these photos are like those that the model was trained on."""
        if not self.figures:
            return "too few"
        return "drift" if self.drifted else "none"

    @property
    def drifted(self) -> tuple[FigureDrift, ...]:
        """The figures that drifted, farthest first."""
        return tuple(
            sorted((one for one in self.figures if one.drifted), key=lambda one: one.psi, reverse=True)
        )

    @property
    def overall(self) -> float:
        """The largest excess of a figure; 0 where there is none."""
        return max((one.excess for one in self.figures), default=0.0)

    def line(self) -> str:
        """The verdict in one line."""
        if self.verdict == "too few":
            fewest = min(self.photos, self.trained_on)
            whose = "scored" if self.photos <= self.trained_on else "trained on"
            return f"drift: not told from {fewest} photographs {whose}; drift.min_photos is {self.min_photos}"
        if self.verdict == "none":
            return (
                f"drift: none; {self.photos} photographs differ from the {self.trained_on} that the model "
                "learnt from no more than chance and drift.threshold allow"
            )
        named = ", ".join(f"{one.name} ({one.psi:.2f})" for one in self.drifted)
        return (
            f"warning: drift: these {self.photos} photographs are unlike the {self.trained_on} that the model "
            f"learnt from, by {named}: look at the colours before you trust them"
        )

    def as_json(self) -> dict[str, Any]:
        """Everything, for a file."""
        figures = {
            one.name: {
                "psi": one.psi,
                "expected_by_chance": one.expected,
                "excess": one.excess,
                "p_value": one.p_value,
                "mean_seen": one.seen,
                "drifted": one.drifted,
            }
            for one in self.figures
        }
        return {
            "verdict": self.verdict,
            "overall": self.overall,
            "photos": self.photos,
            "trained_on": self.trained_on,
            "threshold": self.threshold,
            "significance": self.significance,
            "min_photos": self.min_photos,
            "figures": figures,
        }


def compare(
    seen: pd.DataFrame,
    reference: Reference,
    threshold: float = THRESHOLD,
    significance: float = SIGNIFICANCE,
    min_photos: int = MIN_PHOTOS,
) -> DriftReport:
    """Compare photos with a training set.

    Args:
        seen: a row a photo, with the columns that `summarize` gives; rows that lack one (of a photo that
            could not be read) and other columns are left out.
        reference: of the training set.
        threshold: PSI beyond chance that counts as drift.
        significance: chance of finding drift in any figure where there is none.
        min_photos: with fewer, seen or trained on, there is no verdict.
    """
    table = seen[[*HISTOGRAM, *COMPARED]].astype(np.float64).dropna()
    figures: tuple[FigureDrift, ...] = ()
    if min(len(table), reference.photos) >= min_photos:
        tested = [
            _test_histogram(table, reference),
            *(_test_scalar(table, reference, name) for name in COMPARED),
        ]
        level = significance / len(tested)  # Bonferroni's share of each
        figures = tuple(
            FigureDrift(*one, drifted=one[1] - one[2] > threshold and one[3] < level) for one in tested
        )
    return DriftReport(len(table), reference.photos, threshold, significance, min_photos, figures)


def population_stability_index(counts: ArrayLike, reference: ArrayLike) -> float:
    """PSI of two sets from how many of each lie in the same bins; half a photo is added to every bin."""
    p, q = (np.asarray(values, np.float64) + _SMOOTHING for values in (counts, reference))
    return _psi(p / p.sum(), q / q.sum())


def _psi(p: Numbers, q: Numbers) -> float:
    return float(((p - q) * np.log(p / q)).sum())


_Tested = tuple[str, float, float, float, float | None]
"""The first fields of `FigureDrift`."""


def _test_scalar(table: pd.DataFrame, reference: Reference, name: str) -> _Tested:
    bins = reference.bins[name]
    values = table[name].to_numpy()
    psi = population_stability_index(count_by_bin(values, bins.edges), bins.counts)
    noise, freedom = 1 / len(table) + 1 / reference.photos, len(bins.edges)
    chance = float(chi2.sf(psi / noise, freedom)) if freedom else 1.0
    return name, psi, freedom * noise, chance, float(values.mean())


def _test_histogram(table: pd.DataFrame, reference: Reference) -> _Tested:
    """PSI of the mean histograms.

    A photo's pixels are no sample of their own, so what chance does is taken from how photos differ: the
    difference d of two mean histograms has the covariance C = Σ·(1/n + 1/m), and PSI ≈ Σ dᵢ²/qᵢ, a sum of
    weighted χ² whose mean tr(C/q) and variance 2·tr((C/q)²) those of a scaled χ² match (Satterthwaite 1946).
    """
    trained = np.asarray(reference.histogram)
    seen = table[list(HISTOGRAM)].to_numpy().mean(axis=0)
    noise = 1 / len(table) + 1 / reference.photos
    # Half a photo spread over all bins, so that one which no photo has gives no infinity.
    p, q = (
        (shares + _SMOOTHING / len(HISTOGRAM) / count) / (shares.sum() + _SMOOTHING / count)
        for shares, count in ((seen, len(table)), (trained, reference.photos))
    )
    psi = _psi(p, q)
    weighted = np.asarray(reference.covariance) * noise / q[:, None]
    mean, spread = float(np.trace(weighted)), 2 * float((weighted * weighted.T).sum())
    if spread <= 0:
        return "luminance", psi, 0.0, float(psi < 1e-9), None
    chance = float(chi2.sf(psi * 2 * mean / spread, 2 * mean**2 / spread))
    return "luminance", psi, mean, chance, None
