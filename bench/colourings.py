"""How much the studio's variants differ, and how far they stray from what the photographs are.

    python bench/colourings.py FOLDER [--model base] [--limit N]

For each photograph of the folder, the studio chooses six variants. The table gives the mean ab distance of two
of them. It also compares their similarity to the true photograph, by the evaluation's judge, with that of the
colouring without noise.
"""

import argparse
import itertools
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from photographs import files_of
from tintlab.evaluation.judge import Judge, view
from tintlab.imaging.color import Byte, Float, rgb_to_lab
from tintlab.imaging.photos import read_photo
from tintlab.studio import models
from tintlab.studio.look import Look
from tintlab.studio.photo import OpenPhoto
from tintlab.studio.variants import DRAWN_SIDE, choose_variants, draw

COUNT = 6
TOLERANCE = 0.02
MEGAPIXELS = 200.0
SIDE = 500  # pixels of the longer side


@dataclass(frozen=True)
class Measured:
    """The figures of one photograph.

    Attributes:
        distances: mean ab distances of each two variants.
        plain: similarity of the colouring without noise.
        similarities: of the variants, by their places.
    """

    distances: list[float]
    plain: float
    similarities: list[float]


def measure(file: Path, model: models.Model, judge: Judge) -> Measured:
    """Colour a photograph in all ways and compare."""
    photo = OpenPhoto(file, MEGAPIXELS)
    true = _features(read_photo(file, MEGAPIXELS).rgb(), judge)
    draws = draw(model, photo.lightness_at(DRAWN_SIDE), photo.sha256, 0)
    looks = [Look(), *(Look(variant=variant.number) for variant in choose_variants(draws, COUNT))]
    pictures = [photo.preview(model, look, SIDE) for look in looks]
    ab = [rgb_to_lab(picture)[..., 1:] for picture in pictures[1:]]
    distances = [_mean_distance(first, second) for first, second in itertools.combinations(ab, 2)]
    plain, *others = (_cosine(_features(picture, judge), true) for picture in pictures)
    return Measured(distances, plain, others)


def _features(rgb: Byte, judge: Judge) -> Float:
    features, _ = judge.look(view(rgb)[None])
    return np.asarray(features[0], np.float32)


def _cosine(one: Float, other: Float) -> float:
    return float(one @ other / (np.linalg.norm(one) * np.linalg.norm(other)))


def _mean_distance(one: Float, other: Float) -> float:
    return float(np.hypot(*np.moveaxis(one - other, -1, 0)).mean())


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--limit", type=int, help="this many photographs, evenly chosen by name")
    arguments = parser.parse_args()
    model, judge = models.load(arguments.model), Judge()
    found = [measure(file, model, judge) for file in files_of(arguments.folder, arguments.limit)]
    means = np.array([np.mean(one.distances) for one in found])
    changes = np.array([np.array(one.similarities) - one.plain for one in found])
    print(f"{len(found)} photographs, {COUNT} variants each\n\n| measure | figure |\n|---|---|")
    print(f"| ab distance of two variants, mean | {means.mean():.1f} |")
    print(f"| the same, photographs with 8 or more | {(means >= 8).mean():.0%} |")
    print(f"| the nearest two of a photograph, mean | {np.mean([min(one.distances) for one in found]):.1f} |")
    print(f"| similarity without noise | {np.mean([one.plain for one in found]):.3f} |")
    each = ", ".join(f"{change:+.3f}" for change in changes.mean(axis=0))
    print(f"| change of similarity, of the first to the last variant | {each} |")
    print(f"| the largest fall of a mean | {-changes.mean(axis=0).min():.3f} |")
    print(f"| variants at most {TOLERANCE} below | {(changes >= -TOLERANCE).mean():.0%} |")


if __name__ == "__main__":
    main()
