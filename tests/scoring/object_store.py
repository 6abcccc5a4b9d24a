"""A store on this machine, and a way to it that fails: every tenth request gets the answer 503.

`python -m tests.scoring.object_store 2000 --kills 5` scores so many photographs from s3 to s3, with kills.
"""

import argparse
import http.client
import itertools
import logging
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import pyarrow.parquet as pq
from PIL import Image

BUSY = b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
_HOP = {"connection", "transfer-encoding", "content-length", "keep-alive", "date", "server"}


class Proxy(ThreadingHTTPServer):
    """Passes requests on to a store; counts the files that it has taken."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str, busy_every: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.busy_every, self.numbers, self.asked = busy_every, itertools.count(1), 0
        self.written: Counter[str] = Counter()
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
        if refused is None and self.server.busy_every and number % self.server.busy_every == 0:
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
        if self.command == "PUT" and got.status == 200:
            self.server.written[unquote(urlsplit(self.path).path)] += 1
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


@dataclass(frozen=True)
class Outcome:
    """What a series of kills left behind."""

    last: subprocess.CompletedProcess[str]
    progress: list[int]
    seconds: float
    asked: int
    written: Counter[str]
    files: dict[str, bytes]
    uploads: int
    rows: Any


def kill_and_resume(store: str, photos: Path, model: Path, state: Path, kills: int) -> Outcome:
    """Put photographs into a bucket, score them to another, kill the process, start it again, and look."""
    direct = client_of(store)
    for bucket in ("archive", "coloured"):
        direct.create_bucket(Bucket=bucket)
    total = 0
    for path in sorted(photos.rglob("*.jpg")):
        direct.upload_file(str(path), "archive", f"scans/{path.relative_to(photos)}")
        total += 1
    chance, progress, began = random.Random(0), [0], time.monotonic()
    with run_proxy(store, busy_every=10) as proxy:
        env = os.environ | environment(proxy.url, state)
        run = command(model, "s3://archive/scans", "s3://coloured/all")
        while len(progress) <= kills:
            process = subprocess.Popen(run, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            wanted = progress[-1] + chance.randint(1, max(1, total // (kills + 2)))
            while count_pictures(proxy) < wanted and process.poll() is None:
                time.sleep(0.005)
            assert process.poll() is None, "it ended before it was killed"
            process.send_signal(signal.SIGKILL)
            process.wait()
            progress.append(count_pictures(proxy))
        last = subprocess.run(run, env=env, capture_output=True, text=True, check=False)
        seconds, asked, written = time.monotonic() - began, proxy.asked, proxy.written
    files = {
        key: direct.get_object(Bucket="coloured", Key=key)["Body"].read()
        for key in keys_of(direct, "coloured")
    }
    uploads = len(direct.list_multipart_uploads(Bucket="coloured").get("Uploads", ()))
    rows = pq.read_table(BytesIO(files["all/manifest.parquet"])).to_pandas()
    return Outcome(last, progress, seconds, asked, written, files, uploads, rows)


def count_pictures(proxy: Proxy) -> int:
    """How many coloured files the store has taken."""
    return sum(name.endswith(".png") for name in list(proxy.written))


def main() -> None:
    """By hand: the whole archive, and its rate beside a local disk's."""
    from tests.scoring.conftest import make_model
    from tests.scoring.test_kills import make_archive

    parser = argparse.ArgumentParser()
    parser.add_argument("photos", type=int, nargs="?", default=2000)
    parser.add_argument("--kills", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as place, run_store() as store:
        folder = Path(place)
        (folder / "model").mkdir()
        model = make_model(folder / "model")
        photos = folder / "scans"
        photos.mkdir()
        make_archive(photos, Path(), asked.photos, 0)
        found = kill_and_resume(store, photos, model, folder / "state", asked.kills)
        pictures = {key: data for key, data in found.files.items() if key.endswith(".png")}
        for data in pictures.values():
            Image.open(BytesIO(data)).load()
        times = Counter(times for name, times in found.written.items() if name.endswith(".png"))
        print(found.last.stdout.strip())
        print(
            f"{len(pictures)} whole files; written so many times: {dict(times)}; at the kills {found.progress}"
        )
        print(
            f"{found.uploads} uploads left; {found.asked} requests, {found.seconds:.0f} s, {asked.kills} kills"
        )
        for source, target in (
            ("s3://archive/scans", "s3://coloured/again"),
            (str(photos), str(folder / "local")),
        ):
            began = time.monotonic()
            env = os.environ | environment(store, folder / "state")
            subprocess.run(command(model, source, target), env=env, capture_output=True, check=True)
            rate = asked.photos / (time.monotonic() - began)
            print(f"{source.split('/')[0] or 'disk'} {rate:.1f} photographs a second")


if __name__ == "__main__":
    main()
