"""Leaving in time, with all children, and whoever is killed: no process stays."""

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.pipeline.conftest import Workspace
from tests.processes import is_running, wait_for
from tests.reliability.conftest import LONG, Pipeline

pytestmark = pytest.mark.slow

TINTLAB = (sys.executable, "-m", "tintlab.cli", "repro")
STARTER = (sys.executable, "-c", "import subprocess, sys; sys.exit(subprocess.run(sys.argv[1:]).returncode)")
SHELL = ("sh", "-c", '"$@"; exit $?', "sh")

Copied = Callable[..., Workspace]


@pytest.mark.parametrize(
    ("how", "workers"), [("Ctrl-C", 2), ("SIGTERM to the stage", 0), ("SIGTERM to tintlab", 2)]
)
def test_guard_all_end_within_10_s_with_a_checkpoint(copied: Copied, how: str, workers: int) -> None:
    """Guards: `process.defer_interrupts` in stages/train.py; `pipeline.run_dvc`, which passes SIGTERM on."""
    workspace = copied(**LONG, workers=workers)
    pipeline = Pipeline(workspace, *(TINTLAB if how == "SIGTERM to tintlab" else ()))
    training = pipeline.wait_for_training()
    time.sleep(0.5)
    before = pipeline.checkpoint
    assert len(training.children()) == 1 + workers  # the sender, and the loader's
    match how:
        case "Ctrl-C":
            os.killpg(pipeline.process.pid, signal.SIGINT)
        case "SIGTERM to the stage":
            training.terminate()
        case _:
            pipeline.process.terminate()
    seconds = pipeline.gone_within(10)
    print(f"{how}, {workers} workers: all gone after {seconds:.1f} s")
    assert pipeline.process.wait(5) != 0
    assert "stopped after iteration" in pipeline.output and "Traceback" not in pipeline.output
    assert pipeline.checkpoint > before
    if how != "Ctrl-C":
        return
    again = Pipeline(workspace)
    wait_for(lambda: "continuing after iteration" in again.output, 120, "going on")
    assert f"continuing after iteration {pipeline.checkpoint}\n" in again.output
    os.killpg(again.process.pid, signal.SIGTERM)
    again.gone_within(10)


@pytest.mark.parametrize(
    ("command", "victim", "workers"),
    [
        ((), "dvc", 2),
        (STARTER, "who started dvc", 0),
        (SHELL, "who started dvc", 0),
        (TINTLAB, "tintlab", 2),
        ((*STARTER, *TINTLAB), "who started tintlab", 0),
    ],
    ids=["dvc", "a program that started dvc", "a script that started dvc", "tintlab", "who started tintlab"],
)
def test_guard_owner_watch_kill_9_leaves_no_process(
    copied: Copied, command: tuple[str, ...], victim: str, workers: int
) -> None:
    """Guard: `process.watch_owners` in `program.run_stage` and `pipeline.repro`. 5 s for the training."""
    workspace = copied(**LONG, workers=workers)
    dvc = (sys.executable, "-m", "dvc", "repro")
    pipeline = Pipeline(workspace, *(command if "tintlab.cli" in command else (*command, *dvc)))
    training = pipeline.wait_for_training()
    if victim == "dvc":
        found = pipeline.one("-m dvc")
        assert found is not None
        found.kill()
    else:
        pipeline.process.kill()
    started = time.monotonic()
    wait_for(lambda: not is_running(training.pid), 5, "the training's end")
    seconds = time.monotonic() - started
    pipeline.gone_within(10)
    print(f"kill -9 of {victim}, {workers} workers: the training ended after {seconds:.1f} s, nobody is left")


def test_guard_a_dead_tintlab_starts_no_stage(copied: Copied) -> None:
    """Guard: `process.ownership` in `pipeline.run_dvc`: killed before DVC comes to the stage."""
    pipeline = Pipeline(copied(**LONG), *TINTLAB)
    wait_for(lambda: pipeline.one("-m dvc"), 60, "dvc")
    pipeline.process.kill()
    pipeline.gone_within(60)
    assert "not started: its owner is gone" in pipeline.output


@pytest.mark.parametrize("stage", ["fetch", "validate", "convert", "evaluate"])
def test_guard_owner_watch_the_other_stages_leave_too(copied: Copied, stage: str) -> None:
    """Guard: `program.run_stage`, `process.worker_pool`: killed themselves or without dvc, no worker stays."""
    for victim in ("dvc", "stage"):
        workspace = copied()
        command = (sys.executable, "-m", "dvc", "repro", "-f", "-s", stage)
        pipeline = Pipeline(workspace, *command)
        running = wait_for(lambda p=pipeline: p.one(f"tintlab.stages.{stage}"), 60, "the stage's start")
        # Workers, where the stage has some.
        wait_for(lambda r=running: stage == "validate" or r.children(), 60, "workers")
        if victim == "dvc":
            pipeline.process.kill()
        else:
            running.kill()
        pipeline.gone_within(6)
        pipeline.process.wait(5)


def test_guard_one_at_a_time_a_second_training_refuses_or_waits(copied: Copied, tmp_path: Path) -> None:
    """Guard: `exclusive` in stages/train.py."""
    first, second = copied(**LONG), copied(lambda_l1=50)
    second.environment["TINTLAB_STATE"] = first.environment["TINTLAB_STATE"]
    pipeline = Pipeline(first)
    training = pipeline.wait_for_training()
    refused = second.run("python", "-m", "tintlab.stages.train", status=1)
    assert refused.startswith(f"error: another training is under way: pid {training.pid} (")
    assert "tintlab.stages.train) since 20" in refused and refused.count("\n") == 1
    assert f"under way: pid {training.pid}" in second.tintlab("doctor", status=0)
    second.environment["TINTLAB_WAIT"] = "120"
    waiting = Pipeline(second, sys.executable, "-m", "tintlab.stages.train")
    wait_for(
        lambda: f"waiting: another training is under way: pid {training.pid}" in waiting.output,
        60,
        "waiting",
    )
    training.kill()
    assert "trained 36 iterations" in waiting.ends()
    assert psutil.pid_exists(pipeline.process.pid) is False or pipeline.process.wait(20) != 0
    second.environment["TINTLAB_WAIT"] = "soon"
    assert "TINTLAB_WAIT must be a number" in second.run("python", "-m", "tintlab.stages.train", status=1)


def test_guard_other_parameters_start_a_new_training(copied: Copied) -> None:
    """Guard: the parameters in the fingerprint, and `unfinished.explain_restart`."""
    workspace = copied(**LONG)
    pipeline = Pipeline(workspace)
    training = pipeline.wait_for_training()
    training.kill()
    pipeline.process.wait(20)
    short = {"iterations_per_epoch": 4, "display_every": 2, "lambda_l1": 50}
    workspace.set_params({"train": short})
    output = workspace.run("python", "-m", "tintlab.stages.train")
    assert "starting from the beginning: the unfinished training in " in output
    for reason in (
        "train.iterations_per_epoch is 4 now, was 100000",
        "train.lambda_l1 is 50.0 now, was 100.0",
    ):
        assert reason in output
    assert "continuing" not in output
    anew = copied(**short)
    anew.run("python", "-m", "tintlab.stages.train")
    assert (
        workspace.outputs()["models/generator/last.safetensors"]
        == anew.outputs()["models/generator/last.safetensors"]
    )
    assert "unfinished training" in workspace.tintlab("doctor", status=1)
