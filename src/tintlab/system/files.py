"""Write files and folders atomically, read and write JSON, and compute the digest of a file."""

import fcntl
import functools
import glob
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from tintlab.system.errors import TintlabError

_PART, _OLD = ".tintlab.part", ".tintlab.old"


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`; on success it replaces `path`, on failure it is removed.

    The content is synced to the disk before the rename, so `path` is complete even after a power cut. Disk
    errors name `path`. Half-written files that killed processes left in this folder are removed.
    """
    temporary, handle = _make_part(path, _make_file)
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

    The old folder is renamed, the new one takes its name, and then the old one is deleted. Between the two
    renames `path` does not exist, but neither folder is lost: the next writer restores the old one if this
    process is killed. Half-written files that killed processes left in this folder are removed.
    """
    temporary, handle = _make_part(path, tempfile.mkdtemp)
    old = temporary.with_name(temporary.name.removesuffix(_PART) + _OLD)
    _recover_old(path)
    old_handle = None
    try:
        yield temporary
        temporary.chmod(0o755)
        if path.is_dir():
            old_handle = _open_locked(path)
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


@contextmanager
def temporary_folder(name: str) -> Iterator[Path]:
    """Yield a temporary folder, and remove it at the end along with those that killed processes left.

    Args:
        name: how the name of the folder begins.
    """
    folder, handle = _make_part(Path(tempfile.gettempdir(), name), tempfile.mkdtemp)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(handle)


def _make_part(path: Path, make: Callable[..., str]) -> tuple[Path, int]:
    """Make a temporary file or folder beside `path`, and lock it: the lock shows that its writer is alive."""
    path.parent.mkdir(parents=True, exist_ok=True)
    _sweep(path.parent)
    while True:
        temporary = Path(make(dir=path.parent, prefix=_prefix(path), suffix=_PART))
        with suppress(FileNotFoundError):  # swept before it was locked
            handle = _open_locked(temporary)
            if temporary.exists():
                return temporary, handle
            os.close(handle)


def _make_file(dir: Path, prefix: str, suffix: str) -> str:
    handle, name = tempfile.mkstemp(dir=dir, prefix=prefix, suffix=suffix)
    os.close(handle)
    return str(name)


def _open_locked(path: Path) -> int:
    handle = os.open(path, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return handle


@functools.cache
def _sweep(folder: Path) -> None:
    """Remove half-written files of killed writers; once per process, because a folder may be large."""
    for path in folder.iterdir():
        if path.name.endswith(_PART) and _is_abandoned(path):
            if path.is_dir():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)


def _recover_old(path: Path) -> None:
    """Handle the old folder of a killed writer: restore it if `path` is missing, otherwise remove it."""
    for old in path.parent.glob(f"{glob.escape(_prefix(path))}*{_OLD}"):
        if _is_abandoned(old):
            if path.exists():
                shutil.rmtree(old, ignore_errors=True)
            else:
                old.replace(path)


def _is_abandoned(path: Path) -> bool:
    """Whether no process holds the lock: a running writer would."""
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
    # Hidden, and short: a file name of the greatest length would leave no room for the suffix.
    return f".{path.name[:20]}."


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data`, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` as UTF-8 with Unix line ends, atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


def write_json(path: Path, value: Any) -> None:
    """Write `value` as indented JSON, atomically; NaN and infinities are refused, because JSON has none."""
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
        raise TintlabError(f"{path} is not readable JSON ({error}): restore it or write it again") from None


def file_sha256(path: Path) -> str:
    """The sha256 of a file's bytes, 64 hexadecimal digits; large files are read piece by piece.

    Raises:
        OSError: it can't be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
