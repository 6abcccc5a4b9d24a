"""Hints for an archive: a JSON object of the photographs' names, each with its hints."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tintlab.imaging.photos import PhotoError
from tintlab.inference.hints import Hint, parse_hints, read_list
from tintlab.scoring.targets import label
from tintlab.system.console import counted, printable
from tintlab.system.errors import TintlabError

if TYPE_CHECKING:
    from tintlab.scoring.plan import PlannedPhoto  # brings pandas, which few users of the settings need

_ANY_SIZE = (1 << 30, 1 << 30)  # pixels; a photograph's own are known when it is read

HintLists = Mapping[str, str]
"""The hints of each photograph by its name, as JSON that is the same for the same hints."""


def read_hint_lists(path: Path) -> dict[str, str]:
    """Read the hints of an archive's photographs.

    The file holds an object such as `{"1931/boat.jpg": [{"x": 0.3, "y": 0.6, "rgb": "#8a2b20"}]}`. A name is a
    path below INPUT; a page of a file that holds several photographs is named `album.tif, page 2`.

    Raises:
        TintlabError: with the file, the name, the hint and the fault.
    """
    content = read_list(path, "hints by the photographs' names")
    if not isinstance(content, dict) or not content or "hints" in content:
        raise TintlabError(f'{path} names no photographs: give {{"NAME": [hints]}}, with paths below INPUT')
    found = {}
    for name, hints in content.items():
        parse_hints(hints, _ANY_SIZE, f"{path}, {printable(name)[:80]}")
        found[name] = json.dumps(hints, sort_keys=True, separators=(",", ":"))
    return found


def check_names(lists: HintLists, photos: "Iterable[PlannedPhoto]") -> None:
    """Refuse hints for photographs that the archive does not have.

    Raises:
        TintlabError: with the first such name.
    """
    if not lists:
        return
    known: set[str] = set()
    pages: dict[str, int] = {}
    for photo in photos:
        known.add(label(photo.name, photo.page))
        pages[photo.name] = max(photo.page, pages.get(photo.name, 0))
    for name in lists:
        if name in known:
            continue
        shown = printable(name)[:80]
        if name in pages:
            raise TintlabError(f"{shown} holds {pages[name]} photographs: give hints for '{shown}, page 1'")
        raise TintlabError(f"there are hints for {shown}, which is no photograph below INPUT")


def take_hints(lists: HintLists, photo: "PlannedPhoto", shape: tuple[int, ...]) -> tuple[Hint, ...]:
    """The hints of a photograph; `shape` is its height and width.

    Raises:
        PhotoError: one is outside of it.
    """
    text = lists.get(label(photo.name, photo.page))
    if text is None:
        return ()
    try:
        return parse_hints(json.loads(text), shape, "its hints")
    except TintlabError as error:
        raise PhotoError(str(error)) from None


def note_hints(lists: HintLists, photo: "PlannedPhoto") -> str:
    """What the manifest says of a photograph's hints, differing where they differ; empty without any."""
    text = lists.get(label(photo.name, photo.page))
    if text is None:
        return ""
    content = json.loads(text)
    number = len(content["hints"] if isinstance(content, dict) else content)
    return f"{counted(number, 'hint')}, sha256 {_digest(text)}"


def digest_lists(lists: HintLists) -> str | None:
    """What an output folder records of all hints; None without any."""
    return _digest(json.dumps(dict(lists), sort_keys=True)) if lists else None


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
