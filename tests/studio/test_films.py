"""Films in the studio, over HTTP: key frames, progress, cancel, download, limits."""

import tempfile
import time
from pathlib import Path
from typing import Any

import av
import httpx
import numpy as np
import pytest

from tests.scoring.film_files import grey_frames, write_clip
from tests.studio.conftest import Server, detail
from tests.studio.serving import serving
from tintlab.scoring.trace import trace
from tintlab.studio.films import Films
from tintlab.studio.limits import Limits
from tintlab.studio.problems import Problem


@pytest.fixture(scope="module")
def reel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("reel") / "reel.mp4"
    return write_clip(path, grey_frames(30), sound=True).read_bytes()


@pytest.fixture(scope="module")
def long_reel(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("long") / "reel.mp4"
    there = grey_frames(25, shots=1)
    return write_clip(path, [*there, *there[::-1]] * 14).read_bytes()


def wait(client: httpx.Client, film_id: str, *states: str) -> dict[str, Any]:
    deadline = time.monotonic() + 60
    while True:
        facts: dict[str, Any] = client.get(f"/v1/films/{film_id}").json()
        if facts["state"] in states:
            return facts
        assert facts["state"] in ("waiting", "colouring"), facts
        assert time.monotonic() < deadline
        time.sleep(0.05)


def folders(server: Server) -> list[Path]:
    return [path for path in server.folder.glob(".tintlab-studio-films.*/*") if path.is_dir()]


def test_a_film_with_a_hint_is_coloured_and_downloaded(
    server: Server, client: httpx.Client, reel: bytes, tmp_path: Path
) -> None:
    opened = client.post("/v1/films", content=reel)
    assert opened.status_code == 200, opened.text
    facts = opened.json()
    assert (facts["width"], facts["height"], facts["frames"], facts["shots"]) == (64, 48, 30, 2)
    assert [photo["shot"] for photo in facts["photos"]] == [1, 2]
    first, _ = facts["photos"]
    assert client.post(f"/v1/photos/{first['id']}/preview", json={"side": 64}).status_code == 200
    address = f"/v1/films/{facts['id']}"
    assert client.get(address).json() == {"state": "open"}
    assert "not coloured yet" in detail(client.get(f"{address}/file"), 409)
    hinted = {"hints": [{"x": 0.5, "y": 0.5, "ab": [60, 40], "radius": 0.1}], "like": None}
    hinted["like"] = client.post(f"/v1/photos/{first['id']}/palette").json()["palette"]
    asked = client.post(f"{address}/colour", json={"shots": [{"shot": 2, "look": hinted}]})
    assert asked.status_code == 202, asked.text
    done = wait(client, facts["id"], "done")
    assert (done["done"], done["frames"], done["fault"]) == (30, 30, "")
    answer = client.get(f"{address}/file")
    assert answer.headers["content-type"] == "video/mp4"
    assert 'filename="coloured.mp4"' in answer.headers["content-disposition"]
    (tmp_path / "coloured.mp4").write_bytes(answer.content)
    with av.open(str(tmp_path / "coloured.mp4")) as container:
        frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
        assert len(container.streams.audio) == 1
    assert len(frames) == 30
    assert max(int(np.ptp(frame.astype(int), axis=-1).max()) for frame in frames) > 10
    assert "guides" in trace(tmp_path / "coloured.mp4").coding
    assert len(folders(server)) == 1
    assert client.delete(address).status_code == 204
    assert folders(server) == []
    assert "not open any more" in detail(client.get(address), 404)


def test_a_colouring_is_cancelled_and_goes_on(client: httpx.Client, long_reel: bytes) -> None:
    film_id = client.post("/v1/films", content=long_reel).json()["id"]
    address = f"/v1/films/{film_id}"
    assert "not being coloured" in detail(client.post(f"{address}/cancel"), 409)
    client.post(f"{address}/colour", json={})
    assert "being coloured" in detail(client.post(f"{address}/colour", json={}), 409)
    while client.get(address).json()["done"] < 260:
        time.sleep(0.02)
    client.post(f"{address}/cancel")
    assert wait(client, film_id, "cancelled")["done"] < 700
    client.post(f"{address}/colour", json={})
    while (facts := client.get(address).json())["done"] == 0:
        time.sleep(0.02)
    assert facts["done"] >= 240  # the first part was kept
    client.delete(address)


def test_what_is_no_film_or_too_much_is_refused_in_a_line(model: Path, reel: bytes) -> None:
    limits = Limits(film_bytes=len(reel) + 10, film_frames=29, held_films=1)
    with (
        serving(model, limits) as address,
        httpx.Client(base_url=address, trust_env=False, timeout=60) as client,
    ):
        assert "29 frames and 10 minutes" in detail(client.post("/v1/films", content=reel), 422)
        assert detail(client.post("/v1/films", content=b"no film"), 422).startswith("can't be read as a film")
        too_long = reel + bytes(20)
        assert "longer than" in detail(client.post("/v1/films", content=too_long), 413)
        pieces = iter([too_long[:100], too_long[100:]])
        assert "longer than" in detail(client.post("/v1/films", content=pieces), 413)
        other = {"Origin": "http://elsewhere.example"}
        assert "another site" in detail(client.post("/v1/films", content=reel, headers=other), 403)
        for name in ("..%2f..%2fetc%2fpasswd", "x" * 300):
            assert client.get(f"/v1/films/{name}/file").status_code == 404


def test_films_go_after_an_hour_and_with_the_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    left = tmp_path / ".tintlab-studio-films.killed.tintlab.part"
    left.mkdir()
    now = [0.0]
    films = Films(Limits(held_films=2), lambda: now[0])
    _, used = films.reserve()
    film_id, path = films.reserve()
    assert not left.exists()
    with pytest.raises(Problem, match="too many films"):
        films.reserve()
    now[0] = 3000
    films.find(film_id)
    now[0] = 4000
    assert films.sweep() == 1
    assert (used.parent.exists(), path.parent.exists()) == (False, True)
    films.close()
    assert list(tmp_path.iterdir()) == []
