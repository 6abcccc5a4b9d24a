"""Divergence, and what `tintlab repro` puts right: through the real commands."""

import os
import subprocess
import sys
import time
from collections.abc import Callable

import pytest
import torch

from tests.pipeline.conftest import Workspace
from tests.reliability.conftest import LONG, Pipeline, Undisturbed
from tintlab.gan.data import Squares, scaled
from tintlab.gan.loop import Training
from tintlab.system import params

pytestmark = pytest.mark.slow

RUNS = (
    "import mlflow; from tintlab.tracking import store; c = mlflow.MlflowClient(store.tracking_uri());"
    "print('runs:', *[r.info.status for r in c.search_runs([c.get_experiment_by_name('tintlab').experiment_id])])"
)


def test_guard_divergence_marks_the_run_failed(copied: Callable[..., Workspace]) -> None:
    """Guards: `Training._stop_if_diverged`; `runs.training_run`, which ends the run as FAILED."""
    workspace = copied(learning_rate=1e30)
    command = ("python", "-m", "tintlab.stages.train")
    for _ in range(2):  # the second goes on from before the divergence, and meets it again
        output = workspace.run(*command, status=1)
        errors = [line for line in output.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1 and "Traceback" not in output
        assert "diverged" in errors[0] and "lower train.learning_rate" in errors[0]
        assert "/generator.safetensors" in errors[0]
    workspace.tintlab("sync")
    assert "FAILED" in workspace.run("python", "-c", RUNS)
    workspace.set_params({"train": {"learning_rate": 3e-4}})
    assert "starting from the beginning" in workspace.run(*command)


def test_guard_tintlab_repro_repairs_dvc_lock_and_locks(
    copied: Callable[..., Workspace], undisturbed: Undisturbed
) -> None:
    """Guard: `leftovers.mend` in `pipeline.repro`. DVC alone stops at either."""
    workspace = copied()
    workspace.tintlab("repro")
    lock, held = workspace.folder / "dvc.lock", workspace.folder / ".dvc/tmp/rwlock"
    whole = lock.read_bytes()
    other = subprocess.Popen(["sleep", "300"], cwd="/")
    lock.write_bytes(whole[: len(whole) // 2])
    held.write_text(
        f'{{"write": {{"{workspace.folder}/models/generator": {{"pid": {other.pid}, "cmd": "dvc repro"}}}}}}'
    )
    os.utime(held, (1e9, 1e9))
    workspace.dvc("repro", status=255)
    output = workspace.tintlab("repro")
    other.kill()
    other.wait()
    assert "dvc.lock was cut short: restored the copy of" in output
    assert "cleared a lock of a dead process: .dvc/tmp/rwlock: dvc repro" in output
    assert "Running stage" not in output
    assert lock.read_bytes() == whole
    assert workspace.outputs() == undisturbed.outputs


def test_guard_dvc_lock_is_copied_while_dvc_works(copied: Callable[..., Workspace]) -> None:
    """Guard: `leftovers.keep_dvc_lock` in `pipeline.run_dvc`: the copy has the stages before the one killed."""
    workspace = copied(**LONG)
    (workspace.folder / "dvc.lock").unlink()
    pipeline = Pipeline(workspace, sys.executable, "-m", "tintlab.cli", "repro")
    pipeline.wait_for_training()
    time.sleep(2)
    pipeline.process.kill()
    pipeline.gone_within(10)
    lock = workspace.folder / "dvc.lock"
    assert (pipeline.state / "dvc.lock").read_bytes() == lock.read_bytes()
    assert b"  convert:" in lock.read_bytes()


def test_guard_checkpoints_take_at_most_2_percent(
    default_params: params.Params, undisturbed: Undisturbed, tmp_path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Guard: the default `checkpoint_every`. Steps and checkpoints of the default recipe, timed apart."""
    train = default_params.train.model_copy(update={"threads": 1})
    training = Training(train, tmp_path, Quiet())
    size = default_params.convert.image_size
    squares: Squares = torch.randint(0, 256, (train.batch_size, size, size, 3), dtype=torch.uint8).numpy()
    batch = scaled(squares[:, : train.image_size, : train.image_size])
    training.iteration = (
        train.l1_epochs * train.iterations_per_epoch
    )  # with a discriminator: as large as it gets
    training.meters.update(training.step(batch))
    steps = best_of(3, lambda: training.step(batch))
    checkpoint = best_of(3, training._save_checkpoint)
    share = checkpoint / (train.checkpoint_every * steps)
    print(
        f"a step {steps:.2f} s, a checkpoint {checkpoint:.2f} s, every {train.checkpoint_every}: {share:.2%}"
    )
    assert share <= 0.02


def best_of(times: int, action: Callable[[], object]) -> float:
    """Seconds of the fastest: what else the machine does is no part of it."""
    found = []
    for _ in range(times):
        started = time.perf_counter()
        action()
        found.append(time.perf_counter() - started)
    return min(found)


class Quiet:
    """A listener that hears nothing."""

    def announced(self, text: str) -> None: ...
    def stepped(self, iteration: int) -> None: ...
    def displayed(self, iteration: int, meters: dict[str, float]) -> None: ...
    def sampled(self, iteration: int, pictures: object, predicted: object) -> None: ...
    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None: ...
