"""Scheduled, cancelled, killed: a real server, a real worker, a real training, in the order of one night."""

import json
import shutil
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

from tests.flows.conftest import ITERATIONS, Receiver, Run, Up, free_ports
from tests.processes import seconds_until_gone, wait_for, with_descendants
from tests.scoring.film_files import grey_frames, write_clip

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

BETTER = [
    *("train.channels=32", "train.batch_size=8", "train.iterations_per_epoch=100", "train.saturation=1.15"),
    *("convert.image_size=96", "train.image_size=96", "train.crop=[72,96]", "train.working_size=96"),
    "train.threads=2",
]
WORSE = [
    *("train.l1_learning_rate=0.00001", "train.learning_rate=0.00001", "train.iterations_per_epoch=20"),
    "train.display_every=2",
]

COUNT = 500
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
        run = up.start("retrain/manual", cause=disturb.__name__, promote=False)
        if reached:
            run.wait_for_log(f"continuing after iteration {reached}")
        reached = up.wait_for_checkpoint(reached + 1, run)
        disturb(up, run)
        wait_for(lambda: not up.in_clone(), 60, f"the end of all processes: {disturb.__name__}")
        reached = up.checkpoint
        assert 0 < reached < ITERATIONS, f"the training was over before {disturb.__name__}"
    run = up.start("retrain/manual", cause="the last one", promote=False)
    log = run.wait_for_log(f"continuing after iteration {reached}")
    assert "waiting" not in log
    assert run.ends() == ("COMPLETED", "NotPromoted"), run.log()


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
    training = next(found for found in up.in_clone() if "tintlab.stages.train" in found.cmdline())
    training.suspend()  # it could end before the server is there again
    assert run.type == "RUNNING"
    time.sleep(15)  # Prefect loses a cancellation that comes before its listeners are connected again
    run.cancel()
    training.resume()
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


def make_the_first_champion(up: Up) -> None:
    """Promote the first model, hardly trained, by force; a test that is run alone has to train it."""
    if "no champion yet" not in up.workspace.tintlab("history"):
        return
    if not up.runs("retrain/manual"):
        up.start("retrain/manual", promote=False).ends()
    up.workspace.tintlab("promote", "--force", "--why", "the first one, to have one")


def test_a_model_that_is_surely_better_becomes_champion(up: Up, receiver: Receiver) -> None:
    make_the_first_champion(up)
    assert up.champion == 1
    run = up.start("retrain/manual", overrides=BETTER)
    assert run.ends() == ("COMPLETED", "Promoted"), run.log()
    assert up.champion == 2
    message = run.record["state"]["message"]
    assert message.startswith(
        "version 2 is champion; verdict: passed: similarity to the truth is higher than"
    )
    page = run.artifacts()["retrain"]["data"]
    assert page.startswith("# Promoted: version 2\n")
    row = next(line for line in page.splitlines() if line.startswith("| judge_similarity |"))
    new, champion, grey = (float(cell) for cell in row.split("|")[2:5])
    assert new > champion
    assert new > grey
    assert receiver.titled("tintlab retrain: Promoted")[0].startswith(message)


