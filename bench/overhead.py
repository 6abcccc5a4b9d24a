"""What surrounds the work: tracking beside a training step, DVC with nothing to do, the command line's start.

Tracking is counted in full: the seconds that the training process spends in a `Recorder`, and the CPU seconds of
the process that sends to MLflow, its start included, spread over the recipe's steps.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from measuring import Report, Row, command, conclude, interleaved, machine, parser
from recipes import THREADS, default_params, our_step
from tintlab.gan import schedule
from tintlab.gan.losses import METERS
from tintlab.tracking import sender

STEPS = 75


def tracked_steps() -> tuple[list[float], list[float], float]:
    """Seconds of each step, seconds in the recorder after it, and CPU seconds of the sender."""
    params = default_params()
    step = our_step(params, "L1")
    meters = dict.fromkeys(METERS, 0.5)
    taken, recording = [], []
    with sender.start_recording("bench") as recorder:
        recorder.start("bench", {}, {})
        for number in range(1, STEPS + 1):
            began = time.perf_counter()
            step()
            taken.append(time.perf_counter() - began)
            began = time.perf_counter()
            if number % params.display_every == 0:
                recorder.metrics(meters, number)
                recorder.artifact(Path("params.yaml"), "samples")
            recording.append(time.perf_counter() - began)
        times = [child.cpu_times() for child in psutil.Process().children()]
        cpu = sum(used.user + used.system for used in times)
        recorder.finish()
    return taken, recording, cpu


def tracking_row(repeats: int) -> tuple[Row, dict[str, Any]]:
    """Tracking as a share of a step of the default recipe."""
    steps, costs, senders = [], [], []
    for _ in range(repeats):
        with tempfile.TemporaryDirectory() as state:
            os.environ["TINTLAB_STATE"] = state
            taken, recording, sender = tracked_steps()
        # Another core's seconds count as much as they could have sped up the step.
        spread = sender / THREADS / schedule.total_iterations(default_params())
        steps.append(1e3 * sum(taken) / STEPS)
        costs.append(1e3 * (sum(recording) / STEPS + spread))
        senders.append(sender)
    row = Row("tracking, default recipe", "ms", costs, steps, "a step", "ours / baseline", at_most=0.01)
    return row, {"sender_cpu_seconds": senders}


def quietly(*arguments: str) -> Callable[[], object]:
    """A command whose output nobody reads."""
    return lambda: subprocess.run(arguments, capture_output=True, check=True)


def main() -> None:
    """Measure and write the report."""
    text = "Tracking beside a step; DVC with nothing to do; the start of the command line."
    options = parser("overhead", text, 3).parse_args()
    report = Report(command("overhead"), machine())
    row, report.details = tracking_row(options.repeats)
    report.rows.append(row)
    help_seconds = interleaved({"help": quietly("tintlab", "--help")}, 3 * options.repeats)["help"]
    report.rows.append(Row("`tintlab --help`", "s", help_seconds, [], "", "ours", at_most=0.3))
    dvc = (sys.executable, "-m", "dvc")
    status = subprocess.run([*dvc, "status"], capture_output=True, text=True, check=True).stdout
    if "up to date" not in status:
        conclude(report, options.json)
        sys.exit("`dvc status` has something to do: run `dvc repro` first, so that there is nothing")
    ways = {"repro": quietly(*dvc, "repro"), "status": quietly(*dvc, "status")}
    seconds = interleaved(ways, options.repeats)
    report.rows.append(
        Row(
            "`dvc repro` with nothing to do",
            "s",
            seconds["repro"],
            seconds["status"],
            "`dvc status`",
            "ours / baseline",
        )
    )
    conclude(report, options.json)


if __name__ == "__main__":
    main()
