import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.color import rgb2lab

from tintlab.imaging import color
from tintlab.imaging.photos import PhotoError
from tintlab.imaging.squares import Shards, open_squares
from tintlab.imaging.statistics import Reference
from tintlab.stages.convert import convert, square_corners, squares_of
from tintlab.stages.convert_shards import Finished, cut_shards
from tintlab.system import paths
from tintlab.system.params import ConvertParams
from tintlab.system.tables import read_table


@pytest.mark.parametrize(
    ("width", "height", "most", "corners"),
    [
        (100, 100, 3, [(0, 0)]),
        (133, 100, 3, [(0, 0), (33, 0)]),
        (100, 200, 3, [(0, 0), (0, 100)]),
        (260, 100, 3, [(0, 0), (80, 0), (160, 0)]),
        (1000, 100, 3, [(0, 0), (450, 0), (900, 0)]),
        (200, 100, 1, [(50, 0)]),
    ],
)
def test_squares_cover_the_long_side(
    width: int, height: int, most: int, corners: list[tuple[int, int]]
) -> None:
    assert square_corners(width, height, most) == corners


def test_nothing_is_squashed() -> None:
    """A disc in a wide photo stays as wide as it is high."""
    rows, columns = np.mgrid[:200, :500]
    disc = ((rows - 100) ** 2 + (columns - 100) ** 2 < 80**2)[..., None]
    rgb = np.where(disc, [200, 40, 40], [240, 240, 240]).astype(np.uint8)
    squares, corners = squares_of(rgb, ConvertParams(image_size=100, max_squares=3))
    assert squares.shape == (3, 100, 100, 3)
    assert corners == [(0, 0), (75, 0), (150, 0)]
    inside = squares[0, ..., 1] > 150
    assert abs(int(inside.any(axis=0).sum()) - int(inside.any(axis=1).sum())) <= 1


