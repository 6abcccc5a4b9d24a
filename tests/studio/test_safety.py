"""Who is let in: hosts, origins, tokens; and that nothing a client sends is a path or URL."""

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from tests.studio.conftest import Server, detail
from tintlab.studio.safety import Access, check_access
from tintlab.system.errors import TintlabError

TOKEN = "a token of more than sixteen characters".replace(" ", "-")


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example", "", "[::1", "10.0.0.1"]
)
def test_other_hosts_are_refused(client: httpx.Client, host: str) -> None:
    for path in ("/", "/healthz", "/v1/models", "/metrics"):
        detail(client.get(path, headers={"Host": host}), 421)


def test_its_own_names_are_known(server: Server, client: httpx.Client) -> None:
    port = server.address.rpartition(":")[2]
    for host in (f"localhost:{port}", f"127.0.0.1:{port}", f"[::1]:{port}", "LOCALHOST"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"}, {"Origin": "null"}, {"Origin": "http://localhost:1"},
        {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}, {"Origin": "file://"},
    ],
)  # fmt: skip
def test_posts_from_other_sites_are_refused(
    client: httpx.Client, photo: bytes, headers: dict[str, str]
) -> None:
    assert "another site" in detail(client.post("/v1/colorize", content=photo, headers=headers), 403)
    detail(client.delete("/v1/photos/x", headers=headers), 403)


def test_posts_of_the_page_are_let_in(server: Server, client: httpx.Client, photo: bytes) -> None:
    headers = {"Origin": server.address, "Sec-Fetch-Site": "same-origin"}
    assert client.post("/v1/colorize", content=photo, headers=headers).status_code == 200


def test_every_answer_forbids_what_is_not_needed(client: httpx.Client) -> None:
    for path in ("/", "/static/main.js", "/v1/models", "/nothing"):
        headers = client.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    page = client.get("/").text
    assert "<script>" not in page
    assert "style=" not in page
    assert "onclick" not in page


def test_another_address_needs_a_token(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "tintlab.cli", "studio", "--host", "0.0.0.0", "--port", "0"],
        capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
        env=os.environ | {"TINTLAB_STATE": str(tmp_path)},
    )  # fmt: skip
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "TINTLAB_STUDIO_TOKEN" in ended.stderr
    with pytest.raises(TintlabError, match="give 16 or more"):
        check_access("192.0.2.1", "short")
    assert check_access("::1", "").is_local
    assert not Access("192.0.2.1", (), TOKEN).knows("evil.example")
    assert Access("192.0.2.1", ("studio.example",), TOKEN).knows("studio.example:8400")


def test_with_a_token_nothing_is_answered_without(
    start_server: Callable[..., Server], model: Path, photo: bytes
) -> None:
    server = start_server("--model", str(model), environment={"TINTLAB_STUDIO_TOKEN": TOKEN})
    with server.client() as client:
        for path in (
            "/",
            "/docs",
            "/openapi.json",
            "/metrics",
            "/v1/models",
            "/static/main.js",
            "/?token=wrong",
        ):
            detail(client.get(path), 401)
        assert client.get("/healthz").status_code == 200
        bearer = {"Authorization": f"Bearer {TOKEN}"}
        assert client.post("/v1/colorize", content=photo, headers=bearer).status_code == 200
        detail(client.post("/v1/colorize", content=photo, headers={"Authorization": "Bearer x"}), 401)
        answer = client.get(f"/?token={TOKEN}")
        assert answer.status_code == 303
        assert "httponly" in answer.headers["set-cookie"].lower()
        assert "samesite=strict" in answer.headers["set-cookie"].lower()
        assert client.get("/").status_code == 200  # by the cookie


def test_it_listens_for_this_machine_only(server: Server) -> None:
    found = psutil.Process(server.process.pid).net_connections("inet")
    assert {one.laddr.ip for one in found if one.status == psutil.CONN_LISTEN} == {"127.0.0.1"}


def test_a_taken_port_is_said(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        ended = subprocess.run(
            [sys.executable, "-m", "tintlab.cli", "studio", "--port", port],
            capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False,
            env=os.environ | {"TINTLAB_STATE": str(tmp_path)},
        )  # fmt: skip
    assert ended.returncode == 1
    assert f"port {port}" in ended.stderr
