"""The plain HTTP interface, by a real server."""

import base64
import hashlib
import io
import re

import httpx
import numpy as np
import pytest
from PIL import Image

from tests.conftest import encode, make_picture
from tests.studio.conftest import detail
from tintlab.imaging.photos import read_photo
from tintlab.imaging.provenance import read_provenance
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import Colorizer


def pixels(data: bytes) -> np.ndarray:
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image)


def test_a_form_and_a_raw_body_give_the_same_picture(
    client: httpx.Client, colorizer: Colorizer, photo: bytes
) -> None:
    form = client.post("/v1/colorize", files={"image": ("x.png", photo)})
    raw = client.post("/v1/colorize", content=photo)
    assert form.status_code == raw.status_code == 200
    assert form.headers["content-type"] == "image/png"
    assert form.content == raw.content
    np.testing.assert_array_equal(pixels(raw.content), colorizer.colorize(read_photo(photo, 200)))


def test_a_variant_is_that_of_the_noise_vectors(
    client: httpx.Client, colorizer: Colorizer, photo: bytes
) -> None:
    answer = client.post("/v1/colorize?seed=7&variant=3", content=photo)
    sha256 = hashlib.sha256(photo).hexdigest()
    z = noise_vectors.draw(7, sha256, 3, 4)[2]
    np.testing.assert_array_equal(pixels(answer.content), colorizer.colorize(read_photo(photo, 200), z=z))
    origin = read_provenance(answer.content)
    assert origin is not None
    assert (origin.seed, origin.variant, origin.source_sha256) == ("7", "3", sha256)


def test_steps_go_along_the_directions(client: httpx.Client, colorizer: Colorizer, photo: bytes) -> None:
    answer = client.post("/v1/colorize?warm=2&sky=-1", content=photo)
    z = np.array([2, -1, 0, 0], np.float32)
    np.testing.assert_array_equal(pixels(answer.content), colorizer.colorize(read_photo(photo, 200), z=z))


def test_formats_and_depths(client: httpx.Client, photo: bytes) -> None:
    for query, kind in (("format=jpeg&quality=80", "JPEG"), ("format=webp", "WEBP"), ("depth=16", "PNG")):
        answer = client.post(f"/v1/colorize?{query}", content=photo)
        with Image.open(io.BytesIO(answer.content)) as image:
            assert image.format == kind
            assert image.size == (96, 64)
    assert answer.content[24] == 16  # IHDR's bit depth
    assert "16 choose png" in detail(client.post("/v1/colorize?format=jpeg&depth=16", content=photo), 400)


def test_variants_are_as_many_as_asked_and_differ(client: httpx.Client, photo: bytes) -> None:
    answer = client.post("/v1/variants?count=4&seed=2", content=photo).json()
    numbers = [variant["number"] for variant in answer["variants"]]
    assert len(set(numbers)) == 4
    assert all(variant["distance"] > 0 and variant["seed"] == 2 for variant in answer["variants"])
    previews = [base64.b64decode(variant["preview"].partition(",")[2]) for variant in answer["variants"]]
    assert len({pixels(preview).tobytes() for preview in previews}) == 4


def test_models_and_health(client: httpx.Client) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    default, base = client.get("/v1/models").json()["models"]
    assert (default["name"], base["name"]) == ("default", "base")
    assert default["takes_noise"]
    assert default["directions"] == ["sky", "warm"]


def test_metrics_count_requests_by_route(client: httpx.Client, photo: bytes) -> None:
    def count() -> float:
        text = client.get("/metrics").text
        found = re.search(
            r'tintlab_requests_total\{method="POST",route="/v1/colorize",status="200"\} (\S+)', text
        )
        return float(found[1]) if found else 0.0

    before = count()
    client.post("/v1/colorize", content=photo)
    assert count() == before + 1
    assert "/etc" not in client.get("/metrics").text


def test_the_schema_and_its_page_are_served_here(client: httpx.Client) -> None:
    schema = client.get("/openapi.json").json()
    assert {"/v1/colorize", "/v1/variants", "/v1/models", "/healthz", "/metrics"} <= set(schema["paths"])
    page = client.get("/docs").text
    assert "/v1/colorize" in page
    assert not re.findall(r'(?:src|href)="(?!/)', page)


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("format=gif", "format:"), ("quality=0", "quality:"), ("seed=-1", "seed:"), ("warm=nan", "warm:"),
        ("warm=99", "warm:"), ("saturation=-1", "saturation:"), ("colour=red", "colour:"),
        ("variant=x", "variant:"), ("model=/etc/passwd", "no model of this name"),
        ("foliage=1", "no direction for 'foliage'"),
    ],
)  # fmt: skip
def test_wrong_parameters_are_one_sentence(
    client: httpx.Client, photo: bytes, query: str, words: str
) -> None:
    assert words in detail(client.post(f"/v1/colorize?{query}", content=photo), 400)


def test_wrong_photographs_are_one_sentence(client: httpx.Client) -> None:
    assert "not a picture" in detail(client.post("/v1/colorize", content=b"hello"), 422)
    assert "no photograph" in detail(client.post("/v1/colorize", content=b""), 400)
    assert "no photograph" in detail(client.post("/v1/colorize", files={"like": b"x"}), 400)
    assert "no part of this form" in detail(client.post("/v1/colorize", files={"photo": b"x"}), 400)
    cut = encode(make_picture(64, 64), "PNG")[:500]
    assert "cut short" in detail(client.post("/v1/colorize", content=cut), 422)
    headers = {"Content-Type": "multipart/form-data"}
    assert "form" in detail(client.post("/v1/colorize", content=b"--x", headers=headers), 400)


def test_unknown_addresses_are_problems_too(client: httpx.Client) -> None:
    detail(client.get("/v2/nothing"), 404)
    detail(client.get("/v1/colorize"), 405)
    detail(client.get("/static/main.txt"), 404)
