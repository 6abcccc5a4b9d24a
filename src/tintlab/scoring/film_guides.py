"""Read a file of guides: the hints and reference pictures that a person gives for single shots of a film."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tintlab.gan.hint_maps import PALETTE_LENGTH
from tintlab.imaging.photos import read_photo
from tintlab.inference.hints import parse_hints, read_list
from tintlab.inference.palettes import DEFAULT_STRENGTH, Palette
from tintlab.scoring.film_carry import Guide
from tintlab.scoring.settings import load_max_megapixels
from tintlab.system.errors import TintlabError

_KEYS = {"shot", "hints", "like", "palette", "strength"}


def read_guides(
    path: Path | None, like: Path | None, shape: tuple[int, int], shots: int
) -> Mapping[int, Guide]:
    """Read the guide of each shot that has one, by the shot's number.

    The file is a JSON list of objects with `shot`, its number from 1; `hints`, as in `hints.read_hints`, at
    places of the shot's first frame; and `like`, a picture whose path is relative to the file, or its `palette`
    and `strength` as the studio knows them.

    Args:
        path: of the file; None is none.
        like: a reference picture for all shots that have none of their own.
        shape: height and width of a frame.
        shots: how many the film has.

    Raises:
        TintlabError: the file or a picture can't be read; with the entry and the fault.
    """
    common = _palette(like) if like else None
    found = {number: Guide((), common) for number in range(1, shots + 1)} if common else {}
    if path is None:
        return found
    for number, entry in enumerate(_entries(path), start=1):
        where = f"{path}, entry {number}"
        if not isinstance(entry, dict) or set(entry) - _KEYS or not isinstance(entry.get("shot"), int):
            raise TintlabError(f"{where}: give an object with shot, hints and like")
        if not 1 <= entry["shot"] <= shots:
            raise TintlabError(f"{where}: shot {entry['shot']}: the film has shots 1 to {shots}")
        hints = parse_hints(entry["hints"], shape, where) if "hints" in entry else ()
        palette = common
        if "like" in entry:
            if not isinstance(entry["like"], str):
                raise TintlabError(f"{where}: like is not the path of a picture")
            palette = _palette(path.parent / entry["like"])
        if "palette" in entry:
            palette = _given_palette(entry["palette"], entry.get("strength", DEFAULT_STRENGTH), where)
        found[entry["shot"]] = Guide(hints, palette)
    return found


def _entries(path: Path) -> list[object]:
    content = read_list(path, "shots")
    if not isinstance(content, list):
        raise TintlabError(f"{path} is no list of shots")
    return content


def _given_palette(values: object, strength: object, where: str) -> Palette:
    is_vector = isinstance(values, list) and len(values) == PALETTE_LENGTH
    if not is_vector or not all(_is_within(value, 2) for value in values):  # type: ignore[attr-defined]
        raise TintlabError(f"{where}: palette is no list of {PALETTE_LENGTH} numbers from 0 to 2")
    if not _is_within(strength, 1):
        raise TintlabError(f"{where}: strength is no number from 0 to 1")
    return Palette(np.array(values, np.float32), float(strength))  # type: ignore[arg-type]


def _is_within(value: object, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _palette(path: Path) -> Palette:
    try:
        return Palette.of(read_photo(path, load_max_megapixels()).rgb())
    except TintlabError as error:
        raise TintlabError(f"{path}: {error}") from None
