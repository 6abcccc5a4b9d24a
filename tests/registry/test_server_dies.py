"""The MLflow server dies at each write of a promotion, a rollback and a registration, before or after taking it.

A real `mlflow server` stands behind a proxy that cuts the connection at the n-th write, and answers nobody
until it is revived. What the server knows is read from its database by SQL.
"""

import http.client
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Literal

import pytest

from tests.tracking.test_sender import Server
from tintlab.registry import history, listing, promotion, register
from tintlab.registry import models as registry
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.tracking import store

WHY = "a test"
When = Literal["before", "after"]


class Proxy:
    """Passes requests on to a server; told to, it dies at a write before or after passing it on."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.writes: list[str] = []
        self.dead = False
        self.cut_at: int | str = 0
        self.when: When = "before"

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.listener.server_port}"

    @contextmanager
    def running(self) -> Iterator[None]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            def handle_one_request(self) -> None:
                self.raw_requestline = self.rfile.readline(65537)
                self.close_connection = True
                if self.raw_requestline and self.parse_request():
                    proxy.pass_on(self)

        self.listener = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.listener.serve_forever, daemon=True).start()
        try:
            yield
        finally:
            self.listener.shutdown()
            self.listener.server_close()

    def arm(self, cut_at: int | str, when: When = "before") -> None:
        """Die at the n-th write from now on, or at the first whose path ends so; 0 is never."""
        self.writes, self.dead, self.cut_at, self.when = [], False, cut_at, when

    def pass_on(self, handler: BaseHTTPRequestHandler) -> None:
        if self.dead:
            return
        body = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        if handler.command != "GET" and not handler.path.endswith("/search"):
            self.writes.append(handler.path)
            self.dead = self.cut_at in (len(self.writes), handler.path.rpartition("mlflow/")[2])
        if self.dead and self.when == "before":
            return
        server = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        server.request(handler.command, handler.path, body, dict(handler.headers))
        answer = server.getresponse()
        content = answer.read()
        server.close()
        if self.dead:
            return
        handler.send_response(answer.status)
        handler.send_header("Content-Type", answer.headers.get("Content-Type", "application/json"))
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, models: list[Path]) -> Iterator[tuple[Proxy, Path]]:
    """A proxy before a server that has versions 1 and 2, and the server's database."""
    folder = tmp_path_factory.mktemp("served")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINTLAB_STATE", str(folder / "state"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        store.prepare_store()
        server = Server(folder, paths.tracking_database())
        proxy = Proxy(server.port)
        with server.running(), proxy.running():
            patch.setenv("MLFLOW_TRACKING_URI", proxy.uri)
            for model in models[:2]:
                register.register(model)
            yield proxy, server.database


@pytest.fixture
def proxy(served: tuple[Proxy, Path], monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", served[0].uri)
    served[0].arm(0)
    yield served[0]
    served[0].arm(0)


@pytest.fixture
def sql(served: tuple[Proxy, Path]) -> Callable[..., list[tuple[Any, ...]]]:
    def ask(query: str, *values: Any) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(served[1], timeout=60)) as database:
            rows = database.execute(query, values).fetchall()
            database.commit()
            return rows

    return ask


def promote_first() -> None:
    promotion.promote(1, WHY, forced=True)


def promote_second() -> None:
    promotion.promote(2, WHY, forced=True)


