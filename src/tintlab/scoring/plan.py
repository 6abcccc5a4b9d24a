"""Plan a scoring: find the photographs of a folder tree, a list or a pattern, and name their coloured files."""

import functools
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from tintlab.imaging.photos import count_pages
from tintlab.scoring.lists import is_list, read_list
from tintlab.scoring.manifest import STATE
from tintlab.scoring.pattern import is_pattern, matches, may_lead_to_match, split_pattern
from tintlab.scoring.targets import as_text, files_of, meet, name_pages, name_targets
from tintlab.sources.stored_file import StoredFile
from tintlab.sources.walk import LeftOut, Walk, Why, walk
from tintlab.system.console import counted
from tintlab.system.errors import TintlabError

NO_PHOTOS = {
    *(".txt", ".md", ".rtf", ".doc", ".docx", ".pdf", ".html", ".htm", ".csv", ".tsv", ".xls", ".xlsx"),
    *(".json", ".xml", ".xmp", ".yaml", ".yml", ".ini", ".db", ".log", ".md5", ".sha256", ".parquet"),
    *(".mp3", ".wav", ".mp4", ".mov", ".avi", ".mkv", ".zip", ".tar", ".gz", ".7z"),
}
"""Files that are usual beside photographs in archives; they are left out of the quarantine list."""

_PAGED = {".tif", ".tiff"}
"""Files that may hold several photographs; others are not opened to plan."""

_KINDS = {
    Why.UNREADABLE: "unreadable",
    Why.LINKED: "linked, see --follow-links",
    Why.HIDDEN: "hidden",
    Why.OUTPUT: "output of a scoring",
    Why.TWICE: "linked a second time",
}


@dataclass(frozen=True)
class PlannedPhoto:
    """A photograph to be coloured.

    Attributes:
        source: the file.
        name: its path below INPUT, as a text that any file can hold.
        target: path of the coloured file below OUTPUT.
        stored: what a store's listing says of it; None for a file on disk.
        page: its number in a file of several photographs, from 1; 0 in a file of one.
    """

    source: Path
    name: str
    target: Path
    stored: StoredFile | None = None
    page: int = 0


@dataclass(frozen=True)
class Skipped:
    """A file that is not tried, or a folder that was not entered.

    Attributes:
        name: its path below INPUT, as a text; that of a folder ends with `/`.
        kind: such as `hidden`; the summary counts by it.
        reason: in words, for the manifest.
        may_hide_photographs: it may hold photographs that nobody meant to leave out.
    """

    name: str
    kind: str
    reason: str
    may_hide_photographs: bool = False

    @property
    def is_folder(self) -> bool:
        """Whether it is a folder, whose files were not counted."""
        return self.name.endswith("/")


@dataclass(frozen=True)
class Plan:
    """All that an archive holds, in the order of the names.

    Attributes:
        photos: to be coloured, in time.
        skipped: all else.
    """

    photos: tuple[PlannedPhoto, ...]
    skipped: tuple[Skipped, ...]

    @property
    def files(self) -> int:
        """How many files were found."""
        return sum(photo.page <= 1 for photo in self.photos) + self._skipped_files

    @property
    def pages(self) -> int:
        """As `files`, but each page that is a photograph counts."""
        return len(self.photos) + self._skipped_files

    @property
    def _skipped_files(self) -> int:
        return sum(not one.is_folder for one in self.skipped)

    def found_text(self) -> str:
        """The number of files found, for the beginning of the summary."""
        pages = f"{self.pages} pages in " if self.pages > self.files else ""
        return f"{pages}{counted(self.files, 'file')} found"

    @property
    def is_complete(self) -> bool:
        """Whether nothing was left out that may hold photographs."""
        return not any(one.may_hide_photographs for one in self.skipped)

    def skipped_text(self) -> str:
        """The number of files left out, by kind; empty if there are none."""
        files = [one for one in self.skipped if not one.is_folder]
        folders = [one for one in self.skipped if one.is_folder]
        return ", ".join(
            f"{counted(len(group), noun)} {verb} ({_by_kind(group)})"
            for group, noun, verb in ((files, "file", "skipped"), (folders, "folder", "not entered"))
            if group
        )


def plan(
    source: str | Path, output: Path, suffix: str, variants: int = 0, follow_links: bool = False
) -> Plan:
    """Plan a scoring from `source` to `output`.

    Hidden files and folders are left out, as are `output` itself and the output of other scorings. Linked folders
    are entered only on request.

    Args:
        source: a folder; a list (see `lists`); a pattern with `*`, `?`, `[…]` or `**`; or one photograph.
        output: a folder, which need not exist.
        suffix: of the coloured files.
        variants: how many files each photograph becomes; see `targets.files_of`.
        follow_links: see `walk.walk`.

    Raises:
        TintlabError: there is nothing of that name, it is the output of a scoring, `output` is no folder, or
            a coloured file would overwrite a photograph.
    """
    if output.exists() and not output.is_dir():
        raise TintlabError(f"{output} is a file: name a folder for the coloured photographs")
    root, found = _find(source, output, follow_links)
    skipped = [_skipped(root, one) for one in found.left_out]
    names = []
    for name in (file.relative_to(root) for file in found.files):
        if name.suffix.lower() in NO_PHOTOS:
            skipped.append(Skipped(as_text(name), "by suffix", "no photograph by its suffix"))
        else:
            names.append(name)
    photos = plan_pages(root, names, suffix)
    targets = [file for photo in photos for file in files_of(photo.target, variants)]
    _refuse_overwriting(root, names, output, targets)
    return Plan(tuple(photos), tuple(sorted(skipped, key=lambda one: one.name)))


