"""Summarise an evaluation: mean figures, distances between sets of photographs, and confidence intervals."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from tintlab.evaluation import metrics
from tintlab.evaluation.methods import AGAINST_GREY, METHODS, SMALLEST_CATEGORY, figure_names, suffix


def totals(
    per_photo: pd.DataFrame, features: Mapping[str, metrics.Numbers], terms: Mapping[str, metrics.Numbers]
) -> dict[str, Any]:
    """The figures by method, and the numbers of photographs and of clusters of near-duplicates.

    Args:
        per_photo: the table; its columns give means.
        features: the judge's, `(n, d)`, of `true` and of each of `METHODS`.
        terms: of `metrics.kernel_terms`, by method. Their distance needs two photographs.
    """
    result: dict[str, Any] = {}
    for method in METHODS:
        found = {name: per_photo[name + suffix(method)].mean() for name in figure_names(per_photo)}
        if len(per_photo) > 1:
            found["judge_kernel_distance"] = metrics.kernel_distance(terms[method])[0]
        frechet = metrics.frechet_distance(features[method], features["true"])
        if frechet is not None:
            found["judge_frechet_distance"] = frechet
        result[method] = {name: float(f"{value:.6g}") for name, value in found.items()}
    return result | {"photos": len(per_photo), "clusters": int(per_photo["cluster"].nunique())}


def intervals(per_photo: pd.DataFrame, terms: Mapping[str, metrics.Numbers]) -> pd.DataFrame:
    """95 % bootstrap intervals of all photographs and of each category of at least `SMALLEST_CATEGORY`.

    Near-duplicates are resampled together; a group of a single cluster has no intervals.

    Args:
        per_photo: the table.
        terms: of `metrics.kernel_terms`, by method.

    Returns:
        Columns `category` (empty for all photographs), `photos`, `figure`, `method`, `value`, `low`, `high`.
        Besides `METHODS` there is `model_against_grey`: the mean difference, photo by photo; of
        `judge_kernel_distance` the ratio to grey's.
    """
    categories = per_photo["category"].value_counts()
    groups = ["", *sorted(name for name in categories[categories >= SMALLEST_CATEGORY].index if name)]
    rows = []
    for category in groups:
        inside = (
            np.ones(len(per_photo), bool) if not category else (per_photo["category"] == category).to_numpy()
        )
        group = per_photo[inside]
        if group["cluster"].nunique() > 1:
            inner = {method: own[np.ix_(inside, inside)] for method, own in terms.items()}
            for row in [*_mean_intervals(group), *_distance_intervals(group, inner)]:
                rows.append({"category": category, "photos": len(group)} | row)
    columns = ["category", "photos", "figure", "method", "value", "low", "high"]
    return pd.DataFrame(rows, columns=columns)


def _mean_intervals(group: pd.DataFrame) -> list[dict[str, Any]]:
    names = figure_names(group)
    values = {method: group[[name + suffix(method) for name in names]].to_numpy() for method in METHODS}
    values[AGAINST_GREY] = values["model"] - values["grey"]
    rows = []
    for method, table in values.items():
        ends = metrics.bootstrap_interval(table, group["cluster"].tolist())
        for name, value, low, high in zip(names, table.mean(axis=0), *ends, strict=True):
            rows.append({"figure": name, "method": method, "value": value, "low": low, "high": high})
    return rows


def _distance_intervals(group: pd.DataFrame, terms: Mapping[str, metrics.Numbers]) -> list[dict[str, Any]]:
    def distances(stacked: metrics.Numbers, weights: metrics.Numbers) -> metrics.Numbers:
        model, grey, median = (metrics.kernel_distance(own, weights) for own in stacked)
        share = np.divide(model, grey, out=np.full(len(grey), np.nan), where=grey > 0)
        return np.stack([model, grey, median, share], axis=-1)

    stacked = np.stack([terms[method] for method in METHODS])
    values = distances(stacked, np.ones((1, len(group))))[0]
    ends = metrics.bootstrap_interval(stacked, group["cluster"].tolist(), distances)
    return [
        {"figure": "judge_kernel_distance", "method": method, "value": value, "low": low, "high": high}
        for method, value, low, high in zip((*METHODS, AGAINST_GREY), values, *ends, strict=True)
    ]
