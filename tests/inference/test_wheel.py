"""The wheel, installed into an environment of its own: it colours in any folder, at once, and leaves nothing."""

import os
import shutil
import subprocess
import sys
import sysconfig
import time
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MAX_MEGABYTES = 20
MAX_SECONDS = 8
"""For a photograph of 2 megapixels, start included, on two quiet cores."""


class Installed:
    """An environment with nothing but the wheel; the packages that it needs are those of this environment."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.program = folder / "bin" / "tintlab"
        python = folder / "bin" / "python"
        (site,) = (folder / "lib").glob("python*/site-packages")
        # A plain path: the .pth files in there, and with them this checkout, are not followed.
        (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--ignore-installed", str(wheel)], check=True)

    def run(self, folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `tintlab` in a folder, as somebody does who has no project."""
        unset = ("TINTLAB_STATE", "MLFLOW_TRACKING_URI", "PYTHONPATH")
        environment = {name: value for name, value in os.environ.items() if name not in unset}
        return subprocess.run(
            [self.program, *arguments],
            cwd=folder, env=environment, capture_output=True, text=True, timeout=300, check=False,
        )  # fmt: skip


@pytest.fixture(scope="module")
def wheel(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy, for setuptools leaves its own files beside the source."""
    copy, made = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copyfile(repository / name, copy / name)
    skipped = shutil.ignore_patterns("*.egg-info", "__pycache__")
    shutil.copytree(repository / "src", copy / "src", ignore=skipped)
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--wheel-dir",
        str(made),
        str(copy),
    ]
    subprocess.run(command, check=True)
    (found,) = made.glob("tintlab-*.whl")
    return found


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("environment") / "venv")


@pytest.fixture
def folder(tmp_path: Path, picture: Callable[..., Any]) -> Path:
    """A folder with one grey photograph of 2 megapixels."""
    Image.fromarray(picture(1632, 1224)).convert("L").save(tmp_path / "x.jpg")
    return tmp_path


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
    (base,) = installed.program.parents[1].glob("lib/python*/site-packages/tintlab/inference/base")
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
