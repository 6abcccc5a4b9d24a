"""Define how figures are shown: names, units, digits, and which values are better."""

import math
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Measure:
    """How a figure is shown.

    Attributes:
        name: the technical name.
        unit: empty if there is none.
        better: which values are better: more, less, nearest to the true photographs' or nearest to zero;
            None if that is unknown.
        digits: after the decimal point.
        plain: the name on pages, in everyday words; empty where `name` is plain. The technical name is beside it.
        fair_to_colour: False if a picture without colour gets the best value for free.
    """

    name: str
    unit: str = ""
    better: Literal["more", "less", "truth", "zero"] | None = None
    digits: int = 3
    fair_to_colour: bool = True
    plain: str = ""


MEASURES = {
    "psnr": Measure("PSNR", "dB", "more", 2, plain="Closeness, pixel by pixel"),
    "ssim": Measure("SSIM", "", "more", 3, plain="Structure kept"),
    "delta_e00": Measure("ΔE00", "", "less", 2, plain="Colour error"),
    "colourfulness": Measure("Colourfulness", "", "truth", 1),
    "colourfulness_difference": Measure("Colourfulness, difference to the truth", "", "zero", 1),
    "judge_similarity": Measure(
        "Similarity to the truth, by the judge", "", "more", 4, plain="Likeness to the true photograph"
    ),
    "judge_same_class": Measure(
        "Share that the judge takes for the same thing", "", "more", 3, plain="Same thing recognized"
    ),
    "judge_kernel_distance": Measure(
        "Kernel distance of the judge’s features", "", "less", 4, plain="Distance from real photographs"
    ),
    "judge_frechet_distance": Measure(
        "Fréchet distance of the judge’s features", "", "less", 4, plain="Distance from real photographs"
    ),
    "colour_spill": Measure("Colour spill across edges", "", "less", 3, fair_to_colour=False),
}
"""Display names of the figures. A figure that is not listed is shown under its key."""

DIRECTIONS = {
    "more": "more is better",
    "less": "less is better",
    "truth": "nearest the truth",
    "zero": "nearest 0",
}
"""`Measure.better` in words."""


def measure_of(key: str) -> Measure:
    """How a figure is shown. A figure without an entry in `MEASURES` is shown under its key."""
    return MEASURES.get(key) or Measure(key.replace("_", " "))


def number(value: float | None, measure: Measure, signed: bool = False) -> str:
    """Format a figure with its measure's digits; empty if there is none."""
    if value is None or math.isnan(value):
        return ""
    text = f"{value:{'+' if signed else ''}.{measure.digits}f}"
    return text.replace("-", "−").replace("inf", "∞")


def demerit(measure: Measure, value: float, truth: float | None) -> float | None:
    """How bad a figure is: less is better. None if no direction is better, or it lacks the truth."""
    match measure.better:
        case "more":
            return -value
        case "less":
            return value
        case "zero":
            return abs(value)
        case "truth" if truth is not None:
            return abs(value - truth)
        case _:
            return None


def gain_of(measure: Measure, value: float, before: float | None, truth: float | None) -> float:
    """How much better `value` is than `before`; 0 if that is unknown."""
    if before is None:
        return 0.0
    old, new = demerit(measure, before, truth), demerit(measure, value, truth)
    return 0.0 if old is None or new is None else old - new


def gain_class(gain: float) -> str:
    """The CSS class of a gain: `good`, `bad`, or empty."""
    return "" if gain == 0 or math.isnan(gain) else ("good" if gain > 0 else "bad")
