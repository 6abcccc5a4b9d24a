"""The history of champions: a log that only grows, kept in MLflow's model registry.

MLflow has no compare-and-swap: the last write of an alias wins, and no earlier one is kept. But MLflow numbers
the versions of a registered model atomically, and writes each with its tags in one transaction. So every
promotion and rollback is a version of a second registered model, `tintlab-history`. An entry names the entry
that was valid last when its writer looked, and is valid only if that is still so. Of two entries written
at once the lower number wins, and every reader comes to the same result. The alias `champion` is derived from
the log, see `tintlab.registry.champion`.
"""

import getpass
import json
import os
import random
import time
import uuid
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from tintlab.system.console import one_line
from tintlab.system.errors import TintlabError
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion, RegisteredModel

MODEL_NAME = "tintlab"
HISTORY_NAME = "tintlab-history"

Action = Literal["promote", "rollback"]

_ENTRY_TAG = "tintlab.entry"
_ATTEMPTS, _LONGEST_PAUSE_SECONDS = 20, 0.5
_ALL = 100_000  # MLflow gives no more at once
_DESCRIPTION = (
    "The log of promotions: a version an entry, written by `tintlab promote` and `tintlab rollback`, shown by "
    "`tintlab history`. Nothing here is to be changed or deleted by hand."
)


class BeatenError(TintlabError):
    """Someone else changed the champion first."""


class UncertainError(TintlabError):
    """It is not known whether a change was written; the log shows it as soon as it can be read."""


@dataclass(frozen=True)
class Change:
    """A change to be written into the log."""

    action: Action
    version: int
    """The champion from now on."""
    weights_sha256: str
    expected: int
    """`History.head` when this was decided."""
    why: str
    forced: bool = False


@dataclass(frozen=True)
class Entry:
    """A line of the log."""

    number: int
    """1 and up, without gaps."""
    change: Change
    by: str
    time: datetime
    nonce: str
    """Tells one's own entry from another's that says the same."""


@dataclass(frozen=True)
class History:
    """The log, and the facts that follow from it."""

    counted: tuple[Entry, ...]
    """The entries that changed the champion, in order."""
    beaten: tuple[Entry, ...]
    """Those whose writer had been overtaken."""
    lost: tuple[int, ...]
    """Numbers whose entry is gone or unreadable: someone changed the log by hand."""

    @property
    def head(self) -> int:
        """The number of the last entry that counts; 0 before the first."""
        return self.counted[-1].number if self.counted else 0

    @property
    def champion(self) -> Change | None:
        """The entry that made the present champion."""
        return self.counted[-1].change if self.counted else None

    def former(self) -> list[Change]:
        """The champions that a rollback can go back to, the latest first: those before the present one's reign.

        A rollback also undoes the promotions after the champion that it restores. So the next rollback goes
        further back.
        """
        reigns: list[Change] = []
        for entry in self.counted:
            change = entry.change
            if change.action == "rollback":
                while reigns and not _same_model(reigns[-1], change):
                    reigns.pop()
                reigns = reigns[:-1]
            reigns.append(change)
        return reigns[-2::-1]


def project(entries: Iterable[Entry], numbers: Iterable[int] = ()) -> History:
    """Derive the history from a log; every reader of the same entries gets the same result.

    Args:
        entries: in any order.
        numbers: of entries that are there and can't be read.
    """
    known = {entry.number: entry for entry in entries}
    seen_as_head = {entry.change.expected for entry in known.values()}
    last = max([*known, *numbers], default=0)
    counted: list[Entry] = []
    beaten: list[Entry] = []
    head = 0
    for number in range(1, last + 1):
        entry = known.get(number)
        if entry is None:
            # A deleted entry was valid if later entries name it as the head.
            head = number if number in seen_as_head else head
        elif entry.change.expected == head:
            counted.append(entry)
            head = number
        else:
            beaten.append(entry)
    lost = set(range(1, last + 1)) - set(known)
    return History(tuple(counted), tuple(beaten), tuple(sorted(lost)))


