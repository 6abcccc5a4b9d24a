"""Start a program: set up its environment, and report errors that the user can fix as one line."""

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
"""Hosts that bypass the proxy: our own services listen there, and a proxy could not reach them."""


def prepare_environment() -> None:
    """Set the environment variables that this process and its children need; keep those that the user set.

    They switch off the telemetry of libraries, exempt the loopback addresses from proxies, and let other
    Python programs print characters that the terminal's encoding lacks.
    """
    for name, value in TELEMETRY_OPT_OUT.items():
        os.environ.setdefault(name, value)
    os.environ.setdefault("PYTHONIOENCODING", ":backslashreplace")  # the encoding stays the locale's
    _exempt_loopback()


def _exempt_loopback() -> None:
    # Some libraries read the lower-case name, some the upper-case one, and most prefer the lower-case one.
    exempt = os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or ""
    hosts = [host.strip() for host in exempt.split(",") if host.strip()]
    if "*" not in hosts:
        value = ",".join([*hosts, *(host for host in LOOPBACK if host not in hosts)])
        os.environ["no_proxy"] = os.environ["NO_PROXY"] = value


def run(main: Callable[[], None]) -> None:
    """Call `main` as a program. A fault that the user can fix ends it with one line on stderr and status 1.

    Ctrl-C and SIGTERM end it and its children within 10 s, with status 130 and 143, as shells expect.
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
    """Like `run`, for a stage: it also ends when an owner dies, and refuses code that DVC does not expect."""

    _run_watched(main, checkout.refuse_other_code, code_lock.refuse_stale)


def run_owned(main: Callable[[], None]) -> None:
    """Like `run`; if another program owns this one (`processes.ownership`), it also ends with its owner."""
    if processes.OWNER_VARIABLE in os.environ:
        _run_watched(main, checkout.refuse_other_code)
    else:
        run(main)


def _run_watched(main: Callable[[], None], *checks: Callable[[], None]) -> None:
    """Like `run`, with checks before `main`; the program also ends when one of its owners dies."""

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
