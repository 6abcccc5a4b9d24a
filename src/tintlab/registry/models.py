"""Registered models: versions in MLflow's model registry, and their files on this disk.

`history` decides which version is champion; `promotion` changes it.
"""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tintlab.inference import mlflow_model
from tintlab.inference.base_model import BASE, base_folder
from tintlab.registry import champion, history
from tintlab.registry.champion import CHAMPION
from tintlab.registry.history import MODEL_NAME
from tintlab.system import paths, suggestions
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder
from tintlab.tracking import lineage, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

    from tintlab.inference.colorizer import Colorizer

CHALLENGER = "challenger"
HASH_TAG = {paths.WEIGHTS: "tintlab.weights_sha256", paths.MODEL_CONFIG: "tintlab.config_sha256"}

FORMER_TAG = "tintlab.former_challenger"
"""The version that was challenger before this one, which comes back if this one is rejected."""

_ALL = 100_000


class NoSuchVersionError(TintlabError):
    """The registry has no such version."""


@dataclass(frozen=True)
class LocatedModel:
    """A model on this disk, with the registry's facts about it."""

    folder: Path
    """Has config.json and generator.safetensors: what `Colorizer.load` takes."""
    weights_sha256: str
    version: int | None
    """None: a local folder, not registered."""
    run_id: str | None
    uri: str
    """The requested model, with its alias resolved: `models:/tintlab/3`, `base`, or the folder."""

    @property
    def name(self) -> str:
        """As coloured files record it, without a path of this machine: a folder is `local`."""
        return self.uri if self.version is not None or self.uri == BASE else "local"


def locate(spec: str) -> LocatedModel:
    """Find a model, download it where it is not on this disk, and verify its sha256.

    Args:
        spec: `base`, the model that ships with the package; an alias alone, as in `champion`;
            `models:/tintlab@champion`, `models:/tintlab/3`; or a folder.

    Raises:
        TintlabError: there is no such model, its files are not those that were registered, or MLflow can't be
            reached.
    """
    if spec == BASE:
        return _shipped()
    alias, number = _parsed(spec)
    if not (alias or number):
        return _local(Path(spec))
    if not store.store_exists():  # asking MLflow would make a store here
        raise NoSuchVersionError(f"there is no {spec}: {store.why_missing()}")
    with store.connect() as client:
        if alias == CHAMPION:
            version = _get_champion(client)
        elif alias:
            version = _get_by_alias(client, alias)
        else:
            version = get_version(client, number)
        return _download(client, version)


def default_spec() -> str:
    """`models:/tintlab@champion` where this project has a champion, else `base`.

    Raises:
        TintlabError: MLflow can't be reached.
    """
    if not store.store_exists():
        return BASE
    with store.connect() as client:
        known = history.read(client).champion
    return f"models:/{MODEL_NAME}@{CHAMPION}" if known else BASE


def load_colorizer(spec: str | None = None) -> "Colorizer":
    """The model that `locate` finds, ready for use; the default is this project's champion, else `base`."""
    from tintlab.inference.colorizer import Colorizer

    return Colorizer.load(locate(spec or default_spec()).folder)


def list_versions(client: "MlflowClient") -> list["ModelVersion"]:
    """All registered versions, the oldest first."""
    return list(client.search_model_versions(f"name = '{MODEL_NAME}'", _ALL, ["version_number ASC"]))


def get_version(client: "MlflowClient", version: int | None) -> "ModelVersion":
    """A version as the registry knows it.

    Raises:
        TintlabError: there is none of that number.
    """
    found = store.find_or_none(client.get_model_version, MODEL_NAME, str(version))
    if found is None:
        raise NoSuchVersionError(
            f"there is no version {version} of {MODEL_NAME}: `tintlab models` lists what there is"
        )
    return found


def hash_stored(client: "MlflowClient", version: "ModelVersion") -> dict[str, str]:
    """The sha256 of a version's weights and config as they lie in MLflow's artifact store now, by file name.

    Raises:
        TintlabError: they are not what was registered.
    """
    with tempfile.TemporaryDirectory() as temporary:
        folder = _fetch(client, version, Path(temporary))
        _verify(folder, version)
        return mlflow_model.file_hashes(folder)


def _parsed(spec: str) -> tuple[str, int | None]:
    """The alias and the number that a spec names; neither if it is a folder."""
    if spec in (CHAMPION, CHALLENGER):
        return spec, None
    if not spec.startswith("models:"):
        return "", None
    found = re.fullmatch(rf"models:/{MODEL_NAME}(?:@(?P<alias>[\w.-]+)|/(?P<number>[1-9]\d{{0,8}}))", spec)
    if found is None:
        raise TintlabError(
            f"{suggestions.shown(spec)} names no model: "
            f"write models:/{MODEL_NAME}@{CHAMPION} or models:/{MODEL_NAME}/3"
        )
    return found["alias"] or "", int(found["number"]) if found["number"] else None


def hash_folder(folder: Path) -> dict[str, str]:
    """See `mlflow_model.file_hashes`.

    Raises:
        TintlabError: there is no model in `folder`.
    """
    try:
        return mlflow_model.file_hashes(folder)
    except (FileNotFoundError, NotADirectoryError) as error:
        if not folder.is_dir():
            raise TintlabError(_no_such_folder(folder)) from None
        name = Path(error.filename).name
        raise TintlabError(
            f"no model in {folder} ({name} is missing): name another folder, or train one with `tintlab repro`"
        ) from None


def _shipped() -> LocatedModel:
    folder = base_folder()
    return LocatedModel(folder, hash_folder(folder)[paths.WEIGHTS], None, None, BASE)


