"""Scoring from and to Google's storage, and from web servers, on this machine."""

import functools
import http.server
import shutil
import threading
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import requests
from PIL import Image

from tests.scoring.conftest import make_settings
from tintlab.scoring import archive as scoring
from tintlab.scoring import mirror
from tintlab.scoring.archive import ScoringResult
from tintlab.sources import stores
from tintlab.sources.remote import Patience
from tintlab.sources.store_faults import StoreError
from tintlab.system.errors import TintlabError

NAMES = ("a b.jpg", "box/Zürich.jpg", "box/100%.jpg")


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    monkeypatch.setattr(stores, "PATIENCE", Patience(seconds=10, attempts=3, pause=0.01))
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    stores.open_store.cache_clear()
    yield
    stores.open_store.cache_clear()


@pytest.fixture
def photos(tmp_path: Path, picture: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "scans"
    for number, name in enumerate(NAMES):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(70, 50, seed=number)).save(path)
    return folder


@pytest.fixture
def gcs(photos: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Google's storage, emulated, with the photographs in the bucket `scans`."""
    emulator = pytest.importorskip("gcp_storage_emulator.server")
    server = emulator.create_server("127.0.0.1", 0, in_memory=True, default_bucket="scans")
    server.start()
    address = f"http://127.0.0.1:{server._api._httpd.server_port}"
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    for name in NAMES:
        place = f"{address}/upload/storage/v1/b/scans/o"
        asked = {"uploadType": "media", "name": f"in/{name}"}
        requests.post(place, params=asked, data=(photos / name).read_bytes(), timeout=60).raise_for_status()
    yield address
    server.stop()


class Pages(http.server.SimpleHTTPRequestHandler):
    """A folder as web servers list it."""

    asked: list[tuple[str, str]]

    def do_GET(self) -> None:
        self.asked.append((self.command, self.path))
        super().do_GET()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def web(photos: Path) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """The address of a web server with the photographs, and what it was asked."""
    handler = type("Handler", (Pages,), {"asked": []})
    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), functools.partial(handler, directory=str(photos))
    )
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}", handler.asked
    server.shutdown()
    server.server_close()


def score(model: Path, source: str, target: str) -> ScoringResult:
    folder, store = mirror.resolve_output(target)
    return scoring.score(source, make_settings(model, folder, store=store), lambda _: None)


def test_gs_has_the_bytes_that_a_disk_has(gcs: str, photos: Path, model: Path, tmp_path: Path) -> None:
    local = scoring.score(photos, make_settings(model, tmp_path / "out"), lambda _: None)
    result = score(model, "gs://scans/in", "gs://scans/out")
    assert result.line() == local.line()
    store = stores.open_store("gs://scans/out")
    there = {one.name for one in store.files() if one.name.endswith(".png")}
    made = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert there == made
    for name in there:
        assert store.read(name) == (tmp_path / "out" / name).read_bytes()
    rows = pq.read_table(BytesIO(store.read("manifest.parquet"))).to_pandas()
    assert set(rows["input"]) == set(NAMES)
    assert store.marks("a b.png")["tintlabsha256"] in set(rows["output_sha256"])


def test_gs_resumes(gcs: str, model: Path) -> None:
    score(model, "gs://scans/in", "gs://scans/out")
    store = stores.open_store("gs://scans/out")
    before = {one.name: one for one in store.files()}
    store.delete(["a b.png"])
    assert score(model, "gs://scans/in", "gs://scans/out").coloured == len(NAMES)
    after = {one.name: one for one in store.files()}
    changed = {name for name in after if name.endswith(".png") and after[name] != before[name]}
    assert changed == {"a b.png"}


def test_gs_lists_page_by_page(gcs: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stores, "_PAGE", 2)
    assert sorted(one.name for one in stores.open_store("gs://scans/in").files()) == sorted(NAMES)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("gs://nowhere/in", "gs://scans/out", "gs://nowhere/in: there is no such bucket"),
        ("gs://scans/in", "gs://nowhere/out", "gs://nowhere/out: there is no such bucket"),
        ("gs://scans/other", "gs://scans/out", "there are no photographs in gs://scans/other"),
    ],
)
def test_gs_that_is_not_there(gcs: str, model: Path, source: str, target: str, said: str) -> None:
    with pytest.raises(TintlabError) as caught:
        score(model, source, target)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_web_server_is_read(web: Any, photos: Path, model: Path, tmp_path: Path) -> None:
    url, asked = web
    local = scoring.score(photos, make_settings(model, tmp_path / "local"), lambda _: None)
    result = score(model, url, str(tmp_path / "out"))
    assert result.line() == local.line()
    for path in (tmp_path / "local").rglob("*.png"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "local")).read_bytes() == path.read_bytes()
    # A second run reads what has changed, by the server's Last-Modified.
    shutil.copy(photos / "a b.jpg", photos / "box/Zürich.jpg")
    asked.clear()
    assert score(model, url, str(tmp_path / "out")).coloured == len(NAMES)
    assert [place for _, place in asked if place.endswith(".jpg")] == ["/box/Z%C3%BCrich.jpg"]


def test_a_web_server_is_not_written_to(web: Any, model: Path, photos: Path) -> None:
    with pytest.raises(TintlabError, match="can only be read: name a folder or a store for OUTPUT"):
        score(model, str(photos), web[0])
    with pytest.raises(StoreError, match="can only be read"):
        stores.open_store(web[0]).write("a.png", b"")


def test_links_of_a_page_that_lead_elsewhere(web: Any, photos: Path, model: Path, tmp_path: Path) -> None:
    url, _ = web
    links = [
        "a%20b.jpg",
        "..%2Fup.jpg",
        "%2e%2e/up.jpg",
        "http://127.0.0.1:9/other.jpg",
        "?C=N;O=D",
        "gone.jpg",
    ]
    (photos / "index.html").write_text("".join(f'<a href="{link}">x</a>' for link in links))
    result = score(model, url, str(tmp_path / "out"))
    assert result.coloured == 1
    assert result.quarantined == {"gone.jpg": "is gone since the store was listed"}
    assert result.plan is not None
    assert {one.kind for one in result.plan.skipped} == {"key that leads out of the folder"}
    assert {path.name for path in tmp_path.rglob("*.png")} == {"a b.png"}


def test_a_web_server_without_that_folder(web: Any, model: Path, tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match="there is no such bucket or folder"):
        score(model, f"{web[0]}/nowhere", str(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
