"""Shared by all flows: run `tintlab`, retry, notify, end."""

import codecs
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Annotated, Any
from uuid import UUID

import psutil
from prefect import State, runtime
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import StateType
from prefect.exceptions import FailedRun, TerminationSignal
from prefect.logging import get_run_logger
from prefect.logging.handlers import APILogHandler
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner
from pydantic import Field

from tintlab.system import entry_point, processes, suggestions
from tintlab.system.errors import TintlabError
from tintlab.system.urls import redacted

Preset = Annotated[str, Field(json_schema_extra={"enum": list(suggestions.preset_names())})]
"""A preset of this project; Prefect's form offers those that there are when the flow is deployed."""

NOTIFY_VARIABLE = "TINTLAB_NOTIFY"
"""The target of notifications: an Apprise URL, or `block:TYPE/NAME` for a notification block of Prefect."""

_ERROR = re.compile(r"(?:error|ERROR): (.*)")
_ELSEWHERE = "the pipeline stopped: the reason stands above"
_LINE_ENDS = re.compile(r"[\r\n]+")
_LEAVE_SECONDS = processes.LEAVE_SECONDS + 2
_SURROUNDINGS = {"PYTHONUNBUFFERED": "1"} | entry_point.TELEMETRY_OPT_OUT


def _retried_on(words: str) -> dict[str, Any]:
    """Options of a task that is retried only if its message matches."""

    def matches(_: Any, __: Any, state: State[Any]) -> bool:
        error = state.result(raise_on_failure=False)
        return isinstance(error, TintlabError) and re.search(words, str(error)) is not None

    return {
        "retries": 20,
        "retry_delay_seconds": 15,
        "retry_condition_fn": matches,
        "cache_policy": NO_CACHE,
    }


_UNREACHABLE = "MLflow at .* can't be reached|wait for MLflow at"

NETWORK = _retried_on(_UNREACHABLE)
"""For tasks that use MLflow, which may be away for minutes. Other failures would only repeat."""

PROMOTION = _retried_on(f"{_UNREACHABLE}|MLflow failed while promote|its alias may not say so yet")
"""For tasks that are safe to repeat when their outcome is unknown. A rollback is not."""


def start_flow() -> None:
    """Start a flow: it will end with the worker that started it, however that dies.

    Otherwise a training would continue and nobody could cancel it. A run started by hand ends with the shell's
    script, as `tintlab repro` does.
    """
    entry_point.prepare_environment()
    for name in ("prefect.flow_runs", "prefect.engine"):
        logging.getLogger(name).addFilter(_is_no_repetition)
    worker = [psutil.Process(os.getppid())] if "PREFECT__WORKER_NAME" in os.environ else []
    processes.watch_owners(*worker)


def _is_no_repetition(record: logging.LogRecord) -> bool:
    """Drop the traceback of Prefect's own frames that follows a failed state: its message says it all."""
    return not (record.exc_info and record.exc_info[0] is FailedRun)


def task_runner(dask: str | None) -> TaskRunner[Any]:
    """The task runner of a flow: a Dask cluster by its scheduler's address, or this process.

    Raises:
        TintlabError: prefect-dask is not installed.
    """
    if dask is None:
        return ThreadPoolTaskRunner(max_workers=1)  # a single task uses all CPUs
    try:
        from prefect_dask import DaskTaskRunner
    except ImportError:
        raise TintlabError("prefect-dask is not installed: `pip install 'tintlab[dask]'`") from None
    return DaskTaskRunner(address=dask)