def prepare(command: Callable[[], object], name: str, sql: Callable[..., Any]) -> None:
    """A history of its own for each trial, up to where `command` comes in."""
    history.HISTORY_NAME = name
    sql("delete from registered_model_aliases where alias='champion'")
    if command is not promote_first:
        promote_first()
    if command is promotion.rollback:
        promote_second()


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("command", "before", "after", "writes"),
    [
        (
            promote_first,
            None,
            1,
            ["registered-models/create", "model-versions/create", "registered-models/alias"],
        ),
        (promote_second, 1, 2, ["model-versions/create", "registered-models/alias"]),
        (promotion.rollback, 2, 1, ["model-versions/create", "registered-models/alias"]),
    ],
)
def test_the_server_dies_at_each_write(
    command: Callable[[], object],
    before: int | None,
    after: int,
    writes: list[str],
    when: When,
    proxy: Proxy,
    sql: Callable[..., list[tuple[Any, ...]]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(history, "HISTORY_NAME", "")
    for number, write in enumerate(writes, 1):
        prepare(command, f"history-{command.__name__}-{when}-{number}", sql)
        capsys.readouterr()

        proxy.arm(number, when)
        with pytest.raises(TintlabError) as fault:
            command()
        assert proxy.dead
        assert [path.rpartition("mlflow/")[2] for path in proxy.writes] == writes[:number]
        assert "\n" not in str(fault.value)
        # While the server is away, every command says so at once.
        with pytest.raises(store.TrackingUnavailableError, match="can't be reached"):
            listing.list_history()

        where = f"name='{history.HISTORY_NAME}'"
        entries = [json.loads(text) for (text,) in sql(f"select value from model_version_tags where {where}")]
        written = write == "registered-models/alias" or (write == "model-versions/create" and when == "after")
        earlier = {promote_first: 0, promote_second: 1, promotion.rollback: 2}[command]
        assert len(entries) == earlier + written
        assert said_rightly(str(fault.value), write)
        named = sql("select version from registered_model_aliases where name='tintlab' and alias='champion'")
        rightful = after if written else before

        proxy.arm(0)
        capsys.readouterr()
        text = listing.list_history()
        noted = capsys.readouterr().err
        assert ("a command was cut short" in noted) == (rightful is not None and named != [(rightful,)])
        assert ("there has been no champion" in text) == (rightful is None)
        assert sql("select version from registered_model_aliases where alias='champion'") == (
            [(rightful,)] if rightful else []
        )
        numbers = [
            row[0] for row in sql(f"select version from model_versions where {where} order by version")
        ]
        assert numbers == list(range(1, len(entries) + 1))

        # What was not done can be done now, and what was done is not done twice.
        if command is not promotion.rollback:
            if written:
                with pytest.raises(promotion.NotPassedError, match="is champion already"):
                    command()
            else:
                command()
        elif not written:
            command()
        assert sql("select version from registered_model_aliases where alias='champion'") == [(after,)]
        with store.connect() as client:
            log = history.read(client)
        assert (len(log.counted), log.beaten, log.lost) == (earlier + 1, (), ())


def said_rightly(message: str, write: str) -> bool:
    """Whether the command said what it knew when it lost the server."""
    if write == "registered-models/create":
        return "can't be reached" in message and "nothing is lost" in message
    if write == "model-versions/create":
        return "`tintlab history` shows whether it is champion" in message
    return "is champion now" in message and "its alias may not say so yet" in message


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("write", ["model-versions/create", "registered-models/alias"])
def test_a_registration_cut_short_is_completed(
    write: str,
    when: When,
    proxy: Proxy,
    sql: Callable[..., list[tuple[Any, ...]]],
    models: list[Path],
    tmp_path: Path,
) -> None:
    model = tmp_path / "model"
    model.mkdir()
    for name in ("generator.safetensors", "config.json"):
        (model / name).write_bytes((models[0] / name).read_bytes())
    config = json.loads((model / "config.json").read_text()) | {"note": f"{write} {when}"}
    (model / "config.json").write_text(json.dumps(config))

    proxy.arm(write, when)
    with pytest.raises(store.TrackingUnavailableError):
        register.register(model)
    assert proxy.dead
    proxy.arm(0)
    done = register.register(model)
    assert done.new == (write == "model-versions/create" and when == "before")
    same = "select count(*) from model_version_tags where key='tintlab.config_sha256' and value=?"
    located = registry.locate("challenger")
    assert located.version == done.version
    assert sql(same, registry.hash_folder(model)["config.json"]) == [(1,)]
