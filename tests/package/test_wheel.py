"""The wheel, installed into an environment of its own: it colours in any folder, at once, and leaves nothing."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.package.conftest import Installed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MAX_MEGABYTES = 20
MAX_SECONDS = 8
"""For a photograph of 2 megapixels, start included, on two quiet cores."""


@pytest.fixture
def folder(tmp_path: Path, picture: Callable[..., Any]) -> Path:
    """A folder with one grey photograph of 2 megapixels."""
    Image.fromarray(picture(1632, 1224)).convert("L").save(tmp_path / "x.jpg")
    return tmp_path


def test_the_archives_are_fit_for_an_index(wheel: Path, source_archive: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", str(wheel), str(source_archive)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("PASSED") == 2


def test_the_wheel_is_small(wheel: Path) -> None:
    assert wheel.stat().st_size < MAX_MEGABYTES * 1e6


def test_it_colours_in_any_folder_and_leaves_no_state(installed: Installed, folder: Path) -> None:
    start = time.monotonic()
    done = installed.run(folder, "colorize", "x.jpg")
    seconds = time.monotonic() - start
    assert done.returncode == 0, done.stderr
    assert "coloured by base (weights " in done.stdout
    assert sorted(path.name for path in folder.iterdir()) == ["x-coloured.png", "x.jpg"]
    coloured = np.asarray(Image.open(folder / "x-coloured.png"))
    assert coloured.shape == (1224, 1632, 3)
    assert np.ptp(coloured.astype(int), axis=2).mean() > 1
    print(f"2 megapixels in {seconds:.1f} s, {os.getloadavg()[0]:.1f} processes at work")
    if os.getloadavg()[0] < 1.5:
        assert seconds < MAX_SECONDS


def test_it_imports_no_registry_and_no_pipeline(installed: Installed, folder: Path) -> None:
    python = installed.program.with_name("python")
    script = (
        "import sys; sys.argv = ['tintlab', 'colorize', 'x.jpg']\n"
        "from tintlab import cli\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "print(sorted({'mlflow', 'dvc', 'prefect', 'great_expectations', 'sklearn'} & set(sys.modules)))\n"
        "print(cli.__file__)\n"
    )
    ended = subprocess.run([python, "-c", script], cwd=folder, capture_output=True, text=True, check=True)
    *_, heavy, place = ended.stdout.splitlines()
    assert heavy == "[]"
    assert Path(place).is_relative_to(installed.program.parents[1])


def test_faults_are_one_line(installed: Installed, folder: Path) -> None:
    unknown = installed.run(folder, "colorize", "x.jpg", "--model", "champoin")
    assert (unknown.returncode, unknown.stderr) == (
        1,
        "error: no model is named champoin: did you mean champion?\n",
    )
    base = installed.package / "inference" / "base"
    weights = (base / "generator.safetensors").read_bytes()
    try:
        (base / "generator.safetensors").write_bytes(weights[:-10])
        damaged = installed.run(folder, "colorize", "x.jpg")
    finally:
        (base / "generator.safetensors").write_bytes(weights)
    assert damaged.returncode == 1
    assert "is damaged: its sha256" in damaged.stderr
    assert damaged.stderr.count("\n") == 1
    assert not (folder / ".tintlab").exists()
