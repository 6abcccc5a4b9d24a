"""A store that was copied or moved with its checkout: make its records name the artifacts that came along.

MLflow writes absolute locations of artifacts into its database. Without this, a command in a copied checkout
would overwrite the verdicts and delete the runs of the original, and one in a moved checkout would make the old
folder again. So the locations are compared with the database's own place before a client opens it.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, urlsplit

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import write_text

_SECONDS = 60.0  # to wait for other writers


def former_places(database: Path) -> list[Path]:
    """The state folders that a default store's artifacts are recorded in, other than its own.

    Args:
        database: the file of the store; its artifacts belong into `mlartifacts` beside it.
    """
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)) as connection:
        return list(_former(connection, database.parent))


def follow(database: Path) -> list[Path]:
    """Rewrite the locations of a store that was copied or moved; the folders that they named before.

    All of it happens in one transaction, under the database's own lock: two commands at once rewrite it once.

    Raises:
        TintlabError: the artifacts were left behind.
    """
    if not former_places(database):
        return []
    place = database.parent
    with closing(sqlite3.connect(database, timeout=_SECONDS, isolation_level=None)) as connection:
        connection.execute("begin immediate")
        former = list(_former(connection, place))
        for folder in former:
            if not _artifacts(place).is_dir() and _has_runs(connection):
                raise TintlabError(
                    f"the store {database} names artifacts in {_artifacts(folder)}, but {_artifacts(place)} is "
                    f"missing: copy that folder here"
                )
            for old, new in (
                (_artifacts(folder).as_uri(), _artifacts(place).as_uri()),
                # MLflow's own experiment, which it places beside the folder in which it was started.
                (f"{folder.parent}/mlruns/", f"{place.parent}/mlruns/"),
            ):
                _replace(connection, old, new)
        connection.execute("commit")
    for folder in former:
        _follow_cache(folder.parent, place.parent)
    return former


def _follow_cache(old: Path, new: Path) -> None:
    """The clone of scheduled retrainings shares the checkout's DVC cache: the copy's clone shares the copy's."""
    config = paths.workspace() / ".dvc" / "config.local"
    if config.exists():
        text = config.read_text(encoding="utf-8", errors="surrogateescape")
        write_text(config, text.replace(f"{old}/.dvc/cache", f"{new}/.dvc/cache"))


def _former(connection: sqlite3.Connection, place: Path) -> Iterator[Path]:
    known = connection.execute("select 1 from sqlite_master where name = 'experiments'").fetchone()
    if known is None:
        return
    rows = connection.execute("select distinct artifact_location from experiments").fetchall()
    for (location,) in rows:
        parts = urlsplit(location or "")
        folder = Path(unquote(parts.path))
        # Other locations are the user's own choice.
        ours = parts.scheme == "file" and folder.name == _artifacts(place).name
        if ours and not _is_same(folder.parent, place):
            yield folder.parent


def _is_same(folder: Path, place: Path) -> bool:
    """By the file system: a checkout can be reached by a link as well."""
    try:
        return folder.samefile(place)
    except OSError:
        return False


def _replace(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Replace the start of all texts that are `old` or lie below it, whatever tables MLflow has by now."""
    tables = connection.execute("select name from sqlite_master where type = 'table'").fetchall()
    for (table,) in tables:
        for _, column, kind, *_ in connection.execute(f'pragma table_info("{table}")').fetchall():
            if "CHAR" in kind.upper() or "TEXT" in kind.upper():
                connection.execute(
                    f'update "{table}" set "{column}" = ? || substr("{column}", ?) '
                    f"where substr(\"{column}\", 1, ?) = ? and substr(\"{column}\", ?, 1) in ('', '/')",
                    (new, len(old) + 1, len(old), old, len(old.rstrip("/")) + 1),
                )


def _has_runs(connection: sqlite3.Connection) -> bool:
    return connection.execute("select 1 from runs limit 1").fetchone() is not None


def _artifacts(state: Path) -> Path:
    return state / paths.tracking_artifacts().name