def test_one_trains_at_a_time_even_without_mlflow(up: Up, tmp_path: Path) -> None:
    """A flow waits for a training by hand; nightly and manual at once: one trains, the other says who.

    Meanwhile MLflow is killed and stays away for a minute, and a training by hand is refused. What comes of
    it is worse than the champion, and is not promoted.
    """
    train = ["--force", "--single-item", "train"]
    up.workspace.dvc("repro", "convert")
    with (tmp_path / "by hand.log").open("w") as log:
        by_hand = subprocess.Popen(
            [sys.executable, "-m", "dvc", "repro", *train],
            cwd=up.workspace.folder, env=up.workspace.environment, stdout=log, stderr=log,
        )  # fmt: skip
    wait_for(lambda: up.checkpoint, 120, "the training by hand")
    stage = next(
        found for found in with_descendants(by_hand.pid) if "tintlab.stages.train" in found.cmdline()
    )
    stage.suspend()
    first = up.start("retrain/nightly", overrides=WORSE)
    second = up.start("retrain/manual", overrides=WORSE)
    said = f"waiting: another training is under way: pid {stage.pid} "
    wait_for(lambda: said in first.log() + second.log(), 240, "a run that waits")
    stage.resume()
    assert by_hand.wait(240) == 0, (tmp_path / "by hand.log").read_text()
    wait_for(lambda: up.checkpoint, 240, "the training by schedule")
    with up.without_mlflow(60):
        refused = up.workspace.dvc("repro", *train, status=255)
        assert "another training is under way: pid " in refused
    ended = sorted([first.ends(), second.ends()])
    assert ended == [("COMPLETED", "NotPromoted"), ("COMPLETED", "UnderWay")], first.log() + second.log()
    loser, trained = sorted([first, second], key=lambda run: run.record["state_name"] != "UnderWay")
    assert "another retraining is under way: pid " in loser.record["state"]["message"]
    assert "can't be reached" in trained.log()
    message = trained.record["state"]["message"]
    assert message.startswith("version 2 stays champion; verdict: not passed: worse: similarity to the truth")
    assert up.champion == 2
    check_that_no_metric_is_missing(up, 3)
    assert up.start("retrain/nightly", overrides=WORSE).ends() == ("COMPLETED", "NothingToDo")
    up.workspace.run("git", "checkout", "-q", ".")  # what the training by hand left


def check_that_no_metric_is_missing(up: Up, version: int) -> None:
    """MLflow has each figure that the training of the clone's model wrote."""
    found = up.tracked("model-versions/get", name="tintlab", version=str(version))
    run_id = found["model_version"]["run_id"]
    for name in ("losses", "validation_curves"):
        table = pd.read_csv(up.clone / "reports" / f"{name}.csv", index_col="iteration")
        for column in table.columns.drop("epoch", errors="ignore"):
            wanted = pytest.approx(table[column].dropna().to_dict(), rel=1e-4, abs=1e-6)
            assert up.metrics(run_id, column) == wanted, column


def test_the_champion_before_comes_back_after_gc_too(up: Up) -> None:
    up.workspace.tintlab("gc", "--keep", "0", "--days", "0", "--yes")
    shutil.rmtree(up.state / "models")  # copies of registered models: the registry must have its own
    run = up.start("rollback/manual", why="red skies")
    assert run.ends() == ("COMPLETED", "Completed"), run.log()
    assert up.champion == 1
    assert "version 1 is champion now instead of 2" in run.artifacts()["rollback"]["data"]
    history = up.workspace.tintlab("history").splitlines()
    assert [line.split()[:2] for line in history[1:]] == [["3", "1"], ["2", "2"], ["1", "1"]]
    assert history[1].endswith("red skies")
    photo = next((up.workspace.folder / "data" / "raw").rglob("*.webp"))
    coloured = up.state.parent / "coloured"
    up.workspace.tintlab("colorize", str(photo), "--output", str(coloured), "--model", "champion")
    assert "models:/tintlab/1" in up.workspace.tintlab("trace", str(next(coloured.iterdir())))


def test_unfit_photographs_fail_the_run_and_the_champion_stays(
    up: Up, picture: Callable[..., Any], encoded: Callable[..., bytes]
) -> None:
    make_the_first_champion(up)
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
    assert "the photographs are unfit" in run.record["state"]["message"]
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


