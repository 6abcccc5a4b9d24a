"""Real pipelines that are killed, starved and interrupted, each in a copy of one that was never disturbed."""

import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.pipeline.conftest import Workspace, new_workspace
from tests.processes import processes_in, seconds_until_gone, wait_for
from tintlab.system.processes import SHELLS

__all__ = ["new_workspace"]

STAGES = ["fetch", "split", "validate", "convert", "train", "evaluate"]


class Undisturbed:
    """A workspace after a whole `dvc repro`, and how long each of its stages took."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        # Checkpoints as often as can be: more of what is to be hit. They are no part of a result.
        workspace.set_params({"train": {"checkpoint_every": 1, "iterations_per_epoch": 12}})
        self.seconds: dict[str, float] = {}
        self._run()
        self.outputs = workspace.outputs()

    def _run(self) -> None:
        pipeline = Pipeline(self.workspace)
        starts: dict[str, float] = {}
        while pipeline.process.poll() is None:
            if (stage := pipeline.stage) and stage not in starts:
                starts[stage] = time.monotonic()
            time.sleep(0.05)
        assert pipeline.process.returncode == 0, pipeline.output
        ends = [*starts.values(), time.monotonic()][1:]
        self.seconds = {stage: end - start for (stage, start), end in zip(starts.items(), ends, strict=True)}
        assert list(starts) == STAGES


class Pipeline:
    """A pipeline at work in a workspace, in a session of its own."""

    def __init__(self, workspace: Workspace, *command: str, through: tuple[str, ...] = ()) -> None:
        """Start `dvc repro`, or another command; `through` is put before it."""
        self.folder = workspace.folder
        self.state = Path(workspace.environment["TINTLAB_STATE"])
        self.log = self.state.parent / f"{self.state.name}-{time.monotonic_ns()}.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*through, *(command or (sys.executable, "-m", "dvc", "repro"))],
                cwd=workspace.folder,
                env=workspace.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    @property
    def output(self) -> str:
        return self.log.read_text(errors="replace")

    @property
    def stages(self) -> list[str]:
        """Those that were begun so far."""
        return re.findall(r"Running stage '(\w+)'", self.output)

    @property
    def stage(self) -> str:
        return self.stages[-1] if self.stages else ""

    def everyone(self) -> list[psutil.Process]:
        return processes_in(self.folder)

    def one(self, *words: str) -> psutil.Process | None:
        """The oldest program, shells apart, of the workspace whose command holds all of these words.

        DVC starts a stage by a shell: bash becomes the program, dash stays and waits for it.
        """
        found = []
        for process in self.everyone():
            try:
                if process.name() in SHELLS:
                    continue
                if all(word in " ".join(process.cmdline()) for word in words):
                    found.append(process)
            except psutil.Error:
                continue
        return min(found, key=lambda process: process.create_time(), default=None)

    def wait_for_training(self, iterations: int = 3, limit: float = 120) -> psutil.Process:
        """Wait until a training has reached some checkpoints; its process."""

        def reached() -> bool:
            assert self.process.poll() is None, self.output
            return any(self.checkpoint >= iterations for _ in "x")

        wait_for(reached, limit, f"iteration {iterations}")
        training = self.one("tintlab.stages.train")
        assert training is not None
        return training

    @property
    def checkpoint(self) -> int:
        """Steps done at the newest checkpoint."""
        files = self.state.glob("checkpoints/*/checkpoints/*.pt")
        return max((int(path.name[:8]) for path in files), default=0)

    def gone_within(self, limit: float) -> float:
        """All of the workspace's processes end; how long that took."""
        started = time.monotonic()
        while left := self.everyone():
            seconds_until_gone([process.pid for process in left], limit - (time.monotonic() - started))
        return time.monotonic() - started

    def ends(self, status: int = 0, limit: float = 280) -> str:
        """Wait for the end; what was printed."""
        returned = self.process.wait(limit)
        assert returned == status, self.output
        return self.output


@pytest.fixture(scope="session")
def undisturbed(new_workspace: Callable[[], Workspace]) -> Undisturbed:
    return Undisturbed(new_workspace())


@pytest.fixture
def copied(undisturbed: Undisturbed, tmp_path: Path) -> Iterator[Callable[..., Workspace]]:
    """A function that copies the undisturbed workspace, with its data and its dvc.lock, and other parameters."""

    def copy(**train: Any) -> Workspace:
        folder = tmp_path / f"copy{len(list(tmp_path.iterdir()))}"
        shutil.copytree(undisturbed.workspace.folder, folder, symlinks=True)
        workspace = Workspace(folder, folder.with_name(folder.name + "-state"))
        workspace.set_params({"train": train})
        return workspace

    yield copy
    for folder in tmp_path.iterdir():
        for process in processes_in(folder):
            process.kill()


LONG = {"iterations_per_epoch": 100_000, "display_every": 50, "checkpoint_every": 5}
"""A training that is not over before it is interrupted."""
