"""Make `base` the first champion, and describe which model is champion and why."""

from typing import TYPE_CHECKING

from tintlab.inference.base_model import BASE
from tintlab.registry import models, promotion, verdicts
from tintlab.registry.champion import CHAMPION, read_history
from tintlab.registry.register import ORIGIN_TAG, PARENT_TAG, register
from tintlab.registry.verdicts import NotPassedError
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow.entities.model_registry import ModelVersion

_WHY = "the model that ships with tintlab, the first champion"


def adopt_base() -> str:
    """Register `base` and make it champion, where there is no champion yet; return a line about it.

    It needs no verdict: there is nothing to compare it with, and later versions must beat it.

    Raises:
        TintlabError: this installation lacks the model, or MLflow can't be reached.
    """
    with store.connect() as client:
        present = read_history(client).champion
    if present:
        return f"version {present.version} is {CHAMPION}; {BASE} steps in only where there is none"
    done = register(BASE)
    try:
        return f"{BASE}: {promotion.promote(done.version, _WHY, forced=True)}"
    except NotPassedError as error:  # another process was faster
        return f"{BASE}: {error}"


def describe_champion() -> str:
    """Which version is champion and why, and why the newest version is not; two lines at most.

    Raises:
        TintlabError: MLflow can't be reached.
    """
    if not store.store_exists():
        return f"there is no {CHAMPION} yet: {store.why_missing()}"
    with store.connect() as client:
        log = read_history(client)
        if log.champion is None:
            return f"there is no {CHAMPION} yet: `tintlab adopt` makes {BASE} one"
        champion = models.get_promoted(client, log.champion)
        versions = models.list_versions(client)
    newest = versions[-1]
    won = verdicts.read_verdict(int(champion.version))
    why = (
        verdicts.summarize_reasons(won["reasons"])
        if won and won["passed"] and not log.champion.forced
        else log.champion.why
    )
    lines = [f"{CHAMPION}: {_named(champion)} ({why or log.champion.action})"]
    if int(newest.version) != int(champion.version):
        lines.append(_why_not(newest, int(champion.version)))
    return "\n".join(lines)


def _why_not(version: "ModelVersion", champion: int) -> str:
    verdict = verdicts.read_verdict(int(version.version))
    if verdict is None or verdict["champion"] != champion:
        return f"{_named(version)} has not been judged against it: `tintlab judge` does that"
    if verdict["passed"]:
        return f"{_named(version)} passed against it: `tintlab promote` makes it {CHAMPION}"
    return f"{_named(version)} did not replace it: {verdicts.summarize_reasons(verdict['reasons'])}"


def _named(version: "ModelVersion") -> str:
    origin, parent = version.tags.get(ORIGIN_TAG), version.tags.get(PARENT_TAG)
    what = origin or (f"trained from {parent}" if parent else "")
    return f"version {version.version}" + (f", {what}" if what else "")
