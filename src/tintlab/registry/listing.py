"""Text tables of the registry: its versions, and the history of champions with times and reasons."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from tintlab.registry import history, models, old_code, verdicts
from tintlab.registry.champion import CHAMPION, read_history
from tintlab.registry.history import MODEL_NAME
from tintlab.system import paths
from tintlab.system.console import aligned, printable
from tintlab.tracking import store


def list_models() -> str:
    """All registered versions as a table.

    Raises:
        TintlabError: MLflow can't be reached.
    """
    if not store.store_exists():
        return f"no model is registered yet: {store.why_missing()}"
    with store.connect() as client:
        log = read_history(client)
        versions = models.list_versions(client)
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
            version.tags.get(verdicts.VERDICT_TAG, "not judged"),
            version.tags.get("git.commit", "")[:8] + ("+" if version.tags.get("git.dirty") == "true" else ""),
            models.registered_hashes(version)[paths.WEIGHTS] or "",
        )
        for version in reversed(versions)
    ]
    notes = [*old_code.champion_notes(versions, log.champion), *old_code.other_notes(versions, log.champion)]
    titles = ("version", "aliases", "registered", "similarity", "psnr", "verdict", "commit", "weights")
    return "\n".join([_table(titles, [(*row[:-1], row[-1][:12]) for row in rows]), *notes])


def list_history() -> str:
    """The champions with their dates, reasons and authors; the present one first.

    Raises:
        TintlabError: MLflow can't be reached.
    """
    if not store.store_exists():
        return f"no model is registered yet: {store.why_missing()}"
    with store.connect() as client:
        log = read_history(client)
        versions = models.list_versions(client)
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
    lines += old_code.champion_notes(versions, log.champion)
    lines += [
        f"entry {entry.number} came too late and changed nothing: {entry.change.action} of version "
        f"{entry.change.version} by {printable(entry.by)}, {_when(entry.time)}"
        for entry in log.beaten
    ]
    return "\n".join(lines)


def _when(moment: datetime) -> str:
    return moment.astimezone().isoformat(" ", "seconds")[:19]


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    cells = [list(titles), *([printable(cell) for cell in row] for row in rows)]
    return "\n".join(aligned(cells))
