"""What all flows share: how they run `tintlab`, what they say of it, how they end."""

import codecs
import os
import re
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import psutil
from prefect import State, runtime
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from tintlab.system import entry_point, processes
from tintlab.system.errors import TintlabError
from tintlab.system.urls import redacted

NOTIFY_VARIABLE = "TINTLAB_NOTIFY"
"""Where messages go: an Apprise URL, or `block:TYPE/NAME`, a notification block of Prefect."""

_ERROR = re.compile(r"(?:error|ERROR): (.*)")
_ELSEWHERE = "the pipeline stopped: the reason stands above"
_LINE_ENDS = re.compile(r"[\r\n]+")
_LEAVE_SECONDS = processes.LEAVE_SECONDS + 2
_SURROUNDINGS = {"PYTHONUNBUFFERED": "1"} | entry_point.TELEMETRY_OPT_OUT


def _tried_again(words: str) -> dict[str, Any]:
    """Options of a task that is tried again where it fails with these words, and for no other reason."""

    def asks_for_it(_: Any, __: Any, state: State[Any]) -> bool:
        error = state.result(raise_on_failure=False)
        return isinstance(error, TintlabError) and re.search(words, str(error)) is not None

    return {
        "retries": 20,
        "retry_delay_seconds": 15,
        "retry_condition_fn": asks_for_it,
        "cache_policy": NO_CACHE,
    }


_UNREACHABLE = "MLflow at .* can't be reached|wait for MLflow at"

NETWORK = _tried_again(_UNREACHABLE)
"""For what talks to MLflow, which may be away for minutes. Nothing else is tried twice: it would fail again."""

PROMOTION = _tried_again(f"{_UNREACHABLE}|MLflow failed while promote|its alias may not say so yet")
"""For what may be done twice although it is not known whether it was done: a rollback may not."""


def begin() -> None:
    """What each flow does first: end with the worker that started it, however that dies.

    Else a training would go on with nobody there to cancel it. A run that a person started by hand ends with
    the shell's script, as `tintlab repro` does.
    """
    entry_point.prepare_environment()
    worker = [psutil.Process(os.getppid())] if "PREFECT__WORKER_NAME" in os.environ else []
    processes.watch_owners(*worker)


def tintlab(
    *arguments: str,
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
    on_line: Callable[[str], None] = lambda line: None,
) -> list[str]:
    """Run `tintlab`; its lines go to the run's log as they come, without credentials. All of them.

    When the run is cancelled, or dies, the program and all that it started end too: it is asked first.

    Raises:
        TintlabError: it failed; the message is its own.
    """
    logger = get_run_logger()
    lines: list[str] = []
    for line in said_by([sys.executable, "-m", "tintlab.cli", *arguments], folder, environment):
        lines.append(line)
        logger.info("%s", line)
        on_line(line)
    return lines


def said_by(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> Generator[str, None, None]:
    """The lines of a program as they come, without credentials; it ends when they are no longer wanted.

    Raises:
        TintlabError: it failed; the message is its own.
    """
    # A session of its own: Prefect tells the whole group of a cancelled run to end, DVC and stages too, and
    # DVC, told so, leaves dvc.lock as it stands. It is watched by ownership instead.
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
    said: list[str] = []
    try:
        for line in _split(child.stdout):
            said.append(redacted(line))
            yield said[-1]
        status = child.wait()
    finally:
        _end(child)
    if status != 0:
        words = faults(said)
        raise TintlabError(words if status > 0 else f"killed by signal {-status}: {words}")


def notify(title: str, text: str) -> None:
    """Tell people, where `NOTIFY_VARIABLE` says how; a failure is logged and changes nothing."""
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
        # Not its text: it may hold the URL, and that the credentials.
        get_run_logger().warning("no notification was sent: %s", type(error).__name__)


def run_link() -> str:
    """Where Prefect's UI shows this run; empty without a server."""
    with suppress(Exception):
        return str(runtime.flow_run.ui_url or "")
    return ""


def faults(lines: Sequence[str]) -> str:
    """What went wrong, from the lines of a program: its `error:` lines, the first first; else the last line."""
    said = [found[1] for line in lines if (found := _ERROR.match(line))]
    telling = [text for text in dict.fromkeys(said) if not text.startswith(_ELSEWHERE)]
    return "; ".join(telling or said or [line for line in lines if line][-1:]) or "it ended without a word"


def _split(stream: IO[bytes]) -> Iterator[str]:
    """Lines, also of progress bars, which only return to a line's begin."""
    rest, decoder = "", codecs.getincrementaldecoder("utf-8")("replace")
    while chunk := os.read(stream.fileno(), 1 << 16):
        *lines, rest = _LINE_ENDS.split(rest + decoder.decode(chunk))
        yield from filter(str.strip, lines)
    if rest.strip():
        yield rest


def _end(child: "subprocess.Popen[bytes]") -> None:
    """Ask a program to leave, and end it and all that it started when it does not."""
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
