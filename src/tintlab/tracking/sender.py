"""MLflow runs, fed through a spool on disk.

A stage never calls MLflow: a `Recorder` appends lines to a file, and a process of its own, the sender,
delivers them in batches whenever the store can be reached. What it leaves, the next sender or `sync` takes.
The sender is a process and not a thread, for MLflow's client draws from Python's global random numbers
(names, pauses between retries), which would change a training's course, holds the interpreter for seconds
while it makes its database, and can't be stopped within a request.

Nothing is sent twice. A run bears the training's fingerprint as a tag, and is looked for before it is made;
steps of a metric only grow, so a step that the store has reached is not sent again. This holds when a sender
is killed anywhere, when two start at once (a lock a spool), and when a resumed training repeats its steps.
"""

import math
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from tintlab.system import paths
from tintlab.system.console import one_line
from tintlab.system.entry_point import prepare_environment
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path
from tintlab.tracking.spool import (
    RESTORED_TAG,
    Progress,
    Recorder,
    Spool,
    Status,
    locked,
    spools,
    system_metrics,
)

if TYPE_CHECKING:
    import pandas as pd
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run

__all__ = [
    "EXPERIMENT",
    "FINGERPRINT_TAG",
    "LINGER_SECONDS",
    "RESTORED_TAG",
    "Recorder",
    "TrackingUnavailableError",
    "backlog",
    "connected",
    "experiment_id",
    "prepare_store",
    "recording",
    "restore_run",
    "run_for",
    "shown_uri",
    "store_exists",
    "sync",
    "system_metrics",
    "tracking_uri",
]

EXPERIMENT = "tintlab"
FINGERPRINT_TAG = "tintlab.fingerprint"

LINGER_SECONDS = 4.0
"""How long a sender may go on after its stage has ended."""

_PAUSE_SECONDS, _LONGEST_PAUSE_SECONDS = 1.0, 8.0
_BATCH_METRICS, _BATCH_ITEMS = 1000, 100  # what MLflow takes at once
# One attempt and no wait for an absent server, instead of minutes: the sender comes back by itself.
_IMPATIENCE = {"MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0", "MLFLOW_HTTP_REQUEST_TIMEOUT": "30"}
_QUIET = {"MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false", "MLFLOW_LOGGING_LEVEL": "WARNING"}
# MLflow's pages then show trainings, and not calls of language models.
_EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}
_FIGURES = {"metrics", "sample", "summary"}
_NEVER = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}


class TrackingUnavailableError(TintlabError):
    """The MLflow store can't be reached now; nothing is lost."""


@contextmanager
def recording(fingerprint: str) -> Iterator[Recorder]:
    """Record, while a sender of its own delivers; at the end it gets `LINGER_SECONDS` and leaves the rest.

    The sender delivers what earlier stages left, too.
    """
    with Recorder(fingerprint) as recorder:
        sender = _start_sender()
        try:
            yield recorder
        finally:
            recorder.close()
            _dismiss(sender)
            left = sum(backlog().values())
            if left:
                sys.stderr.write(
                    f"{left} records wait for MLflow at {shown_uri()}: the next stage sends them, "
                    "or run `tintlab sync`\n"
                )


def tracking_uri() -> str:
    """`MLFLOW_TRACKING_URI`, or the SQLite store in the state folder."""
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{paths.tracking_database()}"


def store_exists() -> bool:
    """Whether there can be anything in the store: another than the default one is taken to exist."""
    return bool(os.environ.get("MLFLOW_TRACKING_URI")) or paths.tracking_database().exists()


def prepare_store() -> None:
    """Make the default store where it is used and missing, whole or not at all (seconds)."""
    database = paths.tracking_database()
    if os.environ.get("MLFLOW_TRACKING_URI") or database.exists():
        return
    with locked(database.parent):
        if not database.exists():
            with atomic_path(database) as temporary:
                _new_client(f"sqlite:///{temporary}").search_experiments()


