"""A process that leaves when it is asked, takes its children along, and does not outlive its owners.

Killing `dvc repro` leaves its stage alive, for a stage is not told. So a stage watches those who started it.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process

import psutil

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What asks a process to leave; those that it was started to ignore (`nohup`, `&` in a script) stay so."""

LEAVE_SECONDS = 9.0
"""From being asked to the end by force."""

ORPHAN_SECONDS = 2.5
"""The same for a process whose owner has died; it is noticed within `_WATCH_SECONDS`."""

OWNER_VARIABLE = "TINTLAB_OWNER"
"""The environment variable by which a starter makes itself an owner, see `ownership`."""

_WATCH_SECONDS = 0.25
SHELLS = {"sh", "bash", "dash", "zsh", "fish", "ksh", "csh", "tcsh", "busybox"}


class Interrupted(SystemExit):
    """This process was asked to leave; its status is 128 and the signal's number, as shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextmanager
def leave_when_asked() -> Iterator[None]:
    """Within, `SIGNALS` raise `Interrupted`; `LEAVE_SECONDS` later the process ends, whatever it is doing.

    For the main thread of a program. Python runs signal handlers between two steps of its own, so a long
    step of torch delays them: the deadline is a thread's, which the kernel tells at once.
    """
    handled = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    if not handled or threading.current_thread() is not threading.main_thread():
        yield
        return
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    threading.Thread(target=_end_in_time, args=[reading, handled], daemon=True, name="deadline").start()
    earlier = {number: signal.signal(number, _interrupt) for number in handled}
    try:
        yield
    finally:
        for number, handler in earlier.items():
            if signal.getsignal(number) is _interrupt:
                signal.signal(number, handler)


@contextmanager
def defer_interrupts() -> Iterator[Callable[[], bool]]:
    """Within, `SIGNALS` raise nothing: the function that is yielded tells whether one came.

    After it, a signal that came raises `Interrupted`.
    """
    came: list[int] = []
    handled = [number for number in SIGNALS if signal.getsignal(number) is _interrupt]
    for number in handled:
        signal.signal(number, lambda number, _: came.append(number))
    try:
        yield lambda: bool(came)
    finally:
        for number in handled:
            signal.signal(number, _interrupt)
        if came:
            _interrupt(came[0], None)


def _interrupt(number: int, _: object) -> None:
    # Once: what tidies up must not be interrupted by who says it again, as one does who tells a whole group.
    for handled in SIGNALS:
        if signal.getsignal(handled) is _interrupt:
            signal.signal(handled, _leaving_already)
    raise Interrupted(number)


def _leaving_already(number: int, _: object) -> None:
    pass


def _end_in_time(pipe: int, handled: list[signal.Signals]) -> None:
    while (number := os.read(pipe, 1)[0]) not in handled:  # such as SIGCHLD
        pass
    deadline = time.monotonic() + LEAVE_SECONDS
    while time.monotonic() < deadline:
        time.sleep(0.1)
        if signal.getsignal(number) is _interrupt:
            # It came just before the main thread fell asleep, and nothing woke that up.
            signal.pthread_kill(threading.main_thread().ident or 0, number)
    end_now(128 + number)


def end_now(status: int) -> None:
    """End this process and all that it started, at once."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    os._exit(status)


# --- owners


def find_owners() -> list[psutil.Process]:
    """Those whose death ends this process: its ancestors in the same session, nearest first.

    - A terminal's shell is none: a closed terminal sends SIGHUP, unless the user said `nohup` or `disown`.
    - Where SIGHUP is ignored (`nohup`), only the nearest that is no shell: what was started, not who did.
    - Another session (`setsid`) means that the user wants us to outlive those in his.
    - Who is named by `OWNER_VARIABLE` is one in any case.

    Raises:
        ProcessLookupError: one of them has died already.
    """
    found = _ancestors_in_session()
    working = [ancestor for ancestor in found if ancestor.name() not in SHELLS]
    if "DVC_STAGE" in os.environ and not working:
        raise ProcessLookupError("dvc, which started this stage, is gone")
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        found = working[:1]
    found = [ancestor for ancestor in found if not _is_terminal_shell(ancestor)]
    return [*found, *_find_named_owner()]


