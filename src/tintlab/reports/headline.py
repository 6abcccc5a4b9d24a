"""Write the first sentence of a report, which sums up the model for readers who skip the tables."""

from collections.abc import Mapping

import pandas as pd

from tintlab.reports.measures import measure_of, number

_ERROR = "delta_e00"
_DULL, _LOUD = 0.5, 1.1
"""Shares of the true colourfulness that `params.yaml` asks for by default."""


def verdict_sentence(
    model: Mapping[str, float],
    grey: Mapping[str, float],
    true_colourfulness: float | None,
    intervals: pd.DataFrame | None = None,
) -> str:
    """Say whether the colours are nearer to the truth than grey, how sure that is, and how strong they are.

    Args:
        model: mean figures of the model.
        grey: mean figures of the same photographs without colour.
        true_colourfulness: mean over the true photographs.
        intervals: see `evaluation_page`.
    """
    parts = [_closeness(model.get(_ERROR), grey.get(_ERROR), _sure(intervals))]
    colourfulness = model.get("colourfulness")
    if true_colourfulness and colourfulness is not None:
        share = colourfulness / true_colourfulness
        word = "too dull" if share < _DULL else "too strong" if share > _LOUD else "of fitting strength"
        parts.append(f"they are {word}, with {100 * share:.0f} % of the true photographs’ colourfulness")
    return "; ".join(filter(None, parts)) + "."


def _closeness(ours: float | None, grey: float | None, sure: bool | None) -> str:
    if ours is None or grey is None or not grey > 0:
        return "The colours were not compared with grey"
    if sure is False:
        words = "The colours are, as far as these photographs can tell, no nearer to the truth than grey"
    else:
        words = f"The colours are {'nearer to' if ours < grey else 'farther from'} the truth than grey"
    measure = measure_of(_ERROR)
    figures = f"colour error {number(ours, measure)} against {number(grey, measure)}"
    return f"{words} ({figures}{', more than chance' if sure else ''})"


def _sure(intervals: pd.DataFrame | None) -> bool | None:
    """Whether the interval of the difference to grey leaves out 0; None if it is not known."""
    if intervals is None or intervals.empty:
        return None
    rows = intervals[
        (intervals["category"] == "")
        & (intervals["figure"] == _ERROR)
        & (intervals["method"] == "model_against_grey")
    ]
    return None if rows.empty else bool((rows["low"] > 0).any() or (rows["high"] < 0).any())
