"""Leaving when asked, and not outliving one's owners: real processes, real signals."""

import os
import pty
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from tests.processes import is_running, numbers, python, seconds_until_gone

# A long step of C code that lets other threads run, as torch's do: no signal handler of Python runs in it.
BUSY = "hashlib.pbkdf2_hmac('sha256', b'', b'', 2**31 - 1)"
PREAMBLE = """
import hashlib, os, signal, subprocess, sys, time
from tintlab.system import processes as process
from tintlab.system import entry_point
"""
STAGE = f"""{PREAMBLE}
def main():
    print(os.getpid(), flush=True)
    time.sleep(120)
entry_point.run_stage(main)
"""


def finish(process: "subprocess.Popen[str]") -> tuple[int, str]:
    _, errors = process.communicate(timeout=60)
    return process.returncode, errors


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]
)
def test_a_program_that_is_asked_leaves_in_order(number: signal.Signals, status: int) -> None:
    body = "try:\n        print(1, flush=True); time.sleep(60)\n    finally: print('tidied', flush=True)"
    process = python(f"{PREAMBLE}def main():\n    {body}\nentry_point.run(main)")
    numbers(process)
    process.send_signal(number)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (status, "tidied\n", "interrupted\n")


def test_tidying_is_not_interrupted_by_who_asks_again() -> None:
    process = python(f"""{PREAMBLE}
def main():
    try:
        print(1, flush=True)
        time.sleep(60)
    finally:
        print(2, flush=True)
        time.sleep(1)
        print('tidied')
entry_point.run(main)
""")
    numbers(process)
    process.terminate()
    assert numbers(process) == [2]
    process.terminate()
    output, _errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (143, "tidied\n")


def test_guard_deadline_ends_a_deaf_program_with_its_children() -> None:
    """Guard: the deadline thread of `process.leave_when_asked`."""
    main = f"child = subprocess.Popen(['sleep', '100'])\n    print(child.pid, flush=True)\n    {BUSY}"
    process = python(f"{PREAMBLE}process.LEAVE_SECONDS = 1\ndef main():\n    {main}\nentry_point.run(main)")
    (child,) = numbers(process)
    time.sleep(0.3)
    process.terminate()
    seconds_until_gone([process.pid, child], 6)
    assert finish(process)[0] == 143


def test_a_signal_ignored_at_the_start_stays_ignored() -> None:
    process = python(
        f"{PREAMBLE}entry_point.run(lambda: (print(1, flush=True), time.sleep(1.5), print('done'))[0])",
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN),
    )
    numbers(process)
    process.send_signal(signal.SIGHUP)
    output, _ = process.communicate(timeout=30)
    assert (process.returncode, output) == (0, "done\n")


def test_deferred_signals_are_told_and_then_obeyed() -> None:
    main = """
def main():
    with process.defer_interrupts() as asked:
        print(asked(), flush=True)
        while not asked():
            time.sleep(0.01)
        print('step ended', flush=True)
    print('never')
entry_point.run(main)
"""
    process = python(PREAMBLE + main)
    assert process.stdout is not None and process.stdout.readline() == "False\n"
    process.terminate()
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output, errors) == (143, "step ended\n", "interrupted\n")


# --- owners: a starter, below it "dvc", below that a shell, below that the stage


def chain(tmp_path: Path, starter_detaches: str = "") -> "tuple[subprocess.Popen[str], int, int]":
    """Start one; the starter, and the process numbers of "dvc" and of the stage."""
    stage, dvc = tmp_path / "stage.py", tmp_path / "dvc.py"
    stage.write_text(STAGE)
    shell_line = f"{shlex.quote(sys.executable)} {stage}; true"
    dvc.write_text(
        "import os, subprocess, sys; print(os.getpid(), flush=True);"
        f"subprocess.run(['sh', '-c', {shell_line!r}])"
    )
    top = python(
        f"import signal, subprocess\nsubprocess.run(['{sys.executable}', '{dvc}']{starter_detaches})"
    )
    (dvc_pid,), (stage_pid,) = numbers(top), numbers(top)
    time.sleep(0.2)
    return top, dvc_pid, stage_pid


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", ["starter", "dvc", "shell"])
def test_guard_owner_watch_a_stage_ends_with_whoever_started_it(tmp_path: Path, victim: str) -> None:
    """Guard: `process.watch_owners`, called by `entry_point.run_stage`."""
    top, dvc, stage = chain(tmp_path)
    shell = psutil.Process(stage).ppid()
    kill({"starter": top.pid, "dvc": dvc, "shell": shell}[victim])
    seconds_until_gone([stage], 5)
    seconds_until_gone([top.pid, dvc, shell], 5)
    assert "the process that started this one is gone" in finish(top)[1]


