"""`tintlab score --hints`: a JSON file of names and their hints."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import make_picture
from tests.scoring.conftest import make_model, saved
from tests.scoring.test_archive import changed_since, rows, run, times
from tests.studio.conftest import CONFIG
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.imaging.photos import read_photo
from tintlab.imaging.provenance import read_provenance
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.hints import Hint

RED = {"x": 0.3, "y": 0.6, "ab": [60, 40], "radius": 0.1}


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("model that takes hints")
    torch.manual_seed(0)
    save_generator(
        folder, build_generator(CONFIG, pretrained=False), CONFIG | {"fingerprint": "0123456789abcdef"}
    )
    return folder


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "1931").mkdir(parents=True)
    pages = [Image.fromarray(make_picture(60, 40, seed=seed)).convert("L") for seed in range(3)]
    pages[2].save(folder / "1931/boat.png")
    pages[2].save(folder / "plain.png")
    (folder / "album.tif").write_bytes(saved(pages[0], "TIFF", save_all=True, append_images=pages[1:2]))
    return folder


def score(scans: Path, out: Path, model: Path, hints: object, *more: object):
    path = scans.parent / "hints.json"
    path.write_text(json.dumps(hints))
    return run("score", scans, out, "--model", model, "--engine", "torch", "--hints", path, *more)


def test_hints_colour_the_photographs_that_they_name(scans: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = score(scans, out, model, {"1931/boat.png": [RED], "album.tif, page 2": {"hints": [RED]}})
    assert result.exit_code == 0, (result.output, result.exception)
    hint = Hint(0.3, 0.6, 60, 40, 0.1)
    wanted = Colorizer.load(model).colorize(read_photo(scans / "1931/boat.png", 1), hints=[hint])
    with Image.open(out / "1931/boat.png") as image:
        np.testing.assert_array_equal(np.asarray(image), wanted)
    assert (out / "plain.png").read_bytes() != (out / "1931/boat.png").read_bytes()
    origin = read_provenance((out / "album-p02.png").read_bytes())
    assert origin is not None
    assert origin.hints == "1 (x,y: a,b): 0.3,0.6: 60,40 r 0.1"
    notes = rows(out).reset_index().set_index(["input", "page"])["hints"]
    assert notes["1931/boat.png", 0].startswith("1 hint, sha256 ")
    assert notes["plain.png", 0] == notes["album.tif", 1] == ""


def test_other_hints_colour_only_their_photographs_again(scans: Path, model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    score(scans, out, model, {"1931/boat.png": [RED]})
    before = times(out)
    again = score(scans, out, model, {"1931/boat.png": [RED]})
    assert "nothing to do" in again.output
    score(scans, out, model, {"1931/boat.png": [RED | {"ab": [0, 60]}], "plain.png": [RED]})
    assert changed_since(out, before) == {"1931/boat.png", "plain.png"}
    before = times(out)
    run("score", scans, out, "--model", model, "--engine", "torch")
    assert changed_since(out, before) == {"1931/boat.png", "plain.png"}
    assert set(rows(out)["hints"]) == {""}


@pytest.mark.parametrize(
    ("hints", "words"),
    [
        ({"absent.jpg": [RED]}, "there are hints for absent.jpg, which is no photograph below INPUT"),
        ({"album.tif": [RED]}, "album.tif holds 2 photographs: give hints for 'album.tif, page 1'"),
        ([RED], "names no photographs"),
        ({"hints": [RED]}, "names no photographs"),
        ({"plain.png": [RED | {"x": 2}]}, "plain.png, hint 1: a hint's x is '2'"),
        ({"plain.png": 3}, "holds no list of at most"),
    ],
)
def test_what_names_nothing_or_is_no_hint_is_refused_before_it_starts(
    hints: object, words: str, scans: Path, model: Path, tmp_path: Path
) -> None:
    result = score(scans, tmp_path / "out", model, hints)
    assert result.exit_code == 1
    assert words in str(result.exception)
    assert len(str(result.exception)) < 200 + len(str(tmp_path))
    assert not (tmp_path / "out").exists()


def test_a_hint_outside_its_photograph_costs_that_photograph(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    result = score(scans, tmp_path / "out", model, {"plain.png": [{"px": 60, "py": 0, "ab": [0, 0]}]})
    assert "plain.png: its hints, hint 1: px is '60': the photograph has pixels 0 to 59" in result.output


def test_a_model_without_hints_says_so(scans: Path, tmp_path: Path) -> None:
    plain = make_model(tmp_path / "model")
    result = score(scans, tmp_path / "out", plain, {"plain.png": [RED]})
    assert "takes no colour hints" in str(result.exception)
