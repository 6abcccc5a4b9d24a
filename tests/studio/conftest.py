"""A real server with a small model that takes noise, hints and palettes; the weights are random."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
import torch

from tests.conftest import encode, make_picture
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.engines import choose
from tintlab.inference.mlflow_model import file_hashes
from tintlab.system import paths
from tintlab.system.files import write_json

CONFIG = {
    "generator": "pretrained_unet", "size": 64, "channels": 8, "dropout": 0.0, "context_dropout": 0.0,
    "z_dim": 4, "hints": True, "working_size": 64, "saturation": 1.0,
}  # fmt: skip


COMMAND = [sys.executable, "-m", "tintlab.cli", "studio"]


@dataclass
class Server:
    """`tintlab studio` in a process of its own."""

    address: str
    process: "subprocess.Popen[str]"
    folder: Path

    def client(self, **options: object) -> httpx.Client:
        return httpx.Client(base_url=self.address, timeout=60, trust_env=False, **options)  # type: ignore[arg-type]


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_small_model(tmp_path_factory.mktemp("studio-model"), seed=0)


def save_small_model(folder: Path, seed: int) -> Path:
    """A model with random weights; its directions are those of the first two numbers of the noise."""
    torch.manual_seed(seed)
    generator = build_generator(dict(CONFIG), pretrained=False)
    with torch.no_grad():
        for parameter in generator.parameters():
            if parameter.requires_grad:
                parameter.add_(0.05 * torch.randn_like(parameter))
    save_generator(folder, generator.eval(), dict(CONFIG))
    directions = {}
    for number, name in enumerate(["warm", "sky"]):
        normal = [float(place == number) for place in range(4)]
        directions[name] = {"normal": normal, "accuracy": 1.0, "fitted": 1, "held_out": 1}
    known = {"z_dim": 4, "photos": 4, "codes_a_photo": 10, "seed": 0, "directions": directions}
    known["weights_sha256"] = file_hashes(folder)[paths.WEIGHTS]
    write_json(folder / "directions.json", known)
    return folder


@pytest.fixture(scope="session")
def colorizer(model: Path) -> Colorizer:
    return Colorizer.load(model, choose())


@pytest.fixture(scope="session")
def photo() -> bytes:
    return encode(make_picture(96, 64, seed=3), "PNG")


@pytest.fixture(scope="session")
def start_server(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """A function that starts a server in an empty folder, with arguments and environment of its own."""
    started: list[Server] = []

    def start(*arguments: str, environment: dict[str, str] | None = None, port: str = "0") -> Server:
        folder = tmp_path_factory.mktemp("studio")
        environ = os.environ | {"TINTLAB_STATE": str(folder / "state"), "TMPDIR": str(folder)}
        with (folder / "errors").open("w") as errors:
            process = subprocess.Popen(
                [*COMMAND, "--port", port, *(arguments or ("--model", str(model)))],
                cwd=folder, env=environ | (environment or {}), stdout=subprocess.PIPE, stderr=errors, text=True,
                start_new_session=True,
            )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        assert "http://" in line, (folder / "errors").read_text()
        server = Server(line.split()[1].rstrip("/"), process, folder)
        started.append(server)
        return server

    yield start
    for server in started:
        server.process.send_signal(signal.SIGTERM)
    for server in started:
        try:
            server.process.wait(20)
        except subprocess.TimeoutExpired:
            server.process.kill()
            server.process.wait()
            raise


@pytest.fixture(scope="session")
def server(start_server: Callable[..., Server]) -> Server:
    return start_server()


@pytest.fixture
def client(server: Server) -> Iterator[httpx.Client]:
    with server.client() as client:
        yield client


def detail(response: httpx.Response, status: int) -> str:
    """The sentence of problem details with this status."""
    assert response.status_code == status, response.text[:500]
    assert response.headers["content-type"] == "application/problem+json"
    problem = json.loads(response.content)
    assert problem["status"] == status
    assert problem["type"] == "about:blank"
    assert problem["title"]
    assert 0 < len(problem["detail"]) <= 200
    return str(problem["detail"])
