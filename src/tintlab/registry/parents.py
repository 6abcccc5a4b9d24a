"""The model that a training starts from: what `train.init_from` names, recorded, found again and verified.

An alias moves and a file changes without DVC's knowing. So what the name stood for is recorded in a lock file
that DVC follows, and a training loads nothing else.
"""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json


@dataclass(frozen=True)
class Parent:
    """A model to start from."""

    version: int | None
    """In the registry; None for a folder or a file."""
    weights_sha256: str
    weights: Path
    """Safetensors, with config.json beside them."""


def find(spec: str) -> Parent:
    """What `train.init_from` names now.

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
        with weights.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        raise TintlabError(f"train.init_from: there is no {weights}") from None
    return Parent(version, digest, weights)


def entry(spec: str | None) -> dict[str, Any]:
    """The content of the lock file: what `train.init_from` stands for now; empty where it is null.

    Raises:
        TintlabError: see `find`.
    """
    if spec is None:
        return {}
    parent = find(spec)
    return {spec: {"version": parent.version, "weights_sha256": parent.weights_sha256}}


def recorded(spec: str | None) -> dict[str, Any] | None:
    """What the lock file says of `train.init_from`: `version` and `weights_sha256`; None where that is null.

    Raises:
        TintlabError: it was not recorded.
    """
    if spec is None:
        return None
    try:
        known = read_json(paths.PARENT_LOCK)[spec]
        return {"version": known["version"], "weights_sha256": known["weights_sha256"]}
    except (FileNotFoundError, KeyError, TypeError):
        raise TintlabError(
            f"train.init_from {spec} is not in {paths.PARENT_LOCK}: run `tintlab sources refresh`"
        ) from None


def verified(spec: str, known: dict[str, Any]) -> Path:
    """The recorded parent's weights on this disk, whatever an alias names by now.

    Args:
        spec: `train.init_from`.
        known: see `recorded`.

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


def tags(spec: str | None) -> dict[str, str]:
    """The parent as tags of a run, from the lock file."""
    known = recorded(spec)
    if spec is None or known is None:
        return {}
    return {"parent": spec} | {f"parent.{name}": str(value) for name, value in known.items() if value}
