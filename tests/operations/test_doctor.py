"""`tintlab doctor` sees each fault that it knows, and says what to do."""

import shutil
import socket
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from tintlab import cli
from tintlab.gan.checkpoints import Checkpoints
from tintlab.operations import doctor
from tintlab.system import paths
from tintlab.system.locks import exclusive
from tintlab.tracking import interrupted, store
from tintlab.tracking.recorder import Recorder

INPUTS = {"params": {"seed": 0}, "data": {}, "source": "b", "torch": "2", "threads": 1}


@pytest.fixture(autouse=True)
def _repository(tmp_path: Path, repository: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    shutil.copy(repository / "params.yaml", tmp_path)
    monkeypatch.chdir(tmp_path)


def advised() -> dict[str, doctor.Finding]:
    """What is to be done, by what it is about. The store is left out: it takes seconds."""
    looks = [look for look in doctor._LOOKS if look is not doctor._tracking]
    return {finding.name: finding for look in looks for finding in look() if finding.advice}


def test_all_is_well_here() -> None:
    """Through the command, with a real store."""
    store.prepare_store()
    result = CliRunner().invoke(cli.app, ["doctor"])
    assert result.exit_code == 0, result.output
    for word in (
        "torch 2.",
        "GB free",
        "reached at sqlite:////",
        "all delivered",
        "none unfinished",
        "whole",
    ):
        assert word in result.output
    assert "→" not in result.output


def test_an_absent_server(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{unused.getsockname()[1]}")
        (finding,) = doctor._tracking()
    assert "can't be reached" in finding.state and "start the server" in finding.advice


def test_each_fault_is_seen_and_advised(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert advised() == {}
    Path("dvc.lock").write_text("schema: '2.0'\nsta")
    Path(".dvc/tmp").mkdir(parents=True)
    Path(".dvc/tmp/rwlock").write_text('{"write": {"out": {"pid": 4194400, "cmd": "dvc repro"}}, "read": {}}')
    folder = interrupted.begin(INPUTS)
    Checkpoints(folder / "checkpoints", print).save(40, {"weight": torch.zeros(1)})
    with Recorder("abc") as recorder:
        recorder.metrics({"loss_G": 1.0}, 1)
    Path("params.yaml").write_text("train: [")
    monkeypatch.setattr(doctor, "MIN_FREE_GB", 1e9)
    found = advised()
    assert set(found) == {
        "dvc.lock", "stale lock", "unfinished training", "records for MLflow", "params.yaml",
        "disk here", "disk of the state",
    }  # fmt: skip
    assert "cut short" in found["dvc.lock"].state and "tintlab repro" in found["dvc.lock"].advice
    assert "dvc repro" in found["stale lock"].state
    assert f"{folder}, iteration 40" in found["unfinished training"].state
    assert "1 of training abc wait" in found["records for MLflow"].state
    assert "tintlab sync" in found["records for MLflow"].advice
    assert CliRunner().invoke(cli.app, ["doctor"]).exit_code == 1


def test_what_is_under_way_needs_no_advice() -> None:
    with Recorder("abc") as recorder:
        recorder.metrics({"loss_G": 1.0}, 1)
    with exclusive(paths.training_lock(), "another training"):
        assert advised() == {}
        shown = doctor.text([*doctor._trainings(), *doctor._undelivered()])
    assert "under way: pid" in shown and "on their way" in shown


def test_what_points_elsewhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store.prepare_store()
    with store.connect() as client:
        store.experiment_id(client)
    moved = paths.state().rename(tmp_path / "moved")
    monkeypatch.setenv("TINTLAB_STATE", str(moved))
    other = tmp_path.parent / "elsewhere" / "mlflow.db"
    Path("dvc.yaml").write_text("stages: {}")
    Path("src/tintlab").mkdir(parents=True)
    Path("src/tintlab/__init__.py").write_text("")
    found = {finding.name: finding for finding in doctor._place()}
    assert f"came from {tmp_path / 'state'}; its records follow to {moved} now" in found["MLflow store"].state
    assert f"differs from {tmp_path / 'src'}" in found["code"].state
    assert "`pip install -e .`" in found["code"].advice
    assert "git init" in found["git"].advice
    assert "shared state" not in found
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{other}")
    (shared,) = [finding for finding in doctor._place() if finding.name == "shared state"]
    assert f"MLFLOW_TRACKING_URI names {other}, outside this checkout" in shared.state


def test_a_training_is_continued_where_it_ran(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def advice() -> str:
        [finding] = doctor._trainings()
        return finding.advice

    clone, elsewhere = paths.workspace(), tmp_path / "another tree"
    for tree, words in (
        (Path.cwd(), "`dvc repro` goes on with it"),
        (clone, "it is a scheduled retraining's, and the next one goes on with it"),
        (elsewhere, f"it ran in {elsewhere}, and `dvc repro` there goes on with it"),
    ):
        tree.mkdir(parents=True, exist_ok=True)
        with monkeypatch.context() as patch:
            patch.setenv("TINTLAB_STATE", str(paths.state()))
            patch.chdir(tree)
            folder = interrupted.begin(INPUTS)
        Checkpoints(folder / "checkpoints", print).save(40, {"weight": torch.zeros(1)})
        assert advice().startswith(words)
