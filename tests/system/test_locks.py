"""One at a time: the kernel's lock on a file that says who holds it."""

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from tests.processes import numbers, python, seconds_until_gone
from tintlab.system.locks import HeldError, exclusive, find_holder

HOLD = """
import os, sys, time
from pathlib import Path
from tintlab.system.locks import exclusive
with exclusive(Path(sys.argv[1]), "another training"):
    {fork}
    print(os.getpid(), flush=True)
    time.sleep({seconds})
"""


def held(path: Path, seconds: float = 60, fork: str = "") -> "subprocess.Popen[str]":
    code = HOLD.format(seconds=seconds, fork=fork)
    process = python(f"import sys; sys.argv = ['train', {str(path)!r}]\n{code}")
    numbers(process)
    return process


def test_guard_one_at_a_time_a_second_is_told_who_holds_it(tmp_path: Path) -> None:
    """Guard: `locks.exclusive`."""
    path = tmp_path / "state" / "lock"
    first = held(path)
    message = (
        rf"^another training is under way: pid {first.pid} \(.*python.* -c .*\) since \d{{4}}-\d\d-\d\d \d\d:"
    )
    with pytest.raises(HeldError, match=message), exclusive(path, "another training"):
        pass
    assert str(find_holder(path)).startswith(f"pid {first.pid} ")
    first.kill()
    first.wait()
    assert find_holder(path) is None
    with exclusive(path, "another training"):
        assert str(find_holder(path)).startswith(f"pid {os.getpid()} ")
    assert find_holder(path) is None


def test_guard_waiting_who_waits_gets_it_when_the_holder_ends(tmp_path: Path) -> None:
    """Guard: `wait_seconds`."""
    first = held(tmp_path / "lock", seconds=1.5)
    said: list[str] = []
    with exclusive(tmp_path / "lock", "another training", 30, said.append):
        assert first.wait(10) == 0
    assert len(said) == 1 and f"pid {first.pid}" in said[0]


def test_waiting_ends(tmp_path: Path) -> None:
    first = held(tmp_path / "lock")
    started = time.monotonic()
    with pytest.raises(HeldError), exclusive(tmp_path / "lock", "x", 0.5, lambda _: None):
        pass
    assert 0.4 < time.monotonic() - started < 10
    first.kill()
    first.communicate()


def test_guard_an_orphaned_worker_does_not_keep_the_lock(tmp_path: Path) -> None:
    """Guard: `os.register_at_fork` in `locks.exclusive`."""
    fork = (
        "if not os.fork(): print(os.getpid(), flush=True); time.sleep(30); os._exit(0)\n    time.sleep(0.5)"
    )
    code = HOLD.format(seconds=60, fork=fork)
    first = python(f"import sys; sys.argv = ['train', {str(tmp_path / 'lock')!r}]\n{code}")
    (child,), _ = numbers(first), numbers(first)
    first.kill()
    first.wait()
    with exclusive(tmp_path / "lock", "another training"):
        os.kill(child, 0)
    os.kill(child, signal.SIGKILL)
    seconds_until_gone([child], 5)
    first.communicate()


def test_a_stale_file_means_nothing(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text(f"pid {os.getpid()} (python train) since the beginning")
    assert find_holder(tmp_path / "lock") is None
    assert find_holder(tmp_path / "none") is None
    with exclusive(tmp_path / "lock", "x"):
        pass
