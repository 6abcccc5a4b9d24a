import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[2]
Run = Callable[..., str]


class Workspace:
    """A clone of the repository with a tiny params.yaml, and a state folder of its own."""

    def __init__(self, folder: Path, state: Path) -> None:
        self.folder = folder
        python = str(Path(sys.executable).parent)
        self.environment = os.environ | {
            "PATH": python + os.pathsep + os.environ["PATH"],
            "TINTLAB_STATE": str(state),
            "PYTHONPATH": str(folder / "src"),
            "DVC_NO_ANALYTICS": "1",
            "OMP_NUM_THREADS": "1",
            "GIT_AUTHOR_NAME": "test",
            "GIT_AUTHOR_EMAIL": "test@localhost",
            "GIT_COMMITTER_NAME": "test",
            "GIT_COMMITTER_EMAIL": "test@localhost",
        }
        self.environment.pop("MLFLOW_TRACKING_URI", None)

    def run(self, *command: str, status: int = 0) -> str:
        """Run a command there; its output. `python -m …` for our own and DVC's programs."""
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=280,
            check=False,
        )
        output = ended.stdout + ended.stderr
        assert ended.returncode == status, output
        return output

    def dvc(self, *arguments: str, status: int = 0) -> str:
        """Run DVC."""
        return self.run(sys.executable, "-m", "dvc", *arguments, status=status)

    def tintlab(self, *arguments: str, status: int = 0) -> str:
        """Run tintlab."""
        return self.run(sys.executable, "-m", "tintlab.cli", *arguments, status=status)

    def set_params(self, *sections: dict[str, dict[str, object]]) -> None:
        """Change values in params.yaml."""
        yaml = YAML()
        path = self.folder / "params.yaml"
        params = yaml.load(path)
        for section in sections:
            for name, values in section.items():
                params[name].update(values)
        yaml.dump(params, path)

    def outputs(self) -> dict[str, bytes]:
        """Every file that DVC's stages make, by its path."""
        files = [path for top in ("data", "models", "reports") for path in (self.folder / top).rglob("*")]
        known = {
            self.folder / "data" / name for name in ("starter-photos.zip", "README.md", "sources.lock.json")
        }
        return {
            path.relative_to(self.folder).as_posix(): path.read_bytes()
            for path in files
            if path.is_file() and path not in known and path.name not in (".gitignore", "README.md")
        }


def clone_of_the_working_tree(folder: Path) -> None:
    """Copy what git tracks or would track, as it is now, into `folder`."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, folder / name)


@pytest.fixture(scope="session")
def new_workspace(tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Workspace]:
    """A function that makes a fresh workspace, as a newcomer's clone, with the smoke preset in params.yaml."""

    def make() -> Workspace:
        folder = tmp_path_factory.mktemp("clone")
        workspace = Workspace(folder, tmp_path_factory.mktemp("state"))
        clone_of_the_working_tree(folder)
        (folder / "dvc.lock").unlink(missing_ok=True)
        workspace.set_params(
            YAML(typ="safe").load(ROOT / "presets" / "smoke.yaml"), {"train": {"threads": 1}}
        )
        workspace.run("git", "init", "-q")
        workspace.run("git", "add", "-A")
        workspace.run("git", "commit", "-qm", "a clone")
        return workspace

    return make
