"""What every entry point does first: environment, and errors as one clear line."""

import errno
import os
import sys
from collections.abc import Callable
from concurrent.futures.process import BrokenProcessPool

from tintlab.system import checkout, code_lock, console, processes
from tintlab.system.console import one_line
from tintlab.system.errors import TintlabError

TELEMETRY_OPT_OUT = {
    "DO_NOT_TRACK": "true",
    "DVC_NO_ANALYTICS": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "GX_ANALYTICS_ENABLED": "false",
}


LOOPBACK = ("localhost", "127.0.0.1", "::1")
"""What never goes through a proxy: our own services listen there, and a proxy could not reach them."""


def prepare_environment() -> None:
    """Set what this process and all that it starts need; what the user has set himself stays.

    Telemetry of libraries is off, loopback is exempt from proxies, and what other Python programs print can't
    fail in the terminal's encoding.
    """
    for name, value in TELEMETRY_OPT_OUT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PYTHONIOENCODING", ":backslashreplace")  # the encoding stays the locale's
    _exempt_loopback()


def _exempt_loopback() -> None:
    # Some libraries read the name in small letters, some in capitals, and most prefer the small ones.
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in exempt.split(",") if host.strip()]
    if "*" not in hosts:
        value = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = value


def run(main: Callable[[], None]) -> None:
    """Call `main` as a program. A fault that the user can fix ends it with one line on stderr and status 1.

    Ctrl-C and SIGTERM end it with status 130 and 143, as shells expect, and within 10 s; its children too.
    """
    prepare_environment()
    console.prepare_streams()
    try:
        with processes.leave_when_asked():
            main()
    except (TintlabError, OSError, BrokenProcessPool) as error:
        sys.exit(f"error: {console.shortened(_describe_fault(error))}")
    except (KeyboardInterrupt, processes.Interrupted) as error:
        sys.stderr.write("interrupted\n")
        sys.exit(error.code if isinstance(error, processes.Interrupted) else 130)


def run_stage(main: Callable[[], None]) -> None:
    """As `run`, for a stage: it also ends when its starters die, and refuses code that DVC does not expect."""

    _run_watched(main, checkout.refuse_other_code, code_lock.refuse_stale)


def run_owned(main: Callable[[], None]) -> None:
    """As `run`; where a program started this one as its owner (`processes.ownership`), it also ends with that."""
    if processes.OWNER_VARIABLE in os.environ:
        _run_watched(main, checkout.refuse_other_code)
    else:
        run(main)


def _run_watched(main: Callable[[], None], *checks: Callable[[], None]) -> None:
    """As `run`, with checks before it; it also ends when those who started it die."""

    def watched() -> None:
        processes.watch_owners()
        for check in checks:
            check()
        main()

    run(watched)


def _describe_fault(error: Exception) -> str:
    if isinstance(error, BrokenProcessPool):
        return "a worker process was killed, most likely for want of memory: free some, then run again"
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{one_line(error)}: make space, then run again; what was finished is kept"
    return one_line(error)