def read(client: "MlflowClient") -> History:
    """The log as it is now; its entries become visible whole and in order."""
    versions = client.search_model_versions(f"name = '{HISTORY_NAME}'", _ALL, ["version_number ASC"])
    entries = [entry for version in versions if (entry := _entry(version))]
    return project(entries, (int(version.version) for version in versions))


def append(client: "MlflowClient", change: Change) -> History:
    """Write an entry; return the log in which it is valid.

    Raises:
        BeatenError: the champion has been changed since `change.expected`.
        UncertainError: MLflow failed while it wrote.
    """
    nonce = uuid.uuid4().hex
    if change.expected == 0:
        _make_log(client)
    attempts = 0
    while (history := read(client)).head == change.expected and attempts < _ATTEMPTS:
        attempts += 1
        try:
            _write(client, change, nonce)
        except Exception as error:
            if not _is_crowded(error):
                return _answer_lost(client, change, nonce, error)
            time.sleep(random.uniform(0, _LONGEST_PAUSE_SECONDS))
    if not _counts(history, nonce):
        raise BeatenError(f"version {change.version} was not made champion: {_winner(history, change)}")
    return history


def registered_model(client: "MlflowClient", name: str) -> "RegisteredModel | None":
    """A registered model with its aliases, or None where there is none of that name."""
    return store.find_or_none(client.get_registered_model, name)


def _answer_lost(client: "MlflowClient", change: Change, nonce: str, error: Exception) -> History:
    """The log if it has the entry although writing it failed: perhaps only the answer was lost."""
    with suppress(Exception):
        history = read(client)
        if _counts(history, nonce):
            return history
    raise UncertainError(
        f"MLflow failed while {change.action} of version {change.version} was written ({one_line(error)[:200]}): "
        "`tintlab history` shows whether it is champion"
    ) from error


def _counts(history: History, nonce: str) -> bool:
    return any(entry.nonce == nonce for entry in history.counted)


def _write(client: "MlflowClient", change: Change, nonce: str) -> None:
    content = asdict(change) | {"by": _user(), "nonce": nonce}
    # Number, source and tag reach the database in one transaction.
    client.create_model_version(
        HISTORY_NAME,
        source=f"models:/{MODEL_NAME}/{change.version}",
        tags={_ENTRY_TAG: json.dumps(content, ensure_ascii=False)},
        description=f"{change.action} version {change.version}: {change.why}",
        await_creation_for=0,
    )


def _entry(version: "ModelVersion") -> Entry | None:
    """The entry that a version of the history's model holds, or None where it holds none."""
    try:
        content = json.loads(version.tags[_ENTRY_TAG])
        change = Change(**{field.name: content[field.name] for field in fields(Change)})
        moment = datetime.fromtimestamp(version.creation_timestamp / 1000, UTC)
        return Entry(int(version.version), change, content["by"], moment, content["nonce"])
    except (KeyError, ValueError, TypeError):
        return None


def _make_log(client: "MlflowClient") -> None:
    from mlflow.exceptions import MlflowException

    if registered_model(client, HISTORY_NAME) is None:
        try:
            client.create_registered_model(HISTORY_NAME, description=_DESCRIPTION)
        except MlflowException as error:
            if error.error_code != "RESOURCE_ALREADY_EXISTS":
                raise


def _is_crowded(error: Exception) -> bool:
    """Whether MLflow refused a write because others wrote at once: it gives up after three attempts."""
    from mlflow.exceptions import MlflowException

    return isinstance(error, MlflowException) and (
        "Giving up after" in error.message or error.error_code == "TEMPORARILY_UNAVAILABLE"
    )


def _winner(history: History, change: Change) -> str:
    later = [entry for entry in history.counted if entry.number > change.expected]
    if not later:
        return "MLflow is too busy to take it; try again"
    winner = later[0]
    return (
        f"{winner.by} was faster and made it version {winner.change.version} "
        f"({winner.change.action}, entry {winner.number} of the history)"
    )


def _same_model(change: Change, other: Change) -> bool:
    return (change.version, change.weights_sha256) == (other.version, other.weights_sha256)


def _user() -> str:
    try:
        return os.environ.get("MLFLOW_TRACKING_USERNAME") or getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"
