"""A promotion elsewhere shows in a running studio, by a real registry."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import wait_for
from tests.studio.conftest import Server, save_small_model
from tintlab.inference.mlflow_model import file_hashes
from tintlab.registry import register
from tintlab.registry.promotion import promote
from tintlab.system import paths

SECONDS = 120


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_promotion_elsewhere_shows_without_a_restart(
    start_server: Callable[..., Server], tmp_path: Path, photo: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    hashes = []
    for seed in (1, 2):
        model = tmp_path / f"model-{seed}"
        model.mkdir()
        hashes.append(file_hashes(save_small_model(model, seed))[paths.WEIGHTS])
        register.register(model)
    promote(1, "the first one", forced=True)
    server = start_server("--host", "127.0.0.1", environment={"TINTLAB_STATE": str(tmp_path / "state")})
    with server.client() as client:

        def default() -> str:
            models = client.get("/v1/models").json()["models"]
            return str(next(model["weights_sha256"] for model in models if model["name"] == "default"))

        wait_for(lambda: default() == hashes[0], SECONDS, "the first champion")
        before = client.post("/v1/colorize", content=photo)
        promote(2, "a better one", forced=True)
        wait_for(lambda: default() == hashes[1], SECONDS, "the new champion")
        after = client.post("/v1/colorize", content=photo)
        named = client.post("/v1/colorize?model=1", content=photo)
        listed = {model["name"]: model for model in client.get("/v1/models").json()["models"]}
    assert before.status_code == after.status_code == named.status_code == 200
    assert before.content != after.content
    assert named.content == before.content
    wanted = {"1": False, "2": True}
    assert {name: listed[name]["champion"] for name in wanted} == wanted, json.dumps(listed)
    assert server.process.poll() is None
