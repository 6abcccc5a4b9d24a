"""A real `dvc repro` on a tiny set: what runs again, what does not, and that all of it can be repeated."""

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import Workspace

STAGES = ["fetch", "split", "validate", "convert", "train", "evaluate"]


@pytest.fixture(scope="module")
def built(new_workspace: Callable[[], Workspace]) -> Workspace:
    """A workspace after its first `dvc repro`."""
    workspace = new_workspace()
    output = workspace.dvc("repro")
    assert stages_run(output) == STAGES
    assert "model initialized with norm initialization" in output
    assert "the GAN begins with epoch 2" in output
    assert re.search(r"Epoch 1/3\nIteration 2/4\nloss_D_fake: –\nloss_D_real: –", output)
    assert re.search(r"Epoch 2/3\nIteration 2/4\nloss_D_fake: \d+\.\d{5}\nloss_D_real: ", output)
    return workspace


def stages_run(output: str) -> list[str]:
    return re.findall(r"Running stage '(\w+)'", output)


def splits(workspace: Workspace) -> dict[str, str]:
    with (workspace.folder / "data/splits.csv").open() as file:
        return {row["photo"]: row["split"] for row in csv.DictReader(file)}


def test_everything_promised_is_there(built: Workspace) -> None:
    outputs = built.outputs()
    for name in (
        "data/photos.csv", "data/attribution.csv", "data/splits.csv", "data/accepted.csv", "data/lab/train.npy",
        "models/generator/generator.safetensors", "models/generator/last.safetensors",
        "models/generator/config.json", "reports/samples/iteration_000008.png", "reports/losses.csv",
        "reports/validation.html", "reports/index.html", "reports/per_photo.csv", "reports/metrics.json",
    ):  # fmt: skip
        assert outputs[name], name
    metrics = json.loads(outputs["reports/metrics.json"])
    assert {"model", "grey", "median_ab"} <= set(metrics)
    assert metrics["grey"]["colourfulness"] == pytest.approx(0, abs=1e-3)


def test_metrics_plots_and_params_show_in_dvc(built: Workspace) -> None:
    shown = json.loads(built.dvc("metrics", "show", "--json"))
    (workspace,) = shown.values()
    assert "psnr" in workspace["data"]["reports/metrics.json"]["data"]["model"]
    plots = built.dvc("plots", "show", "--json", "-o", str(built.folder / "dvc_plots"))
    for curve in ("GAN losses", "L1 loss", "Validation score", "reports/distributions.csv"):
        assert curve in plots
    assert "train.epochs" in built.dvc("params", "diff", "--all")


def test_a_run_changes_no_file_that_git_knows(built: Workspace) -> None:
    """What depends on the machine is DVC's: another kind of CPU must not make a fresh clone dirty."""
    assert built.run("git", "status", "--porcelain").split("\n") == ["?? dvc.lock", ""]


def test_nothing_reruns_when_nothing_changed(built: Workspace) -> None:
    output = built.dvc("repro")
    assert stages_run(output) == []
    assert "Data and pipelines are up to date" in output


@pytest.mark.slow
def test_a_training_parameter_reruns_train_and_evaluate_only(built: Workspace) -> None:
    built.set_params({"train": {"lambda_l1": 50}})
    assert stages_run(built.dvc("repro")) == ["train", "evaluate"]
    built.set_params({"train": {"lambda_l1": 100}})
    assert stages_run(built.dvc("repro")) == []  # the run cache remembers


def test_squares_of_another_size_do_not_come_from_the_cache(built: Workspace) -> None:
    built.set_params({"convert": {"image_size": 72}})
    assert stages_run(built.dvc("repro", "convert")) == ["convert"]
    assert np.load(built.folder / "data/lab/train.npy", mmap_mode="r").shape[1:] == (72, 72, 3)
    built.set_params({"convert": {"image_size": 64}})
    assert stages_run(built.dvc("repro", "convert")) == []


@pytest.mark.slow
def test_a_photo_in_the_inbox_reruns_all_and_moves_no_other(built: Workspace, mini_collection: Path) -> None:
    before = splits(built)
    built.set_params({"fetch": {"limit": 61}})
    photo = next(mini_collection.rglob("*.jpg"))
    shutil.copy(photo, built.folder / "data/inbox/new.jpg")
    try:
        assert stages_run(built.dvc("repro"))[0] == "fetch"
        after = splits(built)
        assert len(after) == len(before) + 1
        assert {name: after[name] for name in before if name in after}.items() <= before.items()
    finally:
        (built.folder / "data/inbox/new.jpg").unlink()
        built.set_params({"fetch": {"limit": 60}})
        built.dvc("checkout")