def plan_pages(root: Path, names: list[Path], suffix: str) -> list[PlannedPhoto]:
    """The photographs of files, each page of a TIFF file one.

    Args:
        root: the folder that names are relative to.
        names: of the files; each once.
        suffix: of the coloured files.
    """
    taken = set(names)
    found: list[tuple[Path, Path, int]] = []  # a file, the name of a photograph in it, its page
    for name in names:
        pages = count_pages(root / name) if name.suffix.lower() in _PAGED else 1
        if pages == 1:
            found.append((name, name, 0))
            continue
        named = name_pages(name, pages, taken)
        taken.update(named)
        found += [(name, alone, page) for page, alone in enumerate(named, 1)]
    targets = name_targets([alone for _, alone, _ in found], suffix)
    return [
        PlannedPhoto(root / name, as_text(name), target, page=page)
        for (name, _, page), target in zip(found, targets, strict=True)
    ]


def stems_of(path: Path) -> list[tuple[int, str]]:
    """Page and stem of each photograph in a file: `(0, "b")`; of several `(1, "b-p01")` and on."""
    pages = count_pages(path)
    if pages == 1:
        return [(0, path.stem)]
    return [(page, alone.stem) for page, alone in enumerate(name_pages(path, pages, set()), 1)]


def _find(source: str | Path, output: Path, follow_links: bool) -> tuple[Path, Walk]:
    """The folder that names are relative to, and what was found."""
    path = Path(source)
    if path.is_dir():
        return path, _find_in_folder(path, output, follow_links)
    if path.is_file():
        return _find_in_list(path) if is_list(path) else (path.parent, Walk((path,), ()))
    if is_pattern(str(source)):
        return _find_by_pattern(path, output, follow_links)
    raise TintlabError(f"{source} is no folder, list, pattern or photograph: give one of them")


def _find_in_folder(folder: Path, output: Path, follow_links: bool) -> Walk:
    _refuse_same(folder, output)
    if _is_output(folder):
        raise TintlabError(f"{folder} is the output of a scoring, by its {STATE}: name the originals' folder")
    ours = output.resolve()
    return walk(
        folder,
        follow_links,
        may_enter=lambda place: place.resolve() != ours,
        leave_out=lambda place: Why.OUTPUT if _is_output(place) else None,
    )


def _find_in_list(path: Path) -> tuple[Path, Walk]:
    found = read_list(path)
    folder = path.parent.absolute()
    below = all(photo.is_relative_to(folder) for photo in found)
    root = folder if below else Path(os.path.commonpath([photo.parent for photo in found]))
    return root, Walk(tuple(sorted(found)), ())


def _find_by_pattern(pattern: Path, output: Path, follow_links: bool) -> tuple[Path, Walk]:
    root, parts = split_pattern(pattern)
    _refuse_same(root, output)
    if not root.is_dir():
        return root, Walk((), ())
    ours = output.resolve()

    def may_enter(folder: Path) -> bool:
        return may_lead_to_match(folder.relative_to(root).parts, parts) and folder.resolve() != ours

    found = walk(root, follow_links, may_enter=may_enter, with_hidden=True)

    def is_meant(file: Path) -> bool:
        return matches(file.relative_to(root).parts, parts)

    left_out = (one for one in found.left_out if one.is_folder or is_meant(one.path))
    return root, Walk(tuple(filter(is_meant, found.files)), tuple(left_out))


def _skipped(root: Path, one: LeftOut) -> Skipped:
    name = as_text(one.path.relative_to(root)) + ("/" if one.is_folder else "")
    return Skipped(name, _KINDS[one.why], one.reason, one.may_hide_photographs)


def _by_kind(group: Iterable[Skipped]) -> str:
    return ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(one.kind for one in group).items()))


def _is_output(folder: Path) -> bool:
    return os.path.isdir(folder / STATE)  # noqa: PTH112  # False also where it may not be asked


def _refuse_same(root: Path, output: Path) -> None:
    if root.resolve() == output.resolve():
        raise TintlabError(f"{output} is INPUT itself: choose another folder for the coloured photographs")


def _refuse_overwriting(root: Path, names: Iterable[Path], output: Path, targets: Iterable[Path]) -> None:
    # Links within OUTPUT may lead back to the photographs.
    resolve = functools.cache(Path.resolve)
    sources = (resolve((root / name).parent) / name.name for name in names)
    hit = meet((resolve((output / target).parent) / target.name for target in targets), sources)
    if hit is not None:
        ours = output.resolve()
        shown = output / hit.relative_to(ours) if hit.is_relative_to(ours) else hit
        raise TintlabError(f"{shown} would overwrite a photograph: choose another folder for OUTPUT")
