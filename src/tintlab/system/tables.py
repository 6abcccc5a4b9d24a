"""The tables between stages: their columns, and reading and writing them as CSV.

Columns are Arrow's, which take little more memory than the file takes on disk. Where a whole table would be too
much, `read_pieces` and `TableWriter` hold a part of it at a time.
"""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import pandas as pd

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path

Row = TypeVar("Row")

TEXT, INT, FLOAT = "str", "int64", "float64"

PHOTO_FACTS = {
    "photo": TEXT,  # file name in data/raw; empty when it could not be read
    "origin": TEXT,  # source and path within it
    "category": TEXT,
    "sha256": TEXT,
    "bytes": INT,
    "copies": INT,  # how many more files have the same bytes
    "format": TEXT,
    "mode": TEXT,
    "width": INT,
    "height": INT,
    "phash": TEXT,  # 64-bit perceptual hash, 16 hexadecimal digits
    "colourfulness": FLOAT,
    "l_low": FLOAT,  # 1st and 99th percentile of L*
    "l_high": FLOAT,
    "a_low": FLOAT,
    "a_high": FLOAT,
    "b_low": FLOAT,
    "b_high": FLOAT,
    "problem": TEXT,  # why it can't be read; empty when it can
}
SPLIT_COLUMNS = {
    "photo": TEXT,
    "split": TEXT,  # train, val or test
    "cluster": TEXT,  # near-duplicates within a split share the name of their first photo
    "excluded": TEXT,  # why it takes no part; empty when it does
}
SQUARE_COLUMNS = {
    "photo": TEXT,
    "cluster": TEXT,
    "category": TEXT,
    "left": INT,
    "top": INT,
}

SCHEMAS: dict[str, dict[str, str]] = {
    paths.PHOTOS.name: PHOTO_FACTS,
    paths.ATTRIBUTION.name: {"photo": TEXT, "source": TEXT, "licence": TEXT, "author": TEXT, "origin": TEXT},
    paths.SPLITS.name: SPLIT_COLUMNS,
    paths.ACCEPTED.name: {
        "photo": TEXT,
        "split": TEXT,
        "cluster": TEXT,
        "category": TEXT,
        "width": INT,
        "height": INT,
    },
    paths.QUARANTINE.name: {"photo": TEXT, "origin": TEXT, "split": TEXT, "reason": TEXT},
    "train.csv": SQUARE_COLUMNS,
    "val.csv": SQUARE_COLUMNS,
}


_ARROW_TYPES = {TEXT: "large_string", INT: "int64", FLOAT: "float64"}
_BLOCK = 4 << 20
"""Bytes of a file that are parsed at once. A row must fit."""
_ROWS = 10_000
"""Rows that are written at once."""


def read_table(path: Path, columns: Sequence[str] | None = None) -> pd.DataFrame:
    """Read one of the pipeline's tables, with the dtypes of its schema.

    Args:
        path: of the table; the file's name selects the schema.
        columns: which of them to read; None reads all.

    Raises:
        TintlabError: the file is missing, or a column of its schema is.
    """
    with _open_table(path, columns) as reader:
        return _to_pandas(reader.read_all(), path)


def read_pieces(
    path: Path, columns: Sequence[str] | None = None, rows: int = 20_000
) -> Iterator[pd.DataFrame]:
    """Read a table in pieces of `rows` rows, the last with fewer; an empty table is one piece.

    Raises:
        TintlabError: see `read_table`.
    """
    import pyarrow as pa

    with _open_table(path, columns) as reader:
        held = reader.schema.empty_table()
        for batch in reader:
            held = pa.concat_tables([held, pa.Table.from_batches([batch])])
            while len(held) > rows:
                yield _to_pandas(held[:rows], path)
                held = held[rows:]
        yield _to_pandas(held, path)


@contextmanager
def _open_table(path: Path, columns: Sequence[str] | None) -> Iterator[Any]:
    """A reader of Arrow's record batches."""
    from pyarrow import csv

    schema = SCHEMAS[path.name]
    options = csv.ConvertOptions(
        column_types={name: _ARROW_TYPES[dtype] for name, dtype in schema.items()},
        # An empty text stays a text; only an empty number is "not known".
        null_values=[""],
        strings_can_be_null=False,
        include_columns=list(columns or schema),
    )
    try:
        with path.open("rb") as file:
            yield csv.open_csv(
                file,
                csv.ReadOptions(use_threads=False, block_size=_BLOCK),
                csv.ParseOptions(newlines_in_values=True),
                options,
            )
    except FileNotFoundError:
        raise TintlabError(f"{path} is missing: run `dvc repro` to make it") from None
    except KeyError as error:  # Arrow names the column in quotes
        column = str(error).split("'")[1]
        raise TintlabError(f"{path} lacks the column {column!r}: delete it and run `dvc repro`") from None
    except ValueError as error:
        raise TintlabError(f"{path} can't be read ({error}): delete it and run `dvc repro`") from None


def _to_pandas(table: Any, path: Path) -> pd.DataFrame:
    for field, column in zip(table.schema, table.columns, strict=True):
        if SCHEMAS[path.name][field.name] == INT and column.null_count:
            raise ValueError(f"column {field.name!r} lacks a whole number")
    frame: pd.DataFrame = table.to_pandas()
    return frame


def batched(rows: Iterable[Row], count: int) -> Iterator[list[Row]]:
    """Lists of `count` rows each, the last one shorter."""
    left = iter(rows)
    while part := list(itertools.islice(left, count)):
        yield part


class TableWriter:
    """Writes one of the pipeline's tables row by row: the schema's columns in the schema's order.

    Line ends within a text become Unix's, for a bare carriage return would end the row.

    Args:
        file: to write to.
        name: of the table, which selects its schema; without a schema the columns stay as they are.
    """

    def __init__(self, file: IO[str], name: str) -> None:
        self._file, self._schema = file, SCHEMAS.get(name)
        self._begun = False

    def append(self, table: pd.DataFrame) -> None:
        """Write the rows of `table` after those before; the first call also writes the header."""
        for start in range(0, max(len(table), 1), _ROWS):
            piece = table.iloc[start : start + _ROWS]
            if self._schema is not None:
                piece = piece.reindex(columns=list(self._schema)).astype(self._schema)
            piece = piece.replace("\r\n?", "\n", regex=True)
            piece.to_csv(
                self._file, index=False, header=not self._begun, float_format="%.6g", lineterminator="\n"
            )
            self._begun = True


@contextmanager
def open_writer(path: Path) -> Iterator[TableWriter]:
    """A writer of the table at `path`, which appears there as a whole at the end of the block."""
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        yield TableWriter(file, path.name)


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write one of the pipeline's tables, atomically; see `TableWriter`."""
    with open_writer(path) as writer:
        writer.append(table)
