"""How the colours depend on the contrast and the brightness of the grey photograph."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from skimage.color import deltaE_ciede2000

from tintlab.evaluation.metrics import Numbers
from tintlab.explore import charts
from tintlab.explore.attributes import chroma
from tintlab.explore.section import Section, Table
from tintlab.explore.subjects import Subject
from tintlab.imaging import grids
from tintlab.imaging.color import Byte, Float, rgb_to_lab
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.guided import joined
from tintlab.system import console

CONTRASTS = (0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6)
BRIGHTNESSES = (-30.0, -20.0, -10.0, -5.0, 0.0, 5.0, 10.0, 20.0, 30.0)

AXES = {"contrast": CONTRASTS, "brightness": BRIGHTNESSES}

SWEEPS = {
    "contrast": [(value, 0.0) for value in CONTRASTS],
    "brightness": [(1.0, value) for value in BRIGHTNESSES],
}
"""Contrasts and brightnesses, together, along each axis."""

_SHOWN_PHOTOS = 4
_SHOWN = (0, 2, 4, 6, 8)
_SIDE = 150
_RECORDED = (0.8, 1.2, -20.0, 20.0)  # values whose figures go to MLflow


@dataclass(frozen=True)
class Measured:
    """Colours along both sweeps, by `contrast` and `brightness`.

    Attributes:
        off: ΔE00 to the colours of the unchanged photo, `(photos, steps)`.
        chroma: mean chroma, `(photos, steps)`.
        shown: rows of pictures.
    """

    off: dict[str, Numbers]
    chroma: dict[str, Numbers]
    shown: dict[str, list[list[Byte]]]


def change(lightness: Float, contrast: float, brightness: float) -> Float:
    """Multiply the distances of L* `(h, w)` from its mean, add L* units, and clip to [0, 100]."""
    mean = lightness.mean()
    moved: Float = np.clip((lightness - mean) * np.float32(contrast) + mean + np.float32(brightness), 0, 100)
    return moved


def sweep(colorizer: Colorizer, subject: Subject, settings: Sequence[tuple[float, float]]) -> Float:
    """Predict the ab `(n, h, w, 2)` of a photo under each contrast and brightness."""
    inputs = np.stack([change(subject.lightness, *setting) for setting in settings])
    return np.concatenate([colorizer.predict_working_ab(one[None]) for one in inputs])


def differences(subject: Subject, colourings: Float, reference: Float) -> Numbers:
    """ΔE00 `(n,)` of colourings to a reference ab, all on the photo's own L*: colours alone are compared."""
    first = rgb_to_lab(subject.coloured(reference))
    return np.asarray(
        [float(deltaE_ciede2000(first, rgb_to_lab(subject.coloured(ab))).mean()) for ab in colourings]
    )


def measure(colorizer: Colorizer, photos: Sequence[Subject]) -> Measured:
    """Sweep contrast and brightness of photographs of the test split."""
    off: dict[str, list[Numbers]] = {name: [] for name in SWEEPS}
    vivid: dict[str, list[list[float]]] = {name: [] for name in SWEEPS}
    shown: dict[str, list[list[Byte]]] = {name: [] for name in SWEEPS}
    for subject in console.progress(photos, "photos", "sweeping", len(photos)):
        reference = colorizer.predict_variants(subject.lightness, None)[0]
        for name, settings in SWEEPS.items():
            colourings = sweep(colorizer, subject, settings)
            off[name].append(differences(subject, colourings, reference))
            vivid[name].append([float(chroma(ab).mean()) for ab in colourings])
            if len(shown[name]) < _SHOWN_PHOTOS:
                changed = [change(subject.lightness, *setting) for setting in settings]
                shown[name].append([joined(changed[i], colourings[i]) for i in _SHOWN])
    return Measured(
        {name: np.stack(values) for name, values in off.items()},
        {name: np.asarray(values) for name, values in vivid.items()},
        shown,
    )


def make_section(measured: Measured, command: str) -> tuple[Section, list[Image.Image]]:
    """Write the sweeps as a section, with its pictures.

    Args:
        measured: see `measure`.
        command: that produces the section.
    """
    section = Section(
        title="Contrast and brightness",
        command=command,
        words=[
            "The L* of the grey photograph is stretched about its mean, or shifted. The network's colours are "
            "then put on the unchanged L*, so only colours are compared. ±20 % means contrast 0.8 and 1.2, "
            "and 20 of the 100 units of L*."
        ],
        tables=[_table(measured, name, values) for name, values in AXES.items()],
        pictures={
            "Change of the colours: median photo, and the middle 80 %": "robustness.png",
            "Contrast": "contrast.jpg",
            "Brightness": "brightness.jpg",
        },
        figures=_figures(measured),
    )
    return section, [_chart(measured), *_sheets(measured)]


def _table(measured: Measured, name: str, values: Sequence[float]) -> Table:
    mean, chromas = measured.off[name].mean(axis=0), measured.chroma[name].mean(axis=0)
    return Table(
        caption=f"{name}: means of {len(measured.off[name])} test photographs",
        columns=["", *(f"{value:g}".replace("-", "−") for value in values)],
        rows=[
            ["ΔE00 to the unchanged", *(f"{one:.2f}" for one in mean)],
            ["chroma", *(f"{one:.1f}" for one in chromas)],
        ],
    )


def _figures(measured: Measured) -> dict[str, float]:
    return {
        f"contrast.{name}_{value:g}.delta_e00".replace("-", "minus_"): float(one)
        for name, values in AXES.items()
        for value, one in zip(values, measured.off[name].mean(axis=0), strict=True)
        if value in _RECORDED
    }


def _chart(measured: Measured) -> Image.Image:
    bands = {name: np.quantile(values, [0.1, 0.5, 0.9], axis=0) for name, values in measured.off.items()}
    return charts.draw_curves(
        [CONTRASTS, BRIGHTNESSES],
        [
            ("contrast", "factor on L* about its mean", {"median, 10 to 90 %": bands["contrast"]}),
            ("brightness", "added to L*", {"median, 10 to 90 %": bands["brightness"]}),
        ],
        "ΔE00 to the unchanged photo's colours",
    )


def _sheets(measured: Measured) -> list[Image.Image]:
    return [
        grids.draw_grid(measured.shown[name], _SIDE, [f"{label} {AXES[name][i]:{sign}g}" for i in _SHOWN])
        for name, label, sign in (("contrast", "contrast ×", ""), ("brightness", "L*", "+"))
    ]