@contextmanager
def connected() -> Iterator["MlflowClient"]:
    """MLflow's client for the store, which is made where it is missing; it neither waits nor tries again.

    Raises:
        TrackingUnavailableError: for whatever goes wrong within and is no `TintlabError`.
    """
    with _unavailable_on_error():
        prepare_store()
        yield _new_client(tracking_uri())


def run_for(fingerprint: str) -> str | None:
    """The id of the run that tracks a training, or None.

    Raises:
        TrackingUnavailableError: the store can't be reached.
    """
    run = _run(fingerprint)
    return run.info.run_id if run else None


def restore_run(
    fingerprint: str,
    params: Mapping[str, Any],
    tags: Mapping[str, str],
    tables: Iterable["pd.DataFrame"],
    figures: Mapping[str, float],
    artifacts: Iterable[tuple[Path, str]] = (),
) -> str:
    """The id of the run of a training; where there is none, one is made now, see `Recorder.restore`.

    Raises:
        TrackingUnavailableError: the store can't be reached; the run will be made when it can.
    """
    run = _run(fingerprint)
    if run is None or _half_restored(run):
        with Recorder(fingerprint) as recorder:
            recorder.restore(f"restored-{fingerprint[:6]}", params, tags, tables, figures, artifacts)
        sync()
        run = _run(fingerprint)
    if run is None:
        raise TrackingUnavailableError(
            f"the run of training {fingerprint} was not made: see `tintlab doctor`"
        )
    return str(run.info.run_id)


def sync() -> int:
    """Deliver what all spools hold; remove those whose training has ended. Returns the number of records.

    Raises:
        TrackingUnavailableError: the store can't be reached; what was not delivered waits.
    """
    return _Deliverer().deliver_all()


def backlog() -> dict[str, int]:
    """Records that wait to be delivered, or were refused, by fingerprint; spools without any are left out."""
    counts = {spool.fingerprint: spool.undelivered() for spool in spools()}
    return {fingerprint: count for fingerprint, count in counts.items() if count}


@dataclass
class _Last:
    """The last point of a metric that the store has."""

    step: int = -1
    time: int = -1
    value: float = float("nan")


@dataclass
class _OpenRun:
    """A run that is being fed, or will be made by its first record."""

    run_id: str
    progress: Progress
    last: dict[str, _Last] = field(default_factory=dict)


class _Deliverer:
    """Brings spools to MLflow; remembers its client and its runs between passes."""

    def __init__(self) -> None:
        self._store: _Store | None = None
        self._runs: dict[str, _OpenRun] = {}

    def deliver_all(self) -> int:
        """One pass over all spools; see `sync`."""
        return sum(self._deliver(spool) for spool in spools())

    def _deliver(self, spool: Spool) -> int:
        try:
            with locked(spool.folder):
                count = self._deliver_locked(spool)
                spool.remove_if_done()
                return count
        except FileNotFoundError:  # delivered and removed by someone else
            return 0

    def _deliver_locked(self, spool: Spool) -> int:
        progress = spool.progress()
        if not any(True for _ in spool.pending(progress.offset)):
            return 0
        try:
            with _unavailable_on_error():
                return self._deliver_records(spool, progress)
        except TrackingUnavailableError:
            # What the store took of the last batch is not known: ask it next time.
            self._runs.pop(spool.fingerprint, None)
            raise

    def _deliver_records(self, spool: Spool, progress: Progress) -> int:
        from mlflow.exceptions import MlflowException

        self._store = self._store or _Store()
        run = self._open_run(spool, progress)
        count = 0
        for batch, offset in _batches(spool.pending(run.progress.offset)):
            try:
                self._store.send(spool, run, batch)
            except MlflowException as error:
                if error.error_code not in _NEVER:
                    raise
                if self._store.find(spool.fingerprint) != run.run_id:
                    # Deleted while it was fed: the next pass makes it anew, from the first record on.
                    del self._runs[spool.fingerprint]
                    return count
                self._send_singly(spool, run, batch)
            run.progress.offset, run.progress.run_id = offset, run.run_id
            spool.save_progress(run.progress)
            count += len(batch)
        return count

    def _open_run(self, spool: Spool, progress: Progress) -> _OpenRun:
        """The run of a spool as we left it, or as it is now where others have fed it since."""
        assert self._store is not None
        known = self._runs.get(spool.fingerprint)
        if known is None or known.progress != progress:
            run_id = self._store.find(spool.fingerprint)
            if progress.store != self._store.name or progress.run_id != run_id:
                # Another store, or one that lost the run: it gets all that the spool still has.
                progress = Progress(self._store.name, run_id)
            known = self._runs[spool.fingerprint] = _OpenRun(run_id, progress)
        return known

    def _send_singly(self, spool: Spool, run: _OpenRun, batch: list[dict[str, Any]]) -> None:
        """Send a batch that was refused record by record, and lay aside what will never be taken."""
        from mlflow.exceptions import MlflowException

        assert self._store is not None
        for record in batch:
            run.last.clear()
            try:
                self._store.send(spool, run, [record])
            except MlflowException as error:
                if error.error_code not in _NEVER:
                    raise
                spool.refuse(record, one_line(error))


