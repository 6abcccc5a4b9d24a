"""Read the origin of a coloured film from its container's comment and from its manifest of shots."""

import csv
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path

from tintlab.imaging.provenance import SOURCE_TYPE, Provenance
from tintlab.scoring.film_file import open_container
from tintlab.scoring.film_parts import SUFFIXES
from tintlab.scoring.film_work import manifest_of
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256

_SHOWN = 20


@dataclass(frozen=True)
class FileOrigin:
    """The origin of a coloured file.

    Attributes:
        origin: what the file says of itself.
        manifest: what the manifest says of it; empty where there is none.
        coding: of a film, what it says of its coding and its guides.
        shots: of a film, what the manifest says of each shot, a line each.
    """

    origin: Provenance
    manifest: Mapping[str, str]
    coding: Mapping[str, str] = field(default_factory=dict)
    shots: tuple[str, ...] = ()


def is_film(path: Path) -> bool:
    """Whether a file has a name as coloured films have."""
    return path.suffix.lower() in SUFFIXES


def read_comment(path: Path) -> str:
    """The comment in a film's container, or an empty text.

    Raises:
        TintlabError: it can't be read as a film.
    """
    with open_container(path) as container:
        return container.metadata.get("comment", container.metadata.get("COMMENT", ""))


def read_film_origin(path: Path) -> FileOrigin:
    """Read what a coloured film and its manifest say.

    Raises:
        TintlabError: it can't be read, or tintlab did not make it.
    """
    try:
        said = json.loads(read_comment(path))
    except ValueError:
        said = None
    if not isinstance(said, dict) or said.pop("digital_source_type", "") != SOURCE_TYPE:
        raise TintlabError(f"{path} does not say that tintlab coloured it")
    known = {one.name for one in fields(Provenance)}
    texts = {str(name): str(value) for name, value in said.items()}
    manifest, shots = _read_manifest(path)
    return FileOrigin(
        Provenance(**{name: value for name, value in texts.items() if name in known}),
        manifest,
        {name: value for name, value in texts.items() if name not in known},
        shots,
    )


def _read_manifest(path: Path) -> tuple[dict[str, str], tuple[str, ...]]:
    file = manifest_of(path)
    try:
        with file.open(encoding="utf-8", newline="") as opened:
            rows = list(csv.DictReader(opened))
        lines = tuple(map(_shot_line, rows[:_SHOWN]))
        if not rows:
            return {}, ()
        is_same = rows[0].get("output_sha256") == file_sha256(path)
        facts = {
            "file": str(file),
            "source_sha256": rows[0]["source_sha256"],
            "weights_sha256": rows[0]["weights_sha256"],
            "shots": str(len(rows)),
            "frames": str(sum(int(row["frames"]) for row in rows)),
            "bytes": "as they were written" if is_same else "CHANGED since they were written",
        }
    except FileNotFoundError:
        return {}, ()
    except (OSError, KeyError, ValueError, csv.Error):
        raise TintlabError(f"{file} is no manifest by shots") from None
    if len(rows) > _SHOWN:
        lines = (*lines, f"and {len(rows) - _SHOWN} more, see {file}")
    return facts, lines


def _shot_line(row: Mapping[str, str]) -> str:
    first, count = int(row["first_frame"]), int(row["frames"])
    line = (
        f"{row['shot']}: frames {first} to {first + count - 1}, {row['begins']} to {row['last_frame_at']} s; "
        f"the network ran {row['network_runs']} times, "
        f"{float(row['carried']):.0%} of the picture kept its colours"
    )
    if row["hints"] != "0":
        line += f"; {row['hints']} hints"
    return line + ("; a reference picture" if row["reference"] else "")
