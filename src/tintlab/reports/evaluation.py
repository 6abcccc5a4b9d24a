"""The page of the evaluate stage, and its headline table for terminals."""

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tintlab.evaluation.methods import PICTURE_SIDE, SMALLEST_CATEGORY
from tintlab.imaging.color import Byte
from tintlab.imaging.grids import make_thumbnail, to_data_uri
from tintlab.reports.headline import verdict_sentence
from tintlab.reports.measures import DIRECTIONS, Measure, demerit, gain_class, gain_of, measure_of, number
from tintlab.reports.pages import render
from tintlab.system.console import aligned

_RANKED_BY = "delta_e00"
_SHOWN = 6
_CHANGES_SHOWN = 10
_CURVE_POINTS = 200


_SYSTEMS = {"model": "this model", "grey": "grey", "median_ab": "median ab", "plain_unet": "plain U-Net"}


def showcase(per_photo: pd.DataFrame) -> dict[str, list[str]]:
    """Pick photographs to show by ΔE00: a few `worst`, `median` and `best`, none twice.

    Args:
        per_photo: columns `photo` and `delta_e00`; row order does not matter.
    """
    ranked = per_photo.sort_values([_RANKED_BY, "photo"], ascending=[False, True])["photo"].tolist()
    count = min(_SHOWN, max(1, len(ranked) // 3))
    middle = max(count, (len(ranked) - count) // 2)
    last = max(2 * count, len(ranked) - count)
    return {"worst": ranked[:count], "median": ranked[middle : middle + count], "best": ranked[last:]}


def evaluation_page(
    metrics: Mapping[str, Any],
    per_photo: pd.DataFrame,
    pictures: Mapping[str, tuple[Byte, Byte, Byte]],
    previous: pd.DataFrame | None,
    intervals: pd.DataFrame | None = None,
) -> str:
    """Write the page of the evaluate stage: the model beside its baselines, in total and by photo.

    Args:
        metrics: figures by name under `model` and under each baseline; other entries are skipped.
        per_photo: columns `photo`, `cluster`, `category`, figures by their names, and the same with the
            suffixes `_true`, `_grey`, `_median_ab` if they exist.
        pictures: grey, coloured and true sRGB `(h, w, 3)` uint8; at least for the photographs of `showcase`.
        previous: the same table of the last committed report.
        intervals: columns `category` (empty for all), `photos`, `figure`, `method`, `value`, `low`, `high`; shown
            are the methods `model` and `model_against_grey`.
    """
    systems, measures = _systems(metrics)
    # Differences to the truth are shown only in the totals: elsewhere the truth stands beside the figure.
    shown_figures = [key for key in measures if measure_of(key).better != "zero"]
    figures = per_photo.set_index("photo").to_dict("index")
    return render(
        "evaluation.html",
        verdict=verdict_sentence(systems["model"], systems.get("grey", {}), _true_mean(per_photo), intervals),
        photographs=len(per_photo),
        clusters=per_photo["cluster"].nunique(),
        systems=[_SYSTEMS.get(name, name) for name in systems],
        headline=[_headline_row(key, systems, per_photo) for key in measures],
        plots=[_plot(key, per_photo) for key in measures if key in per_photo and key + "_grey" in per_photo],
        showcase={
            title: [
                {
                    "photo": photo,
                    "pictures": [
                        to_data_uri(make_thumbnail(pixels, PICTURE_SIDE)) for pixels in pictures[photo]
                    ],
                    "figures": _captions(shown_figures, figures[photo]),
                }
                for photo in names
            ]
            for title, names in showcase(per_photo).items()
        },
        intervals=[] if intervals is None else _intervals(intervals),
        categories=_categories(per_photo, shown_figures),
        smallest_category=SMALLEST_CATEGORY,
        changes=None if previous is None else _changes(per_photo, previous, shown_figures),
    )


def _true_mean(per_photo: pd.DataFrame) -> float | None:
    return float(per_photo["colourfulness_true"].mean()) if "colourfulness_true" in per_photo else None


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """The headline table of `evaluation_page` as lines of plain text, for terminals."""
    systems, measures = _systems(metrics)
    lines = [["", *(_SYSTEMS.get(name, name) for name in systems), ""]]
    for key in measures:
        measure = measure_of(key)
        name = f"{measure.name} ({measure.unit})" if measure.unit else measure.name
        values = [number(figures.get(key), measure) for figures in systems.values()]
        lines.append([name, *values, DIRECTIONS.get(measure.better or "", "")])
    return "\n".join(aligned(lines, right=range(1, len(systems) + 1)))


def _systems(metrics: Mapping[str, Any]) -> tuple[dict[str, Mapping[str, Any]], list[str]]:
    """The figures by system, the model first, and the names of the model's figures."""
    names = [*_SYSTEMS, *(name for name in metrics if name not in _SYSTEMS)]
    systems = {name: metrics[name] for name in names if isinstance(metrics.get(name), Mapping)}
    return systems, [key for key, value in systems["model"].items() if _is_figure(value)]


def _is_figure(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _headline_row(
    key: str, systems: Mapping[str, Mapping[str, Any]], per_photo: pd.DataFrame
) -> dict[str, Any]:
    """A row of the headline table: each system's figure, the best one marked, and the model's gain on grey."""
    measure = measure_of(key)
    values = [figures.get(key) for figures in systems.values()]
    truth = float(per_photo[key + "_true"].mean()) if key + "_true" in per_photo else None
    demerits = [
        None if value is None or not measure.fair_to_colour else demerit(measure, value, truth)
        for value in values
    ]
    known = [demerit for demerit in demerits if demerit is not None]
    grey = systems.get("grey", {}).get(key) if measure.fair_to_colour else None
    step = None if grey is None else systems["model"][key] - grey
    gain = gain_of(measure, systems["model"][key], grey, truth)
    return {
        "measure": measure,
        "better": DIRECTIONS.get(measure.better or "", ""),
        "values": [
            (number(value, measure), bool(known) and demerit == min(known))
            for value, demerit in zip(values, demerits, strict=True)
        ],
        "truth": number(truth, measure),
        "step": number(step, measure, signed=True),
        "verdict": gain_class(gain),
    }


def _captions(measures: Sequence[str], figures: Mapping[Hashable, Any]) -> list[str]:
    """A photograph's figures as text: the model's, with grey's or the truth's in brackets."""
    captions = []
    for key in measures:
        if key not in figures:
            continue
        measure = measure_of(key)
        beside = [
            f"{name} {number(figures[key + suffix], measure)}"
            for suffix, name in (("_grey", "grey"), ("_true", "true"))
            if key + suffix in figures and not (suffix == "_grey" and measure.better == "truth")
        ]
        value = f"{measure.plain or measure.name} {number(figures[key], measure)}"
        captions.append(f"{value} ({', '.join(beside)})" if beside else value)
    return captions


def _plot(key: str, per_photo: pd.DataFrame) -> dict[str, Any]:
    """Curves of a figure: the values of each system's photographs in ascending order."""
    measure = measure_of(key)
    suffixes = {"model": "", "grey": "_grey", "median_ab": "_median_ab", "true": "_true"}
    columns = {name: key + suffix for name, suffix in suffixes.items() if key + suffix in per_photo}
    curves = {name: np.sort(_finite(per_photo[column])) for name, column in columns.items()}
    everything = np.concatenate(
        [*curves.values(), [0.0]] if measure.better == "zero" else list(curves.values())
    )
    low, high = (float(everything.min()), float(everything.max())) if everything.size else (0.0, 1.0)
    span = (high - low) or 1.0
    return {
        "measure": measure,
        "low": number(low, measure),
        "high": number(high, measure),
        "better": DIRECTIONS.get(measure.better or "", ""),
        "curves": [
            {"system": name, "name": _SYSTEMS.get(name, name), "points": _points((values - low) / span)}
            for name, values in curves.items()
        ],
    }


def _finite(column: pd.Series) -> np.ndarray[Any, np.dtype[np.float64]]:
    values = np.asarray(column, np.float64)
    return np.asarray(values[np.isfinite(values)])


def _points(heights: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Heights in [0, 1] as an SVG polyline of 300 by 120 units; long curves are thinned."""
    if len(heights) > _CURVE_POINTS:
        heights = np.quantile(heights, np.linspace(0, 1, _CURVE_POINTS))
    across = np.linspace(0, 300, len(heights)) if len(heights) > 1 else np.full(len(heights), 150.0)
    return " ".join(f"{x:.1f},{120 - 120 * y:.1f}" for x, y in zip(across, heights, strict=True))


def _intervals(intervals: pd.DataFrame) -> list[dict[str, Any]]:
    """For each group of photographs, all first: the model's figures and differences to grey, with intervals."""
    groups = []
    for (category, count), group in intervals.groupby(["category", "photos"]):
        rows = []
        for key in group["figure"].drop_duplicates():
            measure = measure_of(key)
            found = group[group["figure"] == key].set_index("method")
            cells = [_spread(found.loc["model"], measure), _spread(found.loc["model_against_grey"], measure)]
            rows.append({"measure": measure, "cells": cells})
        groups.append({"category": category, "photographs": count, "rows": rows})
    return groups


def _spread(row: pd.Series, measure: Measure) -> str:
    low, high = number(row["low"], measure), number(row["high"], measure)
    return f"{number(row['value'], measure)} ({low} to {high})"


def _categories(per_photo: pd.DataFrame, measures: Sequence[str]) -> dict[str, Any]:
    """Mean figures by category."""
    shown = [key for key in measures if key in per_photo]
    columns = [
        (key, suffix) for key in shown for suffix in ("", "_grey", "_true") if key + suffix in per_photo
    ]
    # Grey's colourfulness is always 0.
    columns = [
        (key, suffix) for key, suffix in columns if (measure_of(key).better, suffix) != ("truth", "_grey")
    ]
    rows = []
    for category, group in per_photo.groupby("category"):
        if len(group) >= SMALLEST_CATEGORY:
            means = [number(float(group[key + suffix].mean()), measure_of(key)) for key, suffix in columns]
            rows.append({"category": category or "(none)", "count": len(group), "means": means})
    names = {"": "", "_grey": ", grey", "_true": ", true"}
    titles = [(measure_of(key), names[suffix]) for key, suffix in columns]
    return {
        "columns": [
            {
                "name": (measure.plain or measure.name) + suffix,
                "technical": measure.name if measure.plain else "",
            }
            for measure, suffix in titles
        ],
        "rows": rows,
    }


def _changes(per_photo: pd.DataFrame, previous: pd.DataFrame, measures: Sequence[str]) -> dict[str, Any]:
    """Differences from the previous table by photo, the largest gain in ΔE00 first."""
    shown = [key for key in measures if key in per_photo and key in previous]
    both = per_photo.merge(previous, on="photo", suffixes=("", " before"))
    rows = []
    for record in both.to_dict("records"):
        cells = []
        for key in shown:
            measure, now, before = measure_of(key), record[key], record[f"{key} before"]
            gain = gain_of(measure, now, before, record.get(key + "_true"))
            step = number(now - before, measure, signed=True)
            flat = not step.strip("+−0.")
            cells.append(
                {
                    "now": number(now, measure),
                    "step": "" if flat else step,
                    "verdict": "" if flat else gain_class(gain),
                    "gain": 0.0 if flat else gain,
                }
            )
        rows.append({"photo": record["photo"], "cells": cells})
    ranked = shown.index(_RANKED_BY) if _RANKED_BY in shown else 0
    changed = [row for row in rows if any(cell["step"] for cell in row["cells"])]
    changed.sort(key=lambda row: (-row["cells"][ranked]["gain"], row["photo"]))
    gains = [row["cells"][ranked]["gain"] for row in changed]
    at_the_ends = len(changed) <= 2 * _CHANGES_SHOWN
    return {
        "measures": [measure_of(key) for key in shown],
        "better": sum(gain > 0 for gain in gains),
        "worse": sum(gain < 0 for gain in gains),
        "unchanged": len(rows) - len(changed),
        "added": sorted(set(per_photo["photo"]) - set(previous["photo"])),
        "removed": sorted(set(previous["photo"]) - set(per_photo["photo"])),
        "first": changed if at_the_ends else changed[:_CHANGES_SHOWN],
        "middle": [] if at_the_ends else changed[_CHANGES_SHOWN:-_CHANGES_SHOWN],
        "last": [] if at_the_ends else changed[-_CHANGES_SHOWN:],
    }
