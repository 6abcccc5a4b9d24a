"""Name coloured files after their photographs, so that no two names are the same on any common file system.

exFAT, Windows shares and macOS fold case, and macOS writes accents in another normal form. So names are compared
case-folded and in one normal form, on every file system: a folder that is copied to another disk stays whole.
"""

import hashlib
import os
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path


def name_targets(names: list[Path], suffix: str) -> list[Path]:
    """Where each photograph of an archive goes, below OUTPUT; no two meet on any file system.

    The first of these that is free: `a.png` for `a.jpg`; with the photograph's suffix, `a.jpg.png`, where another
    photograph would become `a.png` too; and with a part of the name's hash, `A.jpg~1f09d30c.png`, where names
    differ in case or normal form only.

    Args:
        names: of the photographs, below INPUT; each once.
        suffix: of the coloured files.
    """
    folders = {fold(parent) for name in names for parent in name.parents}
    hashed = {name: Path(f"{name}~{_digest(name)}") for name in names}
    # Whole names are taken too: a.jpg, beside a.png, becomes a.jpg.png, and then a.jpg.tif must not.
    whole = Counter(fold(name) for name in names) + Counter(fold(name) for name in hashed.values())
    stems = whole + Counter(fold(name.with_suffix("")) for name in names)

    def is_free(stem: Path, taken: Counter[str]) -> bool:
        return taken[fold(stem)] == 1 and fold(Path(f"{stem}{suffix}")) not in folders

    def target(name: Path) -> Path:
        if is_free(name.with_suffix(""), stems):
            return name.with_suffix(suffix)
        return Path(f"{name if is_free(name, whole) else hashed[name]}{suffix}")

    return [target(name) for name in names]


def name_pages(name: Path, pages: int, taken: set[Path]) -> list[Path]:
    """Names for the pages of a file, as if each were a file of its own: `b-p01.tif` and on.

    Args:
        name: of the file.
        pages: how many photographs it holds.
        taken: names of other files and pages, which these will not be.
    """
    stem = name.stem
    while True:
        names = [name.with_name(f"{stem}-p{page:02}{name.suffix}") for page in range(1, pages + 1)]
        if taken.isdisjoint(names):
            return names
        stem += "~"


def files_of(target: Path, variants: int) -> list[Path]:
    """The files that a photograph becomes: `target` itself, or `NAME-v1.png` and on, one a variant."""
    if not variants:
        return [target]
    return [target.with_name(f"{target.stem}-v{number}{target.suffix}") for number in range(1, variants + 1)]


def fold(path: Path | str) -> str:
    """A path as the least discerning file system sees it: case-folded, in one Unicode normal form."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", os.fspath(path)).casefold())


def meet(paths: Iterable[Path], others: Iterable[Path]) -> Path | None:
    """The first of `paths` that is one of `others` on some file system, or None."""
    known = {fold(os.path.normpath(other)) for other in others}
    return next((path for path in paths if fold(os.path.normpath(path)) in known), None)


def as_text(path: Path) -> str:
    """A path as a text that any file can hold; bytes that are no UTF-8 are spelled out."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def label(name: str, page: int) -> str:
    """A photograph's name for people: that of its file, and the page where that holds several."""
    return f"{name}, page {page}" if page else name


def _digest(name: Path) -> str:
    return hashlib.sha256(os.fsencode(name)).hexdigest()[:8]
