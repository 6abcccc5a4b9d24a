"""SIGKILL at random moments of a pipeline: started again, it ends with the bytes of one that was left alone."""

import json
import os
import random
import re
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass

import psutil
import pytest
from ruamel.yaml import YAML

from tests.pipeline.conftest import Workspace
from tests.reliability.conftest import STAGES, Pipeline, Undisturbed

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

DVC = (sys.executable, "-m", "dvc")
SEED = 4
MEND = "from tintlab.operations import dvc_repair; print(*dvc_repair.repair(), sep='\\n')"
VICTIMS = ("all", "dvc", "stage")
"""Who is killed: the whole process group, as by a power cut; DVC alone; the stage alone."""

PLAN = [
    "fetch",
    "fetch",
    "split",
    "validate",
    "convert",
    "train",
    "train",
    "checkpoint",
    "MLflow",
    "evaluate",
]
"""When, in the order in which a pipeline gets there; done twice for 20 kills."""


@dataclass
class Kill:
    moment: str
    victim: str
    stage: str
    detail: str = ""


class Chain:
    """A pipeline that is started and killed again and again, each time going on with what is there."""

    def __init__(self, workspace: Workspace, seconds: dict[str, float], seed: int, *command: str) -> None:
        self.workspace = workspace
        self.seconds = seconds
        self.seed = seed
        self.random = random.Random(seed)
        self.command = (*DVC, *command)
        self.kills: list[Kill] = []
        self.mended: list[str] = []

    def kill_at(self, moment: str, mended: bool = False) -> bool:
        """Start, wait for the moment, kill; False if that was too late for it, or met another stage."""
        pipeline = Pipeline(self.workspace, *self.command)
        victim = VICTIMS[(len(self.kills) + self.seed) % len(VICTIMS)]
        for detail in self._moments(pipeline, moment):
            if pipeline.process.poll() is not None:
                if pipeline.process.returncode == 0:
                    return False
                assert not mended, pipeline.output
                self._mend(pipeline.output)
                return self.kill_at(moment, mended=True)
            if detail is None:
                continue
            self._kill(pipeline, "all" if detail else victim)
            pipeline.gone_within(20)
            pipeline.process.wait(20)
            self.kills.append(Kill(moment, "all" if detail else victim, pipeline.stage, detail))
            return bool(detail) or pipeline.stage == moment
        raise AssertionError("unreachable")

    def _moments(self, pipeline: Pipeline, moment: str) -> Iterator[str | None]:
        """Poll for the moment: None is not yet."""
        match moment:
            case "checkpoint":
                yield from self._amid_checkpoint(pipeline)
            case "MLflow":
                yield from self._amid_delivery(pipeline)
            case stage:
                while pipeline.stage != stage:
                    yield None
                    time.sleep(0.01)
                until = time.monotonic() + self.random.uniform(0, self.seconds[stage])
                # No later than its end, however much faster it is than undisturbed.
                while time.monotonic() < until and pipeline.stage == stage:
                    yield None
                    time.sleep(0.01)
                yield ""

    def _amid_checkpoint(self, pipeline: Pipeline) -> Iterator[str | None]:
        skipped = self.random.randrange(4)
        parts = "checkpoints/*/checkpoints/.*.part"
        seen = {part.name for part in pipeline.state.glob(parts)}  # of earlier kills
        skipped += len(seen)
        while True:
            for part in pipeline.state.glob(parts):
                if part.name not in seen:
                    seen.add(part.name)
                    if len(seen) > skipped:
                        yield "half a checkpoint was there"
            yield None
            time.sleep(0.001)

    def _amid_delivery(self, pipeline: Pipeline) -> Iterator[str | None]:
        """While a sender has a store and records that it has not put down as sent."""
        while True:
            for records in pipeline.state.glob("spool/*/records.jsonl"):
                with suppress(FileNotFoundError):
                    database = (pipeline.state / "mlflow.db").stat()
                    delivered = records.with_name("delivered.json")
                    sent = json.loads(delivered.read_bytes())["offset"] if delivered.exists() else 0
                    if database and sent < records.stat().st_size and pipeline.one("tintlab.tracking.sender"):
                        time.sleep(self.random.uniform(0, 0.3))
                        yield "records were on their way"
            yield None
            time.sleep(0.02)

    def _kill(self, pipeline: Pipeline, victim: str) -> None:
        try:
            if victim == "all":
                os.killpg(pipeline.process.pid, signal.SIGKILL)
            elif victim == "dvc":
                pipeline.process.kill()
            elif stage := pipeline.one("tintlab.stages."):
                stage.kill()
            else:
                pipeline.process.kill()
        except (ProcessLookupError, psutil.NoSuchProcess):
            pass

    def _mend(self, refusal: str) -> None:
        """Do first what `tintlab repro` does: DVC refuses files of its own that it was killed in the midst of."""
        assert re.search(r"dvc\.lock|RWLock", refusal) and "Traceback" not in refusal, refusal
        self.mended += self.workspace.run("python", "-c", MEND).splitlines()

    def finish(self) -> None:
        """Let it come to its end."""
        pipeline = Pipeline(self.workspace, *self.command)
        if pipeline.process.wait(280) != 0:
            self._mend(pipeline.output)
            pipeline = Pipeline(self.workspace, *self.command)
        assert "Traceback" not in pipeline.ends()

    def report(self) -> str:
        counts = Counter(kill.stage or "before the first stage" for kill in self.kills)
        lines = [f"{len(self.kills)} kills: " + ", ".join(f"{name} {n}" for name, n in counts.items())]
        lines += [f"  {kill}" for kill in self.kills]
        return "\n".join([*lines, *(f"  mended before `dvc repro` went on: {line}" for line in self.mended)])


