import threading

import pytest

from tintlab.scoring.threads import Budget, run_in_threads


def test_all_results_come() -> None:
    assert sorted(run_in_threads(lambda number: number * 2, range(100), 4)) == list(range(0, 200, 2))
    assert list(run_in_threads(lambda number: number, [], 3)) == []


def test_workers_work_at_the_same_time() -> None:
    together = threading.Barrier(3, timeout=60)
    assert len(list(run_in_threads(lambda _: together.wait(), range(3), 3))) == 3


def test_a_fault_ends_all_and_is_raised() -> None:
    done = []

    def work(number: int) -> int:
        if number == 5:
            raise OSError("disk")
        done.append(number)
        return number

    with pytest.raises(OSError, match="disk"):
        list(run_in_threads(work, iter(range(1_000_000)), 2))
    assert len(done) < 1_000_000


def test_who_stops_listening_ends_the_work() -> None:
    done: list[int] = []
    results = run_in_threads(done.append, iter(range(1_000_000)), 2)
    next(results)
    results.close()
    assert len(done) < 1_000_000


def test_nothing_is_taken_ahead() -> None:
    """Memory is bounded: no more items are taken than there are workers."""
    taken = []

    def items() -> object:
        for number in range(20):
            taken.append(number)
            yield number

    go = threading.Semaphore(0)
    results = run_in_threads(lambda _: go.acquire(), items(), 2)  # type: ignore[arg-type]
    go.release()
    next(results)
    assert len(taken) <= 4
    for _ in range(20):
        go.release()
    assert len(list(results)) == 19


def test_a_budget_is_never_exceeded_and_giants_get_their_turn() -> None:
    budget, lock = Budget(10), threading.Lock()
    held, most, giants = [0.0], [0.0], []

    def work(amount: float) -> None:
        with budget.take(amount):
            with lock:
                held[0] += min(amount, 10)
                most[0] = max(most[0], held[0])
            if amount > 10:
                giants.append(amount)
            with lock:
                held[0] -= min(amount, 10)

    list(run_in_threads(work, [4, 3, 50, 2, 6, 12, 1, 9, 0] * 30, 5))
    assert most[0] <= 10
    assert len(giants) == 60
