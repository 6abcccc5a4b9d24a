import io

import numpy as np
import pytest
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from tintlab.imaging import color

RANDOM = np.random.default_rng(0)


def saturated(count: int) -> color.Float:
    """Colours that fill the cube of L*, a* and b*, most of them far outside sRGB."""
    return np.column_stack([RANDOM.uniform(0, 100, count), RANDOM.uniform(-128, 128, (count, 2))]).astype(
        np.float32
    )


def test_lightness_and_hue_stay_and_chroma_only_shrinks() -> None:
    lab = saturated(100_000)
    rgb = color.lab_to_rgb_in_gamut(lab)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    back = rgb2lab(rgb.astype(np.float64))
    assert np.abs(back[:, 0] - lab[:, 0]).max() < 0.01
    chroma, asked = np.hypot(back[:, 1], back[:, 2]), np.hypot(lab[:, 1], lab[:, 2])
    assert (chroma <= asked + 0.03).all()
    # The distance from the ray of the hue, in ab units.
    across = (back[:, 1] * lab[:, 2] - back[:, 2] * lab[:, 1]) / asked
    assert np.abs(across).max() < 0.03


def test_colours_of_srgb_are_untouched() -> None:
    """Also those on the surface of the cube, where the way to grey may leave it (yellow)."""
    levels = np.array([0, 1, 2, 60, 128, 200, 254, 255], np.uint8)
    rgb = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(-1, 3)
    lab = color.rgb_to_lab(rgb)
    np.testing.assert_array_equal(color.to_bytes(color.lab_to_rgb_in_gamut(lab)), rgb)
    inside = saturated(20_000) * np.array([1, 0.1, 0.1], np.float32)
    inside = inside[(inside[:, 0] > 30) & (inside[:, 0] < 80)]
    np.testing.assert_allclose(
        color.lab_to_rgb_in_gamut(inside), lab2rgb(inside.astype(np.float64)), atol=2e-4
    )


def test_no_colour_is_exactly_grey() -> None:
    grey = np.arange(65536, dtype=np.uint16)
    lab = np.zeros((65536, 3), np.float32)
    lab[:, 0] = color.grey_to_lightness(grey)
    rgb = color.lab_to_rgb_in_gamut(lab)
    np.testing.assert_array_equal(rgb[:, 0], rgb[:, 1])
    np.testing.assert_array_equal(rgb[:, 0], rgb[:, 2])
    assert np.abs(rgb[:, 0] * 65535 - grey).max() < 0.5


def lightness_after_png(lab: color.Float, rgb: color.Float) -> np.ndarray:
    """|ΔL*| of pixels that went through an 8-bit PNG."""
    file = io.BytesIO()
    Image.fromarray(color.to_bytes(rgb)).save(file, "PNG")
    return np.abs(rgb2lab(np.asarray(Image.open(file)))[..., 0] - lab[..., 0])


@pytest.mark.parametrize("spread", [0, 30, 128], ids=["grey", "usual", "saturated"])
def test_lightness_survives_png(spread: float) -> None:
    lab = saturated(250_000).reshape(500, 500, 3)
    lab[..., 1:] *= spread / 128
    error = lightness_after_png(lab, color.lab_to_rgb_in_gamut(lab))
    assert error.mean() <= 0.2
    assert np.quantile(error, 0.999) <= 1.0


def test_clipping_channels_would_fail_that() -> None:
    lab = saturated(250_000).reshape(500, 500, 3)
    error = lightness_after_png(lab, np.clip(color.lab_to_rgb(lab), 0, 1))
    assert error.mean() > 2
    assert np.quantile(error, 0.999) > 10
