"""One `tintlab up` for all tests: real servers and a real worker, on a clone with a tiny training."""

import json
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import psutil
import pytest

from tests.pipeline.conftest import Workspace, new_workspace
from tests.processes import wait_for, with_descendants

__all__ = ["new_workspace"]

FINAL = {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"}
START_SECONDS, RUN_SECONDS = 240, 400

ITERATIONS = 120


class Run:
    """A flow run, as the server knows it."""

    def __init__(self, up: "Up", run_id: str) -> None:
        self.up = up
        self.id = run_id

    @property
    def record(self) -> dict[str, Any]:
        found: dict[str, Any] = self.up.api("GET", f"flow_runs/{self.id}")
        return found

    @property
    def type(self) -> str:
        return str(self.record["state_type"])

    def log(self) -> str:
        by_run = {"logs": {"flow_run_id": {"any_": [self.id]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
        lines: list[str] = []
        while batch := self.up.api("POST", "logs/filter", by_run | {"offset": len(lines)}):
            lines += [line["message"] for line in batch]
        return "\n".join(lines)

    def wait_for_log(self, text: str, limit: float = RUN_SECONDS) -> str:
        def found() -> bool:
            assert self.type not in FINAL or text in self.log(), f"{self.record['state']}\n{self.log()}"
            return text in self.log()

        wait_for(found, limit, f"{text!r} in the log")
        return self.log()

    def ends(self, limit: float = RUN_SECONDS) -> tuple[str, str]:
        """Wait for the end; type and name of the last state."""
        wait_for(lambda: self.type in FINAL, limit, f"the end of {self.id}:\n{self.log()[-3000:]}")
        return self.type, str(self.record["state_name"])

    def cancel(self) -> None:
        self.up.api("POST", f"flow_runs/{self.id}/set_state", {"state": {"type": "CANCELLING"}})

    def process(self) -> psutil.Process:
        """The flow's own process."""

        def found() -> psutil.Process | None:
            for process in psutil.process_iter():
                with suppress(psutil.Error):
                    if process.environ().get("PREFECT__FLOW_RUN_ID") == self.id and any(
                        "prefect" in word for word in process.cmdline()
                    ):
                        return process
            return None

        process: psutil.Process = wait_for(found, 60, "the flow's process")
        return process

    def artifacts(self) -> dict[str, dict[str, Any]]:
        """By their keys."""
        by_run = {"artifacts": {"flow_run_id": {"any_": [self.id]}}}
        return {found["key"]: found for found in self.up.api("POST", "artifacts/filter", by_run)}


class Up:
    """`tintlab up` in a workspace."""

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.state = Path(workspace.environment["TINTLAB_STATE"])
        self.clone = self.state / "workspace" / "clone"
        self.mlflow_port, self.prefect_port, self.studio_port = free_ports(3)
        self.prefect = f"http://127.0.0.1:{self.prefect_port}/api"
        self.mlflow = f"http://127.0.0.1:{self.mlflow_port}"
        self.log = self.state.parent / f"{self.state.name}-up.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable, "-m", "tintlab.cli", "up",
                    "--mlflow-port", str(self.mlflow_port), "--prefect-port", str(self.prefect_port),
                    "--studio-port", str(self.studio_port),
                ],
                cwd=workspace.folder, env=workspace.environment, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        wait_for(self._is_ready, START_SECONDS, "the services")

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.said
        return "Ctrl-C" in self.said

    @property
    def said(self) -> str:
        return self.log.read_text()

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Prefect's server; as long as it is being started again, too."""
        return self._asked(f"{self.prefect}/{path}", method, body)

    def tracked(self, path: str, **query: str) -> Any:
        """Ask MLflow's server, not by the client that wrote to it."""
        return self._asked(f"{self.mlflow}/api/2.0/mlflow/{path}?{urlencode(query)}", "GET", None)

    def _asked(self, path: str, method: str, body: Any) -> Any:
        request = urllib.request.Request(
            path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        deadline = time.monotonic() + 90
        while True:
            try:
                with urllib.request.urlopen(request, timeout=30) as answer:
                    text = answer.read()
                    return json.loads(text) if text else None
            except OSError as error:
                refused = isinstance(error, urllib.error.HTTPError) and error.code != 503
                assert not refused, f"{path}: {error}"
                assert time.monotonic() < deadline, f"{path}: the server is away"
                time.sleep(0.3)

    def deployment(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.api("GET", f"deployments/name/{name}")
        return found

    def start(self, name: str, **parameters: Any) -> Run:
        """Run a deployment."""
        body = {"parameters": parameters, "state": {"type": "SCHEDULED"}}
        return Run(
            self, self.api("POST", f"deployments/{self.deployment(name)['id']}/create_flow_run", body)["id"]
        )

    def runs(self, name: str) -> list[Run]:
        """All runs of a deployment, the latest first."""
        of = {"deployments": {"id": {"any_": [self.deployment(name)["id"]]}}, "sort": "START_TIME_DESC"}
        return [Run(self, found["id"]) for found in self.api("POST", "flow_runs/filter", of)]

    def service(self, *words: str) -> psutil.Process:
        """A process of a service, by words of its command; its oldest."""
        found = [
            process
            for process in psutil.Process(self.process.pid).children()
            if all(word in " ".join(process.cmdline()) for word in words)
        ]
        assert len(found) == 1, found
        return found[0]

    @property
    def champion(self) -> int | None:
        """The version that the alias names."""
        aliases = self.tracked("registered-models/get", name="tintlab")["registered_model"].get("aliases", [])
        return next((int(found["version"]) for found in aliases if found["alias"] == "champion"), None)

    def metrics(self, run_id: str, name: str) -> dict[int, float]:
        """A metric's values by step, as MLflow has them."""
        history = self.tracked("metrics/get-history", run_id=run_id, metric_key=name)
        return {int(found.get("step", 0)): float(found["value"]) for found in history.get("metrics", [])}

    @contextmanager
    def without_mlflow(self, seconds: float) -> Iterator[None]:
        """Within, and for so long in all, MLflow's server is killed; then it is started again.

        `tintlab up` stands still meanwhile, for it would start the server at once.
        """
        until = time.monotonic() + seconds
        self.process.send_signal(signal.SIGSTOP)
        try:
            for process in with_descendants(self.service("mlflow", "server").pid):
                process.kill()
            yield
            time.sleep(max(0.0, until - time.monotonic()))
        finally:
            self.process.send_signal(signal.SIGCONT)

    @property
    def checkpoint(self) -> int:
        """Iterations at the newest checkpoint."""
        files = self.state.glob("checkpoints/*/checkpoints/*.pt")
        return max((int(path.name[:8]) for path in files), default=0)

    def wait_for_checkpoint(self, beyond: int, run: Run) -> int:
        def reached() -> bool:
            assert run.type not in FINAL, run.log()
            return self.checkpoint > beyond

        wait_for(reached, RUN_SECONDS, f"a checkpoint after {beyond}")
        return self.checkpoint

    def in_clone(self) -> list[psutil.Process]:
        """Every process at work in the clone of scheduled retrainings."""
        found = []
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if Path(process.cwd()).is_relative_to(self.state / "workspace"):
                    found.append(process)
        return [process for process in found if process.status() != psutil.STATUS_ZOMBIE]

    def end(self) -> None:
        """Ask it to end; nothing is left."""
        everyone = with_descendants(self.process.pid)
        self.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(30)
        for process in everyone:
            with suppress(psutil.Error):
                process.kill()
        self.process.wait()


class Receiver:
    """Hears notifications, as a service that Apprise knows by `json://`.

    Attributes:
        heard: what was told: keys `title` and `message`.
    """

    def __init__(self) -> None:
        self.heard: list[dict[str, str]] = []
        heard = self.heard

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                heard.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(200)
                self.end_headers()

            def log_message(self, format: str, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"json://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def titled(self, title: str) -> list[str]:
        """The messages under a title."""
        return [told["message"] for told in self.heard if told["title"] == title]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


@pytest.fixture(scope="session")
def receiver() -> Receiver:
    """Hears what the flows tell people."""
    return Receiver()


@pytest.fixture(scope="session")
def up(new_workspace: Callable[[], Workspace], receiver: Receiver) -> Iterator[Up]:
    workspace = new_workspace()
    workspace.environment |= {
        "TINTLAB_NOTIFY": receiver.url,
        "PREFECT_SERVER_SERVICES_SCHEDULER_LOOP_SECONDS": "5",  # a schedule is looked at once a minute else
    }
    # Long enough to be hit in the middle, a checkpoint at every step; photographs to tell two models apart.
    workspace.set_params(
        {"fetch": {"limit": 150}, "watch": {"min_new_photos": 3}, "evaluate": {"threads": 1}},
        {"train": {"iterations_per_epoch": ITERATIONS // 3, "checkpoint_every": 1, "display_every": 20}},
    )
    workspace.run("git", "commit", "-qam", "a tiny training")
    services = Up(workspace)
    yield services
    services.end()
