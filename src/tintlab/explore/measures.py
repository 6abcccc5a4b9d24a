"""How varied, how useful and how believable a model's samples are, by noise and by dropout alone."""

from collections.abc import Callable, Sequence
from math import comb

import numpy as np
from PIL import Image
from skimage.color import deltaE_ciede2000

from tintlab.evaluation import metrics
from tintlab.evaluation.judge import Judge, view
from tintlab.evaluation.metrics import Numbers
from tintlab.explore import charts
from tintlab.explore.dropout import dropout_variants, dropping
from tintlab.explore.model import Explored
from tintlab.explore.section import Section, Table
from tintlab.explore.subjects import Subject
from tintlab.imaging import grids
from tintlab.imaging.color import Byte, Float, rgb_to_lab
from tintlab.inference import noise_vectors
from tintlab.system import console
from tintlab.system.errors import TintlabError

COUNTS = (1, 2, 4, 8, 16)
"""Numbers of samples of which the best is taken."""

SAMPLES = COUNTS[-1]

_SHOWN_PHOTOS, _SHOWN_SAMPLES, _SIDE = 5, 4, 104

Sampler = Callable[[Subject], Float]


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


def section(
    model: Explored, photos: Sequence[Subject], judge: Judge, seed: int, command: str
) -> tuple[Section, list[Image.Image]]:
    """Measure samples by noise, where the model takes it, and by dropout, where it has it.

    Args:
        model: as its config says.
        photos: of the test split.
        judge: whose features tell distances of pictures and of sets.
        seed: of the samples.
        command: that made it.

    Raises:
        TintlabError: the model has neither.
    """
    ways = _ways(model, seed)
    true: list[Numbers] = []
    plain: list[tuple[float, Numbers]] = []
    found: dict[str, list[tuple[float, float, Numbers, Numbers]]] = {name: [] for name in ways}
    shown: list[list[Byte]] = []
    for subject in console.progress(photos, "photos", "sampling", len(photos)):
        truth = subject.coloured(subject.ab)
        first = subject.coloured(model.colorizer.predict_variants(subject.lightness, None)[0])
        seen, _ = judge.look(np.stack([view(truth), view(first)]))
        true.append(seen[0])
        plain.append((delta_e00(first, truth), seen[1]))
        row = [truth, first]
        for name, sampler in ways.items():
            variants = sampler(subject)
            coloured = [subject.coloured(ab) for ab in variants]
            features, _ = judge.look(np.stack([view(rgb) for rgb in coloured]))
            errors = np.asarray([delta_e00(rgb, truth) for rgb in coloured])
            found[name].append((pairwise_ab(variants), pairwise_features(features), errors, features))
            row += coloured[:_SHOWN_SAMPLES]
        if len(shown) < _SHOWN_PHOTOS:
            shown.append(row)
    truths = np.stack(true)
    base_error = float(np.mean([error for error, _ in plain]))
    base_distance = _kernel(np.stack([features for _, features in plain]), truths)
    figures = {"without_noise.delta_e00": base_error, "without_noise.kernel_distance": base_distance}
    rows = [["without noise", "", "", f"{base_error:.2f}", "", f"{base_distance * 1000:.3f}"]]
    best: dict[str, Numbers] = {}
    for name, measured in found.items():
        ab, feature = (float(np.mean([one[i] for one in measured])) for i in (0, 1))
        best[name] = np.mean([expected_best(one[2]) for one in measured], axis=0)
        features = np.stack([one[3] for one in measured])
        distance = float(np.mean([_kernel(features[:, k], truths) for k in range(SAMPLES)]))
        rows.append(
            [
                name,
                f"{ab:.2f}",
                f"{feature:.4f}",
                f"{best[name][0]:.2f}",
                f"{best[name][-1]:.2f}",
                f"{distance * 1000:.3f}",
            ]
        )
        figures |= {
            f"{name}.pairwise_ab": ab,
            f"{name}.pairwise_features": feature,
            f"{name}.kernel_distance": distance,
        }
        figures |= {f"{name}.best_of_{n}": float(value) for n, value in zip(COUNTS, best[name], strict=True)}
    tables = [
        Table(
            caption=f"{SAMPLES} samples of each of {len(photos)} test photographs at working size",
            columns=[
                "samples by",
                "ab distance",
                "feature distance",
                "ΔE00 of one",
                "best of 16",
                "kernel ×1000",
            ],
            rows=rows,
        ),
        Table(
            caption=f"Best of n: ΔE00 to the truth of the nearest of n samples (without noise {base_error:.2f})",
            columns=["samples by", *(f"n = {n}" for n in COUNTS)],
            rows=[[name, *(f"{value:.2f}" for value in values)] for name, values in best.items()],
        ),
    ]
    words = [
        "Variety is the mean distance of two samples of one photo: in ab units over the pixels, and as cosine "
        "distance of the judge's features. Usefulness is how near the best of n samples comes to the truth. "
        "Realism is the kernel distance of the judge's features between single samples and true photographs: "
        "less is better."
    ]
    lines = best | {"without noise": np.full(len(COUNTS), base_error)}
    chart = charts.curves([COUNTS], [("best of n samples", "n", lines)], "ΔE00 to the truth")
    titles = ["true", "without noise", *(f"{name} {k + 1}" for name in ways for k in range(_SHOWN_SAMPLES))]
    return (
        Section(
            title="Variety, usefulness, realism",
            command=command,
            words=words,
            tables=tables,
            pictures={
                "The first samples of the first photographs, not picked": "samples.jpg",
                "ΔE00 of the best of n samples": "best-of-n.png",
            },
            figures={f"samples.{name}": value for name, value in figures.items()},
        ),
        [grids.grid(shown, _SIDE, titles), chart],
    )


def _ways(model: Explored, seed: int) -> dict[str, Sampler]:
    colorizer = model.colorizer
    ways: dict[str, Sampler] = {}
    if colorizer.z_dim:
        ways["noise"] = lambda subject: colorizer.predict_variants(
            subject.lightness, noise_vectors.draw(seed, subject.sha256, SAMPLES, colorizer.z_dim)
        )
    try:
        with dropping(colorizer.generator, seed):
            pass
        ways["dropout"] = lambda subject: dropout_variants(colorizer, subject.lightness, seed, SAMPLES)
    except TintlabError:
        if not ways:
            raise
    return ways


def _kernel(features: Numbers, true: Numbers) -> float:
    return float(metrics.kernel_distance(metrics.kernel_terms(features, true))[0])


def _over_pairs(items: "Numbers | Float", distance: Callable[[Float, Float], float]) -> float:
    k = len(items)
    pairs = [distance(items[i], items[j]) for i in range(k) for j in range(i)]
    return float(np.mean(pairs))
