"""A store on this machine, and a way to it that fails: every tenth request gets the answer 503."""

import http.client
import itertools
import logging
import os
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a store; counts the files that it has taken and given."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str, busy_every: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.busy_every, self.numbers, self.asked = busy_every, itertools.count(1), 0
        self.written: Counter[str] = Counter()
        self.fetched: Counter[str] = Counter()
        self.refuse: dict[str, tuple[int, str]] = {}  # method -> status and code
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Killed clients are meant."""


class _Handler(BaseHTTPRequestHandler):
    server: Proxy
    protocol_version = "HTTP/1.1"

    def handle_any(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.headers.get("Expect", "").lower() == "100-continue":
            pass  # `parse_request` has answered
        body = self.rfile.read(length)
        if len(body) < length:
            return  # the client was killed: nothing reaches the store
        self.server.asked = number = next(self.server.numbers)
        refused = self.server.refuse.get(self.command)
        busy = self.server.busy_every and number % self.server.busy_every == 0
        # Every second time the store has done what was asked, and only the answer is lost.
        lost = busy and number // self.server.busy_every % 2 == 0
        if refused is None and busy and not lost:
            refused = (503, "SlowDown")
        if refused:
            status, code = refused
            self.answer(
                status, [], b"" if self.command == "HEAD" else BUSY.replace(b"SlowDown", code.encode())
            )
            return
        target = http.client.HTTPConnection(self.server.target, timeout=60)
        target.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in ("connection", "expect"):
                target.putheader(name, value)
        target.endheaders(body)
        got = target.getresponse()
        content = got.read()
        name = unquote(urlsplit(self.path).path)
        if self.command == "PUT" and got.status == 200:
            self.server.written[name] += 1
        if self.command == "GET" and got.status in (200, 206):
            self.server.fetched[name] += 1
        if lost:
            self.answer(503, [], BUSY)
            target.close()
            return
        headers = [(name, value) for name, value in got.getheaders() if name.lower() not in _HOP]
        self.answer(got.status, headers, content, got.getheader("Content-Length"))
        target.close()

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = handle_any  # noqa: N815

    def answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, length: str | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", length if self.command == "HEAD" and length else str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@contextmanager
def run_store() -> Iterator[str]:
    """The address of moto's S3 server."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    os.environ["MOTO_S3_DEFAULT_MAX_KEYS"] = "50"  # on a page of a listing
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@contextmanager
def run_proxy(target: str, busy_every: int = 0) -> Iterator[Proxy]:
    """A way to a store; see `Proxy`."""
    proxy = Proxy(target, busy_every)
    thread = threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    yield proxy
    proxy.shutdown()
    proxy.server_close()


def environment(endpoint: str, state: Path) -> dict[str, str]:
    """What points clients to a store on this machine."""
    return {
        "AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": "ann", "AWS_SECRET_ACCESS_KEY": "hidden-key",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "TINTLAB_STATE": str(state),
    }  # fmt: skip


def client_of(url: str) -> Any:
    """boto3's client: it shares no code with s3fs's way of asking."""
    import boto3

    return boto3.client(
        "s3", endpoint_url=url, aws_access_key_id="ann", aws_secret_access_key="x", region_name="us-east-1"
    )


def count_pictures(proxy: Proxy) -> int:
    """How many coloured files the store has taken."""
    return sum(name.endswith(".png") for name in list(proxy.written))


def empty_buckets(client: Any) -> None:
    """Have the buckets `archive` and `coloured`, and nothing in them: moto's servers of a process share them."""
    for bucket in ("archive", "coloured"):
        client.create_bucket(Bucket=bucket)
        for key in keys_of(client, bucket):
            client.delete_object(Bucket=bucket, Key=key)


def keys_of(client: Any, bucket: str) -> dict[str, int]:
    """All keys and sizes of a bucket."""
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", ())}


def command(model: Path, *arguments: str) -> list[str]:
    """A scoring in a process of its own."""
    return [
        sys.executable,
        "-m",
        "tintlab.cli",
        "score",
        *arguments,
        "--model",
        str(model),
        "--working-size",
        "32",
    ]
