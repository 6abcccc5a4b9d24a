"""A project of one's own from the installed wheel, with no checkout of tintlab in sight."""

import json
from pathlib import Path

import pytest

from tests.package.conftest import Installed
from tests.pipeline.test_repro import STAGES, stages_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


@pytest.fixture(scope="module")
def project(installed: Installed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project after `tintlab init x && cd x && tintlab repro --preset smoke && tintlab register`."""
    folder = tmp_path_factory.mktemp("elsewhere")
    commands = "tintlab init x && cd x && tintlab repro --preset smoke && tintlab register"
    done = installed.command(folder, "sh", "-c", commands, seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr
    assert stages_run(done.stdout) == STAGES
    assert "version 1 is new" in done.stdout
    return folder / "x"


def test_a_project_trains_and_registers(project: Path, installed: Installed) -> None:
    assert (project / "reports" / "index.html").exists()
    changed = installed.command(project, "git", "status", "--porcelain").stdout.split("\n")
    assert changed == [" M params.yaml", "?? dvc.lock", ""]
    assert installed.package.is_relative_to(installed.bin.parent)
    listed = installed.run(project, "models")
    assert "challenger" in listed.stdout, listed.stderr


def test_an_upgrade_runs_only_the_stages_whose_code_changed(project: Path, installed: Installed) -> None:
    module = installed.package / "reports" / "evaluation.py"
    before = module.read_text()
    module.write_text(before + "\n# another version\n")
    try:
        plain = installed.command(project, "dvc", "repro", "--single-item", "--force", "evaluate")
        assert (
            "code.lock.json records other code than the installed tintlab: run `tintlab repro`"
            in plain.stderr
        )
        done = installed.run(project, "repro")
        assert "changed code of evaluate\n" in done.stdout, done.stdout + done.stderr
        assert stages_run(done.stdout) == ["evaluate"]
    finally:
        module.write_text(before)
    assert stages_run(installed.run(project, "repro").stdout) == []
    assert json.loads((project / "code.lock.json").read_text())["tintlab"]
