"""What can be pruned: one thing, where it lies, and how it goes."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Rules:
    """What stays in any case, beside what history and rollback need."""

    keep: int
    """This many of each kind, the newest."""
    days: float
    """And what is younger than this."""

    def young(self, moment: float) -> bool:
        """Whether a moment, in seconds since 1970, lies within `days`."""
        return time.time() - moment < self.days * _DAY_SECONDS


@dataclass(frozen=True)
class Item:
    """One thing that nobody needs any more."""

    kind: str
    name: str
    about: str
    """For people."""
    bytes: int
    """What it frees; 0 where that is not known."""
    remove: Callable[[], None] = field(compare=False, repr=False)
    """Can be called again after it was interrupted."""

    @property
    def key(self) -> tuple[str, str]:
        """Tells items apart, also when they are looked for again."""
        return self.kind, self.name


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files, and of all that folders hold; what is gone counts nothing."""
    total = 0
    for path in paths:
        files = [path]
        if path.is_dir() and not path.is_symlink():
            files = [Path(folder, name) for folder, _, names in os.walk(path) for name in names]
        for file in files:
            try:
                total += file.lstat().st_size
            except FileNotFoundError:
                continue
    return total


def day(moment: float) -> str:
    """A moment, in seconds since 1970, as people write a day."""
    return time.strftime("%Y-%m-%d", time.localtime(moment))
