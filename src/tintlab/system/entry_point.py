"""What every entry point does first: environment, and errors as one clear line."""

import errno
import os
import sys
from collections.abc import Callable, Iterable
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from tqdm import tqdm

from tintlab.system import processes
from tintlab.system.errors import TintlabError

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
    """Call `main` as a program: a fault that people can mend ends it with one line on stderr, status 1.

    Ctrl-C and SIGTERM end it with status 130 and 143, as shells expect, and within 10 s; its children too.
    """
    prepare_environment()
    try:
        with processes.leaving_when_asked():
            main()
    except (TintlabError, OSError, BrokenProcessPool) as error:
        sys.exit(f"error: {_fault(error)}")
    except (KeyboardInterrupt, processes.Interrupted) as error:
        sys.stderr.write("interrupted\n")
        sys.exit(error.code if isinstance(error, processes.Interrupted) else 130)


def run_stage(main: Callable[[], None]) -> None:
    """As `run`, for a program that also ends when those who started it die; see `processes.owners`."""

    def watched() -> None:
        processes.watch_owners()
        main()

    run(watched)


def run_owned(main: Callable[[], None]) -> None:
    """As `run`; where a program started this one as its owner (`processes.ownership`), it also ends with that."""
    if processes.OWNER_VARIABLE in os.environ:
        run_stage(main)
    else:
        run(main)


def _fault(error: Exception) -> str:
    if isinstance(error, BrokenProcessPool):
        return "a worker process was killed, most likely for want of memory: free some, then run again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{one_line(error)}: make space, then run again; what was finished is kept"
    return one_line(error)


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
