"""Run work in several threads: limit the photographs in memory and torch's threads, and end all after a fault."""

import os
import queue
import sys
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def cpus() -> int:
    """How many CPUs this process may use."""
    return len(os.sched_getaffinity(0))


class Budget:
    """A resource that workers share, such as megapixels in memory.

    A worker that needs more than the whole waits until it is alone.

    Args:
        amount: of it all.
    """

    def __init__(self, amount: float) -> None:
        self._all = self._left = amount
        self._changed = threading.Condition()
        self._turn = threading.Lock()

    @contextmanager
    def take(self, amount: float) -> Iterator[None]:
        """Hold an amount; wait for it, and let no later request pass meanwhile."""
        share = min(amount, self._all)
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._left >= share)
            self._left -= share
        try:
            yield
        finally:
            with self._changed:
                self._left += share
                self._changed.notify_all()


@contextmanager
def one_thread_each() -> Iterator[None]:
    """Within, torch uses one thread a worker: the workers are the parallelism."""
    torch = sys.modules.get("torch")
    if torch is None:  # another engine runs the network
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def run_in_threads(work: Callable[[T], R], items: Iterable[T], workers: int) -> Generator[R]:
    """Do `work` in threads; the results as they come.

    Where one raises, the others end after the item that they have, and the fault is raised here. The same
    where nobody listens any more (`close` the iterator).
    """
    waiting, taking = iter(items), threading.Lock()
    results: queue.SimpleQueue[tuple[R] | None] = queue.SimpleQueue()
    ending = threading.Event()

    def take_and_work() -> None:
        try:
            while not ending.is_set():
                with taking:
                    item = next(waiting, None)
                if item is None:
                    return
                results.put((work(item),))
        except BaseException:
            ending.set()
            raise
        finally:
            results.put(None)

    with ThreadPoolExecutor(workers) as pool:
        try:
            tasks = [pool.submit(take_and_work) for _ in range(workers)]
            running = workers
            while running:
                result = results.get()
                if result is None:
                    running -= 1
                else:
                    yield result[0]
            for task in tasks:
                task.result()
        finally:
            ending.set()
