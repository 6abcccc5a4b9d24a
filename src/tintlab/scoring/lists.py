"""Lists of photographs: text with a path a line, or a table with a column `path`, in any Unicode encoding."""

import codecs
import csv
import io
import os
from pathlib import Path

from tintlab.system.errors import TintlabError

LISTS = (".txt", ".list", ".lst")
"""Suffixes of files that name photographs, one a line."""

TABLES = (".csv", ".tsv")
"""Suffixes of tables that name photographs in a column `path`."""

_COLUMN = "path"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # before UTF-16, whose mark begins it
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def is_list(path: Path) -> bool:
    """Whether a file names photographs, by its suffix."""
    return path.suffix.lower() in (*LISTS, *TABLES)


def read_list(path: Path) -> list[Path]:
    """The paths that a list names, each once, in its order; relative ones are relative to the list.

    Raises:
        TintlabError: it names none, is no text, or is a table without a column `path`.
    """
    data = _as_utf8(path)
    lines = _column(path, data) if path.suffix.lower() in TABLES else data.split(b"\n")
    folder = path.parent.absolute()
    names = (line.rstrip(b"\r") for line in lines)
    found = dict.fromkeys(
        Path(os.path.normpath(folder / os.fsdecode(name))) for name in names if name.strip()
    )
    if not found:
        raise TintlabError(f"{path} names no photographs: give a path a line")
    return list(found)


def _as_utf8(path: Path) -> bytes:
    """The list without its byte order mark. Without a mark, bytes stay as they are: names need not be UTF-8."""
    data = path.read_bytes()
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _recoded(path, data[len(mark) :], encoding)
    if b"\0" not in data:
        return data
    # UTF-16 without a mark: of ASCII letters, every other byte is zero.
    return _recoded(path, data, "utf-16-le" if data[1::2].count(0) >= data[::2].count(0) else "utf-16-be")


def _recoded(path: Path, data: bytes, encoding: str) -> bytes:
    try:
        text = data.decode(encoding, "surrogateescape" if encoding == "utf-8" else "strict")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise TintlabError(f"{path} is no text with a path a line: save it as UTF-8")
    return text.encode("utf-8", "surrogateescape")


def _column(path: Path, data: bytes) -> list[bytes]:
    text = data.decode("utf-8", "surrogateescape")
    first = text.partition("\n")[0]
    delimiter = max("\t;,", key=first.count)
    try:
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
        columns = {(name or "").strip().lower(): name for name in rows.fieldnames or ()}
        if _COLUMN not in columns:
            found = ", ".join(name for name in columns if name)[:80] or "none"
            raise TintlabError(
                f"{path} has no column {_COLUMN!r} (its columns: {found}): "
                f"name the column of photographs {_COLUMN!r}, or give a .txt with a path a line"
            )
        return [(row[columns[_COLUMN]] or "").encode("utf-8", "surrogateescape") for row in rows]
    except csv.Error as error:
        raise TintlabError(
            f"{path} is no table that can be read ({error}): save it as CSV in UTF-8"
        ) from None
