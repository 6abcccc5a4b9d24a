"""Artifacts of a retraining in Prefect: a page, and a table of its stages."""

import base64
import io
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from prefect.artifacts import create_markdown_artifact, create_table_artifact
from prefect.logging import get_run_logger

from flows.stages import StageClock
from tintlab.operations import retrain_clone
from tintlab.registry import history, models, verdicts
from tintlab.system import paths
from tintlab.system.console import printable
from tintlab.system.files import read_json
from tintlab.system.urls import redacted
from tintlab.tracking import store

PAGE_KEY, STAGES_KEY, FAULT_KEY = "retrain", "retrain-stages", "retrain-fault"

_PICTURE_WIDTH, _PICTURE_QUALITY = 1000, 70
_VALIDATIONS = "tintlab-validations"
"""The MLflow experiment for validation pages of unfit photographs."""


@dataclass(frozen=True)
class Facts:
    """The outcome of a retraining.

    Attributes:
        version: of its model in the registry.
        run_id: of its training in MLflow.
        experiment_id: of that run.
        verdict: see `judging.record`.
        champion: the version that is champion now; None before the first.
        promoted: whether this retraining made it champion.
        metrics: of the model and the baselines, as in metrics.json.
    """

    version: int
    run_id: str
    experiment_id: str
    verdict: Mapping[str, Any]
    champion: int | None
    promoted: bool
    metrics: Mapping[str, Any]

    @property
    def outcome(self) -> str:
        """`Promoted`, or `NotPromoted`."""
        return "Promoted" if self.promoted else "NotPromoted"

    @property
    def sentence(self) -> str:
        """The outcome and its reasons."""
        if self.champion == self.version and not self.promoted:
            return f"version {self.version} was champion before: the training gave the same model"
        now = f"version {self.version} is champion" if self.promoted else self._stays
        reasons = verdicts.summarize_reasons(self.verdict.get("reasons", ()))
        return f"{now}; verdict: {'passed' if self.verdict.get('passed') else 'not passed'}: {reasons}"

    @property
    def _stays(self) -> str:
        return f"version {self.champion} stays champion" if self.champion else "there is no champion"


def read_facts(prepared: retrain_clone.Workspace, version: int, head: int) -> Facts:
    """Look up in MLflow what `tintlab register`, `judge` and `promote` did.

    Args:
        prepared: the clone with the model.
        version: that was registered.
        head: `History.head` before them.

    Raises:
        TintlabError: MLflow can't be reached.
    """
    with store.connect() as client:
        run_id = models.get_version(client, version).run_id
        experiment_id = client.get_run(run_id).info.experiment_id
        log = history.read(client)
    champion = log.champion.version if log.champion else None
    return Facts(
        version,
        str(run_id),
        str(experiment_id),
        verdicts.read_verdict(version) or {},
        champion,
        champion == version and log.head > head,
        read_json(prepared.folder / paths.METRICS),
    )


def publish_page(
    facts: Facts, prepared: retrain_clone.Workspace, experiment: str, clock: StageClock, cause: str
) -> None:
    """Publish the page and the table of a retraining with a verdict."""
    model = f"[version {facts.version}]({_link(f'models/{models.MODEL_NAME}/versions/{facts.version}')})"
    run = f"[{facts.run_id[:8]}]({_link(f'experiments/{facts.experiment_id}/runs/{facts.run_id}')})"
    link = verdicts.verdict_link(facts.experiment_id, facts.run_id, facts.version)
    verdict = f"[verdict]({_link(link)}) with the photographs that changed most"
    text = [
        f"# {facts.outcome}: version {facts.version}",
        as_text(facts.sentence),
        f"Model {model}, {verdict}. MLflow run {run}, commit `{prepared.commit[:12]}`, "
        f"DVC experiment `{experiment}`.",
        *_why(cause),
        "## Figures",
        figures_table(facts.metrics, facts.verdict),
        "## Pictures",
        *_pictures(prepared.folder),
    ]
    create_markdown_artifact("\n\n".join(text), key=PAGE_KEY, description=as_text(facts.sentence))
    _publish_stages(clock)


