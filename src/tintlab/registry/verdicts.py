"""Verdicts on registered versions: kept with the version's run, and checked before a promotion."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tintlab.registry import card, models
from tintlab.registry.champion import CHAMPION
from tintlab.registry.history import MODEL_NAME, Change
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

VERDICT_TAG = "tintlab.verdict"

_SHOWN = 110  # letters of reasons in a message
_FOLDER = "verdicts"  # among the artifacts of the version's run


class NotPassedError(TintlabError):
    """The verdict does not allow a promotion, or there is nothing to change: no fault."""


class RejectedError(NotPassedError):
    """The verdict is that the version is not better.

    Args:
        version: that is rejected.
        reasons: of the verdict.
    """

    def __init__(self, version: int, reasons: Sequence[str]) -> None:
        super().__init__(f"version {version} did not pass: {summarize_reasons(reasons)}")
        self.version = version


def store_verdict(version: int, verdict: Mapping[str, Any], page: Path | None) -> None:
    """Keep a verdict, and the page that shows it, with the run of a version; its description links the page.

    Args:
        version: that was judged.
        verdict: has at least `version`, `weights_sha256`, `champion`, `champion_weights_sha256`, `passed`,
            `reasons` and `bound`.
        page: an HTML file, or None.

    Raises:
        TintlabError: there is no such version, or MLflow can't be reached.
    """
    with store.connect() as client, tempfile.TemporaryDirectory() as temporary:
        run = client.get_run(_get_run_id(client, version))
        if page:
            copy = Path(temporary) / f"{version}.html"
            copy.write_bytes(page.read_bytes())
            client.log_artifact(run.info.run_id, str(copy), _FOLDER)
        path = Path(temporary) / f"{version}.json"
        # The verdict comes after its page, because `read_verdict` looks for this file.
        write_json(path, dict(verdict))
        client.log_artifact(run.info.run_id, str(path), _FOLDER)
        client.set_model_version_tag(MODEL_NAME, str(version), VERDICT_TAG, verdict_summary(verdict))
        link = verdict_link(run.info.experiment_id, run.info.run_id, version, "html" if page else "json")
        state = f"**{verdict_summary(verdict)}** ([verdict]({store.ui_page(link)}))"
        text = card.write(client, models.get_version(client, version), state, verdict)
        client.update_model_version(MODEL_NAME, str(version), text)


def verdict_link(experiment_id: str, run_id: str, version: int, suffix: str = "html") -> str:
    """Where MLflow's UI shows the verdict on a version: the part of the address after `#/`."""
    return f"experiments/{experiment_id}/runs/{run_id}/artifacts/{_FOLDER}/{version}.{suffix}"


def read_verdict(version: int) -> dict[str, Any] | None:
    """The last verdict on a version, or None.

    Raises:
        TintlabError: there is no such version, or MLflow can't be reached.
    """
    with store.connect() as client, tempfile.TemporaryDirectory() as temporary:
        run_id = _get_run_id(client, version)
        name = f"{_FOLDER}/{version}.json"
        if name not in [artifact.path for artifact in client.list_artifacts(run_id, _FOLDER)]:
            return None
        verdict: dict[str, Any] = read_json(Path(client.download_artifacts(run_id, name, temporary)))
        return verdict


def verdict_summary(verdict: Mapping[str, Any]) -> str:
    """A verdict in a few words, as in `passed against version 2`."""
    against = f" against version {verdict['champion']}" if verdict.get("champion") else " without a champion"
    return ("passed" if verdict["passed"] else "failed") + against


def check_verdict(
    verdict: Mapping[str, Any] | None, version: int, hashes: Mapping[str, str], champion: Change | None
) -> None:
    """Check that a verdict allows a promotion.

    Args:
        verdict: see `store_verdict`.
        version: to be promoted.
        hashes: of its weights and config as they are now, see `models.hash_stored`.
        champion: now.

    Raises:
        RejectedError: it does not.
        TintlabError: there is none, or it is on something else.
    """
    judge = f"`tintlab judge models:/{MODEL_NAME}/{version}`"
    again = f"judge it again: {judge}"
    if verdict is None:
        raise TintlabError(f"version {version} has not been judged: run {judge}")
    if verdict["version"] != version:
        raise TintlabError(f"the verdict is on version {verdict['version']}, not on {version}: {again}")
    judged_files = {
        paths.WEIGHTS: verdict["weights_sha256"],
        paths.MODEL_CONFIG: verdict["bound"].get("config_sha256", hashes[paths.MODEL_CONFIG]),
    }
    for name, judged_hash in judged_files.items():
        if judged_hash != hashes[name]:
            raise TintlabError(
                f"the verdict is on another {name} ({judged_hash[:16]}…) than that of version {version} "
                f"({hashes[name][:16]}…): {again}"
            )
    judged = (verdict["champion"], verdict["champion_weights_sha256"]) if verdict["champion"] else None
    present = (champion.version, champion.weights_sha256) if champion else None
    if judged != present:
        raise TintlabError(
            f"version {version} was judged against {_named(judged)}, but {CHAMPION} is {_named(present)}: {again}"
        )
    if verdict["passed"] is not True:
        raise RejectedError(version, verdict["reasons"])


def summarize_reasons(reasons: Sequence[str]) -> str:
    """The first reasons of a verdict, and how many more its page has."""
    if not reasons:
        return "no reason given"
    shown = [reasons[0], *(reason for reason in reasons[1:2] if len(reasons[0]) + len(reason) < _SHOWN)]
    more = len(reasons) - len(shown)
    return "; ".join(shown) + (f"; {more} more on its page" if more else "")


def _get_run_id(client: "MlflowClient", version: int) -> str:
    run_id = models.get_version(client, version).run_id
    if not run_id:
        raise TintlabError(f"version {version} was not made by `tintlab register`: it has no run")
    return run_id


def _named(model: tuple[int, str] | None) -> str:
    return f"version {model[0]} (weights {str(model[1])[:8]}…)" if model else "no model"
