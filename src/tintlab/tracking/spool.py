"""Spools: folders of records that wait to be sent to MLflow, one per training.

The stages of a training write its spool, and the sender reads it. A spool is named by the training's
fingerprint. It holds `records.jsonl`, `delivered.json` (how far it was sent), `artifacts/` (copies that wait)
and `refused.jsonl` (records that the store rejected for good, with the reason).
"""

import fcntl
import json
import os
import shutil
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tintlab.system import paths
from tintlab.system.files import read_json, write_json


@dataclass
class Progress:
    """How far a spool was delivered, and to where."""

    store: str = ""
    run_id: str = ""
    offset: int = 0
    ended: bool = True
    """No training is running or can be resumed: none was started, or the last one has finished."""


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
        """Open the records for appending, without an incomplete last line; this keeps the spool from removal."""
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
        """The time of the last record in milliseconds since 1970; 0 if there is none."""
        return max((record.get("time", 0) for record, _ in self.pending(0)), default=0)

    def _whole_size(self) -> int:
        data = self.records.read_bytes()
        return data.rfind(b"\n") + 1

    def keep_copy(self, path: Path) -> str:
        """Copy a file or folder into the spool; returns the copy's path within it."""
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
        """How far the spool was delivered; at first, to no store and from offset 0."""
        try:
            return Progress(**read_json(self._progress))
        except FileNotFoundError:
            return Progress()

    def save_progress(self, progress: Progress) -> None:
        """Save how far the spool was delivered."""
        write_json(self._progress, vars(progress))

    def pending(self, offset: int) -> Iterator[tuple[dict[str, Any], int]]:
        """The complete lines after `offset`, each with the offset after it."""
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
        """Move a record that the store rejects for good to `refused.jsonl`: it must not block later ones."""
        line = json.dumps({"reason": reason, "record": record}, ensure_ascii=False) + "\n"
        with self.refused.open("a", encoding="utf-8") as file:
            file.write(line)

    def undelivered(self) -> int:
        """Number of records that wait or were refused."""
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
                # Remove the file that marks a spool first: without it, the rest counts as garbage.
                self.records.unlink()
                shutil.rmtree(self.folder, ignore_errors=True)


def list_spools() -> list[Spool]:
    """All spools, sorted by fingerprint."""
    root = paths.spool()
    names = sorted(path.name for path in root.iterdir() if path.is_dir()) if root.is_dir() else []
    return [Spool(name) for name in names]


@contextmanager
def hold_lock(folder: Path) -> Iterator[None]:
    """Hold the kernel's lock on a folder; it ends with the process, however the process ends.

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
