"""What waits to be tracked: a folder a training, written by its stages and read by the sender.

A spool is named by the training's fingerprint and holds `records.jsonl`, `delivered.json` (how far it was
sent), `artifacts/` (copies that wait) and `refused.jsonl` (what the store will never take, and why).
"""

import fcntl
import json
import math
import os
import shutil
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

import psutil

from tintlab.system import paths
from tintlab.system.files import read_json, write_json

if TYPE_CHECKING:
    import pandas as pd

RESTORED_TAG = "restored"

SAMPLE_SECONDS = 10.0
"""Between two samples of the machine's load."""

Status = Literal["FINISHED", "FAILED", "KILLED"]

_STEP_COLUMN, _NOT_METRICS = "iteration", {"iteration", "epoch"}


class Recorder:
    """Writes what is to be tracked of one training to its spool; safe to call from several threads.

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

    def start(self, run_name: str, params: Mapping[str, Any], tags: Mapping[str, str]) -> None:
        """The training starts, or goes on: a run that exists is continued.

        Args:
            run_name: what people see.
            params: flat; see `params.flatten`.
            tags: see `lineage.run_tags`.
        """
        self._append("start", run_name=run_name, params=_texts(params), tags=dict(tags))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        """Figures after `step` iterations. Steps must grow; those that a metric has are left out."""
        self._append("metrics", values=_numbers(values), step=step)

    def sample(self, values: Mapping[str, float]) -> None:
        """Figures that have no iteration: they take the step after the last one the run has."""
        self._append("sample", values=_numbers(values))

    def summary(self, values: Mapping[str, float]) -> None:
        """Figures of the trained model: a value that the run has is left out, a new one replaces it."""
        self._append("summary", values=_numbers(values))

    def artifact(self, path: Path, folder: str) -> None:
        """Copy a file, or all that a folder holds, to be stored under `folder` of the run's artifacts."""
        self._append("artifact", copy=self._spool.keep_copy(path), folder=folder)

    def finish(self, status: Status = "FINISHED") -> None:
        """The training has ended; one that is resumed later calls `start` again."""
        self._append("finish", status=status)

    def restore(
        self,
        run_name: str,
        params: Mapping[str, Any],
        tags: Mapping[str, str],
        tables: Iterable["pd.DataFrame"],
        figures: Mapping[str, float],
        artifacts: Iterable[tuple[Path, str]] = (),
    ) -> None:
        """Tell a training again from its outputs, tagged `restored`; ignored where its run exists.

        Args:
            run_name: as for `start`.
            params: as for `start`.
            tags: as for `start`.
            tables: a row a step, its number in the column `iteration`; other columns but `epoch` are metrics.
            figures: as for `summary`.
            artifacts: paths and folders, as for `artifact`.
        """
        self._append(
            "restore",
            run_name=run_name,
            params=_texts(params),
            tags=dict(tags) | {RESTORED_TAG: "true"},
            series=[row for table in tables for row in _series(table)],
            values=_numbers(figures),
            artifacts=[{"copy": self._spool.keep_copy(path), "folder": folder} for path, folder in artifacts],
        )

    def close(self) -> None:
        """Give the spool up; what it holds stays until it is delivered."""
        self._file.close()

    def _append(self, kind: str, **content: Any) -> None:
        with self._lock:
            # The time of recording, not of sending, and no two alike: what is sent again is known by it.
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


@contextmanager
def system_metrics(recorder: Recorder) -> Iterator[None]:
    """Sample the machine's load every `SAMPLE_SECONDS` under the names that MLflow gives such figures.

    MLflow's own sampler needs a reachable store from the start and forgets what it can't send.
    """
    ended = threading.Event()

    def sample() -> None:
        psutil.cpu_percent()  # the first answer means nothing: load is measured between two calls
        with suppress(OSError):  # a full disk is told by the training itself
            while not ended.wait(SAMPLE_SECONDS):
                recorder.sample(system_load())

    sampler = threading.Thread(target=sample, daemon=True, name="system metrics")
    sampler.start()
    try:
        yield
    finally:
        ended.set()
        sampler.join()


def system_load() -> dict[str, float]:
    """CPU and memory in use; of the first GPU too, where this process uses one."""
    memory = psutil.virtual_memory()
    load = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": round(memory.used / 1e6, 1),
        "system_memory_usage_percentage": memory.percent,
        "process_memory_usage_megabytes": round(psutil.Process().memory_info().rss / 1e6, 1),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info(0)
        load["gpu_0_memory_usage_megabytes"] = round((total - free) / 1e6, 1)
    return {f"system/{name}": value for name, value in load.items()}


