"""The commands of README.md and docs/quickstart.md: the installed wheel, and no checkout of tintlab in sight."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.package.conftest import Installed
from tests.package.documents import script
from tests.pipeline.test_repro import STAGES, stages_run

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]


def run_blocks(page: Path, folder: Path, installed: Installed) -> "subprocess.CompletedProcess[str]":
    """Run the blocks of a page that are not long."""
    done = installed.command(folder, "sh", "-c", script(page), seconds=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def project(installed: Installed, tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A project after the quickstart: `init`, `repro --preset smoke`, `register`, `score`."""
    folder = tmp_path_factory.mktemp("elsewhere")
    Image.linear_gradient("L").resize((320, 240)).save(folder / "grandmother.jpg")
    done = run_blocks(repository / "docs" / "quickstart.md", folder, installed)
    assert stages_run(done.stdout) == STAGES
    assert "version 1 is new" in done.stdout
    for made in ("grandmother-coloured.png", "coloured.png", "harbour/coloured/grandmother.png"):
        assert Image.open(folder / made).size == (320, 240)
    assert "coloured by base" in done.stdout
    return folder / "harbour"


def test_the_readmes_commands_run(
    installed: Installed, tmp_path: Path, repository: Path, picture: Callable[..., Any]
) -> None:
    for name in ("grandmother.jpg", "boat.jpg", "postcard.jpg"):
        Image.fromarray(picture(160, 120)).save(tmp_path / name)
    (tmp_path / "hints.json").write_text('[{"x": 0.3, "y": 0.6, "rgb": "#7a3b2e"}]')
    run_blocks(repository / "README.md", tmp_path, installed)
    for made in ("grandmother-coloured.png", "boat-coloured.png"):
        assert Image.open(tmp_path / made).size == (160, 120)


def test_a_project_trains_and_registers(project: Path, installed: Installed) -> None:
    assert (project / "reports" / "index.html").exists()
    changed = installed.command(project, "git", "status", "--porcelain").stdout.split("\n")
    assert changed == [" M params.yaml", "?? coloured/", "?? dvc.lock", "?? scans/", ""]
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
