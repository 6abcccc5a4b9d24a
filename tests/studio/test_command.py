"""The same look by the page, by plain HTTP and by command: the same bytes."""

import json
import re
from pathlib import Path

import httpx
import numpy as np
import pytest
from typer.testing import CliRunner

from tests.conftest import encode, make_picture
from tintlab.cli import app
from tintlab.imaging.photos import read_photo
from tintlab.imaging.provenance import read_provenance
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.hints import Hint
from tintlab.inference.palettes import Palette
from tintlab.scoring.trace import trace
from tintlab.studio.look import Look
from tintlab.system.errors import TintlabError

HINTS = [
    {"x": 0.25, "y": 0.5, "ab": [40.0, 30.0]},
    {"x": 0.75, "y": 0.25, "ab": [-20.0, -30.0], "radius": 0.1},
]
LOOK = {"seed": 5, "variant": 2, "warm": 1.5, "sky": -1, "saturation": 1.2, "hints": HINTS}


@pytest.fixture(scope="module")
def reference() -> bytes:
    return encode(make_picture(50, 40, seed=9), "PNG")


@pytest.fixture
def folder(tmp_path: Path, photo: bytes, reference: bytes) -> Path:
    (tmp_path / "boat.png").write_bytes(photo)
    (tmp_path / "postcard.png").write_bytes(reference)
    (tmp_path / "hints.json").write_text(json.dumps(HINTS))
    return tmp_path


def colorize(folder: Path, model: Path, *arguments: str, status: int = 0) -> str:
    result = CliRunner().invoke(
        app, ["colorize", str(folder / "boat.png"), "-o", str(folder), "--model", str(model), *arguments]
    )
    assert result.exit_code == status, result.output
    return result.output


def test_the_saved_settings_give_the_same_bytes(
    client: httpx.Client, photo: bytes, reference: bytes, folder: Path, model: Path
) -> None:
    photo_id = client.post("/v1/photos", content=photo).json()["id"]
    reference_id = client.post("/v1/photos", content=reference).json()["id"]
    palette = client.post(f"/v1/photos/{reference_id}/palette").json()["palette"]
    asked = {"look": LOOK | {"like": palette}}
    saved = client.post(f"/v1/photos/{photo_id}/settings", json=asked)
    (folder / "boat.json").write_bytes(saved.content)
    for query, arguments, suffix in (
        ({"format": "png", "depth": 8}, [], "png"),
        ({"format": "png", "depth": 16}, ["--depth", "16"], "png"),
        ({"format": "jpeg", "quality": 80}, ["--format", "jpeg", "--quality", "80"], "jpg"),
        ({"format": "webp"}, ["--format", "webp"], "webp"),
    ):
        page = client.post(f"/v1/photos/{photo_id}/file", json=asked | query)
        assert page.status_code == 200, page.text
        colorize(folder, model, "--settings", str(folder / "boat.json"), *arguments)
        assert (folder / f"boat-coloured.{suffix}").read_bytes() == page.content
    plain = client.post(
        "/v1/colorize?format=webp",
        files={"image": photo, "like": reference, "settings": saved.content},
    )
    assert plain.content == page.content


def test_options_give_the_same_as_python(
    folder: Path, model: Path, colorizer: Colorizer, photo: bytes, reference: bytes
) -> None:
    hints, like = str(folder / "hints.json"), str(folder / "postcard.png")
    colorize(folder, model, "--hints", hints, "--like", like, "--warm", "2")
    wanted = colorizer.colorize(
        read_photo(photo, 200),
        z=np.array([2, 0, 0, 0], np.float32),
        hints=[Hint(0.25, 0.5, 40, 30), Hint(0.75, 0.25, -20, -30, 0.1)],
        like=Palette.of(read_photo(reference, 200).rgb()),
    )
    np.testing.assert_array_equal(read_photo(folder / "boat-coloured.png", 200).pixels, wanted)
    assert not np.array_equal(wanted, colorizer.colorize(read_photo(photo, 200)))


def test_hints_of_a_form_may_name_pixels_and_srgb(client: httpx.Client, photo: bytes) -> None:
    by_pixel = json.dumps([{"px": 24, "py": 32, "rgb": "#a02020"}])
    by_share = json.dumps({"hints": [{"x": 24.5 / 96, "y": 32.5 / 64, "rgb": "#a02020"}]})
    found = [
        client.post("/v1/colorize", files={"image": photo}, data={"hints": text})
        for text in (by_pixel, by_share)
    ]
    assert found[0].status_code == 200
    assert found[0].content == found[1].content
    outside = client.post(
        "/v1/colorize", files={"image": photo}, data={"hints": '[{"px": 96, "py": 0, "rgb": "#000000"}]'}
    )
    assert outside.status_code == 400
    assert "pixels 0 to 95" in outside.json()["detail"]


