"""A version as MLflow's logged model: its files, and its figures, each linked to its dataset."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from tintlab.tracking import datasets, store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run
    from mlflow.entities.model_registry import ModelVersion

NAME = "generator"

EXPORTED = "onnx"
"""The folder of a version's files with its network as ONNX."""

ID_TAG = "tintlab.logged_model"
"""Of a version: the id of its logged model. MLflow's own field is not kept by its databases."""

_FILES_TAG = "tintlab.files"
"""The folder below the run's `registered/` that holds the version's files: names the logged model, too."""

_LINKED = {"test.model.": "test", "val_": "val", "loss_": "train"}
"""Beginnings of the names of figures, and the split that they are of."""

_MOST = 100  # figures in a batch


def find_or_create(client: "MlflowClient", run: "Run", files: str, tags: Mapping[str, str]) -> str:
    """The id of the logged model of a version; `complete` fills it.

    Args:
        client: of MLflow.
        run: of the training.
        files: the folder of the version's files, which is another for each version.
        tags: of the version.
    """
    experiment = run.info.experiment_id
    found = client.search_logged_models([experiment], f"tags.`{_FILES_TAG}` = '{files}'", max_results=1)
    if found:
        return str(found[0].model_id)
    plain = {name: value for name, value in tags.items() if len(value) < 500}
    model = client.create_logged_model(
        experiment, NAME, run.info.run_id, plain | {_FILES_TAG: files}, dict(run.data.params), "colorizer"
    )
    return str(model.model_id)


def complete(client: "MlflowClient", version: "ModelVersion") -> None:
    """Give the logged model of a version its files and figures, and the run its output; what is there stays.

    Versions that were registered before there were logged models have none.
    """
    from mlflow.artifacts import download_artifacts
    from mlflow.entities import LoggedModelOutput, LoggedModelStatus
    from mlflow.utils.mlflow_tags import MLFLOW_MODEL_VERSIONS

    model_id = version.tags.get(ID_TAG)
    if not model_id:
        return
    model = client.get_logged_model(model_id)
    if model.status == LoggedModelStatus.READY:
        return
    run = client.get_run(str(version.run_id))
    with tempfile.TemporaryDirectory() as temporary:
        files = download_artifacts(str(version.source), dst_path=temporary, tracking_uri=store.tracking_uri())
        # One copy is enough, among the version's files.
        shutil.rmtree(Path(files) / EXPORTED, ignore_errors=True)
        client.log_model_artifacts(model_id, str(Path(files)))
    client.log_outputs(run.info.run_id, [LoggedModelOutput(model_id, 0)])
    linked = list(_linked_figures(client, run, model_id))
    for first in range(0, len(linked), _MOST):
        client.log_batch(run.info.run_id, metrics=linked[first : first + _MOST])
    named = [{"name": str(version.name), "version": int(version.version)}]
    client.set_logged_model_tags(model_id, {MLFLOW_MODEL_VERSIONS: json.dumps(named)})
    client.finalize_logged_model(model_id, LoggedModelStatus.READY)


def _linked_figures(client: "MlflowClient", run: "Run", model_id: str) -> Iterator["Metric"]:
    """The last points of the run's figures again, which MLflow then keeps for model and dataset as well."""
    from mlflow.entities import Metric

    inputs = run.inputs.dataset_inputs if run.inputs else []
    digests = {one.dataset.name: one.dataset.digest for one in inputs}
    for key in run.data.metrics:
        split = next((split for start, split in _LINKED.items() if key.startswith(start)), None)
        name = datasets.name_of(split) if split else ""
        if name in digests:
            history = client.get_metric_history(run.info.run_id, key)
            last = max(history, key=lambda point: (point.step, point.timestamp))
            yield Metric(key, last.value, last.timestamp, last.step, model_id, name, digests[name])
