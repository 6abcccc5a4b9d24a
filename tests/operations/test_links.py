"""Links to land on, exports for a shell, and `tintlab ui` beside another server."""

import os
import socket
import subprocess
from pathlib import Path

import pytest

from tests.registry.conftest import make_model
from tintlab.operations import links, pipeline
from tintlab.registry import promotion, register, verdicts
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.locks import exclusive
from tintlab.tracking import store

UP = links.Addresses("http://127.0.0.1:5001", "http://127.0.0.1:4201", "http://127.0.0.1:8401")


@pytest.fixture(autouse=True)
def _project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state of $HOME's"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    paths.services().mkdir(parents=True)


def exported() -> dict[str, str]:
    """What a shell knows after the exports."""
    script = f"{links.exports()}\nenv -0"
    shell = subprocess.run(
        ["sh", "-c", script], capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    return dict(line.split("=", 1) for line in shell.stdout.split("\0") if "=" in line)


def test_exports_name_the_store_and_the_running_services() -> None:
    assert exported()["MLFLOW_TRACKING_URI"] == store.tracking_uri()
    assert exported()["TINTLAB_STATE"] == str(paths.state())
    assert "PREFECT_API_URL" not in exported()
    links.record(UP)
    assert links.find_running() is None  # left by one that ended
    with exclusive(paths.services() / "up.lock", "another"):
        assert exported()["MLFLOW_TRACKING_URI"] == UP.mlflow
        assert exported()["PREFECT_API_URL"] == f"{UP.prefect}/api"


def test_links_lead_to_trainings_champion_and_verdict(tmp_path: Path) -> None:
    assert [name for name, _ in links.mlflow_pages("http://host")] == ["training runs"]
    version = register.register(make_model(tmp_path / "model", 5)).version
    promotion.promote(version, "a test", forced=True)
    verdicts.store_verdict(version, {"passed": True, "champion": None}, None)
    pages = dict(links.mlflow_pages("http://ada:secret@host/"))
    assert list(pages) == ["training runs", "models", "champion", "latest verdict"]
    assert pages["training runs"] == "http://host/#/experiments/1/runs?workflowType=machine_learning"
    assert pages["champion"].startswith("http://host/#/models/tintlab/versions/1?")
    assert "/artifacts/verdicts/1." in pages["latest verdict"]
    assert all(link.endswith("?workflowType=machine_learning") for link in pages.values())


def test_ui_beside_up_says_where_mlflow_is(capsys: pytest.CaptureFixture[str]) -> None:
    links.record(UP)
    with exclusive(paths.services() / "up.lock", "another"):
        pipeline.serve_ui(5000)
    said = capsys.readouterr().out
    assert "`tintlab up` serves MLflow already:" in said
    assert f"{UP.mlflow}/#/experiments/" in said


def test_ui_on_a_taken_port_is_one_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        with pytest.raises(TintlabError, match=r"port \d+ on 127.0.0.1 is in use: .*`tintlab ui --port \d+`"):
            pipeline.serve_ui(taken.getsockname()[1])
