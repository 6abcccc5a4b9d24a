"""The parent of a training: resolve `train.init_from`, record the result, and find the recorded weights."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256


@dataclass(frozen=True)
class Parent:
    """A model to start from."""

    version: int | None
    """In the registry; None for a folder or a file."""
    weights_sha256: str
    weights: Path
    """Safetensors, with config.json beside them."""


def find(spec: str) -> Parent:
    """Find the model that `train.init_from` names now.

    Raises:
        TintlabError: there is no such model, or MLflow can't be reached.
    """
    from tintlab.registry import models

    if spec.endswith(".safetensors"):
        version, weights = None, Path(spec)
    else:
        located = models.locate(spec)
        version, weights = located.version, located.folder / paths.WEIGHTS
    try:
        digest = file_sha256(weights)
    except FileNotFoundError:
        raise TintlabError(f"train.init_from: there is no {weights}") from None
    return Parent(version, digest, weights)


def lock_content(spec: str | None) -> dict[str, Any]:
    """The content of the lock file: the model that `train.init_from` names now; empty if it is null.

    Raises:
        TintlabError: see `find`.
    """
    if spec is None:
        return {}
    parent = find(spec)
    return {spec: {"version": parent.version, "weights_sha256": parent.weights_sha256}}


def find_recorded(spec: str, known: dict[str, Any]) -> Path:
    """Find the recorded parent's weights on this disk, even if an alias has moved since.

    Args:
        spec: `train.init_from`.
        known: see `parent_lock.read_parent`.

    Raises:
        TintlabError: it is gone, or is not what was recorded.
    """
    parent = find(spec if known["version"] is None else f"models:/tintlab/{known['version']}")
    if parent.weights_sha256 != known["weights_sha256"]:
        raise TintlabError(
            f"train.init_from {spec} has other weights than were recorded: restore them, or run "
            "`tintlab sources refresh` to start from these"
        )
    return parent.weights
