"""Evening out the fading of prints: monotone, limited, and nothing to a picture that is fresh."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.conftest import make_picture
from tests.scoring.conftest import make_model, make_settings
from tintlab.imaging import color
from tintlab.imaging.descan import even_out
from tintlab.imaging.photos import read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.scoring import archive, manifest
from tintlab.scoring.trace import trace


def tones(low: float, high: float, shape: tuple[int, int] = (90, 120)) -> color.Float:
    """L* evenly from `low` to `high`, in random places."""
    values = np.linspace(low, high, shape[0] * shape[1], dtype=np.float32)
    return np.random.default_rng(1).permutation(values).reshape(shape)


def stretched(lightness: color.Float) -> color.Float:
    result = lightness.copy()
    even_out(result)
    return result


def test_a_fresh_picture_stays_as_it_is() -> None:
    np.testing.assert_array_equal(stretched(tones(0, 100)), tones(0, 100))
    for low, high in ((6, 94), (13, 70), (2, 40)):  # also by night, or without a white
        np.testing.assert_array_equal(stretched(tones(low, high)), tones(low, high))
    nearly = tones(15, 88)
    assert np.abs(stretched(nearly) - nearly).max() < 2


def test_a_faded_print_gets_its_tones_back() -> None:
    fresh = tones(3, 97)
    faded = np.float32(22) + np.float32(0.65) * fresh
    again = stretched(faded)
    assert np.abs(again - fresh).mean() < 2
    assert np.abs(faded - fresh).mean() > 8


def test_gain_and_moves_are_limited() -> None:
    mist = tones(45, 60)
    after = stretched(mist)
    assert after.max() - after.min() <= 1.62 * 15
    dark = tones(25, 40)
    assert stretched(dark).max() <= 55
    flat = np.full((30, 40), 50, np.float32)
    np.testing.assert_allclose(stretched(flat), 50, atol=0.01)


def test_borders_of_a_scan_do_not_count() -> None:
    faded = np.pad(tones(25, 80), ((4, 4), (5, 5)), constant_values=100)
    faded[:, 0] = 0
    assert np.percentile(stretched(faded)[4:-4, 5:-5], 1) < 10


@given(
    values=st.lists(st.floats(0, 100, width=32), min_size=4, max_size=60),
    side=st.integers(1, 20),
)
def test_darker_stays_darker_and_all_stays_in_range(values: list[float], side: int) -> None:
    before = np.resize(np.array(values, np.float32), (side, len(values)))
    after = stretched(before)
    assert after.dtype == np.float32
    assert after.min() >= 0
    assert after.max() <= 100
    steps = np.diff(after.ravel()[np.argsort(before, axis=None, kind="stable")])
    assert steps.min(initial=0) >= -1e-4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("model"))


def test_score_colorize_and_the_library_do_the_same_and_say_so(model: Path, tmp_path: Path) -> None:
    faded = (70 + make_picture(70, 50).mean(axis=-1) * 0.5).astype(np.uint8)
    scans = tmp_path / "scans"
    scans.mkdir()
    Image.fromarray(faded).save(scans / "a.png")
    plain = make_settings(model, tmp_path / "out")
    archive.score(scans, plain, lambda _: None)
    untouched = (tmp_path / "out/a.png").read_bytes()
    settings = replace(plain, descan=True)
    said: list[str] = []
    archive.score(scans, settings, said.append)
    assert said == ["starting over, because descan was None and is True"]
    archive.colorize([scans / "a.png"], settings)
    data = (tmp_path / "out/a.png").read_bytes()
    assert hashlib.sha256(data).digest() != hashlib.sha256(untouched).digest()
    with Image.open(tmp_path / "out/a.png") as one, Image.open(tmp_path / "out/a-coloured.png") as other:
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        ours = Colorizer.load(model).colorize(read_photo(scans / "a.png", 1), descan=True)
        np.testing.assert_array_equal(np.asarray(one), ours)
    text = even_out(read_photo(scans / "a.png", 1).lightness()).text()
    assert text.startswith("L* ")
    assert trace(tmp_path / "out/a.png").file.descan == text
    assert pq.read_table(tmp_path / "out" / manifest.MANIFEST)["descan"].to_pylist() == [text]
