"""convert: cut accepted photographs into squares of 8-bit L*a*b*, one memory-mapped array per split.

It also records statistics of the training photographs, with which later photographs are compared.
"""

import functools
import os
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.imaging.statistics import HISTOGRAM, SCALARS, Reference, summarize
from tintlab.system import console, entry_point, paths, processes
from tintlab.system.files import atomic_folder, write_json
from tintlab.system.params import ConvertParams, load_params
from tintlab.system.tables import SQUARE_COLUMNS, batched, open_writer, read_table

SPLITS = ("train", "val")

_FIGURES = [*HISTOGRAM, *SCALARS]
_FIGURES_FILE = "figures.npy"
"""Of all photographs, in a file meanwhile: they would take a fifth of the memory."""
_CHUNK = 8
_ROWS = 256
"""Photographs whose rows of the index are written at once."""

Cut = tuple[color.Byte, list[tuple[int, int]]]
"""Squares `(n, size, size, 3)` of packed L*a*b*, and their corners (left, top)."""


def square_corners(width: int, height: int, max_squares: int) -> list[tuple[int, int]]:
    """Corners (left, top) of the squares that cover a picture along its long side, evenly spread.

    As few as cover it, at most `max_squares`. The first and the last touch the ends of the picture.
    """
    side, length = min(width, height), max(width, height)
    count = min(max_squares, -(-length // side))
    starts = (
        np.rint(np.linspace(0, length - side, count)).astype(int) if count > 1 else [(length - side) // 2]
    )
    return [(int(start), 0) if width >= height else (0, int(start)) for start in starts]


def reduced(rgb: color.Byte, size: int) -> color.Byte:
    """Scale a photo so that its short side is `size` pixels; proportions stay."""
    target = _reduced_size(rgb.shape[1], rgb.shape[0], size)
    return np.asarray(Image.fromarray(rgb).resize(target, Image.Resampling.LANCZOS, reducing_gap=3.0))


def squares_of(rgb: color.Byte, params: ConvertParams) -> Cut:
    """Cut a photo `(h, w, 3)` into squares of packed L*a*b*."""
    small = reduced(rgb, params.image_size)
    corners = square_corners(small.shape[1], small.shape[0], params.max_squares)
    lab = color.quantise(color.rgb_to_lab(small))
    squares = [lab[top : top + params.image_size, left : left + params.image_size] for left, top in corners]
    return np.stack(squares), corners


def _read_squares(
    name: str, raw: Path, params: ConvertParams, max_megapixels: float
) -> tuple[Cut, dict[str, float]]:
    photo = read_photo(raw / name, max_megapixels)
    return squares_of(photo.rgb(), params), summarize(photo.lightness())


def convert(
    accepted: pd.DataFrame, raw: Path, params: ConvertParams, max_megapixels: float, folder: Path, split: str
) -> int:
    """Write one split's array, index and summary into `folder`; return the number of squares.

    Memory use does not depend on the number of photographs: the array is written through a memory map.

    Args:
        accepted: columns `photo`, `split`, `cluster`, `category`, `width`, `height`.
        raw: the folder of the photographs.
        params: side and number of squares.
        max_megapixels: see `photos.read_photo`.
        folder: for `SPLIT.npy`, `SPLIT.csv` and `SPLIT_summary.json`.
        split: which split.
    """
    rows = accepted[accepted["split"] == split].sort_values("photo", ignore_index=True)
    total = sum(
        len(square_corners(*_reduced_size(width, height, params.image_size), params.max_squares))
        for width, height in zip(rows["width"], rows["height"], strict=True)
    )
    shape = (total, params.image_size, params.image_size, 3)
    path = folder / f"{split}.npy"
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("rb+") as file:
        # Otherwise a disk that fills up while the map is written kills the process silently (SIGBUS).
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    read = functools.partial(_read_squares, raw=raw, params=params, max_megapixels=max_megapixels)
    figures = np.lib.format.open_memmap(
        folder / _FIGURES_FILE, mode="w+", dtype=np.float64, shape=(len(rows), len(_FIGURES))
    )
    done = 0
    with processes.worker_pool() as pool, open_writer(folder / f"{split}.csv") as index:
        results = processes.map_in_order(pool, read, rows["photo"], _CHUNK)
        paired = zip(
            rows.index, rows["photo"], rows["cluster"], rows["category"],
            console.progress(results, "photos", split, len(rows)), strict=True,
        )  # fmt: skip
        for part in batched(paired, _ROWS):
            cut: list[tuple[object, ...]] = []
            for at, photo, cluster, category, ((squares, corners), summary) in part:
                array[done : done + len(squares)] = squares
                done += len(squares)
                cut += [(photo, cluster, category, left, top) for left, top in corners]
                figures[at] = [summary[name] for name in _FIGURES]
            index.append(pd.DataFrame(cut, columns=list(SQUARE_COLUMNS)))
        if not len(rows):
            index.append(pd.DataFrame([], columns=list(SQUARE_COLUMNS)))
    array.flush()
    reference = Reference.of(pd.DataFrame(figures, columns=_FIGURES))
    (folder / _FIGURES_FILE).unlink()
    write_json(folder / paths.lab_summary(split).name, reference.model_dump())
    return total


def _reduced_size(width: int, height: int, size: int) -> tuple[int, int]:
    scale = size / min(width, height)
    return max(size, round(width * scale)), max(size, round(height * scale))


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    params = load_params()
    accepted = read_table(paths.ACCEPTED)
    with atomic_folder(paths.LAB) as folder:
        counts = {
            split: convert(accepted, paths.RAW, params.convert, params.photos.max_megapixels, folder, split)
            for split in SPLITS
        }
    print(", ".join(f"{count} squares to {split}" for split, count in counts.items()))


if __name__ == "__main__":
    entry_point.run_stage(main)
