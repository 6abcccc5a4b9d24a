"""Remove from MLflow: versions that were never champion, and runs without a version.

The artifacts of a run are removed with it, and its row too if the database is within reach. On a server the row
stays in the trash until `mlflow gc` runs there.
"""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from tintlab.operations.gc.items import Item, Rules, day, size_of
from tintlab.registry import history, logged_model, models, verdicts
from tintlab.registry.history import MODEL_NAME
from tintlab.scoring import drift_report
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json
from tintlab.system.paths import WEIGHTS
from tintlab.tracking import lineage, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import FileInfo, Run
    from mlflow.entities.model_registry import ModelVersion

_LEFT_TAG = "tintlab.gc."
"""Prefix of a run's tag. The rest is the folder of a deleted version whose files are still to be removed."""

_MOST = 1000


@dataclass(frozen=True)
class Needed:
    """The versions and runs that stay, and the data that they need from other stores."""

    versions: frozenset[int]
    """Versions that stay."""
    runs: tuple["Run", ...]
    """The runs of these versions."""
    models: tuple[str, ...]
    """Names of their folders in `paths.downloaded_models`."""
    weights: frozenset[str]
    """The sha256 of their weights."""

    @property
    def experiments(self) -> set[str]:
        """Names of the DVC experiments that made them."""
        return {run.data.tags["dvc.experiment"] for run in self.runs if "dvc.experiment" in run.data.tags}


def find_needed(client: "MlflowClient", rules: Rules, parents: Iterable[int]) -> Needed:
    """Find what stays: all past champions, versions with an alias, the newest and young ones, and their parents.

    Args:
        client: of MLflow.
        rules: what counts as new and young.
        parents: versions that trainings of this workspace start from.
    """
    known = {int(version.version): version for version in models.list_versions(client)}
    model = history.registered_model(client, MODEL_NAME)
    log = history.read(client)
    kept = {entry.change.version for entry in log.counted}
    kept |= {int(number) for number in (model.aliases if model else {}).values()}
    kept |= set(sorted(known)[max(0, len(known) - rules.keep) :])
    kept |= {
        number
        for number, version in known.items()
        if rules.young((version.last_updated_timestamp or 0) / 1000)
    }
    kept |= set(parents)
    runs: dict[int, Run | None] = {}
    while missing := (kept & known.keys()) - runs.keys():
        for number in missing:
            runs[number] = run = store.find_or_none(client.get_run, str(known[number].run_id))
            parent = run.data.tags.get("parent.version", "") if run else ""
            kept |= {int(parent)} if parent.isdecimal() else set()
    hashes = [models.registered_hashes(known[number]) for number in runs]
    return Needed(
        frozenset(runs),
        tuple(run for run in runs.values() if run),
        tuple(map(lineage.fingerprint, hashes)),
        frozenset(each[WEIGHTS] or "" for each in hashes),
    )


def read_parents(lock: Path) -> set[int]:
    """Read the versions in a lock file of parents; none without the file."""
    try:
        return {entry["version"] for entry in read_json(lock).values() if entry["version"]}
    except FileNotFoundError:
        return set()
    except (AttributeError, KeyError, TypeError):
        raise TintlabError(f"{lock} is damaged: run `tintlab sources refresh`") from None


def unused_versions(client: "MlflowClient", needs: Needed) -> Iterator[Item]:
    """Unused versions, and files left by an interrupted removal of versions."""
    known = models.list_versions(client)
    sources = {version.source for version in known}
    stay = {run.info.run_id for run in needs.runs}
    for version in known:
        if int(version.version) not in needs.versions:
            about = f"registered {day(version.creation_timestamp / 1000)}, " + version.tags.get(
                verdicts.VERDICT_TAG, "not judged"
            )
            remove = partial(_remove_version, version, version.run_id in stay)
            size = sum(map(_size, [str(version.source), *_logged_places(client, version)]))
            yield Item("version", str(version.version), about, size, remove)
    for run in needs.runs:
        for tag in [tag for tag in run.data.tags if tag.startswith(_LEFT_TAG)]:
            source = f"{run.info.artifact_uri}/registered/{tag.removeprefix(_LEFT_TAG)}"
            # The same model may have been registered again.
            files = [] if source in sources else [source]
            remove = partial(_remove_left, run.info.run_id, tag, files)
            yield Item("version's files", tag, "of a version that is gone", sum(map(_size, files)), remove)


