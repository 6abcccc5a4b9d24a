"""Scheduled, cancelled, killed: a real server, a real worker, a real training, in the order of one night."""

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tests.flows.conftest import ITERATIONS, Run, Up, free_ports
from tests.processes import seconds_until_gone, wait_for, with_descendants
from tintlab.storage import exclusive

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

COUNT = 60
"""Photographs that the cluster colours."""


@pytest.fixture(scope="module", autouse=True)
def silent(up: Up) -> Run:
    """A run that began and gave one sign of life, in no pool of ours: its machine lost its power."""
    flow = up.api("POST", "flows/", {"name": "elsewhere"})["id"]
    begun = Run(up, up.api("POST", "flow_runs/", {"flow_id": flow, "state": {"type": "RUNNING"}})["id"])
    beat = {
        "id": str(uuid.uuid4()),
        "occurred": datetime.now(UTC).isoformat(),
        "event": "prefect.flow-run.heartbeat",
        "resource": {"prefect.resource.id": f"prefect.flow-run.{begun.id}"},
    }
    up.api("POST", "events", [beat])
    return begun


def test_a_scheduled_run_starts(up: Up) -> None:
    watch = up.deployment("watch/hourly")
    made = up.api(
        "POST",
        f"deployments/{watch['id']}/schedules",
        [{"active": True, "schedule": {"interval": 15, "anchor_date": "2026-01-01T00:00:00Z"}}],
    )

    def scheduled() -> Any:
        return [
            run for run in up.runs("watch/hourly") if run.record["auto_scheduled"] and run.type == "COMPLETED"
        ]

    try:
        ended = wait_for(scheduled, 180, "a scheduled run that has ended")
    finally:
        up.api("DELETE", f"deployments/{watch['id']}/schedules/{made[0]['id']}")
    assert ended[0].record["state_name"] == "NothingNew"
    assert [found["schedule"]["cron"] for found in up.deployment("retrain/nightly")["schedules"]] == [
        "30 2 * * *"
    ]


def test_whatever_is_killed_the_next_run_goes_on(up: Up) -> None:
    """Cancelled; DVC, the flow, the worker and the server killed, each alone: always from the checkpoint."""
    reached = 0
    for disturb in (cancelled, dvc_killed, flow_killed, worker_killed, server_killed):
        run = up.start("retrain/manual", cause=disturb.__name__)
        if reached:
            run.wait_for_log(f"continuing after iteration {reached}")
        reached = up.wait_for_checkpoint(reached + 1, run)
        disturb(up, run)
        wait_for(lambda: not up.in_clone(), 60, f"the end of all processes: {disturb.__name__}")
        reached = up.checkpoint
        assert 0 < reached < ITERATIONS, f"the training was over before {disturb.__name__}"
    run = up.start("retrain/manual", cause="the last one")
    log = run.wait_for_log(f"continuing after iteration {reached}")
    assert "waiting" not in log
    assert run.ends()[0] == "COMPLETED", run.log()
    assert up.runs("retrain/manual")[0].artifacts()["retrain-stages"]


def cancelled(up: Up, run: Run) -> None:
    everyone = [process.pid for process in (*with_descendants(run.process().pid), *up.in_clone())]
    assert len(everyone) >= 4, "flow, tintlab, DVC and its stage"
    run.cancel()
    seconds_until_gone(everyone, 15)
    assert run.ends(60) == ("CANCELLED", "Cancelled")


def dvc_killed(up: Up, run: Run) -> None:
    dvc = [process for process in up.in_clone() if " dvc " in " ".join(process.cmdline()) + " "]
    min(dvc, key=lambda process: process.create_time()).kill()
    assert run.ends(90)[0] == "FAILED"


def flow_killed(up: Up, run: Run) -> None:
    run.process().kill()
    assert run.ends(90)[0] == "CRASHED"


def worker_killed(up: Up, run: Run) -> None:
    flow = run.process()
    up.service("worker", "start").kill()
    seconds_until_gone([flow.pid], 20)
    assert run.ends(120)[0] == "CRASHED"
    wait_for(lambda: "worker died" in up.said, 60, "its death is told")


