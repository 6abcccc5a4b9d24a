"""Keep track of interrupted trainings: their folders, their inputs, and the reason why one is not continued.

Each training has a folder, named by its fingerprint. The folder holds checkpoints, the best weights so far,
sample pictures, and `inputs.json`, the inputs from which the fingerprint is computed.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tintlab.gan.checkpoints import iteration_of, numbered
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json
from tintlab.tracking import lineage

_INPUTS, _TREE = "inputs.json", "tree.json"
_FINISHED = ".finished"
_MOST_NAMED = 4
_NAMES = {"data": "the data", "source": "the source code", "torch": "the version of torch"}


@dataclass(frozen=True)
class Unfinished:
    """A training that can be continued.

    Attributes:
        folder: where it lies.
        iteration: steps done at its newest checkpoint.
        inputs: see `lineage.training_inputs`; empty if they can't be read.
        time: when that checkpoint was written, in seconds since 1970.
        tree: the working tree that it ran in; None if it is not known.
    """

    folder: Path
    iteration: int
    inputs: dict[str, Any]
    time: float
    tree: Path | None = None


def folder_of(inputs: Mapping[str, Any]) -> Path:
    """Where a training with these inputs lies."""
    return paths.checkpoints() / lineage.fingerprint(inputs)


def begin(inputs: Mapping[str, Any]) -> Path:
    """Make the folder of a training, or find it again. The caller holds `paths.training_lock`."""
    folder = folder_of(inputs)
    for other in _folders():
        # The remains of a finished training, or a training without a checkpoint.
        if other.suffix == _FINISHED or (other != folder and not _worth_keeping(other)):
            shutil.rmtree(other, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / _INPUTS, inputs)
    write_json(folder / _TREE, str(Path.cwd()))
    return folder


def finish(folder: Path) -> None:
    """Remove a training's folder atomically, so that a later run can't continue from half of it."""
    gone = folder.replace(folder.with_suffix(_FINISHED))
    shutil.rmtree(gone)


def list_interrupted() -> list[Unfinished]:
    """All trainings that can be continued, newest first."""
    found = []
    for folder in _folders():
        newest = numbered(folder / "checkpoints")[:1]
        if newest and folder.suffix != _FINISHED:
            time = newest[0].stat().st_mtime
            found.append(Unfinished(folder, iteration_of(newest[0]), _inputs(folder), time, _tree(folder)))
    return sorted(found, key=lambda training: training.time, reverse=True)


def explain_restart(folder: Path, inputs: Mapping[str, Any]) -> str | None:
    """Why a training starts from its first iteration although another is unfinished; None if none is."""
    others = list_interrupted()
    if not others or any(other.folder == folder for other in others):
        return None
    newest = others[0]
    more = f" (and {len(others) - 1} older)" if len(others) > 1 else ""
    return (
        f"starting from the beginning: the unfinished training in {newest.folder} "
        f"(iteration {newest.iteration}){more} is another one: {differences(newest.inputs, inputs)}"
    )


def differences(then: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The differences between the inputs of two trainings, as text."""
    if not then:
        return "what it was made from can't be read"
    old, new = then.get("params", {}), now["params"]
    changed = [
        f"train.{key} is {new.get(key)} now, was {old.get(key)}"
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
    ]
    if len(changed) > _MOST_NAMED:
        changed = [*changed[:_MOST_NAMED], f"{len(changed) - _MOST_NAMED} more parameters changed"]
    parts = [key for key in ("data", "source", "torch") if then.get(key) != now.get(key)]
    return ", ".join([*changed, *(f"{_NAMES[key]} changed" for key in parts)])


def _inputs(folder: Path) -> dict[str, Any]:
    try:
        inputs: dict[str, Any] = read_json(folder / _INPUTS)
    except (OSError, TintlabError):
        return {}
    return inputs


def _tree(folder: Path) -> Path | None:
    try:
        return Path(read_json(folder / _TREE))
    except (OSError, TintlabError, TypeError):
        return None


def _worth_keeping(folder: Path) -> bool:
    return bool(numbered(folder / "checkpoints")) or any(folder.glob("*.safetensors"))


def _folders() -> list[Path]:
    root = paths.checkpoints()
    return [path for path in root.iterdir() if path.is_dir()] if root.is_dir() else []
