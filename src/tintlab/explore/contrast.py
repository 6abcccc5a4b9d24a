"""How the colours depend on the contrast and the brightness of the grey photograph."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from skimage.color import deltaE_ciede2000

from tintlab.evaluation.metrics import Numbers
from tintlab.explore import charts
from tintlab.explore.attributes import chroma
from tintlab.explore.model import Explored
from tintlab.explore.section import Section, Table
from tintlab.explore.subjects import Subject
from tintlab.imaging import grids
from tintlab.imaging.color import Byte, Float, rgb_to_lab
from tintlab.inference.colorizer import Colorizer, joined
from tintlab.system import console

CONTRASTS = (0.4, 0.6, 0.8, 0.9, 1.0, 1.1, 1.2, 1.4, 1.6)
BRIGHTNESSES = (-30.0, -20.0, -10.0, -5.0, 0.0, 5.0, 10.0, 20.0, 30.0)

_SHOWN_PHOTOS = 4
_SHOWN = (0, 2, 4, 6, 8)
_SIDE = 150


def changed(lightness: Float, contrast: float, brightness: float) -> Float:
    """L* `(h, w)` with its distances from its own mean multiplied, and L* units added; clipped to [0, 100]."""
    mean = lightness.mean()
    moved: Float = np.clip((lightness - mean) * np.float32(contrast) + mean + np.float32(brightness), 0, 100)
    return moved


def swept(colorizer: Colorizer, subject: Subject, settings: Sequence[tuple[float, float]]) -> Float:
    """ab `(n, h, w, 2)` that the network says of a photo under each contrast and brightness."""
    inputs = np.stack([changed(subject.lightness, *setting) for setting in settings])
    return np.concatenate([colorizer.predict_working_ab(one[None]) for one in inputs])


def differences(subject: Subject, colourings: Float, reference: Float) -> Numbers:
    """ΔE00 `(n,)` of colourings to a reference ab, all on the photo's own L*: colours alone are compared."""
    first = rgb_to_lab(subject.coloured(reference))
    return np.asarray(
        [float(deltaE_ciede2000(first, rgb_to_lab(subject.coloured(ab))).mean()) for ab in colourings]
    )


def section(model: Explored, photos: Sequence[Subject], command: str) -> tuple[Section, list[Image.Image]]:
    """Sweep contrast and brightness.

    Args:
        model: any.
        photos: of the test split.
        command: that made it.
    """
    sweeps = {
        "contrast": [(value, 0.0) for value in CONTRASTS],
        "brightness": [(1.0, value) for value in BRIGHTNESSES],
    }
    off: dict[str, list[Numbers]] = {name: [] for name in sweeps}
    vivid: dict[str, list[list[float]]] = {name: [] for name in sweeps}
    rows: list[list[Byte]] = []
    for subject in console.progress(photos, "photos", "sweeping", len(photos)):
        reference = model.colorizer.predict_variants(subject.lightness, None)[0]
        for name, settings in sweeps.items():
            colourings = swept(model.colorizer, subject, settings)
            off[name].append(differences(subject, colourings, reference))
            vivid[name].append([float(chroma(ab).mean()) for ab in colourings])
            if len(rows) < 2 * _SHOWN_PHOTOS:
                rows.append([joined(changed(subject.lightness, *settings[i]), colourings[i]) for i in _SHOWN])
    sheets = [
        grids.grid(rows[start::2], _SIDE, [f"{axis} {values[i]:{sign}g}" for i in _SHOWN])
        for start, axis, values, sign in ((0, "contrast ×", CONTRASTS, ""), (1, "L*", BRIGHTNESSES, "+"))
    ]
    bands = {name: np.quantile(np.stack(values), [0.1, 0.5, 0.9], axis=0) for name, values in off.items()}
    chart = charts.curves(
        [CONTRASTS, BRIGHTNESSES],
        [
            ("contrast", "factor on L* about its mean", {"median, 10 to 90 %": bands["contrast"]}),
            ("brightness", "added to L*", {"median, 10 to 90 %": bands["brightness"]}),
        ],
        "ΔE00 to the unchanged photo's colours",
    )
    figures, tables = {}, []
    for name, values in (("contrast", CONTRASTS), ("brightness", BRIGHTNESSES)):
        mean, chromas = np.mean(off[name], axis=0), np.mean(vivid[name], axis=0)
        tables.append(
            Table(
                caption=f"{name}: means of {len(photos)} test photographs",
                columns=["", *(f"{value:g}".replace("-", "−") for value in values)],
                rows=[
                    ["ΔE00 to the unchanged", *(f"{one:.2f}" for one in mean)],
                    ["chroma", *(f"{one:.1f}" for one in chromas)],
                ],
            )
        )
        for value, one in zip(values, mean, strict=True):
            if value in (0.8, 1.2, -20.0, 20.0):
                figures[f"contrast.{name}_{value:g}.delta_e00".replace("-", "minus_")] = float(one)
    words = [
        "The grey photograph's L* is stretched about its mean, or moved; the colours that the network then "
        "gives are laid on the unchanged L*, so that colours alone are compared. ±20 % is contrast 0.8 and 1.2, "
        "and 20 of the 100 units of L*."
    ]
    return (
        Section(
            title="Contrast and brightness",
            command=command,
            words=words,
            tables=tables,
            pictures={
                "How far colours move: median photo, and the middle 80 %": "robustness.png",
                "Contrast": "contrast.jpg",
                "Brightness": "brightness.jpg",
            },
            figures=figures,
        ),
        [chart, *sheets],
    )