def publish_failure(
    reason: str, prepared: retrain_clone.Workspace | None, champion_stays: bool, clock: StageClock, cause: str
) -> None:
    """Publish the page of a failed retraining, with a link to the validation page if photographs were unfit."""
    text = ["# Failed", as_text(reason), *_why(cause)]
    if champion_stays:
        text.append("The champion is unchanged.")
    if prepared:
        text.append(f"Its data is in `{prepared.folder}`.")
        if list(clock.stages)[-1:] == ["validate"]:
            text += _validation(prepared.folder)
    create_markdown_artifact("\n\n".join(text), key=PAGE_KEY, description=as_text(reason))
    _publish_stages(clock)


def figures_table(metrics: Mapping[str, Any], verdict: Mapping[str, Any]) -> str:
    """A Markdown table: the new model beside the champion and the baselines."""
    columns = {"new model": metrics.get("model", {})}
    champion = verdict.get("totals", {}).get("champion", {}).get("model")
    if champion:
        columns[f"champion (version {verdict.get('champion')})"] = champion
    columns |= {
        name.replace("_", " "): values
        for name, values in metrics.items()
        if name != "model" and isinstance(values, Mapping)
    }
    rows = [["figure", *columns], ["---"] + ["---:"] * len(columns)]
    for figure in columns["new model"]:
        cells = (values.get(figure) for values in columns.values())
        rows.append([figure, *("" if cell is None else f"{cell:.4g}" for cell in cells)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _publish_stages(clock: StageClock) -> None:
    if clock.stages:
        create_table_artifact(clock.rows(), key=STAGES_KEY, description="stages, ran or cached, in seconds")


def _why(cause: str) -> list[str]:
    return [f"Started by: {as_text(cause)}"] if cause else []


def _pictures(folder: Path) -> list[str]:
    """The sheet of test photographs, embedded in the page."""
    try:
        with Image.open(folder / paths.SHEET) as sheet:
            sheet.thumbnail((_PICTURE_WIDTH, 100_000))
            file = io.BytesIO()
            sheet.convert("RGB").save(file, "JPEG", quality=_PICTURE_QUALITY)
    except OSError:
        return ["none"]
    data = base64.b64encode(file.getvalue()).decode()
    return [f"![grey, coloured, true](data:image/jpeg;base64,{data})"]


def _validation(folder: Path) -> list[str]:
    """Links to the validation page: in MLflow, if that can be reached, and on this disk."""
    page = folder / paths.VALIDATION_PAGE
    if not page.exists():
        return []
    text = [f"The validation page is `{page}`."]
    with suppress(store.TrackingUnavailableError), store.connect() as client:
        experiment = store.experiment_id(client, _VALIDATIONS)
        run = client.create_run(experiment, run_name="unfit photographs")
        client.log_artifact(run.info.run_id, str(page))
        client.set_terminated(run.info.run_id, "FAILED")
        link = _link(f"experiments/{experiment}/runs/{run.info.run_id}/artifacts/{page.name}")
        text.append(f"[The validation page]({link}) shows which photographs and why.")
        get_run_logger().error("the validation page: %s", link)
    with suppress(OSError, ValueError, KeyError):
        faults = read_json(folder / paths.VALIDATION_JSON)["faults"]
        text += ["\n".join(f"- {as_text(fault)}" for fault in faults)]
    return text


def _link(path: str) -> str:
    """The URL of a page in MLflow; without a configured server, of the one that `tintlab ui` starts."""
    uri = store.shown_uri()
    base = uri if store.is_server(uri) else "http://127.0.0.1:5000"
    return f"{redacted(base).rstrip('/')}/{store.ui_page(path)}"


def as_text(text: str) -> str:
    """Escape text for Markdown, such as a photograph's name."""
    plain = printable(" ".join(redacted(text).split()))
    return "".join(f"\\{char}" if char in r"\`*_{}[]<>#|!" else char for char in plain)