def unused_runs(
    client: "MlflowClient", needs: Needed, fingerprints: set[str], rules: Rules
) -> Iterator[Item]:
    """Unused runs of our experiments.

    Args:
        client: of MLflow.
        needs: see `find_needed`.
        fingerprints: of trainings whose runs stay.
        rules: what counts as new; a running run stays while it is young.
    """
    stay = {run.info.run_id for run in needs.runs}
    going = [
        str(version.source)
        for version in models.list_versions(client)
        if int(version.version) not in needs.versions
    ]
    for name in (store.EXPERIMENT, drift_report.EXPERIMENT):
        experiment = client.get_experiment_by_name(name)
        if experiment is None:
            continue
        alive = 0
        for run in _all_runs(client, experiment.experiment_id):
            deleted = run.info.lifecycle_stage == "deleted"
            alive += not deleted
            running = run.info.status == "RUNNING" and rules.young(run.info.start_time / 1000)
            wanted = run.info.run_id in stay or run.data.tags.get(store.FINGERPRINT_TAG) in fingerprints
            if wanted or (not deleted and (alive <= rules.keep or running)):
                continue
            counted = sum(_size(uri) for uri in going if uri.startswith(f"{run.info.artifact_uri}/"))
            size = _size(run.info.artifact_uri) - counted
            if deleted and not size and not _database(client):
                continue  # in the server's trash and empty: the rest is up to the server
            about = f"{run.info.run_name}, {day(run.info.start_time / 1000)}" + ", deleted" * deleted
            yield Item("run", run.info.run_id, about, size, partial(_remove_run, run))


def _all_runs(client: "MlflowClient", experiment: str) -> Iterator["Run"]:
    """All runs including deleted ones, the newest first."""
    from mlflow.entities import ViewType

    page = None
    while page is None or page.token:
        page = client.search_runs(
            [experiment],
            run_view_type=ViewType.ALL,
            max_results=_MOST,
            order_by=["attributes.start_time DESC"],
            page_token=page.token if page else None,
        )
        yield from page


def _remove_version(version: "ModelVersion", run_stays: bool) -> None:
    source, run_id = str(version.source), str(version.run_id)
    tag = _LEFT_TAG + source.rpartition("/")[2]
    with store.connect() as client:
        if run_stays:
            client.set_tag(run_id, tag, "true")
        # First the version: without files it would be broken.
        client.delete_model_version(MODEL_NAME, str(version.version))
        logged = _logged_places(client, version)
        if logged:
            client.delete_logged_model(version.tags[logged_model.ID_TAG])
        others = {other.source for other in models.list_versions(client)}
        files = logged + ([] if source in others else [source])
    if run_stays:
        _remove_left(run_id, tag, files)
    else:
        _delete(files)


def _logged_places(client: "MlflowClient", version: "ModelVersion") -> list[str]:
    """The places of the files of a version's logged model; none without one."""
    model_id = version.tags.get(logged_model.ID_TAG)
    model = store.find_or_none(client.get_logged_model, model_id) if model_id else None
    return [str(model.artifact_location)] if model else []


def _remove_left(run_id: str, tag: str, files: list[str]) -> None:
    _delete(files)
    with store.connect() as client:
        client.delete_tag(run_id, tag)


def _remove_run(run: "Run") -> None:
    with store.connect() as client:
        # Into the trash first: a visible run must have its files.
        if run.info.lifecycle_stage != "deleted":
            client.delete_run(run.info.run_id)
        _delete([run.info.artifact_uri])
        if database := _database(client):
            database._hard_delete_run(run.info.run_id)


def _database(client: "MlflowClient") -> Any:
    """The store if it can delete permanently, as `mlflow gc` does; else None."""
    database = client._tracking_client.store
    return database if hasattr(database, "_hard_delete_run") else None


def _delete(uris: Iterable[str]) -> None:
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    for uri in uris:
        get_artifact_repository(uri, tracking_uri=store.tracking_uri()).delete_artifacts()  # type: ignore[no-untyped-call]
        if folder := _local(uri):
            with suppress(OSError):  # the run's own folder, if it is empty now
                folder.parent.rmdir()


def _size(uri: str) -> int:
    """Bytes below an artifact URI."""
    if folder := _local(uri):
        return size_of([folder])
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    files = get_artifact_repository(uri, tracking_uri=store.tracking_uri())

    def below(infos: "Iterable[FileInfo]") -> int:
        return sum(
            below(files.list_artifacts(file.path)) if file.is_dir else file.file_size or 0 for file in infos
        )

    return below(files.list_artifacts(None))


def _local(uri: str) -> Path | None:
    parts = urlsplit(uri)
    return Path(unquote(parts.path)) if parts.scheme in ("", "file") else None
