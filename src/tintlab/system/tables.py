"""The tables between stages: their columns, and reading and writing them as CSV."""

from pathlib import Path

import pandas as pd

from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path

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


def read_table(path: Path) -> pd.DataFrame:
    """Read one of the pipeline's tables, with the dtypes of its schema.

    Raises:
        TintlabError: the file is missing, or a column of its schema is.
    """
    schema = SCHEMAS[path.name]
    try:
        # An empty text stays a text; only an empty number is "not known".
        unknown = {column: [""] for column, dtype in schema.items() if dtype == FLOAT}
        table = pd.read_csv(path, dtype=schema, keep_default_na=False, na_values=unknown)
    except FileNotFoundError:
        raise TintlabError(f"{path} is missing: run `dvc repro` to make it") from None
    except ValueError as error:
        raise TintlabError(f"{path} can't be read ({error}): delete it and run `dvc repro`") from None
    missing = [column for column in schema if column not in table.columns]
    if missing:
        raise TintlabError(f"{path} lacks the column {missing[0]!r}: delete it and run `dvc repro`")
    return table[list(schema)]


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Write one of the pipeline's tables: the schema's columns in the schema's order, atomically.

    Line ends within a text become Unix's, for a bare carriage return would end the row.
    """
    schema = SCHEMAS.get(path.name)
    if schema is not None:
        table = table.reindex(columns=list(schema)).astype(schema)
    table = table.replace("\r\n?", "\n", regex=True)
    with atomic_path(path) as temporary:
        table.to_csv(temporary, index=False, float_format="%.6g", lineterminator="\n")