def ownership() -> dict[str, str]:
    """The environment by which this process is an owner of what it starts."""
    return {OWNER_VARIABLE: f"{os.getpid()}:{psutil.Process().create_time():.2f}"}


def watch_owners(*more: psutil.Process) -> None:
    """Leave when an owner, or one of `more`, dies: as if asked, and by force after `ORPHAN_SECONDS`."""
    try:
        watched = [*find_owners(), *more]
    except (ProcessLookupError, psutil.NoSuchProcess) as error:
        sys.exit(f"error: not started, for its owner is gone ({error})")
    threading.Thread(target=_leave_with, args=[watched], daemon=True, name="owner watch").start()


def is_alive(process: psutil.Process) -> bool:
    """Whether this very process runs: not another of its number, not one that is dead and not yet buried."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _leave_with(watched: list[psutil.Process]) -> None:
    while all(map(is_alive, watched)):
        time.sleep(_WATCH_SECONDS)
    with suppress(OSError, ValueError):
        sys.stderr.write("leaving, for the process that started this one is gone\n")
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(ORPHAN_SECONDS)
    end_now(128 + signal.SIGTERM)


def _ancestors_in_session() -> list[psutil.Process]:
    found = []
    for ancestor in psutil.Process().parents():
        with suppress(OSError, psutil.Error):
            if os.getsid(ancestor.pid) == os.getsid(0):
                found.append(ancestor)
                continue
        break
    return found


def _is_terminal_shell(process: psutil.Process) -> bool:
    with suppress(OSError, psutil.Error):
        return os.getsid(process.pid) == process.pid and process.terminal() is not None
    return False


def _find_named_owner() -> list[psutil.Process]:
    number, _, started = os.environ.get(OWNER_VARIABLE, "").partition(":")
    if not number:
        return []
    try:
        owner = psutil.Process(int(number))
        same = abs(owner.create_time() - float(started)) < 2  # the clock may have been set meanwhile
        if same and is_alive(owner):
            return [owner]
    except ValueError:
        return []
    except psutil.NoSuchProcess:
        pass
    raise ProcessLookupError(f"process {number}, named by {OWNER_VARIABLE}, is gone")


# --- children


def worker_pool(workers: int | None = None, spawned: bool = False) -> ProcessPoolExecutor:
    """A pool whose processes end with this one, however that dies.

    Left alone, they wait for work for ever: each holds the pipe open that the others read.

    Args:
        workers: how many; None is one a CPU.
        spawned: start them afresh instead of as copies, for a process in which torch has run.
    """
    context = get_context("spawn") if spawned else None
    return ProcessPoolExecutor(workers, mp_context=context, initializer=be_pool_worker)


def be_pool_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it."""
    _be_worker(deaf_to=(signal.SIGINT, signal.SIGHUP))


def be_loader_worker(_: int = 0) -> None:
    """As `be_pool_worker`; and the parent alone decides when this one ends."""
    # Otherwise a SIGTERM to the group would look like a crashed worker to the parent, which can end its step.
    _be_worker(deaf_to=SIGNALS)


def _be_worker(deaf_to: tuple[signal.Signals, ...]) -> None:
    signal.set_wakeup_fd(-1)  # a copy of the parent's
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN if number in deaf_to else signal.SIG_DFL)
    threading.Thread(target=_end_with_parent, daemon=True, name="parent watch").start()


def _end_with_parent() -> None:
    parent = parent_process()
    while parent is not None and os.getppid() == parent.pid:
        time.sleep(_WATCH_SECONDS)
    os._exit(1)