def test_guard_owner_watch_a_stage_in_a_long_step_ends_in_5_s(tmp_path: Path) -> None:
    """Guard: `ORPHAN_SECONDS` in `process._leave_with`."""
    stage = tmp_path / "stage.py"
    stage.write_text(STAGE.replace("time.sleep(120)", BUSY))
    top = python(f"import subprocess; subprocess.run(['{sys.executable}', '{stage}'])")
    (pid,) = numbers(top)
    time.sleep(0.5)
    kill(top.pid)
    seconds_until_gone([pid], 5)
    finish(top)


@pytest.mark.parametrize(
    "detaches",
    [
        ", start_new_session=True",
        ", preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN)",
    ],
    ids=["setsid", "nohup"],
)
def test_who_detaches_the_pipeline_may_go(tmp_path: Path, detaches: str) -> None:
    top, dvc, stage = chain(tmp_path, detaches)
    kill(top.pid)
    time.sleep(2)
    assert is_running(stage)
    kill(dvc)
    seconds_until_gone([stage], 5)
    finish(top)


def test_a_terminal_s_shell_is_no_owner(tmp_path: Path) -> None:
    """For it the kernel and the shell speak, by SIGHUP."""
    shown = PREAMBLE + "print(process.find_owners())"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {shown!r}])"
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(sys.executable, [sys.executable, "-c", script])
    output = b""
    try:
        while chunk := os.read(terminal, 4096):
            output += chunk
    except OSError:  # the terminal's end
        pass
    os.waitpid(pid, 0)
    assert output.strip() == b"[]"


def test_guard_a_stage_of_a_dead_dvc_does_not_start(tmp_path: Path) -> None:
    """Guard: the test of `DVC_STAGE` in `process.find_owners`."""
    log = tmp_path / "log"
    late = "import time; time.sleep(1)" + STAGE
    python(
        f"import os, subprocess; subprocess.Popen([{sys.executable!r}, '-c', {late!r}],"
        f"stderr=open({str(log)!r}, 'w'), env=os.environ | {{'DVC_STAGE': 'train'}})"
    ).wait(10)
    deadline = time.monotonic() + 20
    while "not started" not in (text := log.read_text()):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)
    assert text == "error: not started: its owner is gone (dvc, which started this stage, is gone)\n"


def test_guard_a_named_owner_counts_across_sessions(tmp_path: Path) -> None:
    """Guard: `process.OWNER_VARIABLE`; a flow may start the pipeline in a session of its own."""
    top = python(
        f"{PREAMBLE}subprocess.run([sys.executable, '-c', {STAGE!r}], start_new_session=True,"
        " env=os.environ | process.ownership())"
    )
    (stage,) = numbers(top)
    time.sleep(0.2)
    kill(top.pid)
    seconds_until_gone([stage], 5)
    errors = finish(python(STAGE, env=os.environ | {"TINTLAB_OWNER": f"{top.pid}:12.5"}))[1]
    assert errors.startswith(f"error: not started: its owner is gone (process {top.pid}")


# --- children


@pytest.mark.parametrize("spawned", [False, True], ids=["fork", "spawn"])
def test_guard_pool_workers_end_with_a_killed_parent(spawned: bool, tmp_path: Path) -> None:
    """Guard: `process.be_pool_worker`."""
    script = tmp_path / "script.py"
    script.write_text(f"""{PREAMBLE}
if __name__ == "__main__":
    with process.worker_pool(2, spawned={spawned}) as pool:
        list(pool.map(time.sleep, [0.1] * 4))
        print(*pool._processes, flush=True)
        time.sleep(60)
""")
    parent = subprocess.Popen([sys.executable, script], stdout=subprocess.PIPE, text=True)
    workers = numbers(parent)
    assert len(workers) == 2 and all(map(is_running, workers))
    parent.kill()
    seconds_until_gone(workers, 4)
    parent.communicate()


def test_guard_worker_pool_ctrl_c_is_the_parent_s_business() -> None:
    """Guard: workers are deaf to SIGINT. Else each prints a traceback, and the pool is broken."""
    process = python(f"""{PREAMBLE}
def main():
    with process.worker_pool(2) as pool:
        waiting = pool.map(time.sleep, [0.1] * 40)
        next(waiting)
        print(1, flush=True)
        list(waiting)
entry_point.run(main)
""")
    numbers(process)
    os.killpg(process.pid, signal.SIGINT)
    assert finish(process) == (130, "interrupted\n")


def test_guard_broken_pool_a_killed_worker_is_one_clear_line() -> None:
    """Guard: `BrokenProcessPool` in `entry_point.run`: the kernel kills a worker for want of memory."""
    process = python(f"""{PREAMBLE}
def main():
    with process.worker_pool(1) as pool:
        pool.submit(os._exit, 9).result()
entry_point.run(main)
""")
    status, errors = finish(process)
    assert (status, errors) == (
        1,
        "error: a worker process was killed, most likely for want of memory: free some, then run again\n",
    )