def server_killed(up: Up, run: Run) -> None:
    """Runs go on without the server; this one is then cancelled, when it is there again."""
    before = up.checkpoint
    up.service("prefect", "server").kill()
    up.wait_for_checkpoint(before, run)
    assert run.type == "RUNNING"
    run.cancel()
    assert run.ends(120)[0] == "CANCELLED"


def test_what_the_run_left(up: Up) -> None:
    """After all killings: a page, a table, an experiment, one MLflow run with every step; an untouched tree."""
    run = next(found for found in up.runs("retrain/manual") if found.type == "COMPLETED")
    artifacts = run.artifacts()
    page = artifacts["retrain"]["data"]
    assert "| psnr |" in page
    assert "data:image/jpeg;base64," in page
    assert f"{up.mlflow}/#/models/tintlab/versions/" in page
    stages = json.loads(artifacts["retrain-stages"]["data"])
    assert [row["stage"] for row in stages] == ["fetch", "split", "validate", "convert", "train", "evaluate"]
    assert next(row for row in stages if row["stage"] == "train")["outcome"] == "ran"
    assert {row["outcome"] for row in stages[:4]} <= {"cached", "unchanged"}
    workspace = up.workspace
    assert workspace.run("git", "status", "--porcelain") == ""
    assert "retrain-" in workspace.dvc("exp", "list", "--all-commits")
    shown = workspace.run(
        "python", "-c",
        f"import mlflow, json; c = mlflow.MlflowClient({up.mlflow!r});"
        "e = c.get_experiment_by_name('tintlab').experiment_id; runs = c.search_runs([e]);"
        "print(json.dumps([[p.step for p in c.get_metric_history(r.info.run_id, 'loss_G')] for r in runs]))",
    )  # fmt: skip
    steps = json.loads(shown.splitlines()[-1])
    assert steps == [list(range(20, ITERATIONS + 1, 20))]


def test_two_at_once_give_one_training_and_mlflow_may_be_away(up: Up) -> None:
    """Nightly and manual at once: one trains, the other says who; a training by hand is waited for.

    Meanwhile MLflow hangs, and a training by hand is refused.
    """
    overrides = ["train.seed=7", "train.iterations_per_epoch=20"]
    with exclusive(up.state / "training.lock", "a training by hand"):
        first = up.start("retrain/nightly", overrides=overrides)
        second = up.start("retrain/manual", overrides=overrides)
        said = "waiting, for another training is under way: pid "
        wait_for(lambda: said in first.log() + second.log(), 240, "a run that waits")
    wait_for(lambda: up.checkpoint, 240, "the training")
    mlflow = with_descendants(up.service("mlflow", "server").pid)
    for process in mlflow:
        process.suspend()
    up.workspace.dvc("repro", "convert")
    user = up.workspace.dvc("repro", "--force", "--single-item", "train", status=255)
    assert "another training is under way: pid " in user
    time.sleep(30)  # MLflow hangs: that is the condition
    for process in mlflow:
        process.resume()
    ended = sorted([first.ends(), second.ends()])
    assert ended[0] == ("CANCELLED", "UnderWay")
    assert ended[1][0] == "COMPLETED"
    loser = first if first.record["state_name"] == "UnderWay" else second
    assert "another retraining is under way: pid " in loser.record["state"]["message"]
    again = up.start("retrain/nightly", overrides=overrides)
    assert again.ends() == ("COMPLETED", "NothingToDo")


def test_unfit_photographs_fail_the_run_and_the_champion_stays(
    up: Up, picture: Callable[..., Any], encoded: Callable[..., bytes]
) -> None:
    inbox = up.workspace.folder / "data" / "inbox"
    for number in range(200):
        grey = picture(112, 112, number).mean(axis=2).astype("uint8")
        (inbox / f"scan{number:03d}.png").write_bytes(encoded(grey))
    before = up.workspace.tintlab("history")
    try:
        run = up.start("retrain/manual", overrides=["fetch.limit=400"])
        assert run.ends() == ("FAILED", "Failed")
    finally:
        for scan in inbox.glob("scan*.png"):
            scan.unlink()
    assert "the photographs are not fit" in run.record["state"]["message"]
    page = run.artifacts()["retrain"]["data"]
    assert f"[The validation page]({up.mlflow}/#/experiments/" in page
    assert "reports/validation.html" in page
    assert up.workspace.tintlab("history") == before


