"""convert: cut accepted photographs into squares of 8-bit L*a*b*, one memory-mapped array or several per split.

It also records statistics of the training photographs, with which later photographs are compared.
"""

import functools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.imaging.statistics import HISTOGRAM, SCALARS, Reference, summarize
from tintlab.stages.convert_shards import Finished, cut_shards
from tintlab.system import console, entry_point, paths, processes
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, atomic_path, write_json
from tintlab.system.params import ConvertParams, load_params
from tintlab.system.tables import SQUARE_COLUMNS, open_writer, read_table

SPLITS = ("train", "val")

_FIGURES = [*HISTOGRAM, *SCALARS]
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


@functools.lru_cache(maxsize=1)
def _open_for_writing(path: Path) -> color.Byte:
    array: color.Byte = np.load(path, mmap_mode="r+")
    return array


def _write_squares(
    task: tuple[str, int, int], path: Path, raw: Path, params: ConvertParams, max_megapixels: float
) -> list[float]:
    """Write the squares of a photograph into the array at `path`; its figures.

    Args:
        task: the photograph's name, the place of its first square, and how many there are.
        path: of the array.
        raw: the folder of the photographs.
        params: side and number of squares.
        max_megapixels: see `photos.read_photo`.
    """
    name, at, count = task
    photo = read_photo(raw / name, max_megapixels)
    squares, _ = squares_of(photo.rgb(), params)
    if len(squares) != count:
        raise TintlabError(
            f"{name} is not of the size in {paths.ACCEPTED}: run `dvc repro` to write it again"
        )
    _open_for_writing(path)[at : at + count] = squares
    summary = summarize(photo.lightness())
    return [summary[figure] for figure in _FIGURES]


def _write_shard(
    path: Path,
    photos: Sequence[str],
    counts: NDArray[np.int64],
    write: Callable[..., list[float]],
    pool: ProcessPoolExecutor,
    side: int,
) -> Iterator[list[float]]:
    """Write the squares of some photographs to `path`, unless an earlier run did; yields the figures of each."""
    finished = path.with_suffix(".figures")
    if path.exists() and finished.exists():
        yield from np.load(finished).tolist()
        return
    shape = (int(counts.sum()), side, side, 3)
    array = np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)
    with path.open("rb+") as file:
        # Otherwise a disk that fills up while the map is written kills the process silently (SIGBUS).
        os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
    places = np.cumsum(counts) - counts
    tasks = zip(photos, places.tolist(), counts.tolist(), strict=True)
    held = []
    for figures in processes.map_in_order(pool, functools.partial(write, path=path), tasks, _CHUNK):
        held.append(figures)
        yield figures
    array.flush()
    with atomic_path(finished) as temporary, temporary.open("wb") as file:
        np.save(file, np.array(held).reshape(len(photos), len(_FIGURES)))


def convert(
    accepted: pd.DataFrame,
    raw: Path,
    params: ConvertParams,
    max_megapixels: float,
    folder: Path,
    split: str,
    finished: Finished | None = None,
) -> int:
    """Write one split's squares, index and summary into `folder`; return the number of squares.

    Several processes write the squares through memory maps. Squares that fit in one shard are `SPLIT.npy`. More
    are `SPLIT-00000.npy` and so on, which `SPLIT_shards.json` lists.

    Args:
        accepted: columns `photo`, `split`, `cluster`, `category`, `width`, `height`.
        raw: the folder of the photographs.
        params: side and number of squares, size of a shard.
        max_megapixels: see `photos.read_photo`.
        folder: for the arrays, `SPLIT.csv` and `SPLIT_summary.json`.
        split: which split.
        finished: keeps the shards until the stage ends, so that an interrupted run goes on; None keeps none.
    """
    rows = accepted[accepted["split"] == split].sort_values("photo", ignore_index=True)
    sizes = zip(rows["width"], rows["height"], strict=True)
    counts = np.array([len(_corners(width, height, params)) for width, height in sizes], np.int64)
    most = max(1, int(params.shard_megabytes * 1e6) // (3 * params.image_size**2))
    shards = cut_shards(rows["photo"], counts, most)
    many = len(shards) > 1
    names = [f"{split}-{number:05}.npy" if many else f"{split}.npy" for number in range(len(shards))]
    write = functools.partial(_write_squares, raw=raw, params=params, max_megapixels=max_megapixels)
    figures = np.empty((len(rows), len(_FIGURES)))
    made: list[Path] = []

    def written(pool: ProcessPoolExecutor) -> Iterator[list[float]]:
        for shard, name in zip(shards, names, strict=True):
            photos = rows["photo"].iloc[shard.start : shard.stop].tolist()
            parts = counts[shard.start : shard.stop]
            inputs = [params.model_dump(), max_megapixels, photos, parts.tolist()]
            made.append(finished.path_of(inputs) if finished else folder / name)
            yield from _write_shard(made[-1], photos, parts, write, pool, params.image_size)

    with processes.worker_pool() as pool:
        for at, row in enumerate(console.progress(written(pool), "photos", split, len(rows))):
            figures[at] = row
    for path, name in zip(made, names, strict=True):
        shutil.move(path, folder / name)
        path.with_suffix(".figures").unlink()
    if many:
        listed = [{"file": name, "squares": shard.squares} for name, shard in zip(names, shards, strict=True)]
        write_json(folder / paths.lab_shards(split).name, listed)
    _write_index(rows, params, folder / f"{split}.csv")
    reference = Reference.of(pd.DataFrame(figures, columns=_FIGURES))
    write_json(folder / paths.lab_summary(split).name, reference.model_dump())
    return int(counts.sum())


def _write_index(rows: pd.DataFrame, params: ConvertParams, path: Path) -> None:
    """Write the table that says which photograph each square was cut from."""
    with open_writer(path) as index:
        for start in range(0, max(len(rows), 1), _ROWS):
            part = rows.iloc[start : start + _ROWS]
            squares = [
                (photo, cluster, category, left, top)
                for photo, cluster, category, width, height in zip(
                    *(part[name] for name in ("photo", "cluster", "category", "width", "height")), strict=True
                )
                for left, top in _corners(width, height, params)
            ]
            index.append(pd.DataFrame(squares, columns=list(SQUARE_COLUMNS)))


def _corners(width: int, height: int, params: ConvertParams) -> list[tuple[int, int]]:
    """Corners of the squares of a photograph, in the reduced one."""
    return square_corners(*_reduced_size(width, height, params.image_size), params.max_squares)


def _reduced_size(width: int, height: int, size: int) -> tuple[int, int]:
    scale = size / min(width, height)
    return max(size, round(width * scale)), max(size, round(height * scale))


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    params = load_params()
    accepted = read_table(paths.ACCEPTED)
    finished = Finished(paths.LAB_SHARDS)
    try:
        with atomic_folder(paths.LAB) as folder:
            counts = {
                split: convert(
                    accepted, paths.RAW, params.convert, params.photos.max_megapixels, folder, split, finished
                )
                for split in SPLITS
            }
        finished.clear()
    finally:
        finished.clear_unfinished()
    print(", ".join(f"{count} squares to {split}" for split, count in counts.items()))


if __name__ == "__main__":
    entry_point.run_stage(main)
