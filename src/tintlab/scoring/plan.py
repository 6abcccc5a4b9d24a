"""Which photographs an archive holds, and the name that each gets: a folder tree, a list or a glob."""

import glob
import os
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tintlab.scoring.manifest import STATE
from tintlab.system.errors import TintlabError

LISTS = (".txt", ".list", ".lst")
"""Suffixes of files that name photographs, one a line."""

_NO_PHOTOS = {
    *(".txt", ".md", ".rtf", ".doc", ".docx", ".pdf", ".html", ".htm", ".csv", ".tsv", ".xls", ".xlsx"),
    *(".json", ".xml", ".xmp", ".yaml", ".yml", ".ini", ".db", ".log", ".md5", ".sha256", ".parquet"),
    *(".mp3", ".wav", ".mp4", ".mov", ".avi", ".mkv", ".zip", ".tar", ".gz", ".7z"),
}
"""What lies beside photographs in archives: not worth a word in the quarantine list."""


@dataclass(frozen=True)
class PlannedPhoto:
    """A photograph to be coloured.

    Attributes:
        source: the file.
        name: its path below INPUT, as a text that any file can hold.
        target: path of the coloured file below OUTPUT.
    """

    source: Path
    name: str
    target: Path


@dataclass(frozen=True)
class Plan:
    """All photographs of an archive, in the order of their names.

    Attributes:
        photos: to be coloured, in time.
        skipped: names of files that are no photographs by their suffix.
    """

    photos: tuple[PlannedPhoto, ...]
    skipped: tuple[str, ...]


def plan(source: str | Path, output: Path, suffix: str, variants: int = 0) -> Plan:
    """What scoring `source` to `output` means.

    Hidden files and folders are left out, as are `output` itself and the output of other scorings.
    Files that differ in their suffix only keep it, as `a.jpg.png`.

    Args:
        source: a folder; a file of `LISTS` with a path a line, relative ones to that file; a pattern with
            `*`, `?`, `[…]` or `**`; or one photograph.
        output: a folder, which need not exist.
        suffix: of the coloured files.
        variants: how many files each photograph becomes; see `files_of`.

    Raises:
        TintlabError: there is nothing of that name, it is the output of a scoring, `output` is no folder, or
            a coloured file would overwrite a photograph.
    """
    path = Path(source)
    if output.exists() and not output.is_dir():
        raise TintlabError(f"{output} is a file: name a folder for the coloured photographs")
    if path.is_dir():
        _refuse_same(path, output)
        if (path / STATE).exists():
            raise TintlabError(
                f"{path} is the output of a scoring, by its {STATE}: name the originals' folder"
            )
        root, found = path, sorted(_tree(path, output))
    elif path.is_file() and path.suffix.lower() in LISTS:
        root, found = _listed(path)
    elif path.is_file():
        root, found = path.parent, [path]
    elif glob.has_magic(str(source)):
        root = _fixed_part(path)
        _refuse_same(root, output)
        matches = (Path(match) for match in glob.iglob(str(source), recursive=True))  # noqa: PTH207
        ours = output.resolve()
        found = sorted(
            match for match in matches if not (match.is_dir() or match.parent.resolve().is_relative_to(ours))
        )
    else:
        raise TintlabError(f"{source} is no folder, list, pattern or photograph: give one of them")
    inside = [photo.relative_to(root) for photo in found]
    pictures = [name for name in inside if name.suffix.lower() not in _NO_PHOTOS]
    targets = _targets(pictures, suffix)
    _refuse_overwriting(
        root, pictures, output, [file for target in targets for file in files_of(target, variants)]
    )
    return Plan(
        tuple(
            PlannedPhoto(root / name, as_text(name), target)
            for name, target in zip(pictures, targets, strict=True)
        ),
        tuple(as_text(name) for name in inside if name.suffix.lower() in _NO_PHOTOS),
    )


def files_of(target: Path, variants: int) -> list[Path]:
    """The files that a photograph becomes: `target` itself, or `NAME-v1.png` and on, one a variant."""
    if not variants:
        return [target]
    return [target.with_name(f"{target.stem}-v{number}{target.suffix}") for number in range(1, variants + 1)]


def as_text(path: Path) -> str:
    """A path as a text that any file can hold; bytes that are no UTF-8 are spelled out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _tree(folder: Path, output: Path) -> Iterator[Path]:
    ours = output.resolve()
    for place, folders, files in os.walk(folder):
        here = Path(place)
        if here.resolve() == ours or STATE in folders:
            folders.clear()
            continue
        folders[:] = [name for name in folders if not name.startswith(".")]
        # Also links to nowhere and pipes: who reads them says why they can't be used.
        yield from (here / name for name in files if not name.startswith("."))


def _listed(path: Path) -> tuple[Path, list[Path]]:
    """The photographs that a list names, each once, and the folder that they have in common."""
    lines = (line.rstrip(b"\r") for line in path.read_bytes().split(b"\n"))
    folder = path.parent.absolute()
    found = dict.fromkeys(
        Path(os.path.normpath(folder / os.fsdecode(line))) for line in lines if line.strip()
    )
    if not found:
        raise TintlabError(f"{path} names no photographs: give a path a line")
    below = all(photo.is_relative_to(folder) for photo in found)
    root = folder if below else Path(os.path.commonpath([photo.parent for photo in found]))
    return root, sorted(found)


def _fixed_part(pattern: Path) -> Path:
    """The folders before the first wildcard."""
    fixed = Path(pattern.anchor)
    for part in pattern.parts[len(fixed.parts) : -1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed


def _targets(names: list[Path], suffix: str) -> list[Path]:
    # Whole names are taken too: a.jpg, beside a.png, becomes a.jpg.png, and then a.jpg.tif must not.
    taken = Counter(name.with_suffix("") for name in names) + Counter(names)
    return [
        name.with_suffix(suffix) if taken[name.with_suffix("")] == 1 else Path(f"{name}{suffix}")
        for name in names
    ]


def _refuse_same(root: Path, output: Path) -> None:
    if root.resolve() == output.resolve():
        raise TintlabError(f"{output} is INPUT itself: choose another folder for the coloured photographs")


def _refuse_overwriting(root: Path, names: Iterable[Path], output: Path, targets: Iterable[Path]) -> None:
    sources = {os.path.normpath(root.resolve() / name) for name in names}
    place = output.resolve()
    for target in targets:
        if os.path.normpath(place / target) in sources:
            raise TintlabError(
                f"{output / target} would overwrite a photograph: choose another folder for OUTPUT"
            )
