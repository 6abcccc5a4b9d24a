"""Whether a reference photograph's palette guides the colours: how far results are from it, with and without.

    python bench/like.py FOLDER [--model base] [--pairs 20] [--strength S]

Each pair is a photograph and another one as its reference, chosen by name. The distance of a picture's colours to
the reference's palette is the earth mover's: the mean ab distance over which the colours have to move until they
are those of the reference.
"""

import argparse
import zlib
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist

from photographs import files_of
from tintlab.imaging.color import Byte, Float, rgb_to_lab
from tintlab.imaging.photos import read_photo
from tintlab.inference.palettes import DEFAULT_STRENGTH
from tintlab.studio import models
from tintlab.studio.look import Look
from tintlab.studio.photo import OpenPhoto
from tintlab.studio.requests import palette_of

MEGAPIXELS = 200.0
SAMPLES = 600
SIDE = 500  # pixels of the longer side


def pairs_of(folder: Path, count: int) -> list[tuple[Path, Path]]:
    """Photographs with their references: no photograph is in two pairs. Those with the lowest CRC of the name."""
    files = sorted(files_of(folder), key=lambda file: zlib.crc32(file.name.encode()))
    return list(zip(files[0 : 2 * count : 2], files[1 : 2 * count : 2], strict=True))


def colours_of(rgb: Byte) -> Float:
    """A sample of a picture's colours, ab `(SAMPLES, 2)`."""
    ab = rgb_to_lab(rgb)[..., 1:].reshape(-1, 2)
    return ab[np.random.default_rng(0).integers(0, len(ab), SAMPLES)]


def distance(one: Float, other: Float) -> float:
    """Earth mover's distance of two samples of one size."""
    costs = cdist(one, other)
    return float(costs[linear_sum_assignment(costs)].mean())


def main() -> None:
    """Print a row for each pair, and how many fell."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="base")
    parser.add_argument("--pairs", type=int, default=20)
    parser.add_argument("--strength", type=float, default=DEFAULT_STRENGTH)
    arguments = parser.parse_args()
    model = models.load(arguments.model)
    print("| photograph | reference | without | with |\n|---|---|---|---|")
    rows = []
    for file, reference in pairs_of(arguments.folder, arguments.pairs):
        photo, wanted = OpenPhoto(file, MEGAPIXELS), colours_of(read_photo(reference, MEGAPIXELS).rgb())
        looks = Look(), Look(like=palette_of(reference, MEGAPIXELS), like_strength=arguments.strength)
        without, guided = (distance(colours_of(photo.preview(model, look, SIDE)), wanted) for look in looks)
        rows.append((without, guided))
        print(f"| {file.stem} | {reference.stem} | {without:.1f} | {guided:.1f} |", flush=True)
    without, guided = np.array(rows).T
    print(
        f"\n{(guided < without).sum()} of {len(rows)} fell; mean {without.mean():.1f} to {guided.mean():.1f}"
    )


if __name__ == "__main__":
    main()
