"""Files that are whole or absent: atomic writes of files and folders. And one writer at a time: locks."""

import fcntl
import functools
import glob
import json
import os
import shlex
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from tintlab.system.errors import TintlabError

_PART, _OLD = ".tintlab.part", ".tintlab.old"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The content reaches the disk before the name does, so that a file that exists is whole even after a
    power cut. A fault of the disk names `path`. What killed processes left half written here goes.
    """
    temporary, handle = _new_part(path, _new_file)
    try:
        yield temporary
        temporary.chmod(0o644)
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        temporary.unlink(missing_ok=True)
        os.close(handle)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """Yield an empty folder beside `path`; on success it takes the place of `path`, on failure it is removed.

    The old folder steps aside for the new one and is deleted afterwards: between two renames there is none,
    but at no time is either of them lost. What killed processes left half written here goes.
    """
    temporary, handle = _new_part(path, tempfile.mkdtemp)
    old = temporary.with_name(temporary.name.removesuffix(_PART) + _OLD)
    _recover_old(path)
    old_handle = None
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.is_dir():
            old_handle = _opened_locked(path)
            path.replace(old)
        try:
            temporary.replace(path)
        except OSError:
            if old.exists():
                old.replace(path)
            raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        if old.is_symlink():
            old.unlink()
        shutil.rmtree(old, ignore_errors=True)
        os.close(handle)
        if old_handle is not None:
            os.close(old_handle)


def _new_part(path: Path, make: Callable[..., str]) -> tuple[Path, int]:
    """A temporary file or folder beside `path`, and a descriptor with its lock: someone is at it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    while True:
        temporary = Path(make(dir=path.parent, prefix=_prefix(path), suffix=_PART))
        with suppress(FileNotFoundError):  # swept before it was locked
            handle = _opened_locked(temporary)
            if temporary.exists():
                return temporary, handle
            os.close(handle)


def _new_file(dir: Path, prefix: str, suffix: str) -> str:
    handle, name = tempfile.mkstemp(dir=dir, prefix=prefix, suffix=suffix)
    os.close(handle)
    return str(name)


def _opened_locked(path: Path) -> int:
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


@functools.cache
def _sweep(folder: Path) -> None:
    """Remove what killed writers left half written; once a process, for a folder may be large."""
    for path in folder.iterdir():
        if path.name.endswith(_PART) and _is_abandoned(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _recover_old(path: Path) -> None:
    """Bring back, or remove where it is needless, what a writer killed between or after two renames left."""
    for old in path.parent.glob(f"{glob.escape(_prefix(path))}*{_OLD}"):
        if _is_abandoned(old):
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.replace(path)


def _is_abandoned(path: Path) -> bool:
    """Whether nobody holds the lock that a living writer has."""
    try:
        with _closing(os.open(path, os.O_RDONLY | os.O_NOFOLLOW)) as handle:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


@contextmanager
def _closing(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)


def _prefix(path: Path) -> str:
    # Hidden, and short: a name of the longest length would leave no room for the rest.
    return f".{path.name[:20]}."


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as readable JSON, atomically; NaN and infinities are refused, for JSON has none."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_json(path: Path) -> Any:
    """The value that a JSON file holds.

    Raises:
        FileNotFoundError: there is no such file.
        TintlabError: it holds no JSON.
    """
    try:
        return json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise TintlabError(f"{path} is not readable JSON ({error}): restore it or make it anew") from None


# --- locks


class HeldError(TintlabError):
    """Someone else holds a lock; the message says who, and since when."""


@contextmanager
def exclusive(
    path: Path, what: str, wait_seconds: float = 0.0, announce: Callable[[str], None] = print
) -> Iterator[None]:
    """Hold the kernel's lock on `path`, which says who holds it. It ends with this process, however that dies.

    Args:
        path: of the lock file, which stays; its existence means nothing.
        what: what only one may do at a time, as in `another training`.
        wait_seconds: how long to wait for another holder.
        announce: told once when there is someone to wait for.

    Raises:
        HeldError: someone else holds it still.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+", encoding="utf-8") as file:
        _lock(file.fileno(), path, what, wait_seconds, announce)
        # A copy of this process shares the lock: it would keep it after our death.
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


def holder(path: Path) -> str | None:
    """Who holds the lock on `path` now, or None."""
    try:
        with path.open(encoding="utf-8", errors="replace") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except FileNotFoundError:
        return None
    except BlockingIOError:
        return _said(path)
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
            raise HeldError(f"{what} is under way: {_said(path)}")
        if not told:
            announce(f"waiting, for {what} is under way: {_said(path)}")
            told = True
        time.sleep(0.2)


def _said(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace") or "who it is, is not written yet"


def _close_all(descriptors: list[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)
