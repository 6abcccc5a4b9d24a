"""Record a training: each figure, file and state becomes one line in its spool. This does not call MLflow."""

import json
import math
import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from tintlab.tracking.spool import Spool

if TYPE_CHECKING:
    import pandas as pd

RESTORED_TAG = "restored"

Status = Literal["FINISHED", "FAILED", "KILLED"]

_STEP_COLUMN, _NOT_METRICS = "iteration", {"iteration", "epoch"}


class Recorder:
    """Writes the records of one training to its spool; safe to call from several threads.

    Each method appends one line, whole or not at all.

    Args:
        fingerprint: names the training, and its run; see `lineage.fingerprint`.
    """

    def __init__(self, fingerprint: str) -> None:
        self._spool = Spool(fingerprint)
        self._file = self._spool.open_records()
        self._lock = threading.Lock()
        self._time = self._spool.last_time()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def start(
        self,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        datasets: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Record that the training starts or resumes; an existing run is continued.

        Args:
            run_name: the name on MLflow's pages.
            params: flat; see `sections.flatten`.
            tags: see `lineage.run_tags`.
            datasets: see `datasets.describe_splits`.
        """
        content = {"params": _texts(params), "tags": dict(tags), "datasets": list(datasets)}
        self._append("start", run_name=run_name, **content)

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Record figures after `step` iterations. Steps must grow; steps that a metric has are left out."""
        self._append("metrics", values=_numbers(values), step=step)

    def sample(self, values: Mapping[str, float]) -> None:
        """Record figures without an iteration: they get the step after the last one of the run."""
        self._append("sample", values=_numbers(values))

    def summary(self, values: Mapping[str, float]) -> None:
        """Record figures of the trained model: a value equal to the run's is left out, a new one replaces it."""
        self._append("summary", values=_numbers(values))

    def artifact(self, path: Path, folder: str) -> None:
        """Copy a file, or the content of a folder, to be stored under `folder` of the run's artifacts."""
        self._append("artifact", copy=self._spool.keep_copy(path), folder=folder)

    def finish(self, status: Status = "FINISHED") -> None:
        """Record that the training has ended; if it is resumed later, it calls `start` again."""
        self._append("finish", status=status)

    def restore(
        self,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        tables: Iterable["pd.DataFrame"],
        figures: Mapping[str, float],
        artifacts: Iterable[tuple[Path, str]] = (),
        datasets: Sequence[Mapping[str, str]] = (),
    ) -> None:
        """Record a past training from its outputs, tagged `restored`; ignored if its run exists.

        Args:
            run_name: as for `start`.
            params: as for `start`.
            tags: as for `start`.
            tables: one row per step, with its number in the column `iteration`; all other columns except
                `epoch` are metrics.
            figures: as for `summary`.
            artifacts: paths and folders, as for `artifact`.
            datasets: as for `start`.
        """
        self._append(
            "restore",
            datasets=list(datasets),
            run_name=run_name,
            params=_texts(params),
            tags=dict(tags) | {RESTORED_TAG: "true"},
            series=[row for table in tables for row in _series(table)],
            values=_numbers(figures),
            artifacts=[{"copy": self._spool.keep_copy(path), "folder": folder} for path, folder in artifacts],
        )

    def close(self) -> None:
        """Close the spool; its records stay until they are delivered."""
        self._file.close()

    def _append(self, kind: str, **content: Any) -> None:
        with self._lock:
            # The time of recording, not of sending. It is unique, so the sender recognises a repeated record
            # by it.
            self._time = max(self._time + 1, time.time_ns() // 1_000_000)
            record = {"kind": kind, "time": self._time} | content
            line = json.dumps(record, ensure_ascii=False).encode() + b"\n"
            before = os.fstat(self._file.fileno()).st_size
            written = 0
            try:
                while written < len(line):
                    written += os.write(self._file.fileno(), line[written:])
            except OSError:
                os.ftruncate(self._file.fileno(), before)
                raise


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items()}


def _series(table: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    names = [name for name in table.columns if name not in _NOT_METRICS]
    for row in table.to_dict("records"):
        # An empty cell is a figure that this phase of the training does not have.
        values = {name: float(row[name]) for name in names if not math.isnan(row[name])}
        yield {"step": int(row[_STEP_COLUMN]), "values": values}
