"""Decide whether a challenger replaces the champion, from two tables of the same photographs and rules.

Pure statistics; `evaluate.Evaluation` describes the tables and totals. A higher mean is not enough, because
it can be chance. So figures are compared photo by photo, by the confidence interval of the mean difference.
If the interval leaves the question open, the challenger is not promoted.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri, stdtrit

from tintlab.evaluation import metrics
from tintlab.system.decision_params import PromotionParams
from tintlab.system.errors import TintlabError

PRIMARY = "judge_similarity"
"""The figure in which a challenger must be better. The judge takes no part in training."""

GUARDED = ("psnr", "ssim", "delta_e00")
"""Figures in which a challenger must not be much worse."""

LEVEL = 0.95
"""Confidence level of the intervals."""

POWER = 0.8
"""The probability of detecting a gain of `Verdict.smallest_difference`."""

RESAMPLINGS = 10_000

_NAMES = {
    PRIMARY: "similarity to the truth",
    "psnr": "PSNR",
    "ssim": "SSIM",
    "delta_e00": "ΔE00",
    "colourfulness_share": "colourfulness",
    "judge_kernel_distance": "kernel distance",
}
_BASELINES = {"grey": "grey", "median_ab": "the median colour"}


@dataclass(frozen=True)
class Check:
    """One condition of a promotion.

    Attributes:
        figure: the figure that is checked.
        against: `champion`, a baseline of `methods.METHODS`, or `true` for the true photographs.
        value: the mean difference; for `colourfulness_share` and `judge_kernel_distance` the figure itself.
        low: lower end of its interval; None without an interval.
        high: upper end.
        rule: the condition in words.
        passed: whether the condition holds.
        sentence: the result in words.
    """

    figure: str
    against: str
    value: float
    low: float | None
    high: float | None
    rule: str
    passed: bool
    sentence: str


@dataclass(frozen=True)
class Verdict:
    """A decision and its reasons.

    Attributes:
        passed: the challenger is to be promoted.
        reasons: one sentence per condition that failed; or the reason for the promotion.
        checks: all conditions.
        photos: number of photographs.
        clusters: number of clusters of near-duplicates, which are resampled.
        smallest_difference: the smallest gain in `PRIMARY` that these photographs reveal with a probability of
            `POWER`: min_gain + (1.96 + 0.84) · SE, with the bootstrap's standard error SE of the mean
            difference. None without a champion.
    """

    passed: bool
    reasons: tuple[str, ...]
    checks: tuple[Check, ...]
    photos: int
    clusters: int
    smallest_difference: float | None


@dataclass(frozen=True)
class Spread:
    """A mean over photographs with its uncertainty.

    Attributes:
        mean: over the photographs.
        low: lower end of its 95 % interval.
        high: upper end.
        error: its standard error.
    """

    mean: float
    low: float
    high: float
    error: float


@dataclass(frozen=True)
class Group:
    """Differences between two models within a category."""

    category: str
    photos: int
    differences: dict[str, Spread]
    """By figure."""


def decide(
    challenger: pd.DataFrame,
    totals: Mapping[str, Any],
    champion: pd.DataFrame | None,
    rules: PromotionParams,
) -> Verdict:
    """Decide on a challenger.

    Args:
        challenger: its per-photo table, see `evaluate.Evaluation`.
        totals: its totals.
        champion: the champion's table of the same photographs; None without a champion: then only the baselines
            decide.
        rules: of the promotion.

    Raises:
        TintlabError: fewer than two clusters of photographs.
        ValueError: the tables cover different photographs.
    """
    clusters = challenger["cluster"].nunique()
    if clusters < 2:
        raise TintlabError(
            f"{len(challenger)} test photographs of one cluster prove nothing: add photographs, or raise "
            "split.test"
        )
    checks: list[Check] = []
    smallest = None
    if champion is not None:
        spreads = differences(challenger, champion)
        checks += _against_champion(spreads, rules)
        smallest = rules.min_gain + _detectable(spreads[PRIMARY].error)
    checks += [*_against_baselines(challenger, totals), _colourfulness(challenger, rules)]
    passed = all(check.passed for check in checks)
    # The reason is the criterion that passed with a gain; the others merely did not fail.
    reasons = [check.sentence for check in checks if not check.passed] or [checks[0].sentence]
    if passed and champion is None:
        reasons = ["the first model: it is better than no colours and than the median colour"]
    return Verdict(passed, tuple(reasons), tuple(checks), len(challenger), clusters, smallest)


def differences(
    challenger: pd.DataFrame, champion: pd.DataFrame, figures: Sequence[str] = (PRIMARY, *GUARDED)
) -> dict[str, Spread]:
    """The mean differences challenger - champion of per-photo figures, by figure.

    Raises:
        ValueError: the tables cover different photographs or clusters.
    """
    first, second = (table.sort_values("photo", ignore_index=True) for table in (challenger, champion))
    for column in ("photo", "cluster"):
        if first[column].tolist() != second[column].tolist():
            raise ValueError(f"the tables differ in their column {column!r}: judge both models again")
    names = list(figures)
    paired = first[names].to_numpy(np.float64) - second[names].to_numpy(np.float64)
    return dict(zip(names, spreads(paired, first["cluster"].tolist()), strict=True))


def by_category(challenger: pd.DataFrame, champion: pd.DataFrame, smallest: int) -> list[Group]:
    """The differences within each category of at least `smallest` photographs, and within all others together.

    They don't influence the decision. They show which categories a model has improved on, and which it has
    forgotten.

    Raises:
        ValueError: the tables cover different photographs.
    """
    sizes = challenger["category"].value_counts()
    large = sorted(name for name in sizes[sizes >= smallest].index if name)
    groups = [(name, challenger["category"] == name) for name in large]
    groups.append(("others", ~challenger["category"].isin(large)))
    found = []
    for name, inside in groups:
        own = challenger[inside]
        if own["cluster"].nunique() > 1:
            other = champion[champion["photo"].isin(own["photo"])]
            found.append(Group(name, len(own), differences(own, other, (PRIMARY, "delta_e00"))))
    return found


def gains(challenger: pd.DataFrame, champion: pd.DataFrame | None) -> "pd.Series[float]":
    """Gains in `PRIMARY` by photo, the greatest first: over the champion, or over grey without one."""
    own = challenger.set_index("photo")
    before = own[f"{PRIMARY}_grey"] if champion is None else champion.set_index("photo")[PRIMARY]
    found = (own[PRIMARY] - before.reindex(own.index)).sort_index()
    return found.sort_values(ascending=False, kind="stable")


def spreads(values: metrics.Numbers, clusters: Sequence[str], n: int = RESAMPLINGS) -> list[Spread]:
    """Means of the columns of `values` `(photos, k)` with intervals, clusters resampled together.

    Expanded percentile intervals (Hesterberg 2015, arXiv 1411.5279): the plain percentile
    bootstrap is too narrow: by √((m-1)/m) with m clusters, and by the normal quantile instead of Student's.

    Args:
        values: rows belong to photos.
        clusters: the cluster of each photo, at least two in all.
        n: number of resamplings.
    """
    count = len(set(clusters))
    widening = np.sqrt(count / (count - 1))
    draws = metrics.bootstrap(values, clusters, n=n)
    quantile = float(stdtrit(count - 1, (1 + LEVEL) / 2))
    ends = metrics.percentiles(draws, 2 * float(ndtr(widening * quantile)) - 1)
    errors = widening * draws.std(axis=0)
    columns = zip(values.mean(axis=0), *ends, errors, strict=True)
    return [Spread(*map(float, column)) for column in columns]


def _detectable(error: float) -> float:
    """The true difference for which the `LEVEL` interval excludes 0 with a probability of `POWER`."""
    return float(ndtri((1 + LEVEL) / 2) + ndtri(POWER)) * error


def _against_champion(spreads: Mapping[str, Spread], rules: PromotionParams) -> Iterator[Check]:
    gain = spreads[PRIMARY]
    passed = gain.low > rules.min_gain
    if passed:
        sentence = f"{_NAMES[PRIMARY]} is higher than the champion’s by {_range(gain, 4)}"
    elif gain.high < rules.min_gain:
        fault = "worse" if gain.high < 0 else "too little gain"
        asked = f"promotion.min_gain is {rules.min_gain:g}"
        sentence = f"{fault}: {_NAMES[PRIMARY]} changes by {_range(gain, 4)}, and {asked}"
    elif gain.low == gain.high == gain.mean == 0:
        sentence = "a tie: both models colour every photograph alike"
    else:
        sentence = (
            f"a tie: {_NAMES[PRIMARY]} changes by {_range(gain, 4)}, so it may be {rules.min_gain:g} or less"
        )
    yield _check(PRIMARY, "champion", gain, f"> {rules.min_gain:g}", passed, sentence)
    for figure in GUARDED:
        spread, tolerance = spreads[figure], float(getattr(rules.tolerance, figure))
        worse_is_more = figure == "delta_e00"
        worst = spread.high if worse_is_more else -spread.low
        rule = f"≤ {tolerance:g} worse"
        may = f"{_NAMES[figure]} may be worse by {worst:.3g}: it changes by {_range(spread, 3)}"
        sentence = may if worst > tolerance else f"{_NAMES[figure]} changes by {_range(spread, 3)}"
        if worst > tolerance:
            sentence += f", and promotion.tolerance.{figure} is {tolerance:g}"
        yield _check(figure, "champion", spread, rule, worst <= tolerance, sentence)


def _against_baselines(challenger: pd.DataFrame, totals: Mapping[str, Any]) -> Iterator[Check]:
    for baseline, name in _BASELINES.items():
        gains = (challenger[PRIMARY] - challenger[f"{PRIMARY}_{baseline}"]).to_numpy(np.float64)
        (gain,) = spreads(gains[:, None], challenger["cluster"].tolist())
        above = "is" if gain.low > 0 else "is not surely"
        sentence = f"{_NAMES[PRIMARY]} {above} better than {name}’s: by {_range(gain, 4)}"
        yield _check(PRIMARY, baseline, gain, "> 0", gain.low > 0, sentence)
    distance, grey = (float(totals[method]["judge_kernel_distance"]) for method in ("model", "grey"))
    sentence = f"kernel distance is {distance:.4f}, grey’s {grey:.4f}"
    rule = f"< {grey:.4f}"
    yield Check("judge_kernel_distance", "grey", distance, None, None, rule, distance < grey, sentence)


def _colourfulness(challenger: pd.DataFrame, rules: PromotionParams) -> Check:
    own, true = (float(challenger[name].mean()) for name in ("colourfulness", "colourfulness_true"))
    share = own / true if true > 0 else 0.0
    low, high = rules.colourfulness
    sentence = f"colourfulness is {own:.1f}, {share:.0%} of the true photographs’"
    passed = low <= share <= high
    if not passed:
        sentence += f", outside promotion.colourfulness, {low:.0%} to {high:.0%}"
    rule = f"{low:.0%} to {high:.0%}"
    return Check("colourfulness_share", "true", share, None, None, rule, passed, sentence)


def _check(figure: str, against: str, spread: Spread, rule: str, passed: bool, sentence: str) -> Check:
    return Check(figure, against, spread.mean, spread.low, spread.high, rule, passed, sentence)


def _range(spread: Spread, digits: int) -> str:
    text = f"{spread.mean:+.{digits}f} ({spread.low:+.{digits}f} to {spread.high:+.{digits}f})"
    return text.replace("-", "−")
