"""Deliver spools to MLflow without losing or repeating records, even if a sender is killed.

A run has the training's fingerprint as a tag, and the sender looks for it before it creates a run. The steps
of a metric only grow, so a step that the store already has is not sent again. This also works if two senders
start at once, because each spool has a lock, and if a resumed training repeats its steps.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintlab.system.console import one_line
from tintlab.tracking import store
from tintlab.tracking.datasets import as_inputs
from tintlab.tracking.recorder import RESTORED_TAG, Recorder, Status
from tintlab.tracking.spool import Progress, Spool, hold_lock, list_spools
from tintlab.tracking.store import FINGERPRINT_TAG, TrackingUnavailableError

if TYPE_CHECKING:
    import pandas as pd
    from mlflow.entities import Metric, Run

_BATCH_METRICS, _BATCH_ITEMS = 1000, 100  # what MLflow takes at once
_FIGURES = {"metrics", "sample", "summary"}
_NEVER = {"INVALID_PARAMETER_VALUE", "RESOURCE_DOES_NOT_EXIST"}


def find_run(fingerprint: str) -> str | None:
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
    datasets: Sequence[Mapping[str, str]] = (),
) -> str:
    """Return the id of a training's run; if there is none, create it, see `Recorder.restore`.

    Raises:
        TrackingUnavailableError: the store can't be reached; a later `sync` creates the run.
    """
    run = _run(fingerprint)
    if run is None or _half_restored(run):
        with Recorder(fingerprint) as recorder:
            name = f"restored-{fingerprint[:6]}"
            recorder.restore(name, params, tags, tables, figures, artifacts, datasets)
        sync()
        run = _run(fingerprint)
    if run is None:
        raise TrackingUnavailableError(
            f"the run of training {fingerprint} was not made: see `tintlab doctor`"
        )
    return str(run.info.run_id)


def sync() -> int:
    """Deliver the records of all spools; remove spools of finished trainings. Returns the number of records.

    Raises:
        TrackingUnavailableError: the store can't be reached; undelivered records stay in their spools.
    """
    return Deliverer().deliver_all()


def backlog() -> dict[str, int]:
    """Records that wait to be delivered, or were refused, by fingerprint; spools without any are left out."""
    counts = {spool.fingerprint: spool.undelivered() for spool in list_spools()}
    return {fingerprint: count for fingerprint, count in counts.items() if count}


@dataclass
class _Last:
    """The last point of a metric that the store has."""

    step: int = -1
    time: int = -1
    value: float = float("nan")


@dataclass
class _OpenRun:
    """A run that receives records; it is created with the first one if it does not exist."""

    run_id: str
    progress: Progress
    last: dict[str, _Last] = field(default_factory=dict)


class Deliverer:
    """Delivers spools to MLflow; keeps its client and its runs between passes."""

    def __init__(self) -> None:
        self._target: _Target | None = None
        self._runs: dict[str, _OpenRun] = {}

    def deliver_all(self) -> int:
        """One pass over all spools; see `sync`."""
        return sum(self._deliver(spool) for spool in list_spools())

    def _deliver(self, spool: Spool) -> int:
        try:
            with hold_lock(spool.folder):
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
            with store.unavailable_on_error():
                return self._deliver_records(spool, progress)
        except TrackingUnavailableError:
            # It is unknown how much of the last batch the store has: ask it next time.
            self._runs.pop(spool.fingerprint, None)
            raise

    def _deliver_records(self, spool: Spool, progress: Progress) -> int:
        from mlflow.exceptions import MlflowException

        self._target = self._target or _Target()
        run = self._open_run(spool, progress)
        count = 0
        for batch, offset in _batches(spool.pending(run.progress.offset)):
            try:
                self._target.send(spool, run, batch)
            except MlflowException as error:
                if error.error_code not in _NEVER:
                    raise
                if self._target.find(spool.fingerprint) != run.run_id:
                    # The run was deleted meanwhile: the next pass creates it again from the first record.
                    del self._runs[spool.fingerprint]
                    return count
                self._send_singly(spool, run, batch)
            run.progress.offset, run.progress.run_id = offset, run.run_id
            spool.save_progress(run.progress)
            count += len(batch)
        return count

    def _open_run(self, spool: Spool, progress: Progress) -> _OpenRun:
        """The run of a spool: the one in memory, or looked up again if another sender has delivered since."""
        assert self._target is not None
        known = self._runs.get(spool.fingerprint)
        if known is None or known.progress != progress:
            run_id = self._target.find(spool.fingerprint)
            if progress.store != self._target.name or progress.run_id != run_id:
                # The store is another one, or has lost the run: send everything that the spool still has.
                progress = Progress(self._target.name, run_id)
            known = self._runs[spool.fingerprint] = _OpenRun(run_id, progress)
        return known

    def _send_singly(self, spool: Spool, run: _OpenRun, batch: list[dict[str, Any]]) -> None:
        """Send a refused batch record by record; move aside the records that the store will never accept."""
        from mlflow.exceptions import MlflowException

        assert self._target is not None
        for record in batch:
            run.last.clear()
            try:
                self._target.send(spool, run, [record])
            except MlflowException as error:
                if error.error_code not in _NEVER:
                    raise
                spool.refuse(record, one_line(error))


class _Target:
    """The MLflow store as the target of records."""

    def __init__(self) -> None:
        store.prepare_store()
        self.name = store.shown_uri()
        self._client = store.new_client(store.tracking_uri())
        self._experiment = store.experiment_id(self._client)

    def find(self, fingerprint: str) -> str:
        """The id of a training's run; empty if there is none."""
        run = store.search_run(self._client, self._experiment, fingerprint)
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
                self._store_artifact(spool, self._ensure_run(spool, run, batch[0]), batch[0])
            case "unreadable":
                spool.refuse(batch[0], "damaged on the disk")
            case _:
                self._log(self._ensure_run(spool, run, batch[0]), run, batch)

    def _start(self, spool: Spool, run: _OpenRun, record: dict[str, Any]) -> None:
        self._ensure_run(spool, run, record)
        if self._client.get_run(run.run_id).info.status != "RUNNING":
            self._client.update_run(run.run_id, status="RUNNING")
        self._describe(run, record)
        run.progress.ended = False

    def _finish(self, spool: Spool, run: _OpenRun, status: Status, end_time: int) -> None:
        self._client.set_terminated(self._ensure_run(spool, run, {"time": end_time}), status, end_time)
        run.progress.ended = True

    def _restore(self, spool: Spool, run: _OpenRun, record: dict[str, Any]) -> None:
        self._ensure_run(spool, run, record)
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

    def _ensure_run(self, spool: Spool, run: _OpenRun, record: dict[str, Any]) -> str:
        """Return the id of the run; create it if there is none.

        If a record other than the start of a training creates the run, the store was lost. `restore` then
        sends the missing records.
        """
        if not run.run_id:
            tags = record.get("tags", {RESTORED_TAG: "true"}) | {FINGERPRINT_TAG: spool.fingerprint}
            name = record.get("run_name", f"restored-{spool.fingerprint[:6]}")
            run.run_id = self._client.create_run(self._experiment, record["time"], tags, name).info.run_id
        return run.run_id

    def _describe(self, run: _OpenRun, record: dict[str, Any]) -> None:
        """Set the tags, and the parameters that the run lacks: parameters can't change in MLflow."""
        from mlflow.entities import Param, RunTag

        known = self._client.get_run(run.run_id).data.params
        params = [Param(key, value) for key, value in record["params"].items() if key not in known]
        tags = [RunTag(key, value) for key, value in record["tags"].items()]
        for first in range(0, max(len(params), len(tags)), _BATCH_ITEMS):
            part = slice(first, first + _BATCH_ITEMS)
            self._client.log_batch(run.run_id, params=params[part], tags=tags[part])
        # MLflow ignores a dataset that the run already has. Spools of earlier versions have no datasets.
        if described := record.get("datasets"):
            self._client.log_inputs(run.run_id, as_inputs(described))

    def _log(self, run_id: str, run: _OpenRun, batch: list[dict[str, Any]]) -> None:
        points = [point for record in batch for point in self._new_points(run, record)]
        for first in range(0, len(points), _BATCH_METRICS):
            self._client.log_batch(run_id, metrics=points[first : first + _BATCH_METRICS])

    def _new_points(self, run: _OpenRun, record: dict[str, Any]) -> Iterator["Metric"]:
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
        # A missing copy was already sent, by a sender that was killed before it saved its progress.
        if record.get("kind") == "artifact":
            spool.drop_copy(record["copy"])


def _batches(records: Iterable[tuple[dict[str, Any], int]]) -> Iterator[tuple[list[dict[str, Any]], int]]:
    """Group records, with the offset after each group: up to `_BATCH_METRICS` figures; others alone."""
    batch: list[dict[str, Any]] = []
    size, end = 0, 0
    for record, offset in records:
        # A record of figures counts as at least one: otherwise another kind of record could join its batch.
        figures = max(1, len(record["values"])) if record["kind"] in _FIGURES else _BATCH_METRICS
        if batch and size + figures > _BATCH_METRICS:
            yield batch, end
            batch, size = [], 0
        batch.append(record)
        size, end = size + figures, offset
    if batch:
        yield batch, end


def _run(fingerprint: str) -> "Run | None":
    with store.unavailable_on_error():
        store.prepare_store()
        client = store.new_client(store.tracking_uri())
        return store.search_run(client, store.experiment_id(client), fingerprint)


def _half_restored(run: "Run") -> bool:
    """Whether `restore` was interrupted, or the run was created by figures after the store was lost."""
    return run.data.tags.get(RESTORED_TAG) == "true" and run.info.status == "RUNNING"


def _same(value: float, other: float) -> bool:
    return value == other or (math.isnan(value) and math.isnan(other))
