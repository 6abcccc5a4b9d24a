"""`tintlab register`: make the pipeline's model a version in MLflow's model registry."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tintlab.inference import base_model, mlflow_model
from tintlab.inference.export import write_export
from tintlab.registry import card, history, logged_model, models, old_code
from tintlab.registry.history import MODEL_NAME
from tintlab.system import paths
from tintlab.system.files import read_json
from tintlab.system.locks import exclusive
from tintlab.system.tables import read_table
from tintlab.tracking import delivery, lineage, store, training_runs
from tintlab.tracking.recorder import RESTORED_TAG

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

ORIGIN_TAG = "tintlab.origin"
"""Of a version: `base` for the model that ships with the package."""

PARENT_TAG = "parent"
"""Of a run and its version: the model that its training started from, as `train.init_from` named it."""

_NOT_JUDGED = "not judged yet"
_WAIT_SECONDS = 600.0
_OF_RUN = ("git.commit", "git.dirty", store.FINGERPRINT_TAG, RESTORED_TAG, "dvc.", "input.", PARENT_TAG)
_FACTS = (*_OF_RUN, "tintlab.test_set", "test.model.")


@dataclass(frozen=True)
class Registered:
    """The result of `register`."""

    version: int
    run_id: str
    new: bool
    """False: the same model was there already."""


def register(model: Path | str = paths.GENERATOR) -> Registered:
    """Make a version of a trained model, and its run in MLflow where there is none. It becomes challenger.

    The same model (weights and config of the same bytes) is registered once, and once more if all its versions
    have unsafe serving code.

    Args:
        model: see `models.locate`.

    Raises:
        TintlabError: no model there, or MLflow can't be reached.
    """
    folder = models.locate(str(model)).folder
    hashes = models.hash_folder(folder)
    with exclusive(paths.registering_lock(), "another `tintlab register`", _WAIT_SECONDS):
        with store.connect() as client:
            same = [
                version
                for version in models.list_versions(client)
                if models.registered_hashes(version) == hashes
            ]
        current = [version for version in same if not old_code.has_old_code(version)]
        version = current[0] if current else _new_version(folder, hashes, same)
        with store.connect() as client:
            client.set_registered_model_alias(MODEL_NAME, models.CHALLENGER, str(version.version))
            logged_model.complete(client, version)
            if version.description == _NOT_JUDGED:
                described = card.write(client, version, f"**{_NOT_JUDGED}**", None)
                client.update_model_version(MODEL_NAME, str(version.version), described)
    return Registered(int(version.version), str(version.run_id), new=not current)


def _new_version(folder: Path, hashes: Mapping[str, str], former: Sequence["ModelVersion"]) -> "ModelVersion":
    """Make a new version. `former` are the same model's versions with older code; their files stay."""
    run_id = _run_id(folder, hashes)
    name = lineage.fingerprint({**hashes, "again": len(former)} if former else hashes)
    with tempfile.TemporaryDirectory() as temporary, store.connect() as client:
        mlflow_model.save_pyfunc(folder, Path(temporary) / name)
        exported = Path(temporary) / name / logged_model.EXPORTED
        exported.mkdir()
        write_export(folder, exported)
        client.log_artifacts(run_id, str(Path(temporary) / name), f"registered/{name}")
        run = client.get_run(run_id)
        _make_registered_model(client)
        tags = _former_facts(former) | _tags(folder, hashes, run.data.tags) | _challenger_tag(client)
        model_id = logged_model.find_or_create(client, run, name, tags)
        # The version is created after all its files. An interrupted upload is repeated to the same place.
        return client.create_model_version(
            MODEL_NAME,
            source=f"{run.info.artifact_uri}/registered/{name}",
            run_id=run_id,
            tags=tags | {logged_model.ID_TAG: model_id},
            description=_NOT_JUDGED,
            await_creation_for=0,
        )


def _run_id(folder: Path, hashes: Mapping[str, str]) -> str:
    """The run of the training that made a model; it is created if the store has none."""
    if _is_the_pipelines(folder):
        return training_runs.restore_missing_run()
    # A model from elsewhere has no history: only its files are known.
    fingerprint = read_json(folder / paths.MODEL_CONFIG).get("fingerprint") or lineage.fingerprint(hashes)
    return delivery.restore_run(fingerprint, {}, {}, [], {}, [(folder, "model")])


def _tags(folder: Path, hashes: Mapping[str, str], of_run: Mapping[str, str]) -> dict[str, str]:
    tags = {models.HASH_TAG[name]: value for name, value in hashes.items()}
    tags[old_code.CODE_TAG] = str(mlflow_model.SERVING_CODE)
    tags |= {name: value for name, value in of_run.items() if name.startswith(_OF_RUN)}
    if folder == base_model.FOLDER:
        tags[ORIGIN_TAG] = base_model.BASE
    if _is_the_pipelines(folder):
        tags["dvc.models/generator"] = lineage.dvc_hash(paths.GENERATOR)
        tags["tintlab.test_set"] = test_set_hash()
        figures = training_runs.flat_metrics(read_json(paths.METRICS), "test")
        tags |= {name: f"{value:g}" for name, value in figures.items() if name.startswith("test.model.")}
    return tags


def _challenger_tag(client: "MlflowClient") -> dict[str, str]:
    model = history.registered_model(client, MODEL_NAME)
    known = model.aliases.get(models.CHALLENGER) if model else None
    return {models.FORMER_TAG: str(known)} if known else {}


def _former_facts(former: Sequence["ModelVersion"]) -> dict[str, str]:
    """The tags of the same model's earlier version that describe the model and not the version."""
    tags = former[-1].tags if former else {}
    return {name: value for name, value in tags.items() if name.startswith(_FACTS)}


def test_set_hash() -> str:
    """16 hexadecimal digits that name the test photographs: their contents and their clusters of twins."""
    accepted = read_table(paths.ACCEPTED)
    test = accepted[accepted["split"] == "test"].merge(read_table(paths.PHOTOS), on="photo")
    return lineage.fingerprint({"test": sorted(zip(test["sha256"], test["cluster"], strict=True))})


def _is_the_pipelines(folder: Path) -> bool:
    return folder.resolve() == paths.GENERATOR.resolve() and paths.METRICS.exists()


def _make_registered_model(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    if history.registered_model(client, MODEL_NAME) is None:
        try:
            client.create_registered_model(MODEL_NAME, description="Grey photographs in, colour out.")
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise
