"""Where one shard of the squares ends and the next begins, and shards that an interrupted run has left.

The ends depend on the photographs around them alone. So photographs that arrive later change few shards, and DVC
pushes only those.
"""

import contextlib
import hashlib
import json
import shutil
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import color


@dataclass(frozen=True)
class Shard:
    """A run of a split's photographs.

    Attributes:
        start: its first photograph.
        stop: the one after its last.
        squares: how many squares these have.
    """

    start: int
    stop: int
    squares: int


def cut_shards(photos: Iterable[str], counts: NDArray[np.int64], most: int) -> list[Shard]:
    """Cut a split into shards of at most `most` squares, about half as many on average; one if all fit.

    A shard that has a quarter of `most` ends before a photograph whose name's checksum says so.

    Args:
        photos: names, sorted.
        counts: squares of each photograph.
        most: squares; a photograph with more has its own shard.
    """
    total = int(counts.sum())
    if total <= most:
        return [Shard(0, len(counts), total)]
    least = most / 4
    period = max(1, round(least / float(counts.mean())))
    shards, start, held = [], 0, 0
    for place, (photo, count) in enumerate(zip(photos, counts.tolist(), strict=True)):
        ends = held >= least and zlib.crc32(photo.encode()) % period == 0
        if place > start and (ends or held + count > most):
            shards.append(Shard(start, place, held))
            start, held = place, 0
        held += count
    return [*shards, Shard(start, len(counts), held)]


class Finished:
    """Shards that an interrupted run of the stage has finished, each named by what it depends on.

    Args:
        folder: beside the stage's output, so that they can move there.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        imaging = sorted(Path(color.__file__).parent.glob("*.py"))
        code = [*imaging, *sorted(Path(__file__).parent.glob("convert*.py"))]
        self._code = hashlib.sha256(b"\0".join(file.read_bytes() for file in code)).hexdigest()

    def path_of(self, inputs: Any) -> Path:
        """Where the shard lies, or will lie, that is made from these inputs, which JSON can hold."""
        self.folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps([self._code, inputs])
        return self.folder / f"{hashlib.sha256(text.encode()).hexdigest()}.npy"

    def clear(self) -> None:
        """Remove all of them."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def clear_unfinished(self) -> None:
        """Remove what has no figures beside it; the folder, too, if nothing is left."""
        for file in self.folder.glob("*.npy"):
            if not file.with_suffix(".figures").exists():
                file.unlink()
        with contextlib.suppress(OSError):
            self.folder.rmdir()
