"""The squares of one split: one memory-mapped array, or several shards that are read as one."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json

Squares = NDArray[np.uint8]


class Shards:
    """Arrays `(n_i, side, side, 3)` as one `(n, side, side, 3)`; only what is asked for is read.

    Args:
        arrays: memory-mapped, of which all but the first dimension are equal.
    """

    def __init__(self, arrays: Sequence[Squares]) -> None:
        self._arrays = arrays
        self._ends = np.cumsum([len(array) for array in arrays])
        self.shape: tuple[int, ...] = (int(self._ends[-1]), *arrays[0].shape[1:])
        self.dtype = arrays[0].dtype

    def __len__(self) -> int:
        return self.shape[0]

    def __iter__(self) -> Iterator[Squares]:
        for array in self._arrays:
            yield from array

    def __getitem__(self, key: Any) -> Squares:
        """One square, or a part of one (`[3, ::2]`), as a view; several squares as a copy."""
        first, rest = (key[0], key[1:]) if isinstance(key, tuple) else (key, ())
        if isinstance(first, int | np.integer):
            place = int(first) + (len(self) if first < 0 else 0)
            if not 0 <= place < len(self):
                raise IndexError(f"square {first} of {len(self)}")
            shard = int(np.searchsorted(self._ends, place, side="right"))
            array = self._arrays[shard]
            return cast(Squares, array[(place - int(self._ends[shard]) + len(array), *rest)])
        chosen = [self[(int(place), *rest)] for place in np.arange(len(self))[first]]
        return np.stack(chosen) if chosen else self._arrays[0][(slice(0, 0), *rest)]


def open_squares(split: str) -> Squares:
    """The squares of a split, `(n, side, side, 3)` packed L*a*b*, memory-mapped.

    Several shards are a `Shards`, which answers `len`, `shape`, iteration and indexing as an array does.

    Raises:
        TintlabError: a shard is missing.
    """
    files = shard_files(split)
    if missing := [file for file in files if not file.exists()]:
        raise TintlabError(f"{missing[0]} is missing: run `dvc repro` to make it")
    arrays = [np.load(file, mmap_mode="r") for file in files]
    return cast(Squares, Shards(arrays)) if len(arrays) > 1 else arrays[0]


def shard_files(split: str) -> list[Path]:
    """The files that hold a split's squares, in order: `SPLIT.npy`, or those that `SPLIT_shards.json` lists."""
    index = paths.lab_shards(split)
    if not index.exists():
        return [paths.lab_squares(split)]
    return [index.with_name(shard["file"]) for shard in read_json(index)]