def run_tintlab(
    *arguments: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Run `tintlab`. Its lines go to the run's log as they come, without credentials. Returns all lines.

    If the run is cancelled or dies, the program is asked to end, and then killed with everything it started.

    Raises:
        TintlabError: the program failed; the message is its own.
    """
    logger = get_run_logger()
    lines: list[str] = []
    try:
        for line in run_lines([sys.executable, "-m", "tintlab.cli", *arguments], folder, environment):
            lines.append(line)
            logger.info("%s", line)
            on_line(line)
    except TerminationSignal:
        end_if_cancelled()
        raise
    return lines


def end_if_cancelled() -> None:
    """End this process with one line in the log if the user cancelled its run; the worker sets the state.

    Prefect would report each of the tasks and the flow as crashed.
    """
    cancelled = False
    with suppress(Exception), get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(str(runtime.flow_run.id))).state
        cancelled = state is not None and state.type == StateType.CANCELLING
    if cancelled:
        try:
            get_run_logger().warning(
                "cancelled: what was finished is kept, and the next run goes on from there"
            )
            APILogHandler().flush()  # the log is sent by a thread, which ends with this process
        finally:
            processes.end_now(143)


def run_lines(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> Generator[str, None, None]:
    """Run a program and yield its lines as they come, without credentials. It ends when the generator is closed.

    Raises:
        TintlabError: the program failed; the message is its own.
    """
    # In a new session: Prefect signals the whole group of a cancelled run, and DVC, once signalled, leaves
    # dvc.lock half written. Ownership ends the program instead.
    child = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | _SURROUNDINGS | dict(environment or {}) | processes.ownership(),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    assert child.stdout is not None
    lines: list[str] = []
    try:
        for line in _split(child.stdout):
            lines.append(redacted(line))
            yield lines[-1]
        status = child.wait()
    finally:
        _end(child)
    if status != 0:
        words = faults(lines)
        raise TintlabError(words if status > 0 else f"killed by signal {-status}: {words}")


def notify(title: str, text: str) -> None:
    """Send a notification to the target in `NOTIFY_VARIABLE`. A failure is only logged."""
    target = os.environ.get(NOTIFY_VARIABLE)
    if not target:
        return
    try:
        if target.startswith("block:"):
            from prefect.blocks.abstract import NotificationBlock
            from prefect.blocks.core import Block

            block = Block.load(target.removeprefix("block:"))
            assert isinstance(block, NotificationBlock), f"{target} is no notification block"
            block.notify(redacted(text), redacted(title))
        else:
            import apprise

            service = apprise.Apprise()
            if not (service.add(target) and service.notify(body=redacted(text), title=redacted(title))):
                raise TintlabError("Apprise could not deliver it")
    except Exception as error:
        # Not the error's text, which may contain a URL with credentials.
        get_run_logger().warning("no notification was sent: %s", type(error).__name__)


def run_link() -> str:
    """The URL of this run in Prefect's UI; empty without a server."""
    with suppress(Exception):
        return str(runtime.flow_run.ui_url or "")
    return ""


def faults(lines: Sequence[str]) -> str:
    """The faults in a program's output: its `error:` lines in order, else its last line."""
    said = [found[1] for line in lines if (found := _ERROR.match(line))]
    telling = [text for text in dict.fromkeys(said) if not text.startswith(_ELSEWHERE)]
    return "; ".join(telling or said or [line for line in lines if line][-1:]) or "it ended without output"


def _split(stream: IO[bytes]) -> Iterator[str]:
    """Split into lines. Progress bars end theirs with a carriage return."""
    rest, decoder = "", codecs.getincrementaldecoder("utf-8")("replace")
    while chunk := os.read(stream.fileno(), 1 << 16):
        *lines, rest = _LINE_ENDS.split(rest + decoder.decode(chunk))
        yield from filter(str.strip, lines)
    if rest.strip():
        yield rest


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ask a program to end; if it does not, kill it with everything it started."""
    if child.poll() is not None:
        return
    started = psutil.Process(child.pid).children(recursive=True)
    child.terminate()
    with suppress(subprocess.TimeoutExpired):
        child.wait(_LEAVE_SECONDS)
    for process_ in [*started, *_tree(child.pid)]:
        with suppress(psutil.Error):
            process_.kill()
    child.wait()


def _tree(pid: int) -> list[psutil.Process]:
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(pid)
        return [*top.children(recursive=True), top]
    return []


def pinned(path: Path) -> Path:
    """An absolute path: tasks may run on other threads and machines, with other working folders."""
    return path.expanduser().absolute()
