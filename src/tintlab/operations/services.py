"""`tintlab up`: MLflow's server, Prefect's server, a worker and the studio, on this machine only, until Ctrl-C.

A service that dies is restarted. The runs of a dead worker are marked as crashed in Prefect, so that nothing
waits for them.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path

from tintlab.operations import links, prefect_server
from tintlab.operations.links import Addresses
from tintlab.system import paths, processes
from tintlab.system.errors import TintlabError, outside_project
from tintlab.system.locks import exclusive
from tintlab.system.urls import redacted
from tintlab.tracking import store

START_SECONDS = 180.0
"""Longest time until a service must answer."""

STOP_SECONDS = 6.0
"""Longest time for its end; less than `processes.LEAVE_SECONDS`, after which this process ends."""

_POLL_SECONDS, _PAUSE_SECONDS = 0.2, 2.0
_SHORT_LIFE_SECONDS, _SHORT_LIVES = 30.0, 3
_ORPHANS_SECONDS = processes.ORPHAN_SECONDS + 3
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


class Service:
    """A program that is restarted when it dies.

    Args:
        name: display name, also of the log file.
        command: without secrets, because everyone on the machine can read it.
        environment: of the program.
        answers: tells whether it is ready.
        orphaned: the signal that it gets when this process dies.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        answers: Callable[[], bool],
        orphaned: signal.Signals = signal.SIGTERM,
    ) -> None:
        self.name = name
        self.log = paths.services() / f"{name}.log"
        self._command = command
        self._environment = environment
        self._answers = answers
        self._orphaned = orphaned
        self._process: subprocess.Popen[bytes] | None = None
        self._started = 0.0
        self._short_lives = 0

    def start(self) -> None:
        """Start it and wait until it answers.

        Raises:
            TintlabError: it ended, or did not answer in `START_SECONDS`.
        """
        self._started = time.monotonic()
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C goes to this process, which ends them in order
                preexec_fn=partial(_end_with_parent, self._orphaned) if _LIBC else None,  # noqa: PLW1509
            )
        while not self._answers():
            if not self.runs:
                raise TintlabError(f"{self.name} ended at once: {self._last_line()} (see {self.log})")
            if time.monotonic() - self._started > START_SECONDS:
                raise TintlabError(f"{self.name} does not answer after {START_SECONDS:.0f} s: see {self.log}")
            time.sleep(_POLL_SECONDS)

    @property
    def runs(self) -> bool:
        """Whether the program is running."""
        return self._process is not None and self._process.poll() is None

    def revive(self) -> None:
        """Restart it after its death.

        Raises:
            TintlabError: it died several times soon after its start.
        """
        brief = time.monotonic() - self._started < _SHORT_LIFE_SECONDS
        self._short_lives = self._short_lives + 1 if brief else 0
        if self._short_lives >= _SHORT_LIVES:
            raise TintlabError(f"{self.name} keeps dying: {self._last_line()} (see {self.log})")
        self.start()

    def ask_to_end(self) -> None:
        """Send SIGTERM, if it runs."""
        if self._process and self.runs:
            self._process.terminate()

    def end(self, deadline: float) -> None:
        """Wait until `deadline` on the monotonic clock, then kill it."""
        if self._process is None:
            return
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(max(0.0, deadline - time.monotonic()))
        with suppress(ProcessLookupError):  # its session, with everything it started
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _last_line(self) -> str:
        lines = self.log.read_text(encoding="utf-8", errors="replace").split("\n")
        return redacted(next((line.strip() for line in reversed(lines) if line.strip()), "no output"))[:300]


def up(mlflow_port: int, prefect_port: int, studio_port: int) -> None:
    """Run all services until Ctrl-C. Their data is in the state folder.

    Raises:
        TintlabError: they are already running, a port is in use, or a service does not start.
    """
    if not prefect_server.PREFECT_FILE.exists():
        raise outside_project(prefect_server.PREFECT_FILE)
    paths.services().mkdir(parents=True, exist_ok=True)
    with exclusive(paths.services() / "up.lock", "another `tintlab up`"):
        _run(mlflow_port, prefect_port, studio_port)


