"""The stage on several devices, as `dvc repro` meets it."""

from collections.abc import Callable

import pytest

from tests.pipeline.conftest import Workspace
from tintlab.gan.torchrun import process_count
from tintlab.system.errors import TintlabError


@pytest.mark.parametrize("text", ["0", "-1", "two", "1.5"])
def test_no_number_of_processes_is_one_clear_line(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINTLAB_TRAIN_PROCESSES", text)
    with pytest.raises(TintlabError, match="TINTLAB_TRAIN_PROCESSES"):
        process_count()


@pytest.mark.slow
def test_the_pipeline_trains_in_two_processes(new_workspace: Callable[[], Workspace]) -> None:
    workspace = new_workspace()
    workspace.environment["TINTLAB_TRAIN_PROCESSES"] = "2"
    output = workspace.dvc("repro", "train")
    assert "MEMBER: 2/2" in output
    assert "trained 12 iterations" in output
    assert (workspace.folder / "models" / "generator" / "generator.safetensors").exists()
    assert "up to date" in workspace.dvc("status", "train")
