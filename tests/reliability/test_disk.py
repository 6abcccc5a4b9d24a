"""A full disk in each stage: one clear line, the earlier state intact, and it goes on after space is made."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.pipeline.conftest import Workspace
from tests.reliability.conftest import STAGES, Undisturbed

pytestmark = pytest.mark.slow

LIMITED = (
    "import os, resource, sys; limit = int(sys.argv[1]);"
    "resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)); os.execvp(sys.argv[2], sys.argv[2:])"
)
LARGEST_FILE = {
    "fetch": 20_000, "split": 500, "validate": 500, "convert": 50_000, "train": 2_000_000, "evaluate": 500
}  # fmt: skip
"""What a stage may write into one file, less than it wants to."""

TMPFS = """
import json, os, pathlib, shutil, subprocess, sys
target, room, saved, *command = sys.argv[1:]
target, aside = pathlib.Path(target), pathlib.Path(saved)
target.mkdir(parents=True, exist_ok=True)
shutil.copytree(target, aside)
subprocess.run(["mount", "-t", "tmpfs", "-o", "size=200m", "tmpfs", target], check=True)
shutil.copytree(aside, target, dirs_exist_ok=True)
shutil.rmtree(aside)

def run():
    ended = subprocess.run(command, capture_output=True, text=True)
    left = [path.name for path in target.rglob("*.tintlab.*") if path.is_file()]
    return {"status": ended.returncode, "output": ended.stdout + ended.stderr, "left": left}

filler = target / "filler"
with filler.open("wb", buffering=0) as file:
    try:
        while True:
            file.write(bytes(65536))
    except OSError:
        file.truncate(file.tell() - int(room))
first = run()
filler.unlink()
second = run()
shutil.copytree(target, aside)
print(json.dumps([first, second]))
"""
# Where a stage writes most, and how much room there is, in bytes.
FULL = {
    "fetch": ("data", 1_000_000),
    "split": ("data", 0),
    "validate": ("state", 0),
    "convert": ("data", 150_000),
    "train": ("state", 4_000_000),
    "evaluate": ("reports", 4096),
}


def assert_one_clear_line(output: str) -> None:
    assert "Traceback" not in output and "Bus error" not in output
    errors = [line for line in output.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1, output
    assert "make space, then run again" in errors[0]
    assert "File too large" in errors[0] or "No space left on device" in errors[0]


@pytest.mark.parametrize("stage", STAGES)
def test_guard_whole_files_a_file_that_can_t_grow(
    copied: Callable[..., Workspace], undisturbed: Undisturbed, stage: str
) -> None:
    """Guards: `storage.atomic_path` and `atomic_folder`, `program.run`: RLIMIT_FSIZE."""
    workspace = copied()
    command = ("python", "-m", f"tintlab.stages.{stage}")
    limit = str(LARGEST_FILE[stage])
    assert_one_clear_line(workspace.run(sys.executable, "-c", LIMITED, limit, *command, status=1))
    assert workspace.outputs() == undisturbed.outputs
    assert "Traceback" not in workspace.run(*command)
    assert workspace.outputs() == undisturbed.outputs


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    command = [unshare, "-Urm", "mount", "-t", "tmpfs", "tmpfs", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_mount(), reason="no user namespaces here: no disk of our own to fill")
@pytest.mark.parametrize("stage", STAGES)
def test_guard_whole_files_a_disk_without_room(
    copied: Callable[..., Workspace], undisturbed: Undisturbed, stage: str, tmp_path: Path
) -> None:
    """Guards: as above, and `posix_fallocate` in stages/convert.py, without which a map ends in SIGBUS."""
    workspace = copied()
    where, room = FULL[stage]
    target = workspace.environment["TINTLAB_STATE"] if where == "state" else str(workspace.folder / where)
    saved = tmp_path / "saved"
    command = ("python", "-m", f"tintlab.stages.{stage}")
    shown = workspace.run(
        "unshare", "-Urm", sys.executable, "-c", TMPFS, target, str(room), str(saved), *command
    )
    first, second = json.loads(shown.splitlines()[-1])
    assert first["status"] == 1, first
    assert_one_clear_line(first["output"])
    # A sender is ended wherever it is; what it leaves of a store is removed by the next one, see `storage`.
    left = [name for name in first["left"] + second["left"] if not name.startswith(".mlflow.db.")]
    assert left == []
    assert second["status"] == 0, second
    if where != "state":
        shutil.rmtree(target)
        shutil.copytree(saved, target)
    assert workspace.outputs() == undisturbed.outputs