@pytest.mark.slow
def test_a_temporary_experiment_sees_the_same_inbox(
    new_workspace: Callable[[], Workspace], mini_collection: Path
) -> None:
    workspace = new_workspace()
    shutil.copytree(mini_collection, workspace.folder / "data/inbox/mini")
    command = ("exp", "run", "--temp", "--name", "temporary", "-S", "fetch.starter=false", "fetch")
    assert "is not as recorded (12 files, 0 were recorded)" in workspace.dvc(*command, status=255)
    assert "recorded 1 sources" in workspace.tintlab("sources", "refresh")
    workspace.dvc(*command)
    refs = workspace.run("git", "for-each-ref", "--format=%(refname)", "refs/exps").split()
    (name,) = [ref for ref in refs if ref.endswith("/temporary")]
    there = YAML(typ="safe").load(workspace.run("git", "show", f"{name}:dvc.lock"))
    # The workspace itself makes the same bytes of it.
    workspace.set_params({"fetch": {"starter": False}})
    workspace.dvc("repro", "fetch")
    assert (workspace.folder / "data/photos.csv").read_text().count("inbox/mini") == 12
    here = YAML(typ="safe").load((workspace.folder / "dvc.lock").read_text())
    assert there["stages"]["fetch"]["outs"] == here["stages"]["fetch"]["outs"]


@pytest.mark.slow
def test_twice_from_scratch_gives_the_same_bytes(
    built: Workspace, new_workspace: Callable[[], Workspace]
) -> None:
    built.dvc("repro")
    second = new_workspace()
    second.dvc("repro")
    ours, theirs = built.outputs(), second.outputs()
    assert ours.keys() == theirs.keys()
    assert [name for name in ours if ours[name] != theirs[name]] == []


@pytest.mark.slow
def test_another_machine_pulls_everything_and_makes_a_run(built: Workspace, tmp_path: Path) -> None:
    built.dvc("repro")
    built.dvc("remote", "add", "-f", "-d", "shelf", str(tmp_path / "shelf"))
    built.dvc("push", "--run-cache")
    built.run("git", "add", "-A")
    built.run("git", "commit", "-qm", "results")
    built.run("git", "clone", "-q", str(built.folder), str(tmp_path / "clone"))
    other = Workspace(tmp_path / "clone", tmp_path / "state")
    other.dvc("pull", "--run-cache")
    assert stages_run(other.dvc("repro")) == []
    other.tintlab("sync")
    tags = other.run(
        "python", "-c",
        "from tintlab.tracking import delivery, store, training_runs; import mlflow;"
        "mlflow.set_tracking_uri(store.tracking_uri());"
        "run = mlflow.get_run(delivery.find_run(training_runs.model_fingerprint()));"
        "print(run.data.tags['restored'], len(run.data.params), run.data.metrics['loss_G_L1'])",
    )  # fmt: skip
    assert re.match(r"true \d\d ", tags)
    assert other.tintlab("register").startswith("version 1 is new")
    assert (
        other.outputs()["models/generator/generator.safetensors"]
        == (built.outputs()["models/generator/generator.safetensors"])
    )


def test_bad_input_is_one_clear_line(new_workspace: Callable[[], Workspace], tmp_path: Path) -> None:
    """What a user meets, through the real command, for faults of the whole input."""
    workspace = new_workspace()
    cases: list[tuple[dict[str, dict[str, object]], str]] = [
        ({"fetch": {"starter": False}}, "no photographs"),
        ({"fetch": {"starter": True, "sources": [{"path": "gone.zip"}]}}, "gone.zip"),
        ({"fetch": {"sources": []}, "train": {"batch_size": -1}}, "train.batch_size"),
        ({"train": {"batch_size": 4, "lamda_l1": 3}}, "did you mean 'lambda_l1'"),
    ]
    for change, expected in cases:
        workspace.set_params(change)
        output = workspace.run("python", "-m", "tintlab.stages.fetch", status=1)
        assert "Traceback" not in output
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and expected in errors[0]
