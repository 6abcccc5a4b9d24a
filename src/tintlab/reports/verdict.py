"""Show a verdict as a table for terminals, and as a page with the photographs that changed most."""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from tintlab.evaluation.decision import LEVEL, POWER, PRIMARY
from tintlab.imaging.color import Byte
from tintlab.imaging.grids import to_data_uri
from tintlab.reports.measures import Measure, measure_of, number
from tintlab.reports.pages import render
from tintlab.system import console

if TYPE_CHECKING:
    import pandas as pd
    from rich.table import Table

SHOWN = 6
"""Photographs on the page: this many that gained most, and as many that lost most."""

_AGAINST = {"champion": "champion", "grey": "grey", "median_ab": "median ab", "true": "the truth"}
_SYSTEMS = {"challenger": "challenger", "champion": "champion", "grey": "grey", "median_ab": "median ab"}
_SHORT = {
    "judge_similarity": "similarity",
    "psnr": "PSNR, dB",
    "ssim": "SSIM",
    "delta_e00": "ΔE00",
    "judge_kernel_distance": "kernel distance",
    "colourfulness_share": "colourfulness",
}
"""Short names for terminals."""
_SHARE = Measure("Colourfulness", "share of the truth’s")
_WIDTH, _HEIGHT = 720, 150  # of the plot of gains, in SVG units


def changed_most(gains: "pd.Series[float]") -> dict[str, list[str]]:
    """The photographs that `gained` and that `lost` most, the largest change first.

    Args:
        gains: by photo, see `decision.gains`.
    """
    gained, lost = gains[gains > 0], gains[gains < 0]
    return {"gained": gained.index[:SHOWN].tolist(), "lost": lost.index[::-1][:SHOWN].tolist()}


def verdict_line(verdict: Mapping[str, Any]) -> str:
    """The verdict in one line; `verdict` as `judging.record` makes it."""
    decision = "passed" if verdict["passed"] else "not promoted"
    return f"{verdict['model']} {_opponent(verdict)}: {decision}"


def sensitivity(verdict: Mapping[str, Any]) -> str:
    """The smallest gain that the photographs can reveal, in words; empty without a champion."""
    smallest = verdict["smallest_difference"]
    if not smallest:
        return ""
    return (
        f"{verdict['photos']} photographs ({verdict['clusters']} clusters) reveal a gain of {smallest:.4f} "
        f"with a probability of {POWER:.0%}; half the gain takes four times the photographs."
    )


def verdict_table(verdict: Mapping[str, Any]) -> "Table":
    """The conditions as a table for terminals."""
    headers = ("", "figure", "against", "value", f"{LEVEL:.0%} interval", "must be")
    table = console.new_table(*headers)
    for check in verdict["checks"]:
        row = _check(check)
        mark = "[green]✓[/]" if check["passed"] else "[red]✗[/]"
        figure = _SHORT[check["figure"]]
        table.add_row(mark, figure, row["against"], row["value"], row["interval"], check["rule"])
    return table


def verdict_page(
    verdict: Mapping[str, Any],
    gains: "pd.Series[float]",
    chosen: Mapping[str, Iterable[str]],
    pictures: Mapping[str, Mapping[str, Byte]],
) -> str:
    """Write the page of a verdict.

    Args:
        verdict: as `judging.record` makes it.
        gains: by photo, the greatest first.
        chosen: photographs to show by title, see `changed_most`.
        pictures: of these, sRGB `(h, w, 3)` uint8 by photo and name, in display order.
    """
    totals = {
        **verdict["totals"],
        **{name: verdict["totals"]["challenger"][name] for name in ("grey", "median_ab")},
    }
    figures = {name: own["model"] if name in verdict["totals"] else own for name, own in totals.items()}
    return render(
        "verdict.html",
        verdict=verdict,
        opponent=_opponent(verdict),
        sensitivity=sensitivity(verdict),
        checks=[_check(check) for check in verdict["checks"]],
        systems=[_SYSTEMS[name] for name in _SYSTEMS if name in figures],
        means=[
            {
                "measure": measure_of(key),
                "values": [
                    number(figures[name].get(key), measure_of(key)) for name in _SYSTEMS if name in figures
                ],
            }
            for key in figures["challenger"]
        ],
        categories=[
            {
                "category": group["category"],
                "photos": group["photos"],
                "cells": [_spread(key, spread) for key, spread in group["differences"].items()],
            }
            for group in verdict["categories"]
        ],
        category_measures=[
            measure_of(key) for group in verdict["categories"][:1] for key in group["differences"]
        ],
        plot=_plot(gains),
        shown={
            title: [
                {
                    "photo": photo,
                    "gain": _signed(float(gains[photo])),
                    "pictures": [(name, to_data_uri(pixels)) for name, pixels in pictures[photo].items()],
                }
                for photo in photos
            ]
            for title, photos in chosen.items()
        },
        columns=4 if verdict["champion_weights_sha256"] else 3,
    )


def _opponent(verdict: Mapping[str, Any]) -> str:
    if verdict["champion_model"] is None:
        return "without a champion, by the baselines alone"
    return f"against {verdict['champion_model']}"


def _check(check: Mapping[str, Any]) -> dict[str, Any]:
    if check["figure"] == "colourfulness_share":
        measure, value = _SHARE, f"{check['value']:.0%}"
    else:
        measure = measure_of(check["figure"])
        value = number(check["value"], measure, signed=check["low"] is not None)
    interval = "" if check["low"] is None else " to ".join(_end(check, end) for end in ("low", "high"))
    return {
        "measure": measure,
        "against": _AGAINST[check["against"]],
        "value": value,
        "interval": interval,
        "rule": check["rule"],
        "passed": check["passed"],
    }


def _spread(key: str, spread: Mapping[str, float]) -> str:
    measure = measure_of(key)
    mean, low, high = (number(spread[end], measure, signed=True) for end in ("mean", "low", "high"))
    return f"{mean} ({low} to {high})"


def _end(check: Mapping[str, Any], end: str) -> str:
    return number(check[end], measure_of(check["figure"]), signed=True)


def _signed(gain: float) -> str:
    return number(gain, measure_of(PRIMARY), signed=True)


def _plot(gains: "pd.Series[float]") -> dict[str, Any]:
    """Bars of the gains, the greatest first, on `_WIDTH` by `_HEIGHT` units."""
    low, high = min(0.0, float(gains.min())), max(0.0, float(gains.max()))
    span = (high - low) or 1.0
    step = _WIDTH / len(gains)
    zero = _HEIGHT * high / span
    bars = []
    for place, (photo, gain) in enumerate(gains.items()):
        height = abs(float(gain)) / span * _HEIGHT
        bars.append(
            {
                "photo": f"{photo}: {_signed(float(gain))}",
                "x": f"{place * step:.1f}",
                "y": f"{zero - height if gain > 0 else zero:.1f}",
                "height": f"{height:.1f}",
                "better": bool(gain > 0),
            }
        )
    return {
        "bars": bars,
        "bar": f"{max(step * 0.8, 0.5):.1f}",
        "zero": f"{zero:.1f}",
        "low": _signed(low),
        "high": _signed(high),
        "better": int((gains > 0).sum()),
        "worse": int((gains < 0).sum()),
        "width": _WIDTH,
        "height": _HEIGHT,
    }
