"""A contact sheet of a scored archive, small enough for a page in Prefect."""

import itertools
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from PIL import Image

from tintlab.imaging.color import Byte
from tintlab.imaging.grids import draw_grid, to_data_uri
from tintlab.scoring.plan import PlannedPhoto
from tintlab.scoring.settings import ScoreSettings
from tintlab.scoring.targets import files_of
from tintlab.scoring.transfer import open_saved

SHOWN = 12
"""Photographs on the sheet."""

_SIDE, _PAIRS = 220, 2


def make_preview(photos: Iterable[PlannedPhoto], settings: ScoreSettings) -> str | None:
    """Draw the first coloured photographs beside their grey: a `data:` URI of a JPEG, or None without any."""
    files = (files_of(photo.target, settings.variants)[0] for photo in photos)
    found = filter(None, (read_pair(settings, file, _SIDE) for file in files))
    pairs = list(itertools.islice(found, SHOWN))
    if not pairs:
        return None
    blank = np.zeros((1, 1, 3), np.uint8)
    cells = [picture for pair in pairs for picture in pair]
    columns = 2 * min(_PAIRS, len(pairs))
    cells += [blank] * (-len(cells) % columns)
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    sheet = draw_grid(rows, _SIDE, ["grey", "coloured"] * (columns // 2))
    return to_data_uri(np.asarray(sheet))


def read_pair(settings: ScoreSettings, file: Path, side: int) -> tuple[Byte, Byte] | None:
    """A coloured file, small, as grey and in colour: sRGB `(h, w, 3)` each; None where it is gone.

    Args:
        settings: name the folder or the store.
        file: path below OUTPUT.
        side: pixels of the longer side.
    """
    try:
        with open_saved(settings, file) as content, Image.open(content) as picture:
            picture.draft("RGB", (side, side))
            picture.thumbnail((side, side))
            colour = picture.convert("RGB")
    except (OSError, Image.DecompressionBombError):  # quarantined, or moved away or replaced meanwhile
        return None
    return np.asarray(colour.convert("L").convert("RGB")), np.asarray(colour)
