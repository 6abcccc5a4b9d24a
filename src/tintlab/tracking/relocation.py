"""Correct the artifact locations in an MLflow store that was copied or moved with its checkout.

MLflow writes absolute artifact locations into its database. Without a correction, a command in a copied
checkout would overwrite the verdicts and delete the runs of the original, and a command in a moved checkout
would create the old folder again. So the locations are compared with the database's own path before a client
opens it.
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
    """Rewrite the locations of a store that was copied or moved. Returns the folders that they named before.

    This happens in one transaction under the database's lock, so two commands at once rewrite it only once.

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
                # MLflow's default experiment, which lies beside the folder in which MLflow was started.
                (f"{folder.parent}/mlruns/", f"{place.parent}/mlruns/"),
            ):
                _replace(connection, old, new)
        connection.execute("commit")
    for folder in former:
        _follow_cache(folder.parent, place.parent)
    return former


def _follow_cache(old: Path, new: Path) -> None:
    """Make the clone of scheduled retrainings use this checkout's DVC cache instead of the original's."""
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
    """Compare by the file system, because a link may lead to a checkout."""
    try:
        return folder.samefile(place)
    except OSError:
        return False


def _replace(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Replace the path `old` by `new` in all texts of all tables that are this path or begin with it."""
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
