"""Record the machine's load while a training runs."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

from tintlab.tracking.recorder import Recorder

SAMPLE_SECONDS = 10.0
"""Seconds between two samples."""


@contextmanager
def sample_load(recorder: Recorder) -> Iterator[None]:
    """Sample the machine's load every `SAMPLE_SECONDS` under the names that MLflow gives such figures.

    MLflow's own sampler needs a reachable store from the start, and drops samples that it can't send.
    """
    ended = threading.Event()

    def sample() -> None:
        psutil.cpu_percent()  # the first result is meaningless: load is measured between two calls
        with suppress(OSError):  # the training itself reports a full disk
            while not ended.wait(SAMPLE_SECONDS):
                recorder.sample(system_load())

    sampler = threading.Thread(target=sample, daemon=True, name="system metrics")
    sampler.start()
    try:
        yield
    finally:
        ended.set()
        sampler.join()


def system_load() -> dict[str, float]:
    """CPU and memory in use; also those of the first GPU, if this process uses one."""
    memory = psutil.virtual_memory()
    load = {
        "cpu_utilization_percentage": psutil.cpu_percent(),
        "system_memory_usage_megabytes": round(memory.used / 1e6, 1),
        "system_memory_usage_percentage": memory.percent,
        "process_memory_usage_megabytes": round(psutil.Process().memory_info().rss / 1e6, 1),
    }
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        free, total = torch.cuda.mem_get_info(0)
        load["gpu_0_memory_usage_megabytes"] = round((total - free) / 1e6, 1)
    return {f"system/{name}": value for name, value in load.items()}