def _run(mlflow_port: int, prefect_port: int, studio_port: int) -> None:
    own_mlflow = not store.is_server(store.tracking_uri())
    for port in (*([mlflow_port] if own_mlflow else []), prefect_port, studio_port):
        links.refuse_taken(port, "(--mlflow-port, --prefect-port, --studio-port)")
    mlflow = f"http://127.0.0.1:{mlflow_port}" if own_mlflow else store.tracking_uri()
    addresses = Addresses(mlflow, f"http://127.0.0.1:{prefect_port}", f"http://127.0.0.1:{studio_port}")
    environment = prefect_server.environment(addresses.prefect, addresses.mlflow) | processes.ownership()
    store.prepare_store()
    servers = [_prefect(addresses, environment, prefect_port), _studio(addresses, environment, studio_port)]
    if own_mlflow:
        servers.insert(0, _mlflow(addresses, environment, mlflow_port))
    worker = _worker(environment)
    with _ended_together([worker, *servers]):
        for service in servers:
            service.start()
            print(f"{service.name}: it answers", flush=True)
        prefect_server.set_up(environment)
        links.record(addresses)
        _sweep_and_start(worker, environment)
        print(_welcome(addresses), flush=True)
        while True:
            time.sleep(_PAUSE_SECONDS)
            for service in [*servers, worker]:
                if not service.runs:
                    print(f"{service.name} died: restarting it", flush=True)
                    if service is worker:
                        time.sleep(_ORPHANS_SECONDS)  # its runs end after it
                        _sweep_and_start(worker, environment, revive=True)
                    else:
                        service.revive()


def _sweep_and_start(worker: Service, environment: Mapping[str, str], revive: bool = False) -> None:
    """Start the worker, after marking the runs of dead workers as crashed."""
    crashed = prefect_server.end_orphaned_runs(environment)
    if crashed:
        print(f"{crashed} runs of a dead worker are marked as crashed", flush=True)
    if revive:
        worker.revive()
    else:
        worker.start()


def _mlflow(addresses: Addresses, environment: Mapping[str, str], port: int) -> Service:
    # In the environment: everyone on the machine can read the passwords in a command line.
    ours = paths.tracking_artifacts().as_uri()
    places = {
        "MLFLOW_BACKEND_STORE_URI": store.tracking_uri(),
        "MLFLOW_ARTIFACTS_DESTINATION": ours,
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    }
    if "MLFLOW_ARTIFACTS_DESTINATION" not in os.environ:
        # `make run` and `tintlab promote` must reach the artifacts without the server.
        places["MLFLOW_DEFAULT_ARTIFACT_ROOT"] = ours
    arguments = ["server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    return Service(
        "MLflow",
        [sys.executable, "-m", "mlflow", *arguments],
        {name: value for name, value in environment.items() if name != "MLFLOW_TRACKING_URI"}
        | places
        | {name: value for name, value in os.environ.items() if name in places},
        partial(_says_ok, f"{addresses.mlflow}/health"),
    )


def _prefect(addresses: Addresses, environment: Mapping[str, str], port: int) -> Service:
    return Service(
        "Prefect",
        [sys.executable, "-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(port)],
        environment,
        partial(_says_ok, f"{addresses.prefect}/api/health"),
    )


def _studio(addresses: Addresses, environment: Mapping[str, str], port: int) -> Service:
    return Service(
        "studio",
        [sys.executable, "-m", "tintlab.cli", "studio", "--port", str(port)],
        environment,
        partial(_says_ok, f"{addresses.studio}/healthz"),
    )


def _worker(environment: Mapping[str, str]) -> Service:
    return Service(
        "worker",
        prefect_server.worker_command("tintlab-up"),
        environment,
        partial(prefect_server.has_worker, environment),
        orphaned=signal.SIGKILL,  # SIGTERM would make it wait for a server that is gone; its runs watch it
    )


def _welcome(addresses: Addresses) -> str:
    pages = {
        "MLflow": links.mlflow_pages(addresses.mlflow),
        "Prefect": links.prefect_pages(addresses.prefect),
    }
    lines = [
        f"{service if first else '':9}{name:16}{url}"
        for service, found in pages.items()
        for first, (name, url) in zip([True, *[False] * len(found)], found, strict=False)
    ]
    return "\n".join(
        [
            *lines,
            f"{'studio':25}{addresses.studio}",
            f"{'logs':25}{_shown(paths.services())}",
            'In another shell: eval "$(tintlab env)" && prefect deployment run retrain/manual',
            "Ctrl-C ends all of them.",
        ]
    )


def _shown(path: Path) -> str:
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


@contextmanager
def _ended_together(services: Sequence[Service]) -> Iterator[None]:
    try:
        yield
    finally:
        deadline = time.monotonic() + STOP_SECONDS
        for service in services:
            service.ask_to_end()
        for service in services:
            service.end(deadline)


def _says_ok(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return bool(answer.status == 200)
    except (OSError, urllib.error.URLError):
        return False


def _end_with_parent(number: signal.Signals) -> None:
    """Runs in the child before it becomes the service: the kernel will end it when the parent dies."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, number)
