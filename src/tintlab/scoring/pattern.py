"""Patterns as shells know them: `*`, `?`, `[…]` within a name, `**` for any number of folders."""

import fnmatch
import glob
from collections.abc import Sequence
from pathlib import Path


def is_pattern(text: str) -> bool:
    """Whether a text has a wildcard."""
    return glob.has_magic(text)


def split_pattern(pattern: Path) -> tuple[Path, tuple[str, ...]]:
    """The folders before the first wildcard, and the parts from there on."""
    fixed = Path(pattern.anchor)
    rest = pattern.parts[len(fixed.parts) :]
    for part in rest[:-1]:
        if glob.has_magic(part):
            break
        fixed /= part
    return fixed, pattern.parts[len(fixed.parts) :]


def matches(name: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether the parts of a path fit those of a pattern. `*` and `**` leave names with a leading dot alone."""
    return _fits(tuple(name), tuple(pattern), whole=True)


def may_lead_to_match(folder: Sequence[str], pattern: Sequence[str]) -> bool:
    """Whether something below a folder can fit a pattern."""
    return _fits(tuple(folder), tuple(pattern), whole=False)


def _fits(name: tuple[str, ...], pattern: tuple[str, ...], whole: bool) -> bool:
    # Which parts of the pattern may come next, after the parts of the name so far: no backtracking.
    places = _with_skips({0}, pattern)
    for part in name:
        after = set()
        for place in places:
            if place < len(pattern) and _fits_part(part, pattern[place]):
                after.add(place if pattern[place] == "**" else place + 1)
        places = _with_skips(after, pattern)
    return len(pattern) in places if whole else any(place < len(pattern) for place in places)


def _with_skips(places: set[int], pattern: tuple[str, ...]) -> set[int]:
    """Also the places after each `**`, which may stand for no folder at all."""
    found = set(places)
    for place, part in enumerate(pattern):
        if place in found and part == "**":
            found.add(place + 1)
    return found


def _fits_part(part: str, pattern: str) -> bool:
    if part.startswith(".") and not pattern.startswith("."):
        return False
    return pattern == "**" or fnmatch.fnmatchcase(part, pattern)