@dataclass
class Progress:
    """How far a spool was delivered, and to where."""

    store: str = ""
    run_id: str = ""
    offset: int = 0
    ended: bool = True
    """No training is under way that could go on: none started, or the last one finished."""


class Spool:
    """The folder of one training.

    Args:
        fingerprint: see `Recorder`.
    """

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint
        self.folder = paths.spool() / fingerprint
        self.records = self.folder / "records.jsonl"
        self.refused = self.folder / "refused.jsonl"
        self._progress = self.folder / "delivered.json"

    def open_records(self) -> Any:
        """Open the records to append, without a torn last line; the spool stays while this is open."""
        while True:
            try:
                self.folder.mkdir(parents=True, exist_ok=True)
                file = self.records.open("ab", buffering=0)
            except FileNotFoundError:  # removed between the two
                continue
            fcntl.flock(file, fcntl.LOCK_SH)
            if _same_file(file.fileno(), self.records):
                os.ftruncate(file.fileno(), self._whole_size())
                return file
            file.close()

    def last_time(self) -> int:
        """When the last record was written, in milliseconds; 0 where there is none."""
        return max((record.get("time", 0) for record, _ in self.pending(0)), default=0)

    def _whole_size(self) -> int:
        data = self.records.read_bytes()
        return data.rfind(b"\n") + 1

    def keep_copy(self, path: Path) -> str:
        """Copy a file or folder into the spool; the copy's path within it."""
        target = self.folder / "artifacts" / str(time.time_ns()) / path.name
        target.parent.mkdir(parents=True)
        if path.is_dir():
            shutil.copytree(path, target)
        else:
            shutil.copyfile(path, target)
        return target.relative_to(self.folder).as_posix()

    def drop_copy(self, copy: str) -> None:
        """Remove what `keep_copy` made."""
        shutil.rmtree((self.folder / copy).parent, ignore_errors=True)

    def progress(self) -> Progress:
        """How far the spool was delivered; nowhere at first."""
        try:
            return Progress(**read_json(self._progress))
        except FileNotFoundError:
            return Progress()

    def save_progress(self, progress: Progress) -> None:
        """Remember how far the spool was delivered."""
        write_json(self._progress, vars(progress))

    def pending(self, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
        """The whole lines after `offset`, each with the offset after it."""
        with suppress(FileNotFoundError), self.records.open("rb") as file:
            file.seek(offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                offset += len(line)
                try:
                    yield json.loads(line), offset
                except ValueError:
                    yield {"kind": "unreadable", "text": line.decode("utf-8", "replace")}, offset

    def refuse(self, record: Mapping[str, Any], reason: str) -> None:
        """Lay a record aside that will never be taken, so that those after it are."""
        line = json.dumps({"reason": reason, "record": record}, ensure_ascii=False) + "\n"
        with self.refused.open("a", encoding="utf-8") as file:
            file.write(line)

    def undelivered(self) -> int:
        """How many records wait, or were laid aside."""
        refused = self.refused.read_bytes().count(b"\n") if self.refused.exists() else 0
        return refused + sum(1 for _ in self.pending(self.progress().offset))

    def remove_if_done(self) -> None:
        """Remove a delivered spool whose training has ended, unless someone writes to it."""
        try:
            file = self.records.open("rb")
        except FileNotFoundError:
            shutil.rmtree(self.folder, ignore_errors=True)
            return
        with file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            if self.progress().ended and not self.undelivered():
                # First the file that says there is something here: the rest without it is rubbish.
                self.records.unlink()
                shutil.rmtree(self.folder, ignore_errors=True)


def spools() -> list[Spool]:
    """All that there are, sorted by fingerprint."""
    root = paths.spool()
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [Spool(name) for name in names]


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the kernel's lock on a folder; it ends with the process, however that dies.

    Raises:
        FileNotFoundError: the folder is not there, or was removed while we waited.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        if not _same_file(descriptor, folder):
            raise FileNotFoundError(folder)
        yield
    finally:
        os.close(descriptor)


def _same_file(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {key: str(value) for key, value in values.items()}


def _numbers(values: Mapping[str, float]) -> dict[str, float]:
    return {key: float(value) for key, value in values.items()}


def _series(table: "pd.DataFrame") -> Iterator[dict[str, Any]]:
    names = [name for name in table.columns if name not in _NOT_METRICS]
    for row in table.to_dict("records"):
        # An empty cell is a figure that this phase of the training has not.
        values = {name: float(row[name]) for name in names if not math.isnan(row[name])}
        yield {"step": int(row[_STEP_COLUMN]), "values": values}
