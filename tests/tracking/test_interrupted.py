"""Interrupted trainings: which is continued, which is not, and why."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tintlab.gan.checkpoints import Checkpoints
from tintlab.system import paths
from tintlab.tracking import interrupted as unfinished

INPUTS = {
    "params": {"lambda_l1": 100, "seed": 0},
    "data": {"data/lab": "a.dir"},
    "source": "b",
    "torch": "2",
    "threads": 1,
}


@pytest.fixture(autouse=True)
def _state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path))


def interrupted(iteration: int, **changes: Any) -> Path:
    folder = unfinished.begin(INPUTS | changes)
    Checkpoints(folder / "checkpoints", print).save(iteration, {"weight": torch.zeros(1)})
    return folder


def test_the_same_inputs_find_the_same_folder() -> None:
    folder = interrupted(40)
    assert unfinished.begin(dict(reversed(INPUTS.items()))) == folder
    assert unfinished.explain_restart(folder, INPUTS) is None
    (training,) = unfinished.list_interrupted()
    assert (training.folder, training.iteration, training.inputs) == (folder, 40, INPUTS)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"params": {"lambda_l1": 50, "seed": 0}}, "train.lambda_l1 is 50 now, was 100"),
        ({"params": {"lambda_l1": 100}}, "train.seed is None now, was 0"),
        ({"data": {"data/lab": "c.dir"}}, "the data changed"),
        ({"source": "c", "torch": "3"}, "the source code changed, the version of torch changed"),
    ],
)
def test_guard_foreign_another_training_is_not_continued(changes: dict[str, Any], reason: str) -> None:
    """Guard: the fingerprint as the folder's name, and `unfinished.explain_restart`."""
    old = interrupted(40)
    inputs = INPUTS | changes
    new = unfinished.begin(inputs)
    assert new != old and old.exists()
    assert Checkpoints(new / "checkpoints", print).latest() is None
    assert unfinished.explain_restart(new, inputs) == (
        f"starting from the beginning: the unfinished training in {old} (iteration 40) is another one: {reason}"
    )


def test_the_newest_is_named_and_the_others_are_counted() -> None:
    interrupted(40)
    interrupted(50, source="c")
    inputs = INPUTS | {"source": "d"}
    said = unfinished.explain_restart(unfinished.begin(inputs), inputs)
    assert said is not None and "(iteration 50) (and 1 older)" in said


def test_inputs_that_can_t_be_read_are_no_hindrance() -> None:
    (interrupted(40) / "inputs.json").write_text("{")
    inputs = INPUTS | {"source": "d"}
    assert str(unfinished.explain_restart(unfinished.begin(inputs), inputs)).endswith("can't be read")


def test_guard_finished_a_finished_training_is_never_resumed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Guard: the renaming in `unfinished.finish`: cut short during the removal, nothing of it is found again."""
    folder = interrupted(40)
    unfinished.finish(folder)
    assert list(paths.checkpoints().iterdir()) == []

    def cut_short(path: Path) -> None:
        raise InterruptedError

    with monkeypatch.context() as patched, pytest.raises(InterruptedError):
        patched.setattr("shutil.rmtree", cut_short)
        unfinished.finish(interrupted(40))
    assert unfinished.list_interrupted() == []
    again = unfinished.begin(INPUTS)
    assert Checkpoints(again / "checkpoints", print).latest() is None
    assert [path.name for path in paths.checkpoints().iterdir()] == [again.name]


def test_what_never_came_to_a_checkpoint_is_removed() -> None:
    empty = unfinished.begin(INPUTS)
    best = unfinished.begin(INPUTS | {"source": "c"})
    assert not empty.exists()
    (best / "generator.safetensors").write_bytes(b"the best weights of a training that diverged")
    unfinished.begin(INPUTS | {"source": "d"})
    assert best.exists()
