"""Record the pipeline's trainings as MLflow runs with parameters, lineage and files; restore missing runs."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_text
from tintlab.system.params import Params, load_params
from tintlab.system.sections import flatten
from tintlab.tracking import datasets, delivery, lineage, load, parent_lock, sender
from tintlab.tracking.recorder import Recorder

NOTE_TAG = "mlflow.note.content"
"""The tag that MLflow's pages show as the description."""

_USES = {"train": "learn from", "validation": "choose the best weights", "test": "judge"}

CHANGES_NO_RESULT = {"workers", "checkpoint_every"}
"""Keys of the `train` section that a training's fingerprint leaves out."""


def training_inputs(params: Params) -> dict[str, Any]:
    """The inputs that decide the result of a training: these parameters, this source and this data."""
    import torch

    inputs = lineage.stage_inputs("train")
    return lineage.training_inputs(
        params.train.model_dump(mode="json", exclude=CHANGES_NO_RESULT),
        inputs.data,
        inputs.sources,
        torch.__version__,
        params.train.threads,
    )


@contextmanager
def track_training(fingerprint: str, params: Params, working: Path) -> Iterator[Recorder]:
    """Record a training with its parameters, lineage and load; it ends as finished, killed or failed.

    Args:
        fingerprint: of `training_inputs`.
        params: all parameters.
        working: folder for the patch on its way to MLflow.
    """
    git = lineage.git_state()
    with sender.start_recording(fingerprint) as recorder, load.sample_load(recorder):
        splits = datasets.describe_splits()
        recorder.start(f"train-{fingerprint[:6]}", flatten(params), _tags(git, params, splits), splits)
        if git.patch:
            write_text(working / "uncommitted.patch", git.patch)
            recorder.artifact(working / "uncommitted.patch", "lineage")
        for path, folder in _input_files():
            recorder.artifact(path, folder)
        try:
            yield recorder
        except BaseException as error:
            recorder.finish("KILLED" if isinstance(error, KeyboardInterrupt | SystemExit) else "FAILED")
            raise
        recorder.finish()


def record_evaluation(metrics: Mapping[str, Any]) -> None:
    """Add the judgement of a trained generator to its run: figures, pages and tables."""
    with sender.start_recording(model_fingerprint()) as recorder:
        recorder.summary(flat_metrics(metrics))
        for path, folder in _evaluation_files():
            recorder.artifact(path, folder)


def restore_missing_run() -> str:
    """Return the id of the present model's MLflow run; if the store has none, create one tagged `restored`.

    So a model from DVC's cache or from another machine also gets a run.

    Raises:
        TrackingUnavailableError: the store can't be reached.
    """
    splits = datasets.describe_splits()
    return delivery.restore_run(
        model_fingerprint(),
        flatten(load_params()),
        _tags(lineage.git_state(), load_params(), splits),
        [pd.read_csv(paths.LOSSES), pd.read_csv(paths.VALIDATION_CURVES)],
        flat_metrics(read_json(paths.METRICS)),
        [(paths.GENERATOR, "model"), (paths.SAMPLES, "samples"), *_input_files(), *_evaluation_files()],
        splits,
    )


def model_fingerprint() -> str:
    """The fingerprint of the training that made the present model.

    Raises:
        TintlabError: the model's config names none, so the pipeline did not make it.
    """
    config: dict[str, Any] = read_json(paths.GENERATOR / paths.MODEL_CONFIG)
    if not isinstance(fingerprint := config.get("fingerprint"), str):
        raise TintlabError(f"the model in {paths.GENERATOR} names no training: run `dvc repro` to make one")
    return fingerprint


def flat_metrics(metrics: Mapping[str, Any], prefix: str = "test") -> dict[str, float]:
    """Nested figures as `test.model.psnr: 21.4`; values that are not numbers are left out."""
    flat: dict[str, float] = {}
    for name, value in metrics.items():
        if isinstance(value, Mapping):
            flat |= flat_metrics(value, f"{prefix}.{name}")
        elif isinstance(value, int | float):
            flat[f"{prefix}.{name}"] = float(value)
    return flat


def _tags(git: lineage.GitState, params: Params, splits: Sequence[Mapping[str, str]]) -> dict[str, str]:
    inputs = lineage.data_hashes(lineage.stage_inputs("train").data)
    tags = lineage.run_tags(git, inputs) | parent_lock.parent_tags(params.train.init_from)
    plain = {"kind": "training", "generator": params.train.generator, "epochs": str(params.train.epochs)}
    plain["init_from"] = params.train.init_from or "nothing"
    return tags | plain | {NOTE_TAG: describe_run(git, params, splits)}


def describe_run(git: lineage.GitState, params: Params, splits: Sequence[Mapping[str, str]]) -> str:
    """A run's description in MLflow: what was trained on what, from which commit."""
    counts = {one["context"]: json.loads(one["profile"])["photographs"] for one in splits}
    data = ", ".join(f"{count} to {_USES[context]}" for context, count in counts.items())
    train = params.train
    start = f"starting from `{train.init_from}`" if train.init_from else "starting from nothing"
    commit = f"Commit `{git.commit[:12]}`{' with changes' if git.dirty else ''}. " if git.commit else ""
    return (
        f"Training of a {train.generator} for {train.epochs} epochs of {train.iterations_per_epoch} iterations, "
        f"{start}. Photographs: {data or 'not known'}. {commit}"
        "`evaluation/index.html` among the artifacts shows the results; `tintlab register` makes it a version."
    )


def _input_files() -> list[tuple[Path, str]]:
    wanted = [(path, "pipeline") for path in (paths.DVC_FILE, paths.DVC_LOCK, paths.PARAMS)]
    wanted += [
        (path, "validation") for path in (paths.VALIDATION_PAGE, paths.VALIDATION_JSON, paths.QUARANTINE)
    ]
    wanted.append((paths.data_docs(), "validation/data_docs"))
    return [(path, folder) for path, folder in wanted if path.exists()]


def _evaluation_files() -> list[tuple[Path, str]]:
    wanted = (paths.REPORT_PAGE, paths.PER_PHOTO, paths.METRICS, paths.INTERVALS, paths.SHEET)
    return [(path, "evaluation") for path in wanted if path.exists()]
