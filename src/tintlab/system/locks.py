"""Exclusive locks on files. They are the kernel's, so they end with the process that holds them."""

import fcntl
import os
import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from tintlab.system.errors import TintlabError


class HeldError(TintlabError):
    """Another process holds a lock; the message names it and its start time."""


@contextmanager
def exclusive(
    path: Path, what: str, wait_seconds: float = 0.0, announce: Callable[[str], None] = print
) -> Iterator[None]:
    """Hold the kernel's lock on `path`. The lock ends with this process, however the process ends.

    Args:
        path: the lock file. It names the holder and stays when the lock ends, so its existence means nothing.
        what: the activity that the lock protects, for messages, as in `another training`.
        wait_seconds: how long to wait for another holder.
        announce: called once with a message if there is another holder to wait for.

    Raises:
        HeldError: another process still holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _lock(file.fileno(), path, what, wait_seconds, announce)
        # A forked child shares the lock and would keep it after this process has ended.
        ours = [file.fileno()]
        os.register_at_fork(after_in_child=lambda: _close_all(ours))
        try:
            file.truncate(0)
            command = " ".join(shlex.join(sys.orig_argv).split())[:120]
            started = datetime.now().astimezone().isoformat(" ", "seconds")
            file.write(f"pid {os.getpid()} ({command}) since {started}")
            file.flush()
            yield
        finally:
            ours.clear()


def find_holder(path: Path) -> str | None:
    """The process that holds the lock on `path` now, as text; None if no process does."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _read_holder(path)
    return None


def _lock(
    descriptor: int, path: Path, what: str, wait_seconds: float, announce: Callable[[str], None]
) -> None:
    patience = time.monotonic() + wait_seconds
    told = False
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        if time.monotonic() >= patience:
            raise HeldError(f"{what} is under way: {_read_holder(path)}")
        if not told:
            announce(f"waiting: {what} is under way: {_read_holder(path)}")
            told = True
        time.sleep(0.2)


def _read_holder(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") or "its process is not recorded yet"


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
