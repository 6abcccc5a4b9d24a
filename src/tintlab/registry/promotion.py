"""Which model is in use: promote, roll back, and what there is to choose from."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tintlab.registry import history, models
from tintlab.registry.champion import CHAMPION, mend_alias, mended_history, warn
from tintlab.registry.history import MODEL_NAME, Change, History
from tintlab.system import paths
from tintlab.system.console import one_line, printable
from tintlab.system.errors import TintlabError
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient


class NotPassedError(TintlabError):
    """The verdict does not allow it, or there is nothing to change: no fault."""


def promote(version: int | None = None, why: str = "", forced: bool = False) -> str:
    """Make a version champion, on a passing verdict for exactly this version; a line that says what was done.

    Args:
        version: None is the challenger.
        why: kept in the history; must be given where `forced`.
        forced: without asking for a verdict.

    Raises:
        NotPassedError: the version failed, or is champion already.
        TintlabError: no verdict, or one on other weights or against another champion; someone else was faster;
            MLflow can't be reached.
    """
    if forced and not why.strip():
        raise TintlabError("--force needs a reason: add --why TEXT, which the history keeps")
    with store.connect() as client:
        log = mended_history(client)
        found = models.model_version(client, version) if version else models.challenger(client)
        number, hashes = int(found.version), models.recomputed_hashes(client, found)
        weights = hashes[paths.WEIGHTS]
        if log.champion and (log.champion.version, log.champion.weights_sha256) == (number, weights):
            raise NotPassedError(f"version {number} is {CHAMPION} already")
        if not forced:
            verdict = models.read_verdict(number)
            check_verdict(verdict, number, hashes, log.champion)
            assert verdict is not None
            why = f"{models.verdict_summary(verdict)}; {why}" if why else models.verdict_summary(verdict)
        return _carry_out(client, log, Change("promote", number, weights, log.head, why, forced))


def rollback(why: str = "") -> str:
    """Bring back the champion before the present one, and the next time the one before that; a line about it.

    Former champions whose files are not what they were are passed over with a word.

    Raises:
        TintlabError: there is none to go back to; someone else was faster; MLflow can't be reached.
    """
    with store.connect() as client:
        log = mended_history(client)
        for former in log.former():
            try:
                found = models.promoted_version(client, former)
                models.recomputed_hashes(client, found)
            except TintlabError as error:
                warn(f"version {former.version} is passed over: {one_line(error)}")
                continue
            change = Change("rollback", former.version, former.weights_sha256, log.head, why)
            return _carry_out(client, log, change)
        if log.champion is None:
            raise TintlabError(f"there is no {CHAMPION} to roll back: `tintlab promote` makes one")
        raise TintlabError(f"there is no usable {CHAMPION} before version {log.champion.version}")


def check_verdict(
    verdict: Mapping[str, Any] | None, version: int, hashes: Mapping[str, str], champion: Change | None
) -> None:
    """Whether a verdict allows to promote.

    Args:
        verdict: see `models.store_verdict`.
        version: to be promoted.
        hashes: of its weights and config as they are now, see `models.recomputed_hashes`.
        champion: now.

    Raises:
        NotPassedError: it does not.
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
        raise NotPassedError(
            f"version {version} did not pass: {'; '.join(verdict['reasons']) or 'no reason given'}"
        )


def models_text() -> str:
    """All registered versions as a table.

    Raises:
        TintlabError: MLflow can't be reached.
    """
    with store.connect() as client:
        log = mended_history(client)
        versions = models.versions(client)
        model = history.registered_model(client, MODEL_NAME)
    if not versions:
        return "no model is registered yet: `tintlab register` makes a version of the pipeline's model"
    aliases = {alias: int(number) for alias, number in (model.aliases if model else {}).items()}
    if log.champion:
        aliases[CHAMPION] = log.champion.version
    rows = [
        (
            str(version.version),
            ", ".join(alias for alias, number in aliases.items() if number == int(version.version)),
            _when(datetime.fromtimestamp(version.creation_timestamp / 1000).astimezone()),
            version.tags.get("test.model.judge_similarity", ""),
            version.tags.get("test.model.psnr", ""),
            version.tags.get(models.VERDICT_TAG, "not judged"),
            version.tags.get("git.commit", "")[:8] + ("+" if version.tags.get("git.dirty") == "true" else ""),
            models.registered_hashes(version)[paths.WEIGHTS] or "",
        )
        for version in reversed(versions)
    ]
    titles = ("version", "aliases", "registered", "similarity", "psnr", "verdict", "commit", "weights")
    return _table(titles, [(*row[:-1], row[-1][:12]) for row in rows])


def history_text() -> str:
    """Who was champion from when to when, why, and by whom; the present one first.

    Raises:
        TintlabError: MLflow can't be reached.
    """
    with store.connect() as client:
        log = mended_history(client)
    if not log.counted:
        return f"there has been no {CHAMPION} yet: `tintlab promote` makes one"
    ends = [_when(entry.time) for entry in log.counted[1:]] + ["now"]
    rows = [
        (
            str(entry.number),
            str(entry.change.version),
            _when(entry.time),
            end,
            entry.change.action + (" (forced)" if entry.change.forced else ""),
            entry.by,
            entry.change.why,
        )
        for entry, end in zip(log.counted, ends, strict=True)
    ]
    lines = [_table(("entry", "version", "from", "until", "by way of", "by", "why"), rows[::-1])]
    lines += [
        f"entry {entry.number} came too late and changed nothing: {entry.change.action} of version "
        f"{entry.change.version} by {printable(entry.by)}, {_when(entry.time)}"
        for entry in log.beaten
    ]
    return "\n".join(lines)


def _carry_out(client: "MlflowClient", before: History, change: Change) -> str:
    after = history.append(client, change)
    last = after.counted[-1]
    said = f"version {change.version} is {CHAMPION} now{_instead(before)}, entry {last.number} of the history"
    try:
        mend_alias(client, after, lambda _: None)
    except Exception as error:
        raise TintlabError(
            f"{said}, but its alias may not say so yet ({one_line(error)[:200]}): the next command sees to it"
        ) from error
    return said


def _instead(before: History) -> str:
    return f" instead of {before.champion.version}" if before.champion else ""


def _named(model: tuple[int, str] | None) -> str:
    return f"version {model[0]} (weights {str(model[1])[:8]}…)" if model else "no model"


def _when(moment: datetime) -> str:
    return moment.astimezone().isoformat(" ", "seconds")[:19]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [list(titles), *([printable(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells]
    return "\n".join(line.rstrip() for line in lines)
