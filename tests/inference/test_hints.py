import json
from pathlib import Path

import numpy as np
import pytest
from skimage.color import rgb2lab

from tintlab.inference.hints import Hint, hint_map, read_hints, spread, write_hints
from tintlab.inference.palettes import Palette
from tintlab.system.errors import TintlabError


def test_places_and_colours_have_two_notations(tmp_path: Path) -> None:
    file = tmp_path / "hints.json"
    file.write_text(
        json.dumps(
            [{"px": 49, "py": 0, "rgb": "#ff0000"}, {"x": 0.5, "y": 1, "ab": [-3, 8.5], "radius": 0.1}]
        )
    )
    red, green = read_hints(file, (50, 100))
    assert (red.x, red.y, red.radius) == (0.495, 0.01, 0.02)
    _, a, b = rgb2lab(np.array([[[255, 0, 0]]], np.uint8))[0, 0]
    assert (red.a, red.b) == pytest.approx((a, b), abs=0.1)
    assert green == Hint(0.5, 1, -3, 8.5, 0.1)


def test_written_hints_are_read_back(tmp_path: Path) -> None:
    hints = (Hint(0.1, 0.25, 20.5, -7.0), Hint(1.0, 0.0, -80.0, 60.0, 0.05))
    write_hints(tmp_path / "hints.json", hints)
    assert read_hints(tmp_path / "hints.json", (10, 10)) == hints


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        ("not json", "is not JSON"),
        ('{"points": []}', "holds no list"),
        ("[3]", "hint 1: give an object"),
        ('[{"x": 0.5, "y": 0.5, "ab": [0, 0], "size": 1}]', "unknown key 'size'"),
        ('[{"x": 0.5, "px": 3, "ab": [0, 0]}]', "as x and y, or as px and py"),
        ('[{"px": 100, "py": 3, "ab": [0, 0]}]', "pixels 0 to 99"),
        ('[{"x": 1.5, "y": 0.5, "ab": [0, 0]}]', "x is '1.5': give a number from 0 to 1"),
        ('[{"x": 0.5, "y": 0.5}]', "as ab"),
        ('[{"x": 0.5, "y": 0.5, "ab": [NaN, 0]}]', "a is 'nan'"),
        ('[{"x": 0.5, "y": 0.5, "rgb": "red"}]', 'write "#rrggbb"'),
        ('[{"x": 0.5, "y": 0.5, "ab": [0, 0], "radius": true}]', "radius is 'True'"),
    ],
)
def test_faults_are_named_in_a_line(content: str, fault: str, tmp_path: Path) -> None:
    file = tmp_path / "hints.json"
    file.write_text(content)
    with pytest.raises(TintlabError) as error:
        read_hints(file, (50, 100))
    message = str(error.value).replace(str(tmp_path), "")
    assert fault in message
    assert "\n" not in message
    assert len(message) <= 200


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match=r"can't read .*absent\.json: No such file"):
        read_hints(tmp_path / "absent.json", (5, 5))


def test_a_map_has_discs_and_later_hints_lie_on_top() -> None:
    drawn = hint_map([Hint(0.5, 0.5, 55, -11, 0.1), Hint(0.5, 0.5, 22, 0, 0)], (60, 100))
    down, right = np.mgrid[:60, :100] + 0.5
    disc = (down - 30) ** 2 + (right - 50) ** 2 <= 100
    assert np.array_equal(drawn[2] == 1, disc)
    assert set(np.unique(drawn[2])) == {0, 1}
    assert drawn[0, 25, 50] == np.float32(0.5)
    assert drawn[1, 25, 50] == np.float32(-0.1)
    assert drawn[:, 30, 50].tolist() == [np.float32(0.2), 0, 1]
    assert not drawn[:, ~disc].any()


@pytest.mark.parametrize("place", [(0, 0), (1, 1), (0, 1), (1, 0.5)])
def test_hints_at_the_border_stay_inside(place: tuple[float, float]) -> None:
    drawn = hint_map([Hint(*place, 10, 10, 0)], (7, 9))
    assert drawn[2].sum() == 1


def test_a_palette_tells_colours_and_their_strength() -> None:
    red = np.full((40, 30, 3), [200, 30, 40], np.uint8)
    vector = Palette.of(red).vector
    _, a, b = rgb2lab(red)[0, 0]
    assert vector[:-1].sum() == pytest.approx(1, abs=1e-5)
    grid = np.arange(-100, 101, 20)
    histogram = vector[:-1].reshape(11, 11)
    # Bilinear shares keep the mean colour.
    assert (histogram.sum(1) @ grid, histogram.sum(0) @ grid) == pytest.approx((a, b), abs=0.5)
    assert vector[-1] == pytest.approx(np.hypot(a, b) / 110, abs=0.005)
    grey = Palette.of(np.full((8, 8, 3), 128, np.uint8)).vector
    assert grey[60] == pytest.approx(1, abs=0.01)  # the grid's middle
    assert grey[-1] == pytest.approx(0, abs=1e-3)


def test_hints_change_what_is_like_their_place_and_the_rest_less() -> None:
    lightness = np.full((40, 60), 80, np.float32)
    lightness[:, 30:] = 10
    plain = np.zeros((40, 60, 2), np.float32)
    hinted = plain + np.array([40, 20], np.float32)
    found = spread([Hint(0.2, 0.5, 40, 20)], lightness, plain, hinted)
    np.testing.assert_allclose(found[:, :30], hinted[:, :30], atol=1e-4)
    # exp(-70² / (2 · 40²)) of the three quarters that depend on the likeness, and the quarter that does not.
    np.testing.assert_allclose(found[:, 30:], hinted[:, 30:] * (0.25 + 0.75 * 0.21626), atol=1e-3)
    both = spread([Hint(0.2, 0.5, 40, 20), Hint(0.8, 0.5, 40, 20)], lightness, plain, hinted)
    np.testing.assert_allclose(both, hinted, atol=1e-4)