def emptied(workspace: Workspace) -> None:
    """Forget all that was built, DVC's cache too."""
    stages = YAML(typ="safe").load(workspace.folder / "dvc.yaml")["stages"].values()
    listed = [out for stage in stages for kind in ("outs", "metrics", "plots") for out in stage.get(kind, [])]
    for name in (
        "dvc.lock",
        ".dvc/cache",
        *(out if isinstance(out, str) else next(iter(out)) for out in listed),
    ):
        path = workspace.folder / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)


def litter(workspace: Workspace) -> list[str]:
    tops = [workspace.folder / top for top in ("data", "models", "reports")]
    return [path.name for top in tops for path in top.rglob("*.tintlab.*")]


def mlflow_points(workspace: Workspace) -> dict[str, list[int]]:
    """Every point of every loss that MLflow has: the steps by metric and run."""
    workspace.tintlab("sync")
    shown = workspace.run(
        "python", "-c",
        "import json, mlflow; from tintlab.tracking import store;"
        "c = mlflow.MlflowClient(store.tracking_uri());"
        "e = c.get_experiment_by_name('tintlab').experiment_id;"
        "print(json.dumps({f'{r.info.run_id} {k}': [p.step for p in c.get_metric_history(r.info.run_id, k)]"
        " for r in c.search_runs([e]) for k in r.data.metrics if k.startswith(('loss', 'val_'))}))",
    )  # fmt: skip
    points: dict[str, list[int]] = json.loads(
        shown.splitlines()[-1]
        if "{" in shown.splitlines()[-1]
        else next(line for line in shown.splitlines() if line.startswith("{"))
    )
    return points


def check(chain: Chain, undisturbed: Undisturbed) -> None:
    print(f"seed {chain.seed}, {' '.join(chain.command[2:])}: {chain.report()}")
    outputs = chain.workspace.outputs()
    assert outputs.keys() == undisturbed.outputs.keys()
    assert [name for name in outputs if outputs[name] != undisturbed.outputs[name]] == []
    assert litter(chain.workspace) == []
    points = mlflow_points(chain.workspace)
    assert {name.split()[1]: steps for name, steps in points.items()} == {
        name.split()[1]: steps for name, steps in mlflow_points(undisturbed.workspace).items()
    }
    assert len({name.split()[0] for name in points}) == 1, "one run, however often it was killed"


@pytest.mark.parametrize(
    ("number", "command"),
    [(1, ("repro",)), (2, ("repro",)), (3, ("exp", "run", "-S", "train.workers=1"))],
    ids=["repro, kills 1-10", "repro, kills 11-20", "exp run, 10 kills, another number of workers"],
)
def test_guard_exact_resume_kills_change_no_byte(
    number: int, command: tuple[str, ...], undisturbed: Undisturbed, copied: Callable[..., Workspace]
) -> None:
    """Guards: checkpoints, atomic writes, batches as functions of their number, the spool."""
    workspace = copied()
    emptied(workspace)
    chain = Chain(workspace, undisturbed.seconds, SEED + number, *command)
    for moment in PLAN:
        while not chain.kill_at(moment):  # once more from the start
            emptied(workspace)
    chain.finish()
    assert len(chain.kills) >= len(PLAN)
    assert {kill.stage for kill in chain.kills} >= set(STAGES)
    check(chain, undisturbed)
