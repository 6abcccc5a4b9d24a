"""What the images run, run from the wheel: compose.yaml's services, on a real PostgreSQL and an S3 server."""

import json
import os
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.flows.conftest import free_ports
from tests.package.conftest import Installed
from tests.package.test_containers import VARIABLE
from tests.processes import wait_for
from tests.registry.databases import postgresql

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

TOKEN = "sixteen-characters"
GIVEN = {
    "TINTLAB_DATABASE_PASSWORD": "secret",
    "TINTLAB_S3_KEY": "key",
    "TINTLAB_S3_SECRET": "secret",
    "TINTLAB_STUDIO_TOKEN": TOKEN,
}
PORTS = {"mlflow": "5000", "prefect": "4200", "studio": "8400"}


class Services:
    """The services of compose.yaml that are of our images, with other addresses."""

    def __init__(self, text: str, addresses: Mapping[str, str], installed: Installed, folder: Path) -> None:
        for former, present in addresses.items():
            text = text.replace(former, present)
        self._services = filled_in(yaml.safe_load(text)["services"])
        self._installed, self._folder = installed, folder

    def command(self, name: str) -> list[str]:
        """The command, with the program of the environment."""
        return self._installed_command(self._services[name]["command"])

    def environment(self, name: str) -> dict[str, str]:
        """What the service is given, in an image's environment."""
        given: dict[str, str] = self._services[name].get("environment", {})
        return self._installed.environment() | given | {"HOME": str(self._folder)}

    def healthy(self, name: str) -> bool:
        """Whether the service's own check is content."""
        check = self._installed_command(self._services[name]["healthcheck"]["test"][1:])
        return passes(check)

    @contextmanager
    def running(self, name: str, folder: Path | None = None) -> Iterator["subprocess.Popen[bytes]"]:
        """Run a service until the end."""
        with (self._folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(
                self.command(name), cwd=folder or self._folder, env=self.environment(name),
                stdout=log, stderr=log, start_new_session=True,
            )  # fmt: skip
        try:
            yield process
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(30)
            with suppress(ProcessLookupError):
                os.killpg(process.pid, 9)

    def _installed_command(self, command: list[str]) -> list[str]:
        """Programs of needed packages are modules there, see `Installed`."""
        program, *rest = command
        ours = self._installed.bin / program
        return [str(ours), *rest] if ours.exists() else [str(ours.with_name("python")), "-m", *command]


def filled_in(value: Any) -> Any:
    """A part of compose.yaml with its variables replaced, as Compose does after reading YAML."""
    if isinstance(value, str):
        return VARIABLE.sub(lambda found: GIVEN.get(found[1], found[3] if found[2] == ":-" else ""), value)
    if isinstance(value, dict):
        return {key: filled_in(one) for key, one in value.items()}
    return [filled_in(one) for one in value] if isinstance(value, list) else value


def passes(check: list[str]) -> bool:
    """Whether a health check is content; a little later when it is not."""
    done = subprocess.run(check, capture_output=True, check=False, timeout=60)
    time.sleep(1 if done.returncode else 0)
    return done.returncode == 0


@pytest.fixture
def s3() -> Iterator[str]:
    """The endpoint of an S3 server."""
    moto = pytest.importorskip("moto.server", reason="moto is not installed")
    server = moto.ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def kept_in(s3: str) -> list[str]:
    """The names in the bucket."""
    import boto3

    login = {"aws_access_key_id": "key", "aws_secret_access_key": "secret", "region_name": "us-east-1"}
    found = boto3.client("s3", endpoint_url=s3, **login).list_objects_v2(Bucket="mlflow")
    return [one["Key"] for one in found.get("Contents", [])]


def asked(
    url: str, headers: Mapping[str, str] | None = None, body: Any = None, method: str | None = None
) -> Any:
    data = None if body is None else json.dumps(body).encode()
    given = {"Content-Type": "application/json"} | dict(headers or {})
    request = urllib.request.Request(url, data, given, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.loads(answer.read() or "null")


def answers(url: str) -> bool:
    with suppress(OSError):
        return bool(asked(url))
    time.sleep(1)
    return False


def test_the_services_find_each_other(
    installed: Installed, repository: Path, tmp_path: Path, s3: str
) -> None:
    assert installed.run(tmp_path, "init", "project").returncode == 0
    ports = dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    text = (repository / "compose.yaml").read_text()
    with ExitStack() as stack:
        database = stack.enter_context(postgresql())
        socket = database.partition("?host=")[2]
        subprocess.run(["psql", "-h", socket, "-U", "postgres", "-qc", "create database prefect"], check=True)
        login = r"tintlab:\$\{TINTLAB_DATABASE_PASSWORD[^}]*\}@postgres:5432/(\w+)"
        text = re.sub(login, rf"postgres@/\1?host={socket}", text)
        addresses = {
            f"http://{name}:{port}": f"http://127.0.0.1:{ports[name]}" for name, port in PORTS.items()
        }
        addresses |= {"http://s3:7070": s3}
        addresses |= {f'"{port}"': f'"{ports[name]}"' for name, port in PORTS.items()}
        addresses |= {f"127.0.0.1:{port}/": f"127.0.0.1:{ports[name]}/" for name, port in PORTS.items()}
        services = Services(text, addresses, installed, tmp_path)
        for _ in range(2):  # a bucket that is there is no fault
            subprocess.run(services.command("bucket"), env=services.environment("bucket"), check=True)
        for name in ("mlflow", "prefect", "studio"):
            stack.enter_context(services.running(name))
        wait_for(lambda: services.healthy("prefect"), 120, "Prefect")
        stack.enter_context(services.running("worker", tmp_path / "project"))
        wait_for(lambda: services.healthy("mlflow"), 120, "MLflow")
        studio, prefect = (f"http://127.0.0.1:{ports[name]}" for name in ("studio", "prefect"))
        wait_for(lambda: answers(f"{studio}/healthz"), 60, "studio")
        models = asked(f"{studio}/v1/models", {"Authorization": f"Bearer {TOKEN}"})
        assert "base" in json.dumps(models)
        mlflow = f"http://127.0.0.1:{ports['mlflow']}/api/2.0"
        found = asked(f"{mlflow}/mlflow/experiments/search", {"Host": "mlflow:5000"}, {"max_results": 5})
        assert found["experiments"][0]["artifact_location"].startswith("mlflow-artifacts:")
        asked(f"{mlflow}/mlflow-artifacts/artifacts/kept.txt", {}, "kept", "PUT")
        assert kept_in(s3) == ["kept.txt"]

        def online() -> bool:
            workers = asked(f"{prefect}/api/work_pools/tintlab/workers/filter", body={})
            time.sleep(0 if workers else 1)
            return any(worker["status"] == "ONLINE" for worker in workers)

        wait_for(lambda: answers(f"{prefect}/api/work_pools/tintlab") and online(), 120, "worker")
        listed = yaml.safe_load((tmp_path / "project" / "prefect.yaml").read_text())["deployments"]
        assert len(asked(f"{prefect}/api/deployments/filter", body={})) == len(listed)


def test_the_studios_image_wants_a_token_and_then_answers(
    installed: Installed, repository: Path, tmp_path: Path
) -> None:
    text = (repository / "Dockerfile").read_text()
    *_, check, command = (
        json.loads(found) for found in re.findall(r"^(?: +)?CMD (\[.*\])", text, re.MULTILINE)
    )
    port = str(free_ports(1)[0])
    program, *arguments = [argument.replace("8400", port) for argument in command]
    assert program == "tintlab"
    refused = installed.run(tmp_path, *arguments)
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "set TINTLAB_STUDIO_TOKEN" in refused.stderr
    environment = installed.environment() | {"TINTLAB_STUDIO_TOKEN": TOKEN}
    server = subprocess.Popen([str(installed.program), *arguments], cwd=tmp_path, env=environment)
    probe = [str(installed.bin / "python"), *(argument.replace("8400", port) for argument in check[1:])]
    try:
        wait_for(lambda: passes(probe), 60, "studio")
    finally:
        server.terminate()
        server.wait(30)
    assert list(tmp_path.iterdir()) == []
