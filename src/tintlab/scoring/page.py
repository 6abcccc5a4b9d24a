"""OUTPUT/index.html: a contact sheet of a scored archive, with what became of each photograph.

The page is one file with small pictures inside: it works offline and on a phone. It holds a few hundred pairs at
the most, evenly over the archive, whatever the archive's size.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd

from tintlab.imaging.grids import to_data_uri
from tintlab.reports.pages import render
from tintlab.scoring.manifest import MANIFEST, PAGE, QUARANTINE
from tintlab.scoring.plan import PlannedPhoto
from tintlab.scoring.preview import read_pair
from tintlab.scoring.settings import ScoreSettings
from tintlab.scoring.targets import files_of, label
from tintlab.scoring.threads import Budget, cpus, run_in_threads
from tintlab.system.console import printable
from tintlab.system.files import write_text

MOST_PAIRS = 240
"""Pairs on the page."""

_MOST_BAD = 300  # files that can't be used, on the page
_SIDE = 200  # pixels of each picture of a pair
_QUALITY = 80
_MEGAPIXELS_AT_ONCE = 60.0
_OURS = '<meta name="generator" content="tintlab score '
_MARK_WITHIN = 4096  # bytes from the start


@dataclass(frozen=True)
class Summary:
    """The text at the top of the page.

    Attributes:
        line: the sums of the scoring.
        words: of drift, and where it is recorded.
    """

    line: str
    words: tuple[str, ...]


def write_page(
    photos: Sequence[PlannedPhoto], rows: pd.DataFrame, settings: ScoreSettings, said: Summary
) -> str:
    """Write the page, if it would say anything new.

    Args:
        photos: of the archive, in its order.
        rows: of the manifest.
        settings: of the scoring.
        said: what it came to.

    Returns:
        A word for the user where there is an `index.html` that tintlab did not write, which stays; else empty.
    """
    path = settings.output / PAGE
    key = _key(rows, settings, said)
    mark = f'{_OURS}{key}">'
    if path.exists() or path.is_symlink():
        with path.open("rb") as file:
            start = file.read(_MARK_WITHIN).decode("utf-8", "replace")
        if _OURS not in start:
            return f"{settings.file(Path(PAGE))} is not by tintlab: it stays, and there is no contact sheet"
        if mark in start:
            return ""
    known = {(row["input"], row["page"]): row for row in rows.to_dict("records")}
    coloured = [
        (photo, row)
        for photo in photos
        if (row := known.get((photo.name, photo.page))) and row["outcome"] == "coloured"
    ]
    bad = rows[rows["outcome"] == "quarantined"]
    named = [printable(label(*one)) for one in zip(bad["input"], bad["page"], strict=True)]
    shown = _evenly(coloured, MOST_PAIRS)
    text = render(
        "scored.html",
        key=key,
        said=said,
        facts=_facts(settings),
        pairs=_draw(shown, settings),
        coloured=len(coloured),
        bad=list(zip(named, map(printable, bad["reason"]), strict=True))[:_MOST_BAD],
        bad_count=len(bad),
        manifest=MANIFEST,
        quarantine=QUARANTINE,
    )
    write_text(path, text)
    return ""


def _key(rows: pd.DataFrame, settings: ScoreSettings, said: Summary) -> str:
    """Differs where the page would."""
    columns = ["input", "page", "outcome", "reason", "notes", "output", "output_sha256"]
    facts = [rows[columns].to_json(), settings.deciding(), said.line, said.words]
    return hashlib.sha256(json.dumps(facts, default=str).encode("utf-8", "replace")).hexdigest()[:16]


def _evenly(items: Sequence[Any], most: int) -> list[Any]:
    if len(items) <= most:
        return list(items)
    return [items[number * len(items) // most] for number in range(most)]


def _draw(
    shown: Iterable[tuple[PlannedPhoto, Mapping[str, Any]]], settings: ScoreSettings
) -> list[dict[str, Any]]:
    """The pairs, in their order; those whose file is gone have no picture."""
    budget = Budget(_MEGAPIXELS_AT_ONCE)
    wanted = list(enumerate(shown))

    def draw(one: tuple[int, tuple[PlannedPhoto, Mapping[str, Any]]]) -> tuple[int, dict[str, Any]]:
        number, (photo, row) = one
        files = files_of(photo.target, settings.variants)
        with budget.take((row["width"] or 0) * (row["height"] or 0) / 1e6):
            pair = read_pair(settings, files[0], _SIDE)
        picture = "" if pair is None else to_data_uri(np.concatenate(pair, axis=1), _QUALITY)
        return number, {
            "picture": picture,
            "name": printable(label(photo.name, photo.page)),
            "links": [(printable(file.name), _link(file)) for file in files],
            "facts": _facts_of(row),
        }

    drawn = dict(run_in_threads(draw, wanted, cpus()))
    return [drawn[number] for number, _ in wanted]


def _link(file: Path) -> str:
    """A relative link; no part of a name can act as a scheme or a query."""
    return "./" + quote(os.fsencode(file.as_posix()))


def _facts(settings: ScoreSettings) -> list[tuple[str, str]]:
    """How all photographs were coloured."""
    decided = {name: value for name, value in settings.deciding().items() if value not in (None, False)}
    model = {"model": settings.model, "training": settings.training}
    return [(name.replace("_", " "), str(value)) for name, value in (model | decided).items() if value]


def _facts_of(row: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The manifest's facts about one photograph."""
    size = f"{row['width']} × {row['height']} pixels"
    facts = [
        ("size", size),
        ("source's sha256", row["input_sha256"]),
        ("file's sha256", row["output_sha256"]),
    ]
    facts += [(name, row[name]) for name in ("descan", "hints", "notes") if row.get(name)]
    return [(name, printable(str(value))) for name, value in facts]
