"""Hostile photographs by HTTP: used or refused as everywhere. And attempts to have files and addresses opened."""

import base64
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.conftest import encode, make_picture
from tests.hostile import corpus
from tests.hostile.examine import MEGAPIXELS, files_in
from tests.studio.conftest import Server, detail
from tests.studio.serving import serving
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.studio.limits import Limits


def is_used(data: bytes) -> bool:
    try:
        read_photo(data, MEGAPIXELS)
    except PhotoError:
        return False
    return True


def check(client: httpx.Client, data: bytes) -> bool:
    """Whether a photograph is used by HTTP; it must be where it is anywhere."""
    answer = client.post("/v1/colorize?format=jpeg", content=data)
    if len(data) > Limits().body_bytes:
        assert "longer than" in detail(answer, 413)
        return False
    # A picture that JPEG can't hold is refused for that.
    if answer.status_code == 400 and "use png" in detail(answer, 400):
        answer = client.post("/v1/colorize", content=data)
    assert (answer.status_code == 200) == is_used(data), answer.text[:300]
    if answer.status_code != 200:
        detail(answer, 422)
    return answer.status_code == 200


def test_a_sample_of_the_corpus_is_used_or_refused(client: httpx.Client, server: Server) -> None:
    makers = (
        corpus.in_every_mode,
        corpus.flipped,
        corpus.gigapixels,
        corpus.with_broken_metadata,
        corpus.misnamed,
    )
    found = [
        check(client, data)
        for maker in makers
        for number, (_, data) in enumerate(maker())
        if number % 8 == 0 and data
    ]
    assert len(found) > 50
    assert 0 < sum(found) < len(found)
    assert server.process.poll() is None


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_corpus_is_used_or_refused(client: httpx.Client, server: Server, tmp_path: Path) -> None:
    client.timeout = httpx.Timeout(600)
    corpus.make(tmp_path / "corpus", large=True)
    files = [path for path in files_in(tmp_path / "corpus") if path.is_file() and path.parent.name != "links"]
    found = [check(client, data) for path in files if (data := path.read_bytes())]
    print(f"{sum(found)} used, {len(found) - sum(found)} refused")
    assert sum(found) > 200
    assert sum(not used for used in found) > 200
    assert server.process.poll() is None


class Watch:
    """What this process opens and connects to, while it is looked at."""

    def __init__(self) -> None:
        self.words: tuple[str, ...] = ()
        self.seen: list[str] = []

    def __call__(self, event: str, arguments: tuple[object, ...]) -> None:
        if self.words and event in (
            "open",
            "socket.connect",
            "urllib.Request",
            "os.listdir",
            "subprocess.Popen",
        ):
            text = repr(arguments)
            if any(word in text for word in self.words):
                self.seen.append(f"{event} {text[:200]}")


WATCH = Watch()
sys.addaudithook(WATCH)


@pytest.fixture
def bait(tmp_path: Path) -> Iterator[Path]:
    """A photograph that must not be opened."""
    path = tmp_path / "bait.png"
    path.write_bytes(encode(make_picture(40, 30)))
    path.read_bytes()
    WATCH.words, WATCH.seen = ("bait.png", "bait.example", "192.0.2.", "/etc/passwd"), []
    yield path
    WATCH.words = ()


def test_nothing_that_a_client_sends_is_a_path_or_url(model: Path, bait: Path) -> None:
    photo = encode(make_picture(40, 30, seed=1))
    names = [
        str(bait), f"file://{bait}", "http://bait.example/x.png", "http://192.0.2.1/x.png", "/etc/passwd",
        f"../../../..{bait}", f"@{bait}", f"{bait}\0.png",
    ]  # fmt: skip
    attempts: list[tuple[str, dict[str, object]]] = []
    for name in names:
        encoded = base64.b64encode(name.encode()).decode()
        attempts += [
            ("/v1/colorize", {"content": name.encode()}),
            ("/v1/colorize", {"content": encoded.encode()}),
            ("/v1/colorize", {"json": {"image": name}}),
            ("/v1/colorize", {"data": {"image": name}}),
            ("/v1/colorize", {"files": {"image": (None, name)}}),
            ("/v1/colorize", {"files": {"image": (name, b"")}}),
            ("/v1/colorize", {"files": {"image": (name, name.encode())}}),
            ("/v1/colorize", {"files": {"image": photo, "like": (None, name)}}),
            ("/v1/colorize", {"files": {"image": photo, "like": (name, name.encode())}}),
            ("/v1/colorize", {"files": {"image": photo, "hints": (None, name)}}),
            ("/v1/colorize", {"files": {"image": photo, "hints": (None, json.dumps({"hints": name}))}}),
            ("/v1/colorize", {"files": {"image": photo, "settings": (None, json.dumps({"like": name}))}}),
            ("/v1/colorize", {"files": {"image": photo, "settings": (None, name)}}),
            ("/v1/colorize", {"content": photo, "params": {"model": name}}),
            ("/v1/colorize", {"content": photo, "params": {"format": name}}),
            ("/v1/colorize", {"content": photo, "params": {"image": name}}),
            ("/v1/variants", {"content": photo, "params": {"model": name}}),
            ("/v1/variants", {"content": name.encode()}),
            ("/v1/photos", {"content": name.encode()}),
            (f"/v1/photos/{httpx.URL('http://x', params={'q': name}).query.decode()[2:]}/file", {"json": {}}),
            ("/v1/photos/x/preview", {"json": {"model": name}}),
            ("/v1/photos/zip", {"json": {"photos": [{"id": name[:40], "name": name}]}}),
        ]
    with serving(model) as address, httpx.Client(base_url=address, trust_env=False, timeout=60) as client:
        for path, options in attempts:
            answer = client.post(path, **options)  # type: ignore[arg-type]
            assert 400 <= answer.status_code < 500, (path, options, answer.status_code)
            assert answer.headers["content-type"].startswith("application/problem+json"), (path, options)
        for name in names:
            for path in (f"/static/{name}", f"/static/..%2f..%2f{bait}", f"//{name}"):
                assert client.get(path.replace("\0", "%00")).status_code == 404
        named = client.post("/v1/colorize", files={"image": (str(bait), photo)})
        assert named.status_code == 200
        assert named.content == client.post("/v1/colorize", content=photo).content
    assert len(attempts) >= 20
    assert WATCH.seen == []


def test_names_in_a_zip_are_no_paths(client: httpx.Client, photo: bytes) -> None:
    import io
    import zipfile

    photo_id = client.post("/v1/photos", content=photo).json()["id"]
    names = ["../../x.jpg", "/etc/passwd", "a.jpg", "A.png", "C:\\boat.tif", "...", "\0", "<b>.jpg"]
    asked = {"photos": [{"id": photo_id, "name": name} for name in names]}
    packed = zipfile.ZipFile(io.BytesIO(client.post("/v1/photos/zip", json=asked).content))
    assert packed.namelist() == [
        "x-coloured.png", "passwd-coloured.png", "a-coloured.png", "A-2-coloured.png", "boat-coloured.png",
        "photo-coloured.png", "photo-2-coloured.png", "b-coloured.png",
    ]  # fmt: skip
