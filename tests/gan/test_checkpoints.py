"""Checkpoints are whole or absent, the last two are kept, and what can't be trusted is not loaded."""

import hashlib
import pickle  # noqa: TID251 - to make what must be refused
import resource
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from tintlab.gan.checkpoints import Checkpoints, iteration_of, numbered


class Folder:
    """Checkpoints in a folder, and what they announced."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.announced: list[str] = []
        self.checkpoints = Checkpoints(path, self.announced.append)

    def save(self, *iterations: int) -> None:
        for iteration in iterations:
            self.checkpoints.save(iteration, state(iteration))

    @property
    def kept(self) -> list[int]:
        return [iteration_of(path) for path in numbered(self.path)]


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path / "checkpoints")


def state(iteration: int) -> dict[str, Any]:
    return {"iteration": iteration, "weights": torch.full((64, 64), float(iteration)), "losses": [{"a": 0.5}]}


def test_nothing_is_found_where_nothing_is(folder: Folder) -> None:
    assert folder.checkpoints.latest() is None
    assert folder.announced == []


def test_the_newest_is_what_was_saved(folder: Folder) -> None:
    folder.save(5, 10)
    latest = folder.checkpoints.latest()
    assert latest is not None
    torch.testing.assert_close(latest, state(10), rtol=0, atol=0)


def test_guard_two_kept(folder: Folder) -> None:
    """Guard: the removal in `Checkpoints.save`, and what it leaves."""
    folder.save(3, 6, 9, 100, 12000)
    assert folder.kept == [12000, 100]
    assert {path.name[:8] for path in folder.path.iterdir()} == {"00012000", "00000100"}


def damaged(kind: str, content: bytes) -> bytes:
    middle = len(content) // 2
    return {
        "empty": b"",
        "cut short": content[:middle],
        "its last byte gone": content[:-1],
        "zeros": bytes(len(content)),
        "one bit of a weight": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
        "text": b"no checkpoint at all",
    }[kind]


@pytest.mark.parametrize(
    "kind", ["empty", "cut short", "its last byte gone", "zeros", "one bit of a weight", "text"]
)
def test_guard_fallback_a_damaged_newest_is_passed_over_aloud(folder: Folder, kind: str) -> None:
    """Guard: the content's hash in the name, and the loop in `Checkpoints.latest`."""
    folder.save(3, 6)
    newest = numbered(folder.path)[0]
    newest.write_bytes(damaged(kind, newest.read_bytes()))
    latest = folder.checkpoints.latest()
    assert latest is not None and latest["iteration"] == 3
    assert len(folder.announced) == 1 and newest.name in folder.announced[0]
    numbered(folder.path)[1].write_bytes(b"")
    assert folder.checkpoints.latest() is None


class Malice:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.mark,)


@pytest.mark.parametrize("form", ["torch", "pickle"])
def test_guard_weights_only_code_in_a_checkpoint_is_not_run(
    folder: Folder, tmp_path: Path, form: str
) -> None:
    """Guard: `weights_only=True`."""
    mark, file = tmp_path / "mark", tmp_path / "file"
    if form == "torch":
        torch.save({"iteration": 9, "evil": Malice(mark)}, file)
    else:
        file.write_bytes(pickle.dumps({"iteration": 9, "evil": Malice(mark)}))
    content = file.read_bytes()
    folder.save(3)
    (folder.path / f"00000009-{hashlib.sha256(content).hexdigest()[:16]}.pt").write_bytes(content)
    latest = folder.checkpoints.latest()
    assert latest is not None and latest["iteration"] == 3
    assert not mark.exists()


FULL = """
import resource, sys
from pathlib import Path
import torch
from tintlab.gan.checkpoints import Checkpoints
resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))
try:
    Checkpoints(Path(sys.argv[1]), print).save(6, {"weights": torch.zeros(100_000)})
except OSError as error:
    print("refused", error.errno, error.filename is not None)
"""


def test_guard_whole_files_a_full_disk_leaves_the_earlier_one(folder: Folder) -> None:
    """Guard: `atomic_path` in `Checkpoints.save`."""
    folder.save(3)
    ended = subprocess.run(
        [sys.executable, "-c", FULL, str(folder.path)], capture_output=True, text=True, check=True
    )
    assert ended.stdout == "refused 27 True\n"
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    assert [path.name for path in folder.path.iterdir()] == [path.name for path in numbered(folder.path)]
    assert folder.kept == [3]
