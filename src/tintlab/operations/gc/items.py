"""Items that can be removed, and rules about their age."""

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

_DAY_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Rules:
    """Rules for what stays, besides the data of history and rollback."""

    keep: int
    """The newest items of each kind: this many."""
    days: float
    """Items younger than this."""

    def young(self, moment: float) -> bool:
        """Whether a moment, in seconds since 1970, lies within `days`."""
        return time.time() - moment < self.days * _DAY_SECONDS


@dataclass(frozen=True)
class Item:
    """One unused item."""

    kind: str
    name: str
    about: str
    """A description."""
    bytes: int
    """Bytes that it frees; 0 if unknown."""
    remove: Callable[[], None] = field(compare=False, repr=False)
    """Removes it. Can be called again after an interruption."""

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the item across searches."""
        return self.kind, self.name


def size_of(paths: Iterable[Path]) -> int:
    """Bytes of files and of the content of folders; missing files count as 0."""
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
    """The date of a moment in seconds since 1970."""
    return time.strftime("%Y-%m-%d", time.localtime(moment))
