"""Repair the leftovers of killed processes: a truncated dvc.lock, and DVC's locks."""

import fcntl
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError

from tintlab.system import paths, processes
from tintlab.system.files import atomic_path, write_bytes, write_json

_ENTRIES, _HASHES = ("deps", "outs"), {"md5", "etag", "checksum"}
_STAGE_BEGINS = re.compile(rb"  \S")


def repair() -> list[str]:
    """Repair dvc.lock and remove locks of dead processes. Returns one line per repair."""
    return [line for line in (_restore_dvc_lock(), *_clear_dead_locks()) if line]


def dvc_lock_fault() -> str | None:
    """The fault of dvc.lock, or None. DVC writes it in place, so a killed DVC can leave half of it."""
    return _fault(paths.DVC_LOCK.read_bytes()) if paths.DVC_LOCK.exists() else None


def back_up_dvc_lock() -> None:
    """Copy dvc.lock into the state folder, if it is intact and differs from the copy."""
    if not paths.DVC_LOCK.exists():
        return
    content = paths.DVC_LOCK.read_bytes()
    if content != _copied() and _fault(content) is None:
        write_bytes(paths.dvc_lock_copy(), content)


def _restore_dvc_lock() -> str | None:
    fault = dvc_lock_fault()
    if fault is None:
        return None
    copy = paths.dvc_lock_copy()
    if not copy.exists():
        paths.DVC_LOCK.unlink()
        return f"dvc.lock {fault}: removed, because there is no copy; DVC restores what its run cache knows"
    with atomic_path(paths.DVC_LOCK) as temporary:
        shutil.copyfile(copy, temporary)
    written = time.strftime("%Y-%m-%d %H:%M", time.localtime(copy.stat().st_mtime))
    return f"dvc.lock {fault}: restored the copy of {written}"


def _fault(content: bytes) -> str | None:
    copy = _copied()
    # A file that ends where a stage begins may be an older one, for example from a branch.
    rest = copy[len(content) :] if copy.startswith(content) else b""
    cut = bool(rest) and not _STAGE_BEGINS.match(rest)
    if cut or not content.endswith(b"\n"):
        return "was cut short"
    try:
        stages = YAML(typ="safe", pure=True).load(content.decode())["stages"].values()
        entries = [entry for stage in stages for kind in _ENTRIES for entry in stage.get(kind, [])]
        whole = all("cmd" in stage for stage in stages) and all(_HASHES & set(entry) for entry in entries)
    except (YAMLError, UnicodeDecodeError, TypeError, AttributeError, KeyError):
        whole = False
    return None if whole else "is damaged"


def _copied() -> bytes:
    try:
        return paths.dvc_lock_copy().read_bytes()
    except FileNotFoundError:
        return b""


def stale_locks() -> list[str]:
    """DVC's locks whose holders are dead, as `path: command`."""
    return [line for path in _rwlocks() for line in _stale(path)]


def held_locks() -> list[str]:
    """DVC's locks whose holders are alive, as `path: command`."""
    return [
        f"{path}: {entry['cmd']}"
        for path in _rwlocks()
        for entry in _entries(_read(path) or {})
        if _holds(entry, path)
    ]


def _clear_dead_locks() -> list[str]:
    """Remove the entries of dead processes from DVC's lock files.

    DVC itself removes an entry only if its process number is unused. If another process has the number, DVC waits
    forever; if the file is damaged, DVC fails. `.dvc/tmp/lock` needs no repair: it is a kernel lock.
    """
    cleared = []
    for path in _rwlocks():
        stale = _stale(path)
        with _guarded(path) as ours:
            if stale and ours:
                write_json(path, _living(path))
                cleared += [f"cleared a lock of a dead process: {line}" for line in stale]
    return cleared


def _stale(path: Path) -> list[str]:
    locks = _read(path)
    if locks is None:
        return [f"{path}: not readable"]
    dead = {entry["cmd"] for entry in _entries(locks) if not _holds(entry, path)}
    return [f"{path}: {command}" for command in sorted(dead)]


def _read(path: Path) -> dict[str, Any] | None:
    try:
        locks = json.loads(path.read_bytes())
    except (ValueError, OSError):
        return None
    return locks if isinstance(locks, dict) else None


def _living(path: Path) -> dict[str, dict[str, Any]]:
    locks = _read(path) or {}
    read = {
        name: [entry for entry in holders if _holds(entry, path)]
        for name, holders in locks.get("read", {}).items()
    }
    return {
        "write": {name: entry for name, entry in locks.get("write", {}).items() if _holds(entry, path)},
        "read": {name: holders for name, holders in read.items() if holders},
    }


def _holds(entry: dict[str, Any], path: Path) -> bool:
    """Whether the process of an entry is alive and can be its author.

    The author is older than the file, and works in this folder or was called with the same arguments.
    """
    with suppress(psutil.NoSuchProcess):
        holder = psutil.Process(int(entry["pid"]))
        if not processes.is_alive(holder) or holder.create_time() > path.stat().st_mtime:
            return False
        with suppress(psutil.AccessDenied):
            arguments = entry["cmd"].split(" ")[1:]
            called = " ".join(holder.cmdline()).split(" ")
            works_here = Path(holder.cwd()).is_relative_to(Path.cwd())
            return works_here or called[len(called) - len(arguments) :] == arguments
        return True
    return False


def _entries(locks: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield from locks.get("write", {}).values()
    for holders in locks.get("read", {}).values():
        yield from holders


def _rwlocks() -> list[Path]:
    return [path for path in paths.DVC_RWLOCKS if path.exists()]


@contextmanager
def _guarded(path: Path) -> Iterator[bool]:
    """Hold the lock under which DVC edits a lock file; False if DVC holds it."""
    with path.with_name(f"{path.name}.lock").open("a") as guard:
        try:
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
