"""Contact sheets, thumbnails and pictures inside pages."""

import base64
import io
from collections.abc import Callable

import numpy as np
from PIL import Image

from tintlab.imaging import grids
from tintlab.imaging.color import Byte

Picture = Callable[..., Byte]


def uniform(height: int, width: int, colour: tuple[int, int, int]) -> Byte:
    return np.full((height, width, 3), colour, np.uint8)


def test_grid_puts_each_picture_into_its_cell() -> None:
    colours = [[(250, 0, 0), (0, 250, 0), (0, 0, 250)], [(250, 250, 0), (0, 250, 250), (250, 0, 250)]]
    rows = [[uniform(40, 40, colour) for colour in row] for row in colours]
    plain = np.asarray(grids.draw_grid(rows, 40, ["", "", ""]))
    titled = np.asarray(grids.draw_grid(rows, 40, ["L", "generated", "real"]))
    assert plain.shape == (2 * 44 + 4, 3 * 44 + 4, 3)
    for line, row in enumerate(colours):
        for column, colour in enumerate(row):
            cell = plain[4 + 44 * line :, 4 + 44 * column :][:40, :40]
            assert (cell == colour).all()
    title_line = titled.shape[0] - plain.shape[0]
    assert (titled[title_line:][:, :][4:] == plain[4:]).all()
    for column in range(3):
        assert np.ptp(titled[: title_line + 4, 4 + 44 * column :][:, :40]) > 100, "no title above the column"


def test_grid_keeps_proportions_and_shares_a_rows_height() -> None:
    red = (250, 0, 0)
    sheet = np.asarray(grids.draw_grid([[uniform(20, 80, red), uniform(30, 60, red)]], 40, ["", ""]))
    is_red = (sheet == red).all(axis=-1)
    assert sheet.shape == (4 + 20 + 4, 2 * 44 + 4, 3)
    assert is_red[:, :46].sum() == 10 * 40
    assert is_red[:, 46:].sum() == 20 * 40


def test_thumbnail_reduces_and_never_enlarges(picture: Picture) -> None:
    assert grids.make_thumbnail(picture(300, 200), 60).shape == (40, 60, 3)
    assert grids.make_thumbnail(picture(1000, 2), 60).shape == (1, 60, 3)
    small = picture(30, 20)
    assert grids.make_thumbnail(small, 60) is small


def test_data_uri_holds_the_picture_with_its_colours(picture: Picture) -> None:
    pixels = picture(64, 48)
    pixels[:, 20:22] = (255, 0, 0)  # a narrow red line, which chroma subsampling would wash out
    kind, data = grids.to_data_uri(pixels).split(",")
    assert kind == "data:image/jpeg;base64"
    back = np.asarray(Image.open(io.BytesIO(base64.b64decode(data)))).astype(int)
    assert np.abs(back - pixels).mean() < 4
    assert (np.abs(back[:, 20:22] - (255, 0, 0)) < 60).all()
    assert grids.to_data_uri(pixels) == grids.to_data_uri(pixels.copy())
