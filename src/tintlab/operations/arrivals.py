"""Find reasons for another retraining: new photographs, changed sources, and drift since the last one."""

import hashlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tintlab.imaging import color
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.scoring import drift_report
from tintlab.sources import lock as sources_lock
from tintlab.sources.walk import walk
from tintlab.system import paths, urls
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json
from tintlab.system.params import Params
from tintlab.tracking import store

_MOST_RUNS = 100


@dataclass(frozen=True)
class Arrivals:
    """New files of the inbox.

    Attributes:
        files: number of files.
        coloured: number of colour photographs among them. Counting stops when there are enough.
        digest: of their names, sizes and times; empty without files.
    """

    files: int
    coloured: int
    digest: str


@dataclass(frozen=True)
class Drift:
    """A scored archive that differs from the champion's training photographs.

    Attributes:
        run_id: in MLflow.
        name: the name of the run.
    """

    run_id: str
    name: str


def find_new_photographs(inbox: Path, known: Path, params: Params) -> Arrivals:
    """Find the files of `inbox` that `known` lacks. Files with the same name, size and time are the same."""
    files = walk(inbox).files if inbox.is_dir() else ()
    new = [path for path in files if _is_new(path, known / path.relative_to(inbox))]
    coloured = 0
    for path in new:
        if coloured >= params.watch.min_new_photos:
            break
        coloured += _is_coloured(path, params)
    return Arrivals(len(new), coloured, _digest(new))


def find_changed_sources(params: Params) -> dict[str, str]:
    """Find local sources that have changed since the last retraining, with their present digests.

    A source out of reach counts as unchanged: a retraining could not read it either.
    """
    changed = {}
    with suppress(FileNotFoundError, TintlabError):
        lock = read_json(paths.workspace() / paths.SOURCES_LOCK)
        for source in params.fetch.sources:
            with suppress(TintlabError, OSError):
                now = "" if urls.is_url(source.path) else sources_lock.compute_local_digest(source)
                if now and now != sources_lock.recorded_digest(source, lock):
                    changed[source.path] = now
    return changed


def find_drifted_archives() -> list[Drift]:
    """Find the scored archives in MLflow that drifted, the latest first.

    Raises:
        TrackingUnavailableError: MLflow can't be reached.
    """
    with store.connect() as client:
        experiment = client.get_experiment_by_name(drift_report.EXPERIMENT)
        if experiment is None:
            return []
        runs = client.search_runs([experiment.experiment_id], "tags.drift = 'drift'", max_results=_MOST_RUNS)
        return [Drift(run.info.run_id, run.info.run_name or run.info.run_id) for run in runs]


def read_seen() -> set[str]:
    """Read the causes that have already led to a reaction: digests of arrivals and of sources, runs of drift."""
    with suppress(FileNotFoundError, TintlabError):
        return set(read_json(paths.watch_record())["seen"])
    return set()


def remember(causes: set[str]) -> None:
    """Add causes to those of `read_seen`."""
    write_json(paths.watch_record(), {"seen": sorted(read_seen() | causes)})


def _is_new(path: Path, known: Path) -> bool:
    with suppress(OSError):
        if path.name.startswith(".") or path.suffix == ".md" or not path.is_file():
            return False
        now, then = path.stat(), known.stat()
        return (now.st_size, now.st_mtime_ns) != (then.st_size, then.st_mtime_ns)
    return path.exists()


def _is_coloured(path: Path, params: Params) -> bool:
    with suppress(PhotoError, OSError):
        photo = read_photo(path, params.photos.max_megapixels)
        return color.colourfulness(photo.rgb()) >= params.validate_.min_colourfulness
    return False


def _digest(files: list[Path]) -> str:
    lines = [f"{path}\0{path.stat().st_size}\0{path.stat().st_mtime_ns}\n" for path in files if path.exists()]
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest() if lines else ""