def _local(folder: Path) -> LocatedModel:
    if not folder.exists() and len(folder.parts) == 1:
        raise TintlabError(_no_such_name(folder.name))
    return LocatedModel(folder, hash_folder(folder)[paths.WEIGHTS], None, None, str(folder))


def _no_such_name(name: str) -> str:
    near = suggestions.closest(name, suggestions.MODEL_NAMES)
    there = f"there are {', '.join(suggestions.MODEL_NAMES)}, models:/{MODEL_NAME}/3 and folders"
    return f"no model is named {suggestions.shown(name)}: {f'did you mean {near}?' if near else there}"


def _no_such_folder(folder: Path) -> str:
    """The message about a path that is no folder, with the neighbour whose name is most like it."""
    if folder == paths.GENERATOR:
        return f"there is no trained model yet ({folder} is missing): train one with `tintlab repro`"
    if folder.exists():
        return f"{folder} is a file: name the folder of a model"
    beside = [path.name for path in folder.parent.iterdir()] if folder.parent.is_dir() else []
    near = suggestions.closest(folder.name, beside)
    return f"there is no folder {folder}" + (f": did you mean {folder.parent / near}?" if near else "")


def _get_champion(client: "MlflowClient") -> "ModelVersion":
    """The version that the history says is champion; the alias is corrected where it names another."""
    log = champion.read_history(client)
    if log.champion is None:
        raise TintlabError(f"there is no {CHAMPION} yet: `tintlab promote` makes one")
    return get_promoted(client, log.champion)


def get_promoted(client: "MlflowClient", change: history.Change) -> "ModelVersion":
    """The version that an entry of the history made champion.

    Raises:
        TintlabError: it was deleted, or its recorded sha256 is another one now.
    """
    try:
        version = get_version(client, change.version)
    except NoSuchVersionError:
        raise NoSuchVersionError(champion.deleted(change.version)) from None
    if version.tags.get(HASH_TAG[paths.WEIGHTS]) != change.weights_sha256:
        raise TintlabError(
            f"version {change.version} has another recorded sha256 than the model that was promoted: "
            "restore its tags, or roll back with `tintlab rollback`"
        )
    return version


def get_challenger(client: "MlflowClient") -> "ModelVersion":
    """The version that waits for a decision: the last one registered, unless it was rejected.

    Raises:
        TintlabError: there is none.
    """
    try:
        return _get_by_alias(client, CHALLENGER)
    except NoSuchVersionError:
        raise NoSuchVersionError(
            f"there is no {CHALLENGER}: name a version, `tintlab models` lists what there is"
        ) from None


def _get_by_alias(client: "MlflowClient", alias: str) -> "ModelVersion":
    model = history.registered_model(client, MODEL_NAME)
    known = dict(model.aliases) if model else {}
    number = known.get(alias)
    if number is None:
        near = suggestions.closest(alias, known)
        raise NoSuchVersionError(
            f"no version of {MODEL_NAME} has the alias {suggestions.shown(alias)}: "
            + (f"did you mean {near}?" if near else "`tintlab models` lists what there is")
        )
    return get_version(client, int(number))


def _download(client: "MlflowClient", version: "ModelVersion") -> LocatedModel:
    hashes = registered_hashes(version)
    if not all(hashes.values()):
        raise TintlabError(
            f"version {version.version} was not made by `tintlab register`: it has no recorded sha256"
        )
    folder = paths.downloaded_models() / lineage.fingerprint(hashes)
    if not _is_whole(folder, hashes):
        with atomic_folder(folder) as temporary, tempfile.TemporaryDirectory() as download:
            fetched = _fetch(client, version, Path(download))
            _verify(fetched, version)
            mlflow_model.copy_model(fetched, temporary)
    uri = f"models:/{MODEL_NAME}/{version.version}"
    return LocatedModel(folder, str(hashes[paths.WEIGHTS]), int(version.version), version.run_id, uri)


def _is_whole(folder: Path, hashes: Mapping[str, str | None]) -> bool:
    try:
        return mlflow_model.file_hashes(folder) == hashes
    except (FileNotFoundError, NotADirectoryError):
        return False


def _fetch(client: "MlflowClient", version: "ModelVersion", target: Path) -> Path:
    """Download weights and config of a version, as they are in the artifact store."""
    from mlflow.artifacts import download_artifacts, list_artifacts

    uri = f"{client.get_model_version_download_uri(MODEL_NAME, version.version)}/{mlflow_model.PLACE}"
    tracking = store.tracking_uri()
    there = {Path(artifact.path).name for artifact in list_artifacts(artifact_uri=uri, tracking_uri=tracking)}
    if lost := set(mlflow_model.MODEL_FILES) - there:
        raise TintlabError(
            f"version {version.version} has lost {' and '.join(sorted(lost))} at {uri}: restore them, "
            "or use another version"
        )
    return Path(download_artifacts(uri, dst_path=str(target), tracking_uri=tracking))


def _verify(folder: Path, version: "ModelVersion") -> None:
    found = mlflow_model.file_hashes(folder)
    for name, expected in registered_hashes(version).items():
        if found[name] != expected:
            raise TintlabError(
                f"{name} of version {version.version} was changed after it was registered: its sha256 is "
                f"{found[name][:16]}…, registered was {str(expected)[:16]}…; use another version"
            )


def registered_hashes(version: "ModelVersion") -> dict[str, str | None]:
    """The sha256 of weights and config that a version was registered with, by file name."""
    return {name: version.tags.get(tag) for name, tag in HASH_TAG.items()}
