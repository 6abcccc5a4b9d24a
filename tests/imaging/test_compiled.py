"""The compiled loops give numpy's bits."""

import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest
from numpy.typing import NDArray

from tintlab.imaging import color, compiled, encoding
from tintlab.inference.guided import GuidedColours, coloured, coloured_deep


@pytest.fixture(autouse=True)
def by_numpy() -> Iterator[None]:
    compiled.unload()
    yield
    compiled.unload()


@pytest.fixture
def lab() -> tuple[color.Float, color.Float, color.Float]:
    """Half of them far outside sRGB; also black, white and beyond, in a number that no block divides."""
    random = np.random.default_rng(3)
    count = 70_001
    lightness = random.uniform(-1, 101, count).astype(np.float32)
    lightness[:4] = 0, 100, 8, 7.9996
    a, b = random.normal(0, 45, (2, count)).astype(np.float32)
    a[:2] = b[:2] = 0
    return lightness, a, b


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_lab_to_pixels_gives_the_same_bits(
    lab: tuple[color.Float, ...], dtype: type[np.uint8 | np.uint16]
) -> None:
    by_numpy = color.lab_to_pixels(*lab, dtype)
    assert compiled.load()
    np.testing.assert_array_equal(compiled.lab_to_pixels(*lab, dtype), by_numpy)


@pytest.mark.parametrize("shape", [(1, 1, 3), (301, 997, 3), (2, 5, 3)])
def test_lightness_gives_the_same_bits(shape: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    by_numpy = color.lightness(pixels)
    assert compiled.load()
    np.testing.assert_array_equal(compiled.lightness(pixels), by_numpy)
    np.testing.assert_array_equal(compiled.lightness(pixels[:, ::-1]), color.lightness(pixels[:, ::-1]))
    np.testing.assert_array_equal(compiled.lightness(pixels[..., 0]), color.lightness(pixels[..., 0]))
    deep = pixels.astype(np.uint16) * 257
    np.testing.assert_array_equal(compiled.lightness(deep), color.lightness(deep))


@pytest.mark.parametrize("shape", [(331, 517), (1, 700), (600, 1), (40, 40)])
def test_coloured_photographs_have_the_same_bits(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(1)
    small = random.uniform(0, 100, (13, 17)).astype(np.float32)
    colours = GuidedColours(random.normal(0, 30, (13, 17, 2)).astype(np.float32), small, shape)
    lightness = random.uniform(0, 100, shape).astype(np.float32)
    by_numpy, deep_by_numpy = coloured(lightness, colours), coloured_deep(lightness, colours)
    assert compiled.load()
    np.testing.assert_array_equal(coloured(lightness, colours), by_numpy)
    np.testing.assert_array_equal(coloured_deep(lightness, colours), deep_by_numpy)


@pytest.mark.parametrize("pixels", [1, 2, 333])
@pytest.mark.parametrize("pixel", [3, 6])
def test_filtered_rows_are_the_same_bytes(pixels: int, pixel: int) -> None:
    rows = np.random.default_rng(2).integers(0, 256, (9, pixels * pixel), np.uint8)
    by_numpy = encoding._filter_rows(rows, pixel)
    assert compiled.filter_rows(rows, pixel) is None
    assert compiled.load()
    found: NDArray[np.uint8] | None = compiled.filter_rows(rows, pixel)
    assert found is not None
    np.testing.assert_array_equal(found, by_numpy)


def test_numba_is_loaded_once_there_were_enough_pixels(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "ENOUGH", 250)
    assert compiled.kernels(100) is None
    assert compiled.kernels(100) is None
    assert compiled.kernels(100) is not None


RUN = """
import sys
sys.modules["numba"] = None
import numpy as np
from tintlab.imaging import compiled
print(compiled.load(), compiled.lightness(np.full((2, 2, 3), 255, np.uint8)).tolist())
"""


def test_without_numba_numpy_does_it() -> None:
    ended = subprocess.run([sys.executable, "-c", RUN], capture_output=True, text=True, check=True)
    assert ended.stdout.split(" ", 1)[0] == "False"


def test_one_photograph_does_not_load_numba() -> None:
    code = (
        "import sys, numpy as np; from tintlab.imaging import compiled; "
        "compiled.lightness(np.zeros((3000, 4000, 3), np.uint8)); print('numba' in sys.modules)"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout.strip() == "False"
