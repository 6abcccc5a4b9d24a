"""Print lines, tables and progress bars, whatever the terminal's encoding.

A terminal in Latin-1 can't show an arrow or Δ, and file names can hold bytes that are not valid text. By
default Python raises `UnicodeEncodeError` then, so a single character could end a run of many hours.
`prepare_streams` makes the streams replace such characters instead. `entry_point.run` calls it first in every
program, so it also covers `print`, rich's tables, progress bars and libraries.
"""

import codecs
import io
import sys
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from tqdm import tqdm

if TYPE_CHECKING:
    from rich.table import Table

T = TypeVar("T")

ERRORS = "tintlab.plain"
"""The name of the codec error handler that replaces what an encoding lacks."""

LONGEST_MESSAGE = 200
"""Greatest number of characters of an error message, in a terminal and as a state's message in Prefect."""

_LONGEST_WORD = 40
_RAISING_OR_UGLY = ("strict", "surrogateescape", "backslashreplace")  # `replace`, `ignore`: the user's choice
_PLAIN = {
    "→": "->", "←": "<-", "…": "...", "–": "-", "—": "-", "−": "-", "·": "-", "×": "x", "•": "*",
    "Δ": "d", "λ": "lambda", "σ": "sigma", "Σ": "sum", "χ": "chi", "µ": "u", "μ": "u", "≤": "<=", "≥": ">=",
    "≈": "~", "±": "+-", "½": "1/2", "“": '"', "”": '"', "‘": "'", "’": "'", "✓": "yes", "✗": "no",
}  # fmt: skip


def prepare_streams() -> None:
    """Make stdout and stderr replace characters that their encoding lacks, instead of raising an error."""
    codecs.register_error(ERRORS, _replace)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors in _RAISING_OR_UGLY:
            stream.reconfigure(errors=ERRORS)


def say(text: str, error: bool = False) -> None:
    """Print a line and flush it; with `error`, print it on stderr."""
    print(text, file=sys.stderr if error else sys.stdout, flush=True)


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Pad the cells of plain rows so that columns line up; the columns in `right` line up at their right end."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place in right else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def new_table(*titles: str) -> "Table":
    """A table for `print_table`, in the style of all commands."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    return Table(*titles, box=SIMPLE_HEAD, padding=(0, 1), pad_edge=False)


def print_table(table: "Table") -> None:
    """Print a table as wide as the terminal."""
    from rich.console import Console

    Console(file=sys.stdout).print(table)


def progress(items: Iterable[T], unit: str, doing: str, total: int | None = None) -> "tqdm[T]":
    """A progress bar over `items` on stderr; if stderr is a file, it gets a line from time to time."""
    interval = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(items, desc=doing, unit=f" {unit}", total=total, mininterval=interval, dynamic_ncols=True)


def counted(number: int, noun: str) -> str:
    """A number and its noun: `1 file`, `2 files`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def printable(text: str) -> str:
    """Text that is safe in a table, a terminal and a page: control and surrogate characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(error: BaseException) -> str:
    """The message of `error` on a single line, or the name of its type if it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def shortened(text: str, most: int = LONGEST_MESSAGE) -> str:
    """Shorten a message: its longest words, such as paths, lose their middle first, and then its end goes."""
    while len(text) > most:
        longest = max(text.split(" "), key=len)
        if len(longest) <= _LONGEST_WORD:
            return text[: most - 1].rstrip() + "…"
        keep = max(_LONGEST_WORD, len(longest) - (len(text) - most)) - 1
        text = text.replace(longest, f"{longest[: keep // 3]}…{longest[-(keep - keep // 3) :]}", 1)
    return text


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Codec error handler: ASCII of the same meaning, else the letter without its accent, else an escape."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_plain, error.object[error.start : error.end])), error.end


def _plain(char: str) -> str:
    known = _PLAIN.get(char)
    if known is not None:
        return known
    base = unicodedata.normalize("NFKD", char).encode("ascii", "ignore").decode()
    return base or char.encode("unicode_escape").decode()
