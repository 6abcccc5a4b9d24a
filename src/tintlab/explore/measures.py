"""Variety, usefulness and realism of a model's samples, by noise and by dropout alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import comb

import numpy as np
from PIL import Image
from skimage.color import deltaE_ciede2000

from tintlab.evaluation import metrics
from tintlab.evaluation.judge import Judge, view
from tintlab.evaluation.metrics import Numbers
from tintlab.explore import charts
from tintlab.explore.dropout import dropping, predict_with_dropout
from tintlab.explore.model import Explored
from tintlab.explore.section import Section, Table
from tintlab.explore.subjects import Subject
from tintlab.imaging import grids
from tintlab.imaging.color import Byte, Float, rgb_to_lab
from tintlab.inference import noise_vectors
from tintlab.system import console
from tintlab.system.errors import TintlabError

COUNTS = (1, 2, 4, 8, 16)
"""The n of "best of n samples"."""

SAMPLES = COUNTS[-1]

_SHOWN_PHOTOS, _SHOWN_SAMPLES, _SIDE = 5, 4, 104

Sampler = Callable[[Subject], Float]
"""Draws samples of a photograph: ab `(SAMPLES, h, w, 2)`."""


@dataclass(frozen=True)
class PhotoSamples:
    """Samples of one photograph.

    Attributes:
        pairwise_ab: see `pairwise_ab`.
        pairwise_features: see `pairwise_features`.
        errors: ΔE00 to the truth, `(SAMPLES,)`.
        features: the judge's, `(SAMPLES, d)`.
    """

    pairwise_ab: float
    pairwise_features: float
    errors: Numbers
    features: Numbers


@dataclass(frozen=True)
class Samples:
    """Samples of all photographs.

    Attributes:
        pairwise_ab: mean over the photographs, as the next two.
        pairwise_features: see `pairwise_features`.
        best: see `expected_best`, `(COUNTS,)`.
        features: the judge's, `(photos, SAMPLES, d)`.
    """

    pairwise_ab: float
    pairwise_features: float
    best: Numbers
    features: Numbers

    def kernel_distance(self, truths: Numbers) -> float:
        """Kernel distance to true photographs `(photos, d)`: the mean over sets of one sample per photograph."""
        return float(np.mean([_kernel(self.features[:, k], truths) for k in range(SAMPLES)]))


@dataclass(frozen=True)
class Measured:
    """Samples beside the truth and the colouring without noise.

    Attributes:
        truths: the judge's features of the true photographs, `(photos, d)`.
        plain_error: mean ΔE00 of the colourings without noise.
        plain_features: the judge's features of these, `(photos, d)`.
        samples: by source of the variety: `noise`, `dropout`.
        shown: rows of pictures: true, without noise, some samples.
    """

    truths: Numbers
    plain_error: float
    plain_features: Numbers
    samples: dict[str, Samples]
    shown: list[list[Byte]]


def pairwise_ab(variants: Float) -> float:
    """Mean distance in ab units between pixels of two of the variants `(k, h, w, 2)`, over all pairs."""
    return _over_pairs(variants, lambda one, other: float(np.hypot(*np.moveaxis(one - other, -1, 0)).mean()))


def pairwise_features(features: Numbers) -> float:
    """Mean cosine distance, 0 to 2, between two rows of `(k, d)`, over all pairs."""
    unit = features / np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-12)
    return _over_pairs(unit, lambda one, other: float(1 - one @ other))


def expected_best(values: Numbers, counts: Sequence[int] = COUNTS) -> Numbers:
    """The mean smallest value of n of the values `(k,)`, over all choices of n, for each n: `(counts,)`.

    The i-th smallest of k, from 0, is the smallest of comb(k - 1 - i, n - 1) choices.
    """
    ordered, k = np.sort(values), len(values)
    return np.asarray(
        [sum(comb(k - 1 - i, n - 1) * value for i, value in enumerate(ordered)) / comb(k, n) for n in counts]
    )


def delta_e00(rgb: Byte, true: Byte) -> float:
    """As `metrics.delta_e00`."""
    return float(deltaE_ciede2000(rgb_to_lab(true), rgb_to_lab(rgb)).mean())


def measure(model: Explored, photos: Sequence[Subject], judge: Judge, seed: int) -> Measured:
    """Measure samples by noise, if the model takes noise, and by dropout, if it has dropout.

    Args:
        model: with noise, dropout or both.
        photos: of the test split.
        judge: its features give distances between pictures and between sets.
        seed: of the samples.

    Raises:
        TintlabError: the model has neither noise nor dropout.
    """
    samplers = _samplers(model, seed)
    truths, plain, shown = list[Numbers](), list[tuple[float, Numbers]](), list[list[Byte]]()
    found: dict[str, list[PhotoSamples]] = {name: [] for name in samplers}
    for subject in console.progress(photos, "photos", "sampling", len(photos)):
        truth = subject.coloured(subject.ab)
        first = subject.coloured(model.colorizer.predict_variants(subject.lightness, None)[0])
        seen, _ = judge.look(np.stack([view(truth), view(first)]))
        truths.append(seen[0])
        plain.append((delta_e00(first, truth), seen[1]))
        row = [truth, first]
        for name, sampler in samplers.items():
            variants = sampler(subject)
            coloured = [subject.coloured(ab) for ab in variants]
            found[name].append(_measure_photo(variants, coloured, truth, judge))
            row += coloured[:_SHOWN_SAMPLES]
        if len(shown) < _SHOWN_PHOTOS:
            shown.append(row)
    return Measured(
        truths=np.stack(truths),
        plain_error=float(np.mean([error for error, _ in plain])),
        plain_features=np.stack([features for _, features in plain]),
        samples={name: _summarize(own) for name, own in found.items()},
        shown=shown,
    )


def make_section(measured: Measured, command: str) -> tuple[Section, list[Image.Image]]:
    """Write the measurements as a section, with its pictures.

    Args:
        measured: see `measure`.
        command: that produces the section.
    """
    names = list(measured.samples)
    titles = ["true", "without noise", *(f"{name} {k + 1}" for name in names for k in range(_SHOWN_SAMPLES))]
    section = Section(
        title="Variety, usefulness, realism",
        command=command,
        words=[
            "Variety is the mean distance between two samples of one photo: in ab units over the pixels, and "
            "as cosine distance between the judge's features. Usefulness is the distance of the best of n "
            "samples from the truth. Realism is the kernel distance between the judge's features of single "
            "samples and of true photographs: less is better."
        ],
        tables=_tables(measured),
        pictures={
            "The first samples of the first photographs, not hand-picked": "samples.jpg",
            "ΔE00 of the best of n samples": "best-of-n.png",
        },
        figures={f"samples.{name}": value for name, value in _figures(measured).items()},
    )
    return section, [grids.draw_grid(measured.shown, _SIDE, titles), _chart(measured)]


def _measure_photo(variants: Float, coloured: Sequence[Byte], truth: Byte, judge: Judge) -> PhotoSamples:
    features, _ = judge.look(np.stack([view(rgb) for rgb in coloured]))
    errors = np.asarray([delta_e00(rgb, truth) for rgb in coloured])
    return PhotoSamples(pairwise_ab(variants), pairwise_features(features), errors, features)


def _summarize(photos: Sequence[PhotoSamples]) -> Samples:
    return Samples(
        pairwise_ab=float(np.mean([one.pairwise_ab for one in photos])),
        pairwise_features=float(np.mean([one.pairwise_features for one in photos])),
        best=np.mean([expected_best(one.errors) for one in photos], axis=0),
        features=np.stack([one.features for one in photos]),
    )


def _figures(measured: Measured) -> dict[str, float]:
    figures = {
        "without_noise.delta_e00": measured.plain_error,
        "without_noise.kernel_distance": _kernel(measured.plain_features, measured.truths),
    }
    for name, own in measured.samples.items():
        figures |= {
            f"{name}.pairwise_ab": own.pairwise_ab,
            f"{name}.pairwise_features": own.pairwise_features,
            f"{name}.kernel_distance": own.kernel_distance(measured.truths),
        }
        figures |= {f"{name}.best_of_{n}": float(value) for n, value in zip(COUNTS, own.best, strict=True)}
    return figures


def _tables(measured: Measured) -> list[Table]:
    figures = _figures(measured)
    distance = figures["without_noise.kernel_distance"]
    rows = [["without noise", "", "", f"{measured.plain_error:.2f}", "", f"{distance * 1000:.3f}"]]
    for name, own in measured.samples.items():
        rows.append(
            [
                name,
                f"{own.pairwise_ab:.2f}",
                f"{own.pairwise_features:.4f}",
                f"{own.best[0]:.2f}",
                f"{own.best[-1]:.2f}",
                f"{figures[f'{name}.kernel_distance'] * 1000:.3f}",
            ]
        )
    plain = f"{measured.plain_error:.2f}"
    columns = ["samples by", "ab distance", "feature distance", "ΔE00 of one", "best of 16", "kernel ×1000"]
    return [
        Table(
            caption=f"{SAMPLES} samples of each of {len(measured.truths)} test photographs at working size",
            columns=columns,
            rows=rows,
        ),
        Table(
            caption=f"Best of n: ΔE00 between the truth and the nearest of n samples (without noise {plain})",
            columns=["samples by", *(f"n = {n}" for n in COUNTS)],
            rows=[[name, *(f"{value:.2f}" for value in own.best)] for name, own in measured.samples.items()],
        ),
    ]


def _chart(measured: Measured) -> Image.Image:
    lines = {name: own.best for name, own in measured.samples.items()}
    lines["without noise"] = np.full(len(COUNTS), measured.plain_error)
    return charts.draw_curves([COUNTS], [("best of n samples", "n", lines)], "ΔE00 to the truth")


def _samplers(model: Explored, seed: int) -> dict[str, Sampler]:
    colorizer = model.colorizer
    samplers: dict[str, Sampler] = {}
    if colorizer.z_dim:
        samplers["noise"] = lambda subject: colorizer.predict_variants(
            subject.lightness, noise_vectors.draw(seed, subject.sha256, SAMPLES, colorizer.z_dim)
        )
    try:
        with dropping(colorizer.generator, seed):
            pass
        samplers["dropout"] = lambda subject: predict_with_dropout(
            colorizer, subject.lightness, seed, SAMPLES
        )
    except TintlabError:
        if not samplers:
            raise
    return samplers


def _kernel(features: Numbers, true: Numbers) -> float:
    return float(metrics.kernel_distance(metrics.kernel_terms(features, true))[0])


def _over_pairs(items: "Numbers | Float", distance: Callable[[Float, Float], float]) -> float:
    k = len(items)
    pairs = [distance(items[i], items[j]) for i in range(k) for j in range(i)]
    return float(np.mean(pairs))