def test_the_default_look_is_the_plain_command(
    client: httpx.Client, photo: bytes, folder: Path, model: Path
) -> None:
    colorize(folder, model)
    assert (folder / "boat-coloured.png").read_bytes() == client.post("/v1/colorize", content=photo).content


def test_variants_of_the_command_are_those_of_http(
    client: httpx.Client, photo: bytes, folder: Path, model: Path
) -> None:
    said = colorize(folder, model, "--variants", "3", "--seed", "4")
    numbers = [
        one["number"] for one in client.post("/v1/variants?count=3&seed=4", content=photo).json()["variants"]
    ]
    for place, number in enumerate(numbers, 1):
        assert f"v{place}.png: draw {number} of seed 4" in said
        answer = client.post(f"/v1/colorize?seed=4&variant={number}", content=photo)
        assert (folder / f"boat-coloured-v{place}.png").read_bytes() == answer.content


def test_the_file_says_hints_steps_and_reference(folder: Path, model: Path) -> None:
    hints, like = str(folder / "hints.json"), str(folder / "postcard.png")
    colorize(folder, model, "--hints", hints, "--like", like, "--warm", "1", "--format", "jpeg")
    origin = read_provenance((folder / "boat-coloured.jpg").read_bytes())
    assert origin is not None
    assert origin.hints == "2 (x,y: a,b): 0.25,0.5: 40,30 r 0.02; 0.75,0.25: -20,-30 r 0.1"
    assert origin.steps == "warm +1"
    assert re.fullmatch(r"[0-9a-f]{16}, strength 0\.75", origin.like)
    text = trace(folder / "boat-coloured.jpg").text()
    assert "0.25,0.5: 40,30" in text
    assert "warm +1" in text


def test_a_jpeg_holds_hundreds_of_hints(folder: Path, model: Path) -> None:
    many = [{"x": number / 2000, "y": 0.123456, "ab": [-12.34, 56.78]} for number in range(2000)]
    (folder / "hints.json").write_text(json.dumps(many))
    colorize(folder, model, "--hints", str(folder / "hints.json"), "--format", "jpeg")
    origin = read_provenance((folder / "boat-coloured.jpg").read_bytes())
    assert origin is not None
    assert origin.hints.startswith("2000 ")
    assert origin.hints.endswith("and 1500 more")


def test_settings_of_another_model_are_named(folder: Path, model: Path) -> None:
    saved = {"tintlab": 1, "model": "models:/tintlab/9", "weights_sha256": "0" * 64, "warm": 1}
    (folder / "boat.json").write_text(json.dumps(saved))
    said = colorize(folder, model, "--settings", str(folder / "boat.json"))
    assert "made with models:/tintlab/9" in said


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "Invalid JSON"), ('{"warm": "hot"}', "warm"), ('{"colour": 1}', "colour"), ("[]", "object"),
        ('{"tintlab": 2}', "tintlab"), ('{"hints": [{"x": 2, "y": 0, "ab": [0, 0]}]}', "hints.0.x"),
    ],
)  # fmt: skip
def test_broken_settings_are_one_line(folder: Path, model: Path, content: str, words: str) -> None:
    settings = folder / "boat.json"
    settings.write_text(content)
    arguments = ["colorize", str(folder / "boat.png"), "--settings", str(settings), "--model", str(model)]
    fault = CliRunner().invoke(app, arguments).exception
    assert isinstance(fault, TintlabError)
    assert words in str(fault)
    line = str(fault).replace(str(folder), "")
    assert line.startswith("/boat.json: ")
    assert len(line) < 200
    assert "\n" not in line


def test_a_look_survives_its_file() -> None:
    look = Look.checked(LOOK | {"like": [0.5, *[0.0] * 120, 0.1234567]}, "test")
    from tintlab.studio.look import SavedLook, parse_saved

    saved = SavedLook(model="base", **look.model_dump())
    assert parse_saved(saved.text(), "test").look() == look


def test_files_that_cannot_be_used_are_named(folder: Path, model: Path) -> None:
    (folder / "text.png").write_text("hello")
    said = colorize(folder, model, str(folder / "text.png"), "--warm", "1", status=2)
    assert "text.png: not a picture" in said
    assert "1 photograph coloured, 1 file can't be used" in said
