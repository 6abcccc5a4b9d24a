"""Change which model is in use: promote and roll back."""

from typing import TYPE_CHECKING

from tintlab.registry import history, models, verdicts
from tintlab.registry.champion import CHAMPION, correct_alias, read_history, warn
from tintlab.registry.history import MODEL_NAME, Change, History
from tintlab.registry.verdicts import NotPassedError, RejectedError
from tintlab.system import paths
from tintlab.system.console import one_line
from tintlab.system.errors import TintlabError
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion


def promote(version: int | None = None, why: str = "", forced: bool = False) -> str:
    """Make a version champion, on a passing verdict for exactly this version; return a line about it.

    Args:
        version: None is the challenger.
        why: kept in the history; must be given where `forced`.
        forced: without asking for a verdict.

    The champion's own model, registered again with newer code, needs no verdict.

    Raises:
        NotPassedError: the version failed, or is champion already.
        TintlabError: no verdict, or one on other weights or against another champion; someone else was faster;
            MLflow can't be reached.
    """
    if forced and not why.strip():
        raise TintlabError("--force needs a reason: add --why TEXT, which the history keeps")
    store.require_store()
    with store.connect() as client:
        log = read_history(client)
        found = models.get_version(client, version) if version else models.get_challenger(client)
        number, hashes = int(found.version), models.hash_stored(client, found)
        weights = hashes[paths.WEIGHTS]
        if log.champion and (log.champion.version, log.champion.weights_sha256) == (number, weights):
            raise NotPassedError(f"version {number} is {CHAMPION} already")
        if not forced and (same := _same_model(client, found, log)):
            why = f"{same}; {why}" if why else same
        elif not forced:
            verdict = verdicts.read_verdict(number)
            verdicts.check_verdict(verdict, number, hashes, log.champion)
            assert verdict is not None
            why = f"{verdicts.verdict_summary(verdict)}; {why}" if why else verdicts.verdict_summary(verdict)
        return _carry_out(client, log, Change("promote", number, weights, log.head, why, forced))


def promote_if_passed(version: int | None = None, why: str = "") -> str:
    """Promote a version, or withdraw it as challenger where its verdict rejects it; a line about it.

    Raises:
        TintlabError: as for `promote`.
    """
    try:
        return promote(version, why)
    except RejectedError as reason:
        return f"nothing is promoted: {reason}{_withdraw(reason.version)}"
    except NotPassedError as reason:
        return f"nothing is promoted: {reason}"


def rollback(why: str = "") -> str:
    """Bring back the champion before the present one, and the next time the one before that; a line about it.

    It skips a former champion whose files have changed, with a note.

    Raises:
        TintlabError: there is none to go back to; someone else was faster; MLflow can't be reached.
    """
    store.require_store()
    with store.connect() as client:
        log = read_history(client)
        for former in log.former():
            try:
                found = models.get_promoted(client, former)
                models.hash_stored(client, found)
            except TintlabError as error:
                warn(f"version {former.version} is passed over: {one_line(error)}")
                continue
            change = Change("rollback", former.version, former.weights_sha256, log.head, why)
            return _carry_out(client, log, change)
        if log.champion is None:
            raise TintlabError(f"there is no {CHAMPION} to roll back: `tintlab promote` makes one")
        raise TintlabError(f"there is no usable {CHAMPION} before version {log.champion.version}")


def _carry_out(client: "MlflowClient", before: History, change: Change) -> str:
    after = history.append(client, change)
    last = after.counted[-1]
    said = f"version {change.version} is {CHAMPION} now{_instead(before)}, entry {last.number} of the history"
    try:
        correct_alias(client, after, lambda _: None)
    except Exception as error:
        raise TintlabError(
            f"{said}, but its alias may not say so yet ({one_line(error)[:200]}): the next command sees to it"
        ) from error
    return said


def _withdraw(version: int) -> str:
    """Take the alias `challenger` from a rejected version; the version before gets it back if it still waits."""
    with store.connect() as client:
        model = history.registered_model(client, MODEL_NAME)
        if model is None or str(model.aliases.get(models.CHALLENGER)) != str(version):
            return ""
        former = models.get_version(client, version).tags.get(models.FORMER_TAG, "")
        if former and _waits(client, former):
            client.set_registered_model_alias(MODEL_NAME, models.CHALLENGER, former)
            return f"; version {former} is the {models.CHALLENGER} again"
        client.delete_registered_model_alias(MODEL_NAME, models.CHALLENGER)
        return f"; it is no longer the {models.CHALLENGER}"


def _waits(client: "MlflowClient", version: str) -> bool:
    """Whether a version is there and was neither rejected nor ever promoted."""
    found = store.find_or_none(client.get_model_version, MODEL_NAME, version)
    if found is None or found.tags.get(verdicts.VERDICT_TAG, "").startswith("failed"):
        return False
    return all(entry.change.version != int(version) for entry in read_history(client).counted)


def _same_model(client: "MlflowClient", version: "ModelVersion", log: History) -> str:
    """Why a version needs no verdict: it is the champion's own model, registered again. Empty where it is not."""
    if log.champion is None:
        return ""
    try:
        champion = models.get_promoted(client, log.champion)
    except TintlabError:
        return ""
    hashes = models.registered_hashes(version)
    same = all(hashes.values()) and hashes == models.registered_hashes(champion)
    return f"the same model as version {champion.version}, registered again" if same else ""


def _instead(before: History) -> str:
    return f" instead of {before.champion.version}" if before.champion else ""