def test_convert_writes_one_array_and_an_index_a_split(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    shades = {"red": (200, 30, 30), "green": (30, 160, 40), "blue": (30, 60, 200)}
    for name, shade in shades.items():
        Image.new("RGB", (150 if name == "red" else 90, 90), shade).save(raw / f"{name}.png")
    accepted = pd.DataFrame(
        {
            "photo": ["red.png", "green.png", "blue.png"],
            "split": ["train", "train", "val"],
            "cluster": ["red.png", "green.png", "blue.png"],
            "category": ["warm", "cold", "cold"],
            "width": [150, 90, 90],
            "height": [90, 90, 90],
        }
    )
    count = convert(accepted, raw, ConvertParams(image_size=32, max_squares=2), 100, tmp_path, "train")
    squares = np.load(tmp_path / "train.npy", mmap_mode="r")
    index = read_table(tmp_path / "train.csv")
    assert count == len(squares) == len(index) == 3
    assert index["photo"].tolist() == ["green.png", "red.png", "red.png"]
    assert index["category"].tolist() == ["cold", "warm", "warm"]
    assert index[["left", "top"]].to_numpy().tolist() == [[0, 0], [0, 0], [21, 0]]
    assert squares.dtype == np.uint8
    for square, name in zip(squares, ["green", "red", "red"], strict=True):
        true = rgb2lab(np.array([[shades[name]]], np.uint8))[0, 0]
        assert np.abs(color.dequantise(square) - true).max() < 0.51


def test_a_split_without_photographs_gives_an_empty_array(tmp_path: Path) -> None:
    accepted = pd.DataFrame(
        {name: [] for name in ("photo", "split", "cluster", "category", "width", "height")}
    )
    assert convert(accepted, tmp_path, ConvertParams(image_size=32, max_squares=2), 100, tmp_path, "val") == 0
    assert np.load(tmp_path / "val.npy").shape == (0, 32, 32, 3)


def test_convert_notes_what_the_photographs_are_like(tmp_path: Path) -> None:
    """Five photos of L* 20.5 and five of L* 60.5 in the train split; what is in another split does not count."""
    for number in range(12):
        grey = round(255 * float(color.lightness_to_grey(np.float32(20.5 if number < 5 else 60.5))))
        Image.new("RGB", (60, 40), (grey, grey, grey)).save(tmp_path / f"{number:02}.png")
    names = [f"{number:02}.png" for number in range(12)]
    accepted = pd.DataFrame(
        {"photo": names, "split": ["train"] * 10 + ["val"] * 2, "cluster": names, "category": ""}
    ).assign(width=60, height=40)
    convert(accepted, tmp_path, ConvertParams(image_size=32, max_squares=2), 100, tmp_path, "train")
    summary = Reference.read(tmp_path / "train_summary.json")
    assert summary.photos == 10
    assert summary.histogram == pytest.approx([0, 0, 0.5, 0, 0, 0, 0.5, 0, 0, 0], abs=0.01)
    (edge,) = summary.bins["l_mean"].edges
    assert edge == pytest.approx(20.5, abs=0.5)
    assert summary.bins["l_mean"].counts == (5, 5)
    assert summary.bins["megapixels"].counts == (10,)


# --- shards


@pytest.fixture
def many(tmp_path: Path, picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch) -> pd.DataFrame:
    """Thirty photographs with a square each, in data/raw."""
    monkeypatch.chdir(tmp_path)
    paths.RAW.mkdir(parents=True)
    names = [f"{number:02}.png" for number in range(30)]
    for number, name in enumerate(names):
        Image.fromarray(picture(40, 40, number)).save(paths.RAW / name)
    return pd.DataFrame(
        {"photo": names, "split": "train", "cluster": names, "category": "", "width": 40, "height": 40}
    )


SMALL = ConvertParams(image_size=32, max_squares=1, shard_megabytes=4 * 3 * 32**2 / 1e6)
"""Four squares a shard."""


def test_shards_hold_what_one_array_holds(many: pd.DataFrame) -> None:
    for folder, params in (("one", SMALL.model_copy(update={"shard_megabytes": 1000})), ("several", SMALL)):
        Path(folder).mkdir()
        assert convert(many, paths.RAW, params, 100, Path(folder), "train") == 30
    for name in ("train.csv", "train_summary.json"):
        assert Path("one", name).read_bytes() == Path("several", name).read_bytes()
    assert not Path("one/train_shards.json").exists() and not Path("several/train.npy").exists()
    Path("several").rename(paths.LAB)
    whole, shards = np.load("one/train.npy"), open_squares("train")
    assert isinstance(shards, Shards)
    assert len(list(paths.LAB.glob("train-*.npy"))) >= 8
    assert (len(shards), shards.shape, shards.dtype) == (30, whole.shape, whole.dtype)
    assert np.array_equal(np.stack(list(shards)), whole)
    for key in (
        0,
        29,
        -1,
        np.int64(17),
        slice(3, 9, 2),
        [4, 4, 28],
        np.arange(30),
        (7, slice(None, None, 3)),
    ):
        assert np.array_equal(shards[key], whole[key])
    with pytest.raises(IndexError):
        shards[30]


def test_shards_are_no_larger_than_asked_and_change_little() -> None:
    """One photograph more, in the middle: the shards before it and most of those after it stay."""
    photos = sorted(hashlib.sha256(photo.encode()).hexdigest() for photo in map(str, range(3000)))
    counts = np.ones(3000, np.int64)
    shards = cut_shards(photos, counts, 100)
    assert [shard.start for shard in shards[1:]] == [shard.stop for shard in shards[:-1]]
    assert all(0 < shard.squares <= 100 for shard in shards) and len(shards) < 90
    more = sorted([*photos, hashlib.sha256(b"new").hexdigest()])
    before = {tuple(photos[shard.start : shard.stop]) for shard in shards}
    after = {
        tuple(more[shard.start : shard.stop]) for shard in cut_shards(more, np.ones(3001, np.int64), 100)
    }
    assert len(after - before) <= 3
    assert len(cut_shards(photos, counts, 3000)) == 1


def test_an_interrupted_run_goes_on_with_the_next_shard(many: pd.DataFrame) -> None:
    finished = Finished(paths.LAB_SHARDS)
    (paths.RAW / "20.png").rename("hidden.png")
    paths.LAB.mkdir()
    with pytest.raises(PhotoError):
        convert(many, paths.RAW, SMALL, 100, paths.LAB, "train", finished)
    finished.clear_unfinished()
    kept = list(paths.LAB_SHARDS.glob("*.npy"))
    assert 3 <= len(kept) <= 20
    Path("hidden.png").rename(paths.RAW / "20.png")
    for name in many["photo"][:8]:
        (paths.RAW / name).unlink()  # not read again
    assert convert(many, paths.RAW, SMALL, 100, paths.LAB, "train", Finished(paths.LAB_SHARDS)) == 30
    assert len(open_squares("train")) == 30