def test_new_photographs_set_off_one_retraining(
    up: Up, picture: Callable[..., Any], encoded: Callable[..., bytes]
) -> None:
    earlier = {run.id for run in up.runs("retrain/manual")}
    inbox = up.workspace.folder / "data" / "inbox"
    (inbox / "grey.png").write_bytes(encoded(picture(112, 112, 1).mean(axis=2).astype("uint8")))
    (inbox / "a.png").write_bytes(encoded(picture(112, 112, 1)))
    assert up.start("watch/hourly").ends() == ("COMPLETED", "NothingNew")
    for name in "bc":
        (inbox / f"{name}.png").write_bytes(encoded(picture(112, 112, ord(name))))
    assert up.start("watch/hourly").ends() == ("COMPLETED", "SetOff")

    def set_off() -> Any:
        return [run for run in up.runs("retrain/manual") if run.id not in earlier]

    run = wait_for(set_off, 90, "the retraining that was set off")[0]
    assert run.record["parameters"]["cause"] == "4 new files in data/inbox"
    assert up.start("watch/hourly").ends() == ("COMPLETED", "NothingNew")
    run.cancel()
    run.ends()
    assert len(set_off()) == 1


@pytest.fixture
def dask_cluster(up: Up, tmp_path: Path) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """A scheduler's address, and two workers of one process each."""
    pytest.importorskip("prefect_dask")
    port = free_ports(1)[0]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    commands += [[*dask, "worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]] * 2
    with (tmp_path / "dask.log").open("w") as log:
        processes = [
            subprocess.Popen(command, env=up.workspace.environment, cwd=tmp_path, stdout=log, stderr=log)
            for command in commands
        ]
    wait_for(lambda: (tmp_path / "dask.log").read_text().count("Starting established") >= 2, 120, "workers")
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


def test_a_cluster_that_loses_a_worker_colours_the_same(
    up: Up, dask_cluster: Any, tmp_path: Path, picture: Callable[..., Any], encoded: Callable[..., bytes]
) -> None:
    address, workers = dask_cluster
    scans = tmp_path / "scans"
    for number in range(COUNT):
        path = scans / f"box{number % 3}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(96, 80, number).mean(axis=2).astype("uint8")))
    (scans / "broken.png").write_bytes(b"no picture")
    model = str(up.state / "workspace" / "clone" / "models" / "generator")
    spread, alone = tmp_path / "spread", tmp_path / "alone"
    run = up.start(
        "score/batch", source=str(scans), output=str(spread), model=model, chunk_size=12, dask=address
    )
    wait_for(lambda: len(list(spread.rglob("*.png"))) >= 5, 240, "the first files")
    workers[0].kill()
    assert len(list(spread.rglob("*.png"))) < COUNT, "killed too late"
    assert run.ends() == ("COMPLETED", "SomeQuarantined"), run.log()
    up.workspace.tintlab("score", str(scans), str(alone), "--model", model, status=2)
    names = {path.relative_to(alone) for path in alone.rglob("*.png")}
    assert len(names) == COUNT
    assert {path.relative_to(spread) for path in spread.rglob("*.png")} == names
    for name in names:
        one, other = (np.asarray(Image.open(folder / name), np.int16) for folder in (spread, alone))
        assert np.abs(one - other).max() <= 1
    same = ["input", "outcome", "reason", "input_sha256", "model_version"]
    manifests = [
        pd.read_parquet(folder / "manifest.parquet").sort_values("input", ignore_index=True)[same]
        for folder in (spread, alone)
    ]
    pd.testing.assert_frame_equal(*manifests)


def test_a_silent_run_has_crashed(silent: Run) -> None:
    assert silent.ends(150)[0] == "CRASHED"
    assert silent.record["state"]["message"] == "no sign of life"


def test_asked_to_end_it_ends_all(up: Up) -> None:
    everyone = [process.pid for process in with_descendants(up.process.pid)]
    up.process.terminate()
    seconds_until_gone(everyone, 20)
    up.process.wait(5)
    assert "Traceback" not in up.said
