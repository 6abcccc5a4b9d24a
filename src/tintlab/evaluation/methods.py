"""The methods that an evaluation compares, and the names of their columns."""

import pandas as pd

METHODS = ("model", "grey", "median_ab")
"""The generator; no colours at all; the training set's median colour everywhere."""

AGAINST_GREY = "model_against_grey"
"""The difference between the model and no colours at all."""

SMALLEST_CATEGORY = 8
"""Least number of photographs of a category with its own figures; with fewer, figures would show chance."""

PICTURE_SIDE = 640
"""Pixels of the longer side of the pictures on a page."""


def suffix(method: str) -> str:
    """The ending of a method's columns; empty for the model."""
    return "" if method == "model" else f"_{method}"


def figure_names(per_photo: pd.DataFrame) -> list[str]:
    """The figures that a per-photo table has for the model and for each baseline."""
    columns: list[str] = per_photo.columns.tolist()
    return [column.removesuffix("_grey") for column in columns if column.endswith("_grey")]
