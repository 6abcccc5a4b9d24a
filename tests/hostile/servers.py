"""A real HTTP server that can be unkind; and MLflow's, with a model."""

import base64
import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil

from tests.processes import wait_for
from tests.tracking.test_sender import free_port


@dataclass
class Site:
    """What a server has, and how it behaves.

    Attributes:
        files: contents by path.
        redirects: targets by path.
        statuses: what to say to the next requests, before it serves.
        cuts: after how many bytes of a body the next connections end.
        stalls: as `cuts`; the connection stays open, and silent.
        etags: whether it sends and honours ETags and ranges.
        lengths: whether it says how long a body is.
        endless: bytes that follow each body.
        seconds_a_byte: how slowly it sends.
        asked: method, path, range and authorization of each request.
    """

    files: dict[str, bytes] = field(default_factory=dict)
    redirects: dict[str, str] = field(default_factory=dict)
    statuses: list[int] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    stalls: list[int] = field(default_factory=list)
    etags: bool = True
    lengths: bool = True
    endless: int = 0
    seconds_a_byte: float = 0
    asked: list[tuple[str, str, str | None, str | None]] = field(default_factory=list)
    address: str = ""
    closing: threading.Event = field(default_factory=threading.Event)

    def url(self, path: str) -> str:
        return f"http://{self.address}{path}"


@contextmanager
def serving(site: Site, host: str = "127.0.0.1") -> Iterator[Site]:
    """Serve until the end of the block."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            with suppress(ConnectionError):
                answer(self, site)
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    site.address = f"{host}:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield site
    finally:
        site.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()


def answer(request: BaseHTTPRequestHandler, site: Site) -> None:
    wanted, condition = request.headers.get("Range"), request.headers.get("If-Range")
    site.asked.append((request.command, request.path, wanted, request.headers.get("Authorization")))
    path = request.path.partition("?")[0]
    if site.statuses:
        return head(request, site.statuses.pop(0), {"Content-Length": "0"})
    if path in site.redirects:
        return head(request, 302, {"Location": site.redirects[path], "Content-Length": "0"})
    if path not in site.files:
        return head(request, 404, {"Content-Length": "0"})
    data = site.files[path]
    etag = f'"{hashlib.md5(data).hexdigest()}"'
    headers, status, start = {}, 200, 0
    if site.etags:
        headers["ETag"] = etag
        if request.headers.get("If-None-Match") == etag:
            return head(request, 304, headers)
        if wanted and condition == etag:
            status, start = 206, int(wanted.removeprefix("bytes=").removesuffix("-"))
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
    body = data[start:]
    if site.lengths:
        headers["Content-Length"] = str(len(body))
    else:
        headers["Connection"] = "close"
    head(request, status, headers)
    if site.stalls:
        send(request, site, body[: site.stalls.pop(0)])
        site.closing.wait(20)
    elif site.cuts:
        send(request, site, body[: site.cuts.pop(0)])
    else:
        send(request, site, body)
        sent = 0
        while sent < site.endless:
            request.wfile.write(bytes(100_000))
            sent += 100_000
    return None


def send(request: BaseHTTPRequestHandler, site: Site, body: bytes) -> None:
    if not site.seconds_a_byte:
        request.wfile.write(body)
        return
    for place in range(len(body)):
        if site.closing.is_set():
            return
        request.wfile.write(body[place : place + 1])
        time.sleep(site.seconds_a_byte)


def head(request: BaseHTTPRequestHandler, status: int, headers: dict[str, str]) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()


@contextmanager
def model_server(
    model: str | Path, folder: Path | None = None, **environment: str
) -> Iterator[tuple[psutil.Process, str]]:
    """`mlflow models serve`, started as the documentation says: its process and its address.

    Args:
        model: a URI, or a folder.
        folder: to run in; a temporary one where none is given.
        environment: more of it.
    """
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(model)]
    command += ["--env-manager", "local", "--port", str(port)]
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as temporary:
        place = folder or Path(temporary)
        with (place / "log").open("wb") as log:
            server = subprocess.Popen(
                command,
                cwd=place,
                env=os.environ | environment | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"},
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

        def answers() -> bool:
            assert server.poll() is None, (place / "log").read_text()
            try:
                return bool(urllib.request.urlopen(f"{address}/ping", timeout=5).status == 200)
            except OSError:
                return False

        try:
            wait_for(answers, 300, "mlflow models serve")
            yield psutil.Process(server.pid), address
        finally:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()


def ask(service: str, *images: bytes, **params: Any) -> tuple[int, dict[str, Any]]:
    """Send the bytes of pictures to a model server: the status and the answer."""
    columns = [[base64.b64encode(image).decode()] for image in images]
    question = {"dataframe_split": {"columns": ["image"], "data": columns}, "params": params}
    request = urllib.request.Request(
        f"{service}/invocations", json.dumps(question).encode(), {"Content-Type": "application/json"}
    )
    try:
        with urllib.request.urlopen(request, timeout=250) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
