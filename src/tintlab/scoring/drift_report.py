"""Report drift: as a table in the terminal, as drift.json, and as an MLflow run with the manifest."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from tintlab.imaging.statistics import Reference
from tintlab.registry import models
from tintlab.registry.history import MODEL_NAME
from tintlab.scoring import manifest
from tintlab.scoring.drift import MEANINGS, DriftReport, compare
from tintlab.system import console, paths
from tintlab.system.console import one_line
from tintlab.system.decision_params import DriftParams
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256, read_json, write_json
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from rich.table import Table

EXPERIMENT = "scoring"
"""MLflow's experiment of scored archives, a run each."""

MANIFEST_TAG = "tintlab.manifest_sha256"

_FILE = "drift.json"


def read_manifest(place: Path) -> tuple[Path, pd.DataFrame]:
    """A manifest and its rows, from its file or from the folder that was scored into.

    Raises:
        TintlabError: there is none, or it is none.
    """
    path = place / manifest.MANIFEST if place.is_dir() else place
    try:
        rows = pd.read_parquet(path, columns=manifest.ALWAYS)
    except FileNotFoundError:
        raise TintlabError(f"there is no {path}: give the folder that `tintlab score` wrote into") from None
    except (OSError, ValueError) as error:  # pyarrow's errors are some of each
        raise TintlabError(f"{path} is no manifest of `tintlab score` ({one_line(error)[:120]})") from None
    return path, rows


def examine(rows: pd.DataFrame, reference: Reference, rules: DriftParams | None = None) -> DriftReport:
    """Compare the photographs of a manifest with a training set; see `drift.compare`.

    Args:
        rows: of the manifest; quarantined photographs have no figures and do not count.
        reference: of the model's training set.
        rules: None takes the defaults, as where there is no params.yaml.
    """
    seen = rows.rename(columns=lambda name: str(name).removeprefix(manifest.DRIFT_PREFIX))
    return compare(seen, reference, **(rules.model_dump() if rules else {}))


def read_reference(model: Path) -> Reference:
    """Read the statistics of a model's training photographs from its folder.

    Raises:
        TintlabError: that was not recorded, or is damaged.
    """
    try:
        return Reference.read(model / paths.TRAINING_SUMMARY)
    except FileNotFoundError:
        raise TintlabError(
            f"{model} does not say what it was trained on ({paths.TRAINING_SUMMARY} is missing): train it again"
        ) from None


def find_scorer(place: Path, rows: pd.DataFrame) -> str:
    """The model that scored a manifest, as `models.locate` takes it: a version, or the folder of then.

    Args:
        place: the manifest's file.
        rows: its rows.

    Raises:
        TintlabError: there were several, or its folder holds another one now.
    """
    coloured = rows[rows["outcome"] == "coloured"]
    versions, weights = (set(coloured[name]) for name in ("model_version", "weights_sha256"))
    if len(versions) == 1 and not coloured["model_version"].isna().any():
        return f"models:/{MODEL_NAME}/{int(versions.pop())}"
    used = place.parent / manifest.STATE / manifest.SETTINGS
    if len(weights) == 1 and used.exists():
        folder = str(read_json(used)["model_folder"])
        if models.hash_folder(Path(folder))[paths.WEIGHTS] in weights:
            return folder
    raise TintlabError(
        "the manifest's model is not known any more, or they are several: say which with --model"
    )


def manifest_tags(rows: pd.DataFrame) -> dict[str, str]:
    """What a manifest says of its scoring, as tags of a run."""
    tags = {f"photos.{outcome}": str(count) for outcome, count in rows["outcome"].value_counts().items()}
    for name in ("model_version", "weights_sha256"):
        values = [value for value in rows.loc[rows["outcome"] == "coloured", name].dropna().unique() if value]
        tags |= {name: ", ".join(f"{value:g}" if name == "model_version" else value for value in values)}
    return {name: value for name, value in tags.items() if value}


def report_again(place: Path, model: str | None, rules: DriftParams | None) -> tuple[DriftReport, str]:
    """Examine a manifest that was written before, record it as `log_report` does; the report and its line.

    Args:
        place: see `read_manifest`.
        model: see `models.locate`; None is the one that scored.
        rules: see `examine`.

    Raises:
        TintlabError: no manifest, no such model, or one that does not say what it was trained on.
    """
    path, rows = read_manifest(place)
    reference = read_reference(models.locate(model or find_scorer(path, rows)).folder)
    report = examine(rows, reference, rules)
    return report, log_report(report, path, manifest_tags(rows))


def make_table(report: DriftReport) -> "Table":
    """The figures, a row each, for `rich` to print."""
    shown = console.new_table("figure", "what it is", "mean", "PSI", "by chance", "p", "")
    for one in report.figures:
        mean = "" if one.seen is None else f"{one.seen:.3g}"
        numbers = [f"{one.psi:.2f}", f"{one.expected:.2f}", f"{one.p_value:.2g}"]
        shown.add_row(one.name, MEANINGS[one.name], mean, *numbers, "drift" if one.drifted else "")
    return shown


def log_report(report: DriftReport, manifest_path: Path, tags: Mapping[str, str]) -> str:
    """Give a scored archive its MLflow run: the figures, the manifest and drift.json; a line on what was done.

    The same manifest has one run, however often this is called. MLflow out of reach is no failure: the line
    says so, and a later call records it.

    Args:
        report: see `drift.compare`.
        manifest_path: the file; drift.json is written beside it in any case.
        tags: of the run: which model scored, how many photographs.
    """
    written = manifest_path.with_name(_FILE)
    write_json(written, report.as_json())
    try:
        with store.connect() as client:
            return f"drift is recorded in MLflow, run {_log(client, report, manifest_path, written, tags)}"
    except store.TrackingUnavailableError as error:
        return f"{error}: `tintlab drift {manifest_path.parent}`"


def _log(
    client: "MlflowClient", report: DriftReport, manifest_path: Path, written: Path, tags: Mapping[str, str]
) -> str:
    from mlflow.entities import Metric, Param, RunTag

    run_id = _find_or_create_run(client, file_sha256(manifest_path))
    run = client.get_run(run_id)
    figures = {f"psi.{one.name}": one.psi for one in report.figures}
    figures |= {f"excess.{one.name}": one.excess for one in report.figures}
    figures |= {"psi_excess": report.overall, "photos": report.photos, "drifted": len(report.drifted)}
    rules = {name: getattr(report, name) for name in ("threshold", "significance", "min_photos")}
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, run.info.start_time, 0) for name, value in figures.items()],
        # Parameters can't change in MLflow; the last report's are in its file.
        params=[
            Param(f"drift.{name}", str(value))
            for name, value in rules.items()
            if f"drift.{name}" not in run.data.params
        ],
        tags=[RunTag(name, value) for name, value in {**tags, "drift": report.verdict}.items()],
    )
    client.log_artifact(run_id, str(written))
    if run.info.status == "RUNNING":
        client.log_artifact(run_id, str(manifest_path))
        client.set_terminated(run_id)
    return run_id


def _find_or_create_run(client: "MlflowClient", digest: str) -> str:
    experiment = store.experiment_id(client, EXPERIMENT)
    found = client.search_runs([experiment], f"tags.`{MANIFEST_TAG}` = '{digest}'", max_results=1)
    if found:
        return str(found[0].info.run_id)
    run = client.create_run(experiment, tags={MANIFEST_TAG: digest}, run_name=f"score-{digest[:6]}")
    return str(run.info.run_id)
