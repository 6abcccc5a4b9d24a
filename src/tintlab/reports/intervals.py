"""Format figures with their 95 % intervals as lines of plain text, for terminals."""

from collections.abc import Sequence

import pandas as pd

from tintlab.reports.measures import DIRECTIONS, Measure, measure_of, number
from tintlab.system.console import aligned

_TITLES = ("", "this model", "grey", "model − grey", "")


def intervals_text(intervals: pd.DataFrame, true_colourfulness: float) -> str:
    """The figures of all photographs: the model's and grey's, and their difference photo by photo.

    Args:
        intervals: of an evaluation, see `summary.intervals`.
        true_colourfulness: mean over the true photographs.
    """
    overall = intervals[intervals["category"] == ""]
    rows: list[Sequence[str]] = [_TITLES]
    for key in overall["figure"].drop_duplicates():
        measure = measure_of(key)
        found = overall[overall["figure"] == key].set_index("method")
        share = key == "judge_kernel_distance"  # its difference is a share of grey's
        difference = Measure("", "", None, 2) if share else measure
        rows.append(
            (
                f"{measure.name} ({measure.unit})" if measure.unit else measure.name,
                _spread(found.loc["model"], measure),
                number(found.loc["grey", "value"], measure),
                ("× " if share else "") + _spread(found.loc["model_against_grey"], difference, not share),
                DIRECTIONS.get(measure.better or "", ""),
            )
        )
    lines = aligned(rows)
    ours = (overall["figure"] == "colourfulness") & (overall["method"] == "model")
    colourfulness = overall["value"].to_numpy()[ours.to_numpy()][0]
    lines.append(
        f"The true photographs' colourfulness is {true_colourfulness:.1f}; the model reaches "
        f"{colourfulness / true_colourfulness:.2f} of it."
    )
    return "\n".join(lines)


def _spread(row: pd.Series, measure: Measure, signed: bool = False) -> str:
    low, high = (number(row[end], measure, signed) for end in ("low", "high"))
    return f"{number(row['value'], measure, signed)} ({low} to {high})"