class _Store:
    """MLflow as the spool's records see it."""

    def __init__(self) -> None:
        prepare_store()
        self.name = shown_uri()
        self._client = _new_client(tracking_uri())
        self._experiment = experiment_id(self._client)

    def find(self, fingerprint: str) -> str:
        """The id of a training's run; empty where there is none."""
        run = _find_run(self._client, self._experiment, fingerprint)
        return run.info.run_id if run else ""

    def send(self, spool: Spool, run: _OpenRun, batch: list[dict[str, Any]]) -> None:
        """Send records: several with figures, or one of another kind."""
        match batch[0]["kind"]:
            case "start":
                self._start(spool, run, batch[0])
            case "restore":
                self._restore(spool, run, batch[0])
            case "finish":
                self._finish(spool, run, batch[0]["status"], batch[0]["time"])
            case "artifact":
                self._store_artifact(spool, self._made(spool, run, batch[0]), batch[0])
            case "unreadable":
                spool.refuse(batch[0], "damaged on the disk")
            case _:
                self._log(self._made(spool, run, batch[0]), run, batch)

    def _start(self, spool: Spool, run: _OpenRun, record: dict[str, Any]) -> None:
        self._made(spool, run, record)
        if self._client.get_run(run.run_id).info.status != "RUNNING":
            self._client.update_run(run.run_id, status="RUNNING")
        self._describe(run, record)
        run.progress.ended = False

    def _finish(self, spool: Spool, run: _OpenRun, status: Status, end_time: int) -> None:
        self._client.set_terminated(self._made(spool, run, {"time": end_time}), status, end_time)
        run.progress.ended = True

    def _restore(self, spool: Spool, run: _OpenRun, record: dict[str, Any]) -> None:
        self._made(spool, run, record)
        if _half_restored(self._client.get_run(run.run_id)):
            self._describe(run, record)
            series = [{"kind": "metrics", "time": record["time"]} | row for row in record["series"]]
            for batch, _ in _batches((row, 0) for row in series):
                self._log(run.run_id, run, batch)
            self._log(run.run_id, run, [record | {"kind": "summary"}])
            for artifact in record["artifacts"]:
                self._store_artifact(spool, run.run_id, artifact)
            self._client.set_terminated(run.run_id, "FINISHED", record["time"])
        for artifact in record["artifacts"]:
            spool.drop_copy(artifact["copy"])

    def _made(self, spool: Spool, run: _OpenRun, record: dict[str, Any]) -> str:
        """The id of the run, which is made now where there is none.

        Only a store that was lost makes one from a record that does not start a training: it is left for
        `restore` to tell the rest.
        """
        if not run.run_id:
            tags = record.get("tags", {RESTORED_TAG: "true"}) | {FINGERPRINT_TAG: spool.fingerprint}
            name = record.get("run_name", f"restored-{spool.fingerprint[:6]}")
            run.run_id = self._client.create_run(self._experiment, record["time"], tags, name).info.run_id
        return run.run_id

    def _describe(self, run: _OpenRun, record: dict[str, Any]) -> None:
        """Tags are renewed; parameters can't change in MLflow, so those that a run has stay."""
        from mlflow.entities import Param, RunTag

        known = self._client.get_run(run.run_id).data.params
        params = [Param(key, value) for key, value in record["params"].items() if key not in known]
        tags = [RunTag(key, value) for key, value in record["tags"].items()]
        for first in range(0, max(len(params), len(tags)), _BATCH_ITEMS):
            part = slice(first, first + _BATCH_ITEMS)
            self._client.log_batch(run.run_id, params=params[part], tags=tags[part])

    def _log(self, run_id: str, run: _OpenRun, batch: list[dict[str, Any]]) -> None:
        points = [point for record in batch for point in self._news(run, record)]
        for first in range(0, len(points), _BATCH_METRICS):
            self._client.log_batch(run_id, metrics=points[first : first + _BATCH_METRICS])

    def _news(self, run: _OpenRun, record: dict[str, Any]) -> Iterator["Metric"]:
        """The figures of a record that the run does not have yet."""
        from mlflow.entities import Metric

        for key, value in record["values"].items():
            last = run.last.get(key) or self._last(run.run_id, key)
            kind, moment = record["kind"], record["time"]
            step = record["step"] if kind == "metrics" else last.step + 1
            new = step > last.step if kind == "metrics" else moment > last.time
            if new and not (kind == "summary" and last.step >= 0 and _same(value, last.value)):
                yield Metric(key, value, moment, step)
                last = _Last(step, moment, value)
            run.last[key] = last

    def _last(self, run_id: str, key: str) -> _Last:
        history = self._client.get_metric_history(run_id, key)
        newest = max(history, key=lambda point: (point.step, point.timestamp), default=None)
        return _Last(newest.step, newest.timestamp, newest.value) if newest else _Last()

    def _store_artifact(self, spool: Spool, run_id: str, record: dict[str, Any]) -> None:
        copy = spool.folder / record["copy"]
        if copy.is_dir():
            self._client.log_artifacts(run_id, str(copy), record["folder"])
        elif copy.exists():
            self._client.log_artifact(run_id, str(copy), record["folder"])
        # A copy that is gone was sent, by a sender that was killed before it could say so.
        if record.get("kind") == "artifact":
            spool.drop_copy(record["copy"])


