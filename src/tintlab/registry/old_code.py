"""Find the versions whose serving code has a security hole, and advise what to do about them.

A registered version holds the code of its day, and MLflow runs that code when it serves the version. Updating
tintlab does not repair it, so the model has to be registered again.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from tintlab.inference import mlflow_model
from tintlab.registry import history, models
from tintlab.registry.history import MODEL_NAME, Change
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

CODE_TAG = "tintlab.serving_code"
"""On a version: its `mlflow_model.SERVING_CODE`. Versions without this tag are of generation 1."""

_MOST_NAMED = 5


def has_old_code(version: "ModelVersion") -> bool:
    """Whether a version was registered with unsafe serving code, see `mlflow_model.SERVING_CODE`."""
    generation = version.tags.get(CODE_TAG, "1")
    return not generation.isdecimal() or int(generation) < mlflow_model.SERVING_CODE


def find_successor(version: "ModelVersion", versions: Iterable["ModelVersion"]) -> "ModelVersion | None":
    """The version that holds the same model with today's code, or None."""
    hashes = models.registered_hashes(version)
    same = [
        other for other in versions if not has_old_code(other) and models.registered_hashes(other) == hashes
    ]
    return same[-1] if same else None


def notes() -> list[str]:
    """Notes about this registry: each is a fault and an advice, with a colon between them.

    Raises:
        TintlabError: MLflow can't be reached.
    """
    with store.connect() as client:
        versions = models.list_versions(client)
        champion = history.read(client).champion
    return [*champion_notes(versions, champion), *other_notes(versions, champion)]


def champion_notes(versions: Sequence["ModelVersion"], champion: Change | None) -> list[str]:
    """A line if the champion has old code, else nothing."""
    reigning = [v for v in versions if champion and int(v.version) == champion.version and has_old_code(v)]
    if not reigning:
        return []
    successor = find_successor(reigning[0], versions)
    again = f"`tintlab register --model models:/{MODEL_NAME}/{reigning[0].version}`, then `tintlab promote`"
    advice = f"`tintlab promote {successor.version}`" if successor else again
    return [
        f"version {reigning[0].version}, the champion, opens any file that a client of its server names: "
        f"don't serve it; run {advice} (SECURITY.md)"
    ]


def other_notes(versions: Sequence["ModelVersion"], champion: Change | None) -> list[str]:
    """A line on the other versions with old code that have not been registered again, where there are any."""
    numbers = [
        str(version.version)
        for version in versions
        if has_old_code(version)
        and not (champion and int(version.version) == champion.version)
        and all(models.registered_hashes(version).values())
        and find_successor(version, versions) is None
    ]
    if not numbers:
        return []
    named = ", ".join(numbers[-_MOST_NAMED:])
    more = f" and {len(numbers) - _MOST_NAMED} older" if len(numbers) > _MOST_NAMED else ""
    return [
        f"old code, which opens any file that a client of the server names, in version {named}{more}: "
        f"before you serve one, `tintlab register --model models:/{MODEL_NAME}/{numbers[-1]}` (SECURITY.md)"
    ]
