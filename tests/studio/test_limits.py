"""Too much at a time is refused with a reason; and a killed server leaves nothing."""

import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tests.conftest import encode, make_picture
from tests.processes import wait_for
from tests.studio.conftest import Server, detail
from tests.studio.load import put_load
from tests.studio.serving import serving
from tintlab.studio.limits import Limits


def test_more_than_are_admitted_are_asked_to_come_again(model: Path) -> None:
    photo = encode(make_picture(900, 700), "PNG")
    with serving(model, Limits(computing=1, admitted=2)) as address:

        def post(_: int) -> httpx.Response:
            return httpx.post(f"{address}/v1/colorize", content=photo, timeout=60, trust_env=False)

        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(post, range(8)))
    statuses = [answer.status_code for answer in answers]
    assert set(statuses) == {200, 503}
    assert statuses.count(200) >= 2
    for answer in answers:
        if answer.status_code == 503:
            assert "try again" in detail(answer, 503)
            assert int(answer.headers["Retry-After"]) > 0


def test_long_bodies_are_refused_whether_they_say_so_or_not(model: Path) -> None:
    with serving(model, Limits(body_bytes=100_000, json_bytes=1000)) as address:

        def pieces() -> object:
            for _ in range(400):
                yield bytes(1000)

        for content in (bytes(400_000), pieces()):
            answer = httpx.post(f"{address}/v1/colorize", content=content, trust_env=False)
            assert "longer than" in detail(answer, 413)
        form = httpx.post(f"{address}/v1/colorize", files={"image": bytes(400_000)}, trust_env=False)
        detail(form, 413)
        long = httpx.post(f"{address}/v1/photos/x/preview", json={"model": "x" * 5000}, trust_env=False)
        detail(long, 413)


def test_a_body_that_does_not_come_is_given_up(model: Path) -> None:
    with serving(model, Limits(upload_seconds=0.5)) as address:
        place = urlsplit(address)
        with socket.create_connection((str(place.hostname), int(place.port or 0))) as connection:
            head = "POST /v1/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n"
            connection.sendall(head.encode() + b"a few bytes")
            connection.settimeout(10)
            assert b" 408 " in connection.recv(1000).split(b"\r\n")[0]
        assert httpx.get(f"{address}/healthz", trust_env=False).status_code == 200


def test_clients_that_leave_free_their_places(model: Path) -> None:
    photo = encode(make_picture(600, 400), "PNG")
    with serving(model, Limits(computing=1, admitted=3)) as address:
        place = urlsplit(address)
        for _ in range(6):
            with socket.create_connection((str(place.hostname), int(place.port or 0))) as connection:
                head = (
                    f"POST /v1/colorize HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(photo)}\r\n\r\n"
                )
                connection.sendall(head.encode() + photo)

        def serves() -> bool:
            answer = httpx.post(f"{address}/v1/colorize", content=photo, timeout=60, trust_env=False)
            return answer.status_code == 200

        wait_for(serves, 30, "a free place")


def test_a_killed_server_leaves_no_file(start_server: Callable[..., Server], model: Path) -> None:
    server = start_server("--model", str(model))
    photo = encode(make_picture(900, 700), "PNG")
    stopping = threading.Event()

    def post() -> None:
        with server.client() as client:
            while not stopping.is_set():
                try:
                    client.post("/v1/photos", content=photo)
                    client.post("/v1/colorize", files={"image": photo})
                except httpx.HTTPError:
                    return

    threads = [threading.Thread(target=post) for _ in range(3)]
    for thread in threads:
        thread.start()
    time.sleep(2)
    server.process.kill()
    server.process.wait()
    stopping.set()
    for thread in threads:
        thread.join()
    left = [path for path in server.folder.rglob("*") if path.is_file() and path.name != "errors"]
    assert left == []


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_under_load_each_request_is_answered_and_memory_is_flat(
    start_server: Callable[..., Server], model: Path
) -> None:
    server = start_server("--model", str(model))
    load = put_load(server.address, server.process.pid, 60)
    print(load.line())
    assert load.faults == []
    assert load.statuses["200"] > 20
    assert load.growth < 0.1
