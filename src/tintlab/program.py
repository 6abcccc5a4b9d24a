"""What every entry point does first: environment, and errors as one clear line."""

import os
import sys
from collections.abc import Callable, Iterable
from typing import TypeVar

from tqdm import tqdm

from tintlab.errors import TintlabError

T = TypeVar("T")

TELEMETRY_OPT_OUT = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
}


def prepare_environment() -> None:
    """Opt out of every library's telemetry, unless the user has set the variable himself."""
    for name, value in TELEMETRY_OPT_OUT.items():
        os.environ.setdefault(name, value)


def run(main: Callable[[], None]) -> None:
    """Call `main` as a program: a `TintlabError` or an `OSError` ends it with one line on stderr, status 1.

    Ctrl-C ends it with status 130, as shells expect.
    """
    prepare_environment()
    try:
        main()
    except (TintlabError, OSError) as error:
        sys.exit(f"error: {one_line(error)}")
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(130)


def progress(items: Iterable[T], unit: str, doing: str, total: int | None = None) -> "tqdm[T]":
    """A progress bar over `items` on stderr; where that is a file, a line now and then."""
    interval = 0.2 if sys.stderr.isatty() else 10.0
    return tqdm(items, desc=doing, unit=f" {unit}", total=total, mininterval=interval, dynamic_ncols=True)


def printable(text: str) -> str:
    """Text that is safe in a table, a terminal and a page: control and surrogate characters are escaped."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def one_line(error: BaseException) -> str:
    """The message of `error` on a single line, or its type's name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