def _batches(records: Iterable[tuple[dict[str, Any], int]]) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Group records, with the offset after each group: up to `_BATCH_METRICS` figures, all else alone."""
    batch: list[dict[str, Any]] = []
    size, end = 0, 0
    for record, offset in records:
        # A record without figures counts too: else what is no figure would join its batch.
        figures = max(1, len(record["values"])) if record["kind"] in _FIGURES else _BATCH_METRICS
        if batch and size + figures > _BATCH_METRICS:
            yield batch, end
            batch, size = [], 0
        batch.append(record)
        size, end = size + figures, offset
    if batch:
        yield batch, end


def _run(fingerprint: str) -> "Run | None":
    with _unavailable_on_error():
        prepare_store()
        client = _new_client(tracking_uri())
        return _find_run(client, experiment_id(client), fingerprint)


def _half_restored(run: "Run") -> bool:
    """Made by `restore` and cut short, or by figures that came without the training that they are of."""
    return run.data.tags.get(RESTORED_TAG) == "true" and run.info.status == "RUNNING"


def _find_run(client: "MlflowClient", experiment: str, fingerprint: str) -> "Run | None":
    """The oldest run of a training that was not deleted."""
    same = f"tags.`{FINGERPRINT_TAG}` = '{fingerprint}'"
    runs = client.search_runs([experiment], same, max_results=1, order_by=["attributes.start_time ASC"])
    return runs[0] if runs else None


def experiment_id(client: "MlflowClient", name: str = EXPERIMENT) -> str:
    """The id of an experiment of ours, made or undeleted where it has to be."""
    from mlflow.exceptions import MlflowException

    found = client.get_experiment_by_name(name)
    if found is None:
        # A server knows best where its artifacts lie; a database leaves it to us.
        served = urlsplit(tracking_uri()).scheme in ("http", "https", "databricks")
        location = None if served else paths.tracking_artifacts().as_uri()
        try:
            return str(client.create_experiment(name, artifact_location=location, tags=_EXPERIMENT_TAGS))
        except MlflowException as error:
            found = client.get_experiment_by_name(name)
            if found is None:
                raise error
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    return str(found.experiment_id)


def _new_client(uri: str) -> "MlflowClient":
    prepare_environment()
    for name, value in (_IMPATIENCE | _QUIET).items():
        os.environ.setdefault(name, value)
    from mlflow import MlflowClient

    return MlflowClient(tracking_uri=uri, registry_uri=os.environ.get("MLFLOW_REGISTRY_URI") or uri)


@contextmanager
def _unavailable_on_error() -> Iterator[None]:
    """MLflow raises its own errors, its database's, its connection's and the disk's: all mean not now."""
    try:
        yield
    except TintlabError:
        raise
    except Exception as error:
        secret = urlsplit(tracking_uri()).netloc.rpartition("@")[0]
        reason = one_line(error).replace(f"{secret}@", "")[:200]
        raise TrackingUnavailableError(
            f"MLflow at {shown_uri()} can't be reached ({reason}): nothing is lost, try again later"
        ) from error


