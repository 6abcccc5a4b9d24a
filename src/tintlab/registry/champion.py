"""Keep MLflow's alias `champion`, which its pages and `mlflow models serve` use, in line with the history.

Anyone can move or delete an alias, MLflow drops it silently with a deleted version, and a command can be cut
short before it sets it. The history decides, so each reader here corrects the alias and prints a note.
"""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING

from tintlab.registry import history
from tintlab.registry.history import MODEL_NAME, History
from tintlab.tracking import store

if TYPE_CHECKING:
    from mlflow import MlflowClient

CHAMPION = "champion"


def read_history(client: "MlflowClient") -> History:
    """Read the history and correct the alias; a note on stderr says what was wrong."""
    return correct_alias(client, history.read(client), warn)


def correct_alias(client: "MlflowClient", log: History, say: Callable[[str], None]) -> History:
    """Make the alias `champion` name what the log says. Returns the log as it is then.

    Args:
        client: of the registry.
        log: the history as it was read.
        say: called with a sentence where the alias was wrong or the log has been changed by hand.
    """
    for number in log.lost:
        say(f"entry {number} of the history is gone or unreadable: someone changed it by hand")
    while True:
        model = history.registered_model(client, MODEL_NAME)
        found = model.aliases.get(CHAMPION) if model else None
        champion = log.champion
        if (found and int(found)) == (champion and champion.version):
            return log
        if (newer := history.read(client)).head != log.head:
            log = newer  # someone changed the champion since the log was read
            continue
        if champion is None:
            client.delete_registered_model_alias(MODEL_NAME, CHAMPION)
            say(f"the alias {CHAMPION} named version {found}, which was never promoted: removed")
        elif store.find_or_none(client.get_model_version, MODEL_NAME, str(champion.version)):
            client.set_registered_model_alias(MODEL_NAME, CHAMPION, str(champion.version))
            say(_correction(log, found))
        else:
            say(deleted(champion.version))
            return log
        # Another process may have changed the champion and set the alias in this moment.
        log = history.read(client)


def deleted(version: int) -> str:
    """The message about a champion that is no longer in the registry."""
    return (
        f"version {version}, the champion, was deleted in MLflow: `tintlab rollback` restores the one before"
    )


def warn(text: str) -> None:
    """Print a note on stderr; the command goes on."""
    sys.stderr.write(f"note: {text}\n")


def _correction(log: History, found: str | None) -> str:
    assert log.champion is not None
    earlier = log.counted[-2].change.version if len(log.counted) > 1 else None
    state = f"named version {found}" if found else "was missing"
    if (found and int(found)) == earlier:
        reason = (
            f", as before entry {log.head} of the history: a command was cut short, or someone did it by hand"
        )
    else:
        reason = f", so someone {'moved' if found else 'deleted'} it by hand"
    rightful = f"it names version {log.champion.version} now, as the history says"
    return f"the alias {CHAMPION} {state}{reason}; {rightful}"
