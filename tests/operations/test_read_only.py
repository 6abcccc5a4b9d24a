"""Commands that only read leave nothing behind, in whatever folder they are run."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from tintlab.cli import app
from tintlab.system.errors import TintlabError

COMMANDS = [
    ["models"],
    ["history"],
    ["doctor"],
    ["trace", "photo.jpg"],
    ["drift", "photo.jpg"],
    ["gc", "--dry-run"],
    ["judge"],
    ["promote", "3"],
    ["rollback"],
    ["sources", "pull"],
    ["score", "photo.jpg", "out", "--dry-run"],
    ["score", "nothing", "out"],
    ["explore", "directions"],
]


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_nothing_is_left_in_another_folder(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINTLAB_STATE")
    (tmp_path / "photo.jpg").write_bytes(b"no picture")
    result = CliRunner().invoke(app, command)
    assert list(tmp_path.iterdir()) == [tmp_path / "photo.jpg"], result.output
    assert result.exception is None or isinstance(result.exception, TintlabError | SystemExit)


@pytest.mark.parametrize("command", ["models", "history"])
def test_a_missing_registry_is_one_line_with_advice(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TINTLAB_STATE")
    result = CliRunner().invoke(app, [command])
    assert result.exit_code == 0
    [line] = result.output.splitlines()
    assert f"no registry in {tmp_path}/.tintlab" in line
    assert "MLFLOW_TRACKING_URI" in line