def shown_uri() -> str:
    """The tracking URI, without a password."""
    uri = tracking_uri()
    secret = urlsplit(uri).netloc.rpartition("@")[0]
    return uri.replace(f"{secret}@", "", 1) if secret else uri


def _same(value: float, other: float) -> bool:
    return value == other or (math.isnan(value) and math.isnan(other))


def _start_sender() -> subprocess.Popen[bytes]:
    paths.spool().mkdir(parents=True, exist_ok=True)
    with (paths.spool() / "sender.log").open("wb") as log:
        return subprocess.Popen(
            [sys.executable, "-m", "tintlab.tracking.sender", str(os.getpid())],
            env=os.environ | {"TINTLAB_STATE": str(paths.state())},
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
        )


def _dismiss(sender: subprocess.Popen[bytes]) -> None:
    """Ask the sender to end; a sender that does not is killed."""
    assert sender.stdin is not None
    try:
        with suppress(OSError):
            # A byte, for the pipe's end may be held open by others that this process started.
            sender.stdin.write(b"\n")
            sender.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            sender.wait(LINGER_SECONDS + 1)
    finally:
        sender.kill()
        sender.wait()


def _keep_delivering(asked_to_end: threading.Event) -> None:
    deliverer = _Deliverer()
    pause = _PAUSE_SECONDS
    while True:
        last = asked_to_end.is_set()
        try:
            deliverer.deliver_all()
            pause = _PAUSE_SECONDS
        except TrackingUnavailableError as error:
            deliverer = _Deliverer()
            print(error, flush=True)
            pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)
        if last:
            return
        asked_to_end.wait(pause)


def _send_for(owner: int) -> None:
    """Deliver until the owner ends, says so, or is killed; then for `LINGER_SECONDS` at most."""
    # Ctrl-C is for the owner, which will tell us.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.nice(10)
    asked_to_end = threading.Event()
    delivery = threading.Thread(target=_keep_delivering, args=[asked_to_end], daemon=True)
    delivery.start()
    while delivery.is_alive() and os.getppid() == owner:
        if select.select([sys.stdin], [], [], 0.25)[0]:
            break
    asked_to_end.set()
    delivery.join(LINGER_SECONDS)
    # Leaves a request that is under way behind: what it did is asked for next time.
    os._exit(0)


if __name__ == "__main__":
    _send_for(int(sys.argv[1]))