@pytest.fixture(scope="module")
def dask_cluster(
    up: Up, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[str, list["subprocess.Popen[bytes]"]]]:
    """A scheduler's address, and two workers of one process each."""
    pytest.importorskip("prefect_dask")
    folder = tmp_path_factory.mktemp("dask")
    port = free_ports(1)[0]
    address = f"tcp://127.0.0.1:{port}"
    dask = [sys.executable, "-m", "dask"]
    commands = [[*dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard"]]
    commands += [[*dask, "worker", address, "--no-nanny", "--nthreads", "1", "--no-dashboard"]] * 2
    with (folder / "dask.log").open("w") as log:
        processes = [
            subprocess.Popen(command, env=up.workspace.environment, cwd=folder, stdout=log, stderr=log)
            for command in commands
        ]
    wait_for(lambda: (folder / "dask.log").read_text().count("Starting established") >= 2, 120, "workers")
    yield address, processes[1:]
    for process in processes:
        process.kill()
        process.wait()


def test_a_cluster_colours_a_film_by_shots_to_the_same_bytes(
    up: Up, dask_cluster: Any, tmp_path: Path
) -> None:
    make_the_first_champion(up)
    source = write_clip(tmp_path / "reel.mp4", grey_frames(30, shots=3), sound=True)
    spread, alone = tmp_path / "spread.mp4", tmp_path / "alone.mp4"
    run = up.start("film/reel", source=str(source), output=str(spread), dask=dask_cluster[0])
    assert run.ends() == ("COMPLETED", "Completed"), run.log()
    up.workspace.tintlab("film", str(source), str(alone))
    assert spread.read_bytes() == alone.read_bytes()


def test_a_cluster_that_loses_a_worker_colours_the_same(
    up: Up, dask_cluster: Any, tmp_path: Path, picture: Callable[..., Any], encoded: Callable[..., bytes]
) -> None:
    make_the_first_champion(up)
    address, workers = dask_cluster
    scans = tmp_path / "scans"
    for number in range(COUNT):
        path = scans / f"box{number % 3}" / f"{number:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(encoded(picture(96, 80, number).mean(axis=2).astype("uint8")))
    (scans / "broken.png").write_bytes(b"no picture")
    spread, alone = tmp_path / "spread", tmp_path / "alone"
    run = up.start("score/batch", source=str(scans), output=str(spread), chunk_size=25, dask=address)
    wait_for(lambda: len(list(spread.rglob("*.png"))) >= COUNT / 5, 240, "the first files")
    workers[0].kill()
    assert len(list(spread.rglob("*.png"))) < COUNT / 2, "killed too late"
    assert run.ends() == ("COMPLETED", "SomeQuarantined"), run.log()
    up.workspace.tintlab("score", str(scans), str(alone), status=2)
    names = {path.relative_to(alone) for path in alone.rglob("*.png")}
    assert len(names) == COUNT
    assert {path.relative_to(spread) for path in spread.rglob("*.png")} == names
    for name in names:
        one, other = (np.asarray(Image.open(folder / name), np.int16) for folder in (spread, alone))
        assert np.abs(one - other).max() <= 1
    manifests = [
        pd.read_parquet(folder / "manifest.parquet")
        .sort_values("input", ignore_index=True)
        .drop(columns=["seconds", "finished"])
        for folder in (spread, alone)
    ]
    pd.testing.assert_frame_equal(*manifests)
    assert set(manifests[0]["model_version"]) == {up.champion}


def test_drift_without_new_photographs_trains_nothing(up: Up, receiver: Receiver) -> None:
    """What the cluster coloured are drawings, unlike all photographs."""
    before = up.runs("retrain/manual")
    assert up.start("watch/hourly").ends() == ("COMPLETED", "Drifted")
    (told,) = receiver.titled("tintlab: scored photographs differ from the training photographs")
    assert "drift in " in told
    assert up.start("watch/hourly").ends() == ("COMPLETED", "NothingNew")  # once
    assert [run.id for run in up.runs("retrain/manual")] == [run.id for run in before]


def test_a_silent_run_has_crashed(silent: Run) -> None:
    assert silent.ends(150)[0] == "CRASHED"
    assert silent.record["state"]["message"] == "no heartbeat"


def test_asked_to_end_it_ends_all(up: Up) -> None:
    everyone = [process.pid for process in with_descendants(up.process.pid)]
    up.process.terminate()
    seconds_until_gone(everyone, 20)
    up.process.wait(5)
    assert "Traceback" not in up.said
