"""`tintlab trace`: find the origin of a coloured file in its metadata, in its manifest and in MLflow."""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd
import pyarrow.parquet as pq

from tintlab.imaging.provenance import Provenance, read_provenance
from tintlab.registry import models
from tintlab.scoring.film_trace import FileOrigin, is_film, read_film_origin
from tintlab.scoring.manifest import MANIFEST, STATE
from tintlab.scoring.targets import as_text
from tintlab.system import paths
from tintlab.system.console import printable
from tintlab.system.errors import TintlabError
from tintlab.tracking import delivery, store

if TYPE_CHECKING:
    from mlflow.entities import Run

_NO_MANIFEST = "there is no manifest above it that knows it"
_TAGS = ("git.", "input.", "dvc.", "version.")


@dataclass(frozen=True)
class Trace:
    """The origin of a coloured file.

    Attributes:
        file: what it says of itself.
        manifest: what the manifest says of it; empty where there is none.
        run: the run of the model's training: its name and status, parameters, commit and data hashes; empty
            where MLflow does not know it.
        words: what could not be found out, and why.
        coding: of a film, what it says of its coding and its guides.
        shots: of a film, what the manifest says of each shot, a line each.
    """

    file: Provenance
    manifest: Mapping[str, str]
    run: Mapping[str, str]
    words: tuple[str, ...]
    coding: Mapping[str, str] = field(default_factory=dict)
    shots: tuple[str, ...] = ()

    def text(self) -> str:
        """All of it, a line each."""
        return "\n".join(self._lines())

    def _lines(self) -> Iterator[str]:
        parts = (
            (
                "the file says",
                {name: value for name, value in asdict(self.file).items() if value} | dict(self.coding),
            ),
            ("the manifest says", self.manifest),
            ("MLflow says of the training", self.run),
        )
        for title, facts in parts:
            if facts:
                width = max(map(len, facts))
                yield f"{title}:"
                yield from (f"  {name:<{width}}  {printable(value)}" for name, value in facts.items())
        if self.shots:
            yield "its shots:"
            yield from (f"  {printable(line)}" for line in self.shots)
        yield from self.words


def trace(path: Path) -> Trace:
    """Find out where a coloured file came from.

    Raises:
        TintlabError: it can't be read, or tintlab did not make it.
    """
    found = read_film_origin(path) if is_film(path) else _read_photo_origin(path)
    words = []
    if not found.manifest:
        words.append("there is no manifest by shots beside it" if is_film(path) else _NO_MANIFEST)
    run: Mapping[str, str] = {}
    try:
        run = _find_run(found.origin)
        if not run:
            words.append(f"MLflow at {store.shown_uri()} does not know its model")
    except store.TrackingUnavailableError as error:
        words.append(f"{error}; the above is what the file says itself")
    return Trace(found.origin, found.manifest, run, tuple(words), found.coding, found.shots)


def _read_photo_origin(path: Path) -> FileOrigin:
    try:
        data = path.read_bytes()
        origin = read_provenance(data)
    except OSError as error:
        raise TintlabError(f"{path} can't be opened: {error.strerror}") from None
    except TintlabError as error:
        raise TintlabError(f"{path}: {error}") from None
    if origin is None:
        raise TintlabError(f"{path} does not say that tintlab coloured it")
    return FileOrigin(origin, _look_up_manifest(path.absolute(), data, origin.variant))


def _look_up_manifest(path: Path, data: bytes, variant: str) -> dict[str, str]:
    # A row names the first variant; the sums of the others stand beside it.
    first = path.with_name(path.name.replace(f"-v{variant}{path.suffix}", f"-v1{path.suffix}"))
    for folder in path.parents:
        if (folder / STATE).is_dir() and (folder / MANIFEST).is_file():
            name = as_text(first.relative_to(folder))
            rows: pd.DataFrame = pq.read_table(folder / MANIFEST, filters=[("output", "=", name)]).to_pandas()
            if rows.empty:
                return {}
            row = rows.iloc[-1]
            sums = [row["output_sha256"], *(row["more_sha256"] or "").split()]
            same = hashlib.sha256(data).hexdigest() in sums
            return {
                "source": row["input"],
                **({"page": str(row["page"])} if row.get("page") else {}),
                "source_sha256": row["input_sha256"],
                "coloured": f"{row['finished']:%Y-%m-%d %H:%M:%S} UTC",
                "bytes": "as they were written" if same else "CHANGED since they were written",
            }
    return {}


def _find_run(origin: Provenance) -> dict[str, str]:
    """The training's run by its id, by its fingerprint, or by the version that has the weights."""
    if not store.store_exists():
        return {}
    found = delivery.find_run(origin.training) if origin.training else None
    with store.connect() as client:
        versions = [
            version
            for version in models.list_versions(client)
            if models.registered_hashes(version)[paths.WEIGHTS] == origin.weights_sha256
        ]
        known = [origin.run_id, *(version.run_id for version in versions), found]
        for run_id in dict.fromkeys(filter(None, known)):
            if run := store.find_or_none(client.get_run, str(run_id)):
                names = ", ".join(str(version.version) for version in versions)
                return ({"registered_as": names} if names else {}) | _facts(run)
    return {}


def _facts(run: "Run") -> dict[str, str]:
    facts = {"run": f"{run.info.run_name} ({run.info.run_id}, {run.info.status})"}
    facts |= {name: value for name, value in sorted(run.data.tags.items()) if name.startswith(_TAGS)}
    return facts | {f"params.{name}": value for name, value in sorted(run.data.params.items())}
