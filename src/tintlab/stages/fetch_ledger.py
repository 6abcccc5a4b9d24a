"""What fetch knows of the files that it has gathered: on disk, so that memory does not grow with their number."""

import contextlib
import dataclasses
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Candidate:
    """A file that may be a photograph, copied into our folder under its hash.

    Attributes:
        sha256: of its bytes, 64 hexadecimal digits. Its name in the folder until it is read.
        origin: source and path within it, printable.
        category: from the source's attribution table, else its first folder.
        attribution: its row in the source's attribution table.
        copies: number of other files with the same bytes.
    """

    sha256: str
    origin: str
    category: str
    attribution: Mapping[str, str]
    copies: int = 0


class Ledger:
    """Candidates and their attributions, in an SQLite file.

    Args:
        path: of the file, which must not exist.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.executescript(
            """
            PRAGMA journal_mode = OFF;
            PRAGMA synchronous = OFF;
            CREATE TABLE candidates (
                sha256 TEXT PRIMARY KEY, origin TEXT, category TEXT, attribution TEXT, copies INTEGER,
                salted TEXT, photo TEXT
            ) WITHOUT ROWID;
            CREATE TABLE attributions (file TEXT PRIMARY KEY, columns TEXT) WITHOUT ROWID;
            BEGIN;
            """
        )

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    # --- the attribution table of one source

    def forget_attributions(self) -> None:
        """Begin with another source."""
        self._database.execute("DELETE FROM attributions")

    def note_attributions(self, rows: Iterable[tuple[str, dict[str, str]]]) -> None:
        """Add rows of an attribution table, by file name; a later row of the same file counts."""
        self._database.executemany(
            "INSERT OR REPLACE INTO attributions VALUES (?, ?)",
            ((file, json.dumps(row)) for file, row in rows),
        )

    def has_attributions(self) -> bool:
        """Whether the source has an attribution table with rows."""
        return self._database.execute("SELECT 1 FROM attributions LIMIT 1").fetchone() is not None

    def attribution_of(self, file: str) -> dict[str, str]:
        """The row of a file; empty where there is none."""
        with contextlib.suppress(UnicodeEncodeError):  # no table names a file that isn't UTF-8
            found = self._database.execute(
                "SELECT columns FROM attributions WHERE file = ?", [file]
            ).fetchone()
            return json.loads(found[0]) if found else {}
        return {}

    # --- candidates

    def add(self, candidate: Candidate, salted: str) -> None:
        """Add a candidate; one with the same content as an earlier one counts as a copy of that."""
        self._database.execute(
            "INSERT INTO candidates VALUES (?, ?, ?, ?, 0, ?, '')"
            "ON CONFLICT (sha256) DO UPDATE SET copies = copies + 1",
            [
                candidate.sha256,
                candidate.origin,
                candidate.category,
                json.dumps(candidate.attribution),
                salted,
            ],
        )

    def drop_beyond(self, limit: int) -> list[str]:
        """Keep the `limit` candidates with the smallest salted hashes; the hashes of the others."""
        chosen = "SELECT sha256 FROM candidates ORDER BY salted LIMIT -1 OFFSET ?"
        dropped = [sha256 for (sha256,) in self._database.execute(chosen, [limit])]
        self._database.executemany("DELETE FROM candidates WHERE sha256 = ?", ([one] for one in dropped))
        return dropped

    def __len__(self) -> int:
        return int(self._database.execute("SELECT count(*) FROM candidates").fetchone()[0])

    def candidates(self) -> Iterator[Candidate]:
        """All candidates, sorted by hash; the ledger may change meanwhile."""
        after = ""
        columns = "sha256, origin, category, attribution, copies"
        chosen = f"SELECT {columns} FROM candidates WHERE sha256 > ? ORDER BY sha256 LIMIT 1000"
        while rows := self._database.execute(chosen, [after]).fetchall():
            for sha256, origin, category, attribution, copies in rows:
                yield Candidate(sha256, origin, category, json.loads(attribution), copies)
            after = rows[-1][0]

    def name(self, sha256: str, photo: str) -> None:
        """Note the name of a readable photograph in data/raw/."""
        self._database.execute("UPDATE candidates SET photo = ? WHERE sha256 = ?", [photo, sha256])

    def named_attributions(self) -> Iterator[dict[str, str]]:
        """The attributions of all readable photographs with their names, sorted by name."""
        chosen = "SELECT photo, attribution FROM candidates WHERE photo != '' ORDER BY photo"
        for photo, attribution in self._database.execute(chosen):
            yield json.loads(attribution) | {"photo": photo}
