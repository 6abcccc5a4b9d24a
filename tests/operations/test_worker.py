"""`tintlab worker` without what it needs: one line each. tests/package/test_image_commands.py runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.flows.conftest import free_ports
from tintlab.operations import prefect_server, worker
from tintlab.system.errors import TintlabError


def test_what_is_missing_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(worker.ADDRESS, raising=False)
    with pytest.raises(TintlabError, match=r"^prefect\.yaml is missing: run this in a project"):
        worker.work()
    prefect_server.PREFECT_FILE.touch()
    with pytest.raises(TintlabError, match=r"^set PREFECT_API_URL to Prefect's API"):
        worker.work()
    # In a process of its own: it sets Prefect's variables for all that follows.
    address = f"http://127.0.0.1:{free_ports(1)[0]}/api"
    command = [sys.executable, "-m", "tintlab.cli", "worker"]
    environment = os.environ | {worker.ADDRESS: address, "TINTLAB_STATE": str(tmp_path / "state")}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (1, f"error: Prefect's server does not answer at {address}\n")
