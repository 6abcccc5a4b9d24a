from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from skimage.color import rgb2lab

from tintlab.imaging import color
from tintlab.imaging.statistics import Reference
from tintlab.stages.convert import convert, square_corners, squares_of
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
