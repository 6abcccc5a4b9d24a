"""Run a stage and note what it took: wall time, CPU time of it and its workers, memory of its own.

    python bench/stage_timer.py FILE.json tintlab.stages.fetch

Memory is what no file backs (Pss_Anon), of the stage and of its workers together, several times a second: pages
of a memory-mapped array are the kernel's to drop, and what a worker shares with the stage counts once.
"""

import json
import os
import runpy
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil

PAUSE = 0.1  # seconds


def own_memory() -> float:
    """MB in memory that no file backs, of this process and all that it started."""
    process = psutil.Process()
    return sum(map(anonymous, [process.pid, *(child.pid for child in process.children(recursive=True))]))


def anonymous(pid: int) -> float:
    """The same of one process, its part of what several share; 0 where it has ended."""
    with suppress(OSError, StopIteration):
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        return int(next(line for line in lines if line.startswith("Pss_Anon")).split()[1]) / 1e3
    return 0.0


def main() -> None:
    """Run the stage; its status is ours."""
    target, module = sys.argv[1:3]
    peak, ended = [0.0], threading.Event()

    def watch() -> None:
        while not ended.wait(PAUSE):
            peak[0] = max(peak[0], own_memory())

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    began = time.perf_counter()
    try:
        runpy.run_module(module, run_name="__main__", alter_sys=True)
    finally:
        ended.set()
        watcher.join()
        taken = os.times()
        cpu = taken.user + taken.system + taken.children_user + taken.children_system
        found = {"seconds": time.perf_counter() - began, "cpu_seconds": cpu, "peak_megabytes": peak[0]}
        Path(target).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
