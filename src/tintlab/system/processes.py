"""End processes cleanly: on a signal, together with their children, and when their owner dies.

Killing `dvc repro` leaves its stage running, because the signal does not reach the stage. So a stage watches
the processes that started it, its owners, and ends when one of them ends.
"""

import itertools
import os
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context, parent_process
from typing import TypeVar

import psutil

Item = TypeVar("Item")
Result = TypeVar("Result")

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Signals that ask a process to end. Those ignored from the start (`nohup`, `&` in a script) stay ignored."""

LEAVE_SECONDS = 9.0
"""Seconds from the signal until the process is ended by force."""

ORPHAN_SECONDS = 2.5
"""The same for a process whose owner has died, which it notices within `_WATCH_SECONDS`."""

OWNER_VARIABLE = "TINTLAB_OWNER"
"""The environment variable by which a program makes itself the owner of what it starts, see `ownership`."""

_WATCH_SECONDS = 0.25
_UNDERWAY = 2 * (os.cpu_count() or 1) + 2
"""Chunks of work that a pool has at a time."""
SHELLS = {"sh", "bash", "dash", "zsh", "fish", "ksh", "csh", "tcsh", "busybox"}


class Interrupted(SystemExit):
    """This process was asked to end; its status is 128 plus the signal's number, as shells expect."""

    def __init__(self, number: int) -> None:
        super().__init__(128 + number)


@contextmanager
def leave_when_asked() -> Iterator[None]:
    """Inside this context, `SIGNALS` raise `Interrupted`; `LEAVE_SECONDS` later the process ends by force.

    For the main thread of a program. Python runs signal handlers between bytecode instructions, so a long
    operation of torch delays them. Therefore a thread of its own, which the kernel wakes through a pipe,
    enforces the deadline.
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
    """Inside this context, `SIGNALS` raise nothing; the yielded function returns whether one has arrived.

    At the end of the context, a signal that has arrived raises `Interrupted`.
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
    # Ignore a repeated signal: shells send it to the whole process group, and the cleanup must not be
    # interrupted.
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
            # The signal came just before the main thread began to wait, so it did not wake that thread.
            signal.pthread_kill(threading.main_thread().ident or 0, number)
    end_now(128 + number)


def end_now(status: int) -> None:
    """End this process and all its descendants at once."""
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            child.kill()
    os._exit(status)


# --- owners


def find_owners() -> list[psutil.Process]:
    """The owners of this process, whose end ends it: its ancestors in the same session, nearest first.

    - The shell of a terminal is not an owner: a closed terminal sends SIGHUP, unless the user said `nohup` or
      `disown`.
    - If SIGHUP is ignored (`nohup`), only the nearest ancestor that is not a shell is an owner: the program
      that was started with `nohup`, not the shell that started it.
    - Ancestors in another session are not owners: with `setsid` the user asks that this process outlive them.
    - The process that `OWNER_VARIABLE` names is always an owner.

    Raises:
        ProcessLookupError: an owner has died already.
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
    """The environment variable that makes this process the owner of a program that it starts."""
    return {OWNER_VARIABLE: f"{os.getpid()}:{psutil.Process().create_time():.2f}"}


def watch_owners(*more: psutil.Process) -> None:
    """End this process when an owner or one of `more` dies: by SIGTERM, by force after `ORPHAN_SECONDS`."""
    try:
        watched = [*find_owners(), *more]
    except (ProcessLookupError, psutil.NoSuchProcess) as error:
        sys.exit(f"error: not started: its owner is gone ({error})")
    threading.Thread(target=_leave_with, args=[watched], daemon=True, name="owner watch").start()


def is_alive(process: psutil.Process) -> bool:
    """Whether a process still runs: it is not a zombie, and no other process has reused its number."""
    with suppress(psutil.NoSuchProcess):
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    return False


def _leave_with(watched: list[psutil.Process]) -> None:
    while all(map(is_alive, watched)):
        time.sleep(_WATCH_SECONDS)
    with suppress(OSError, ValueError):
        sys.stderr.write("ending: the process that started this one is gone\n")
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
    """A pool of worker processes that end with this process, however it ends.

    Plain workers would wait for work for ever, because each keeps open the pipe that the others read.

    Args:
        workers: how many; None is one per CPU.
        spawned: spawn the workers instead of forking them: needed in a process in which torch has run.
    """
    context = get_context("spawn") if spawned else None
    return ProcessPoolExecutor(workers, mp_context=context, initializer=be_pool_worker)


def map_in_order(
    pool: ProcessPoolExecutor, work: Callable[[Item], Result], items: Iterable[Item], chunk: int
) -> Iterator[Result]:
    """Like `pool.map`, but only a few chunks are queued at a time: memory does not grow with the items."""
    waiting, left = deque[Future[list[Result]]](), iter(items)
    while True:
        while len(waiting) < _UNDERWAY and (part := list(itertools.islice(left, chunk))):
            waiting.append(pool.submit(_work_through, work, part))
        if not waiting:
            return
        yield from waiting.popleft().result()


def _work_through(work: Callable[[Item], Result], items: list[Item]) -> list[Result]:
    return [work(item) for item in items]


def be_pool_worker() -> None:
    """Ignore Ctrl-C, which the parent handles, and end when the parent ends."""
    _be_worker(deaf_to=(signal.SIGINT, signal.SIGHUP))


def be_loader_worker(_: int = 0) -> None:
    """Like `be_pool_worker`, but ignore SIGTERM too: the parent decides when this process ends."""
    # Otherwise a SIGTERM to the group would look to the parent like a crash of a worker, while it can still
    # finish its step.
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
