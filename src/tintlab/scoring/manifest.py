"""Record the result of each photograph of an archive: journals, parts, the merged manifest, the quarantine list.

In OUTPUT/.tintlab-score/parts/ each writer appends one line per finished photograph to its own journal. Now and
then it turns the journal into a Parquet file, which is not changed later. A process killed at any moment loses
no appended line. A photograph may occur twice; its last row counts.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tintlab.imaging.statistics import HISTOGRAM, SCALARS
from tintlab.system.console import printable
from tintlab.system.files import atomic_path
from tintlab.system.locks import exclusive

Outcome = Literal["coloured", "quarantined", "skipped"]

STATE = ".tintlab-score"
"""The folder in OUTPUT with settings, lock and parts."""

SETTINGS = "settings.json"
"""In that folder, what the last scoring was done with."""

MANIFEST, QUARANTINE, PAGE = "manifest.parquet", "quarantine.csv", "index.html"

DRIFT_PREFIX = "drift_"
"""Before the columns with the figures of `summaries.summarize`."""

_ROWS_A_PART = 2000
_SECONDS_A_PART = 60.0
_FACTS = pa.schema(
    [
        ("input", pa.string()),
        ("page", pa.int32()),
        ("input_sha256", pa.string()),
        ("input_bytes", pa.int64()),
        ("input_mtime_ns", pa.int64()),
        ("input_etag", pa.string()),
        ("output", pa.string()),
        ("output_sha256", pa.string()),
        ("output_bytes", pa.int64()),
        ("more_sha256", pa.string()),
        ("outcome", pa.string()),
        ("reason", pa.string()),
        ("notes", pa.string()),
        ("more_pages", pa.int32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("model_version", pa.int32()),
        ("weights_sha256", pa.string()),
        ("engine", pa.string()),
        ("descan", pa.string()),
        ("hints", pa.string()),
        ("seconds", pa.float64()),
        ("finished", pa.timestamp("us", tz="UTC")),
    ]
)
SCHEMA = pa.schema(
    [*_FACTS, *(pa.field(f"{DRIFT_PREFIX}{name}", pa.float64()) for name in (*HISTOGRAM, *SCALARS))]
)
"""The columns of a manifest; numbers that are not known are null."""

ALWAYS = [
    name for name in SCHEMA.names if name not in ("more_pages", "input_etag", "page", "descan", "hints")
]
"""The columns that manifests of all versions have."""

_TIMES = ["seconds", "finished"]

# Else pandas makes them floats where one is missing, and times in nanoseconds lose their last digits.
_WHOLE_NUMBERS = {pa.int64(): pd.Int64Dtype(), pa.int32(): pd.Int32Dtype()}


@dataclass(frozen=True)
class Record:
    """The result of one photograph: a row.

    Attributes:
        input: its path below INPUT; bytes that are no UTF-8 are spelled out.
        page: its number in a file of several photographs, from 1; 0 in a file of one.
        outcome: `skipped` is also a folder that was not entered, whose `input` ends with `/`.
        reason: of a quarantined or skipped one.
        notes: what could not be taken over from the source.
        input_etag: by which a store identifies the content; None of a file on disk.
        more_pages: pages or frames of the source that were not coloured.
        output: path below OUTPUT; of variants, that of the first, as for its sha256 and size.
        more_sha256: of the further variants in turn, with spaces between.
        engine: what ran the network, and its precision.
        descan: how fading was evened out, where it was.
        hints: how many colours a person gave to places, and a hash of them.
        seconds: from opening the source to the finished file, whatever else went on meanwhile.
        figures: see `summaries.summarize`.
    """

    input: str
    outcome: Outcome
    reason: str = ""
    notes: str = ""
    page: int = 0
    more_pages: int = 0
    input_sha256: str = ""
    input_bytes: int | None = None
    input_mtime_ns: int | None = None
    input_etag: str | None = None
    output: str = ""
    output_sha256: str = ""
    output_bytes: int | None = None
    more_sha256: str = ""
    width: int | None = None
    height: int | None = None
    model_version: int | None = None
    weights_sha256: str = ""
    engine: str = ""
    descan: str = ""
    hints: str = ""
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict)

    def as_row(self) -> dict[str, Any]:
        """The row, but for the time at which it was finished."""
        row = asdict(self)
        figures: dict[str, float] = row.pop("figures")
        return row | {f"{DRIFT_PREFIX}{name}": value for name, value in figures.items()}


class PartWriter:
    """Appends rows under one name; safe to call from several threads. See `open_part`.

    Args:
        folder: of the parts.
        name: of the journal, and the beginning of its parts' names.
        on_part: called with each finished part.
    """

    def __init__(self, folder: Path, name: str, on_part: Callable[[Path], None] = lambda _: None) -> None:
        self._folder, self._name, self._on_part = folder, name, on_part
        self._path = folder / f"{name}.jsonl"
        self._lock = threading.Lock()
        self._rows = _read_journal(self._path)  # left by a killed process
        self._roll()
        self._file = self._path.open("a", encoding="utf-8")
        self._began = time.monotonic()

    def add(self, record: Record) -> None:
        """Append one row; it survives the death of this process."""
        row = record.as_row() | {"finished": time.time()}
        with self._lock:
            self._file.write(json.dumps(row) + "\n")
            self._file.flush()
            self._rows.append(row)
            if len(self._rows) >= _ROWS_A_PART or time.monotonic() - self._began > _SECONDS_A_PART:
                self._roll()

    def close(self) -> None:
        """Turn what is left of the journal into a part, and remove it."""
        with self._lock:
            self._roll()
            self._file.close()
            self._path.unlink()

    def _roll(self) -> None:
        """Rows become a part, then the journal is emptied: killed in between, rows are in both."""
        if self._rows:
            taken = len(list(self._folder.glob(f"{self._name}.*.parquet")))
            part = self._folder / f"{self._name}.{taken + 1:05}.parquet"
            _write(part, _to_table(self._rows))
            self._on_part(part)
        if self._path.exists():
            with self._path.open("r+b") as file:
                file.truncate(0)
        self._rows = []
        self._began = time.monotonic()


@contextmanager
def open_part(
    output: Path, name: str, on_part: Callable[[Path], None] = lambda _: None
) -> Iterator[PartWriter]:
    """Append rows to the manifest of `output` under a name that no other process uses at the same time.

    Raises:
        HeldError: somebody does.
    """
    folder = parts_folder(output)
    folder.mkdir(parents=True, exist_ok=True)
    with exclusive(folder / f"{name}.lock", f"another scoring of the part {name}"):
        writer = PartWriter(folder, name, on_part)
        try:
            yield writer
        finally:
            writer.close()


def parts_folder(output: Path) -> Path:
    """The folder of journals and parts."""
    return output / STATE / "parts"


def read_records(output: Path, name: str = "") -> pd.DataFrame:
    """The last row of each photograph that all parts hold, or those of one name, by input and page."""
    rows: pd.DataFrame = _read_last_rows(output, name or "*").to_pandas(types_mapper=_WHOLE_NUMBERS.get)
    return rows


def merge_parts(output: Path) -> pd.DataFrame:
    """Write OUTPUT/manifest.parquet and OUTPUT/quarantine.csv from all parts; returns the manifest.

    A manifest that would differ in times alone stays as it is: the same scoring keeps its run in MLflow.
    """
    table = _read_last_rows(output, "*")
    if not _says_the_same(output / MANIFEST, table):
        _write(output / MANIFEST, table)
    rows: pd.DataFrame = table.to_pandas(types_mapper=_WHOLE_NUMBERS.get)
    bad = rows[rows["outcome"] == "quarantined"]
    reasons = [
        f"page {page}: {reason}" if page else reason
        for page, reason in zip(bad["page"], bad["reason"], strict=True)
    ]
    listed = pd.DataFrame({"input": bad["input"].map(printable), "reason": reasons})
    with atomic_path(output / QUARANTINE) as temporary:
        listed.to_csv(temporary, index=False, lineterminator="\n")
    return rows


def _read_last_rows(output: Path, names: str) -> pa.Table:
    folder = parts_folder(output)
    tables = [pq.read_table(path, schema=SCHEMA) for path in sorted(folder.glob(f"{names}.*.parquet"))]
    tables += [_to_table(_read_journal(path)) for path in sorted(folder.glob(f"{names}.jsonl"))]
    table = pa.concat_tables([SCHEMA.empty_table(), *tables]).sort_by("finished")
    pages = table["page"].fill_null(0)  # parts of before there were pages
    table = table.set_column(table.schema.get_field_index("page"), "page", pages)
    earlier = table.select(["input", "page"]).to_pandas().duplicated(keep="last")
    return table.filter(pa.array(~earlier)).sort_by([("input", "ascending"), ("page", "ascending")])


def _says_the_same(path: Path, table: pa.Table) -> bool:
    try:
        return bool(pq.read_table(path).drop_columns(_TIMES).equals(table.drop_columns(_TIMES)))
    except (OSError, ValueError, KeyError):  # none yet, damaged, or of an earlier tintlab
        return False


def _to_table(rows: list[dict[str, Any]]) -> pa.Table:
    stamped = [row | {"finished": round(row["finished"] * 1e6)} for row in rows]
    return pa.Table.from_pylist(stamped, SCHEMA)


def _write(path: Path, table: pa.Table) -> None:
    with atomic_path(path) as temporary:
        pq.write_table(table, temporary, compression="zstd")


def _read_journal(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a journal."""
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    lines = text.split("\n")[:-1]  # the last is empty, or was cut short
    return [json.loads(line) for line in lines if line]
