"""The source archive, the wheel built from it, and an environment with that wheel alone."""

import os
import subprocess
import sys
import sysconfig
import tarfile
import venv
from pathlib import Path

import pytest

from tests.pipeline.conftest import clone_of_the_working_tree

UNSET = ("TINTLAB_STATE", "MLFLOW_TRACKING_URI", "PYTHONPATH")


class Installed:
    """An environment with nothing but the wheel; the packages that it needs are those of this environment."""

    def __init__(self, wheel: Path, folder: Path) -> None:
        venv.create(folder, with_pip=False)
        self.bin = folder / "bin"
        self.program = self.bin / "tintlab"
        python = self.bin / "python"
        (site,) = (folder / "lib").glob("python*/site-packages")
        # A plain path: the .pth files in there, and with them this checkout, are not followed.
        (site / "needed.pth").write_text(sysconfig.get_path("purelib") + "\n")
        pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
        subprocess.run([*pip, "--no-deps", "--ignore-installed", str(wheel)], check=True)
        self.package = site / "tintlab"

    def environment(self) -> dict[str, str]:
        """The environment of somebody who has activated it, and has no project."""
        kept = {name: value for name, value in os.environ.items() if name not in UNSET}
        return kept | {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}"}

    def run(self, folder: Path, *arguments: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run `tintlab` in a folder."""
        return self.command(folder, str(self.program), *arguments, seconds=seconds)

    def command(self, folder: Path, *command: str, seconds: float = 300) -> subprocess.CompletedProcess[str]:
        """Run any program in a folder."""
        return subprocess.run(
            command,
            cwd=folder, env=self.environment(), capture_output=True, text=True, timeout=seconds, check=False,
        )  # fmt: skip


def backend(folder: Path, function: str, target: Path) -> Path:
    """Call a function of the build backend as `pip` and `build` do; the file that it makes in `target`."""
    script = f"from setuptools import build_meta; print(build_meta.{function}({str(target)!r}))"
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return target / done.stdout.splitlines()[-1]


@pytest.fixture(scope="session")
def source_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sdist, built from a copy of what git knows, for setuptools leaves its own files beside the source."""
    copy = tmp_path_factory.mktemp("source")
    clone_of_the_working_tree(copy)
    return backend(copy, "build_sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="session")
def wheel(source_archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source archive alone."""
    folder = tmp_path_factory.mktemp("unpacked")
    with tarfile.open(source_archive) as archive:
        archive.extractall(folder, filter="data")
    (unpacked,) = folder.iterdir()
    return backend(unpacked, "build_wheel", tmp_path_factory.mktemp("wheel"))


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    return Installed(wheel, tmp_path_factory.mktemp("environment") / "venv")
