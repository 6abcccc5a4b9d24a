"""Helpers for tests that start processes, ask them to leave, kill them, and look at what is left."""

import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import psutil


def python(code: str, **options: Any) -> "subprocess.Popen[str]":
    """Start a program that is given as its source, in a session of its own."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    return subprocess.Popen([sys.executable, "-c", code], **(pipes | options))


def numbers(process: "subprocess.Popen[str]") -> list[int]:
    """The whole numbers on the next line that a program prints."""
    assert process.stdout is not None
    return [int(word) for word in process.stdout.readline().split()]


def seconds_until_gone(pids: Iterable[int], limit: float) -> float:
    """How long it takes until none of these processes runs; fails after `limit`. Unburied ones are gone."""
    pids = list(pids)
    started = time.monotonic()
    while left := [pid for pid in pids if is_running(pid)]:
        waited = time.monotonic() - started
        assert waited < limit, f"still there after {waited:.1f} s: {[describe(pid) for pid in left]}"
        time.sleep(0.05)
    return time.monotonic() - started


def is_running(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def describe(pid: int) -> str:
    try:
        return f"{pid} {' '.join(psutil.Process(pid).cmdline())[:80]}"
    except psutil.Error:
        return f"{pid} gone"


def with_descendants(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def wait_for(condition: Any, limit: float, what: str) -> Any:
    """The first true answer of `condition`; fails after `limit` seconds."""
    deadline = time.monotonic() + limit
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"{what}: not within {limit} s"
        time.sleep(0.02)
    return answer


def processes_in(folder: Path) -> list[psutil.Process]:
    """Every process whose working folder is `folder`."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found
