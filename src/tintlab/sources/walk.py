"""List the files of a folder, for scoring and for sources, and report the files and folders left out.

`os.walk` silently skips folders that it can't read, and linked folders. This walk reports both, so that
nobody mistakes a part of an archive for all of it.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from tintlab.system.errors import TintlabError

_Identity = tuple[int, int]
"""Device and inode: the same for all paths to one file or folder."""


class Why(StrEnum):
    """Why a file or folder was left out."""

    HIDDEN = "hidden"
    UNREADABLE = "unreadable"
    LINKED = "linked"
    TWICE = "reached twice"
    OUTPUT = "output of a scoring"


@dataclass(frozen=True)
class LeftOut:
    """A file, or a folder with its content, that the walk did not take.

    Attributes:
        path: where it lies.
        why: the kind of reason.
        reason: the reason as text.
        is_folder: a folder that was not entered.
    """

    path: Path
    why: Why
    reason: str
    is_folder: bool

    @property
    def may_hide_photographs(self) -> bool:
        """Whether it may hold photographs that were left out unintentionally."""
        return self.why in (Why.UNREADABLE, Why.LINKED)


@dataclass(frozen=True)
class Walk:
    """The result of a walk: the files of a folder, and what was left out.

    Attributes:
        files: sorted. They include links to files, broken links and devices: reading one reports the fault.
        left_out: sorted.
    """

    files: tuple[Path, ...]
    left_out: tuple[LeftOut, ...]


def walk(
    folder: Path,
    follow_links: bool = False,
    leave_out: Callable[[Path], Why | None] = lambda _: None,
    may_enter: Callable[[Path], bool] = lambda _: True,
    with_hidden: bool = False,
) -> Walk:
    """The files of a folder and its subfolders.

    With `follow_links`, linked folders are entered after all others, and nothing is taken twice: a link to a
    folder or file that was reached already is left out, so links in a circle do no harm. Without it, links to
    files are still taken.

    Args:
        folder: may itself be a link.
        follow_links: enter linked folders.
        leave_out: asked for each subfolder; a reason leaves it out.
        may_enter: asked for each subfolder; those for which it says no are not mentioned.
        with_hidden: take files and folders whose names begin with a dot.

    Raises:
        TintlabError: the folder itself can't be entered.
    """
    walker = _Walker(follow_links, leave_out, may_enter, with_hidden)
    walker.enter(folder)
    if any(one.path == folder for one in walker.left_out):
        raise TintlabError(
            f"{folder} {walker.left_out[0].reason}: change its permissions or name another folder"
        )
    walker.settle_links()
    return Walk(tuple(sorted(walker.files)), tuple(sorted(walker.left_out, key=lambda one: one.path)))


class _Walker:
    """The state of a walk; see `walk` for the arguments."""

    def __init__(
        self,
        follow_links: bool,
        leave_out: Callable[[Path], Why | None],
        may_enter: Callable[[Path], bool],
        with_hidden: bool,
    ) -> None:
        self._follow_links, self._with_hidden = follow_links, with_hidden
        self._leave_out, self._may_enter = leave_out, may_enter
        self._entered: set[_Identity] = set()
        self._linked: list[Path] = []
        self._linked_files: list[Path] = []
        self.files: list[Path] = []
        self.left_out: list[LeftOut] = []

    def enter(self, folder: Path) -> None:
        """Take all files of a folder and of its real subfolders; linked ones wait."""
        waiting = [folder]
        while waiting:
            place = waiting.pop()
            try:
                identity = _identity(place)
                if identity in self._entered:  # mounted at two places
                    self._leave(place, Why.TWICE, "is part of the tree already", is_folder=True)
                    continue
                with os.scandir(place) as entries:
                    found = list(entries)
            except OSError as error:
                self._leave(place, Why.UNREADABLE, f"can't be entered: {error.strerror}", is_folder=True)
                continue
            self._entered.add(identity)
            waiting += self._subfolders(place, found)

    def settle_links(self) -> None:
        """Enter the linked folders, or say that they were not; then take each linked file once."""
        while self._linked:
            waiting, self._linked = sorted(self._linked), []
            for place in waiting:
                if _identity_or_none(place) in self._entered:
                    self._leave(place, Why.TWICE, "is a link to a folder of the same tree", is_folder=True)
                elif self._follow_links:
                    self.enter(place)
                else:
                    self._leave(place, Why.LINKED, "is a linked folder, which is not entered", is_folder=True)
        self._settle_linked_files()

    def _settle_linked_files(self) -> None:
        if not (self._follow_links and self._linked_files):
            self.files += self._linked_files
            return
        known = {identity for file in self.files if (identity := _identity_or_none(file))}
        for link in sorted(self._linked_files):
            identity = _identity_or_none(link)
            if identity is not None and identity in known:
                self._leave(link, Why.TWICE, "is a link to a file of the same tree", is_folder=False)
                continue
            self.files.append(link)
            if identity is not None:
                known.add(identity)

    def _subfolders(self, place: Path, entries: Iterable["os.DirEntry[str]"]) -> list[Path]:
        """Sort the entries of a folder into files, links and left out ones; the subfolders to enter."""
        folders = []
        for entry in entries:
            path = place / entry.name
            is_link = entry.is_symlink()
            is_folder = _is_folder(entry)
            if is_folder and not self._may_enter(path):
                continue
            if entry.name.startswith(".") and not self._with_hidden:
                self._leave(path, Why.HIDDEN, "is hidden: its name begins with a dot", is_folder)
            elif is_folder and (why := self._leave_out(path)):
                self._leave(path, why, f"is the {why}", is_folder)
            elif is_folder and is_link:
                self._linked.append(path)
            elif is_folder:
                folders.append(path)
            else:
                (self._linked_files if is_link else self.files).append(path)
        return folders

    def _leave(self, path: Path, why: Why, reason: str, is_folder: bool) -> None:
        self.left_out.append(LeftOut(path, why, reason, is_folder))


def _is_folder(entry: "os.DirEntry[str]") -> bool:
    """Whether it is a folder or a link to one. If that is unknown, it counts as a file: reading it fails."""
    try:
        return entry.is_dir()
    except OSError:
        return False


def _identity(path: Path) -> _Identity:
    found = path.stat()
    return found.st_dev, found.st_ino


def _identity_or_none(path: Path) -> _Identity | None:
    try:
        return _identity(path)
    except OSError:
        return None
