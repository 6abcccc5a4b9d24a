"""A side of a comparison in a process of its own: its allocator, threads and caches are not the other side's."""

import multiprocessing
import resource
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection

Build = Callable[[], Callable[[], object]]
"""Prepares a side's work, in its process, and returns it; a function of a module, for it is sent there."""


class Side:
    """Does one side's work on demand; while it waits it takes no time.

    Args:
        build: prepares the work.
    """

    def __init__(self, build: Build) -> None:
        context = multiprocessing.get_context("spawn")
        self.cpu_seconds: list[float] = []
        """Of each time that the work was done: other processes slow it, but hardly add to these."""
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(build, theirs), daemon=True)
        self._process.start()
        theirs.close()

    def __call__(self) -> float:
        """Do the work once; the seconds that it took there."""
        self._pipe.send("work")
        seconds, cpu_seconds = self._pipe.recv()
        self.cpu_seconds.append(cpu_seconds)
        return float(seconds)

    def peak_gigabytes(self) -> float:
        """The most memory that the process has had."""
        self._pipe.send("peak")
        peak: float = self._pipe.recv()
        return peak

    def close(self) -> None:
        """End the process."""
        self._pipe.close()
        self._process.join(10)
        self._process.kill()


@contextmanager
def sides(builds: dict[str, Build]) -> Iterator[dict[str, Side]]:
    """Processes for several sides, by name."""
    with ExitStack() as stack:
        started = {}
        for name, build in builds.items():
            started[name] = Side(build)
            stack.callback(started[name].close)
        yield started


def _serve(build: Build, pipe: Connection) -> None:
    work = build()
    try:
        while True:
            if pipe.recv() == "peak":
                pipe.send(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6)
                continue
            began, cpu_began = time.perf_counter(), time.process_time()
            work()
            pipe.send((time.perf_counter() - began, time.process_time() - cpu_began))
    except EOFError:
        pass
