import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as stn
from numpy.typing import NDArray
from skimage.color import deltaE_cie76, deltaE_ciede2000, lab2rgb, rgb2lab

from tintlab.imaging import color

pytestmark = pytest.mark.filterwarnings("error")

LEVELS = np.append(np.arange(0, 255, 5), 255).astype(np.uint8)
CUBE = np.stack(np.meshgrid(LEVELS, LEVELS, LEVELS, indexing="ij"), axis=-1).reshape(-1, 3)

unit_rgb = stn.arrays(np.float32, (7, 3), elements=st.floats(0, 1, width=32))
deep_rgb = stn.arrays(np.uint16, (7, 3), elements=st.integers(0, 65535))
any_lab = stn.arrays(np.float32, (7, 3), elements=st.floats(0, 1, width=32)).map(
    lambda unit: (unit * [100, 200, 200] - [0, 100, 100]).astype(np.float32)
)


def test_lab_agrees_with_scikit_image_over_the_srgb_cube() -> None:
    lab = color.rgb_to_lab(CUBE)
    assert lab.dtype == np.float32
    np.testing.assert_allclose(lab, rgb2lab(CUBE), atol=3e-4)


def test_known_colours() -> None:
    # Lindbloom's calculator, sRGB, D65, to the digits that its constants share with ours.
    rgb = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255], [0, 0, 0]], np.uint8)
    known = [[53.24, 80.09, 67.20], [87.73, -86.18, 83.18], [32.30, 79.19, -107.86], [100, 0, 0], [0, 0, 0]]
    np.testing.assert_allclose(color.rgb_to_lab(rgb), known, atol=0.02)


def test_reach_of_srgb_lies_within_the_scale_of_ab() -> None:
    lab = color.rgb_to_lab(CUBE)
    assert lab[:, 1:].min() == pytest.approx(-107.86, abs=0.01)
    assert lab[:, 1:].max() == pytest.approx(98.23, abs=0.01)
    assert np.abs(lab[:, 1:]).max() < color.AB_SCALE


@given(deep_rgb)
def test_16_bit_input_agrees_with_scikit_image(rgb: NDArray[np.uint16]) -> None:
    np.testing.assert_allclose(color.rgb_to_lab(rgb), rgb2lab(rgb), atol=3e-4)


@given(unit_rgb)
def test_float_input_agrees_with_scikit_image(rgb: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(color.rgb_to_lab(rgb), rgb2lab(rgb.astype(np.float64)), atol=3e-4)


def test_depths_agree_on_the_same_colour() -> None:
    from_bytes = color.rgb_to_lab(CUBE)
    np.testing.assert_array_equal(color.rgb_to_lab(CUBE.astype(np.uint16) * 257), from_bytes)
    np.testing.assert_allclose(color.rgb_to_lab(CUBE / 255), from_bytes, atol=3e-4)


@pytest.mark.parametrize("dtype", [np.int64, np.uint32, np.bool_])
def test_other_dtypes_are_refused_for_their_range_is_unknown(dtype: type) -> None:
    with pytest.raises(TypeError, match="uint8, uint16 or floats"):
        color.rgb_to_lab(np.ones((1, 3), dtype))


@given(unit_rgb)
def test_rgb_survives_the_round_trip(rgb: NDArray[np.float32]) -> None:
    np.testing.assert_allclose(color.lab_to_rgb(color.rgb_to_lab(rgb)), rgb, atol=5e-5)


def test_bytes_survive_the_round_trip_exactly() -> None:
    np.testing.assert_array_equal(color.to_bytes(color.lab_to_rgb(color.rgb_to_lab(CUBE))), CUBE)


@given(any_lab)
def test_lab_survives_the_round_trip_even_out_of_gamut(lab: NDArray[np.float32]) -> None:
    rgb = color.lab_to_rgb(lab)
    np.testing.assert_allclose(color.rgb_to_lab(rgb), lab, atol=0.02)


@given(any_lab)
def test_lab_to_rgb_agrees_with_scikit_image_and_does_not_clip(
    lab: NDArray[np.float32],
) -> None:
    rgb = color.lab_to_rgb(lab)
    assert rgb.dtype == np.float32
    assert np.isfinite(rgb).all()
    inside = ((rgb >= 0) & (rgb <= 1)).all(axis=-1)
    np.testing.assert_allclose(rgb[inside], lab2rgb(lab[inside].astype(np.float64)), atol=1e-4)


def test_colours_out_of_gamut_leave_the_cube_on_the_right_side() -> None:
    lab = np.array([[50, 100, 0], [50, -100, 0], [80, 0, 110], [100, 0, -80], [101, 0, 0]], np.float32)
    red, _, blue = np.moveaxis(color.lab_to_rgb(lab), -1, 0)
    assert red[0] > 1
    assert red[1] < 0
    assert blue[2] < 0
    assert blue[3] > 1
    assert (color.lab_to_rgb(lab)[4] > 1).all()


def test_grey_axis() -> None:
    grey = np.arange(65536, dtype=np.uint16)
    lab = color.rgb_to_lab(np.repeat(grey[:, None], 3, axis=1))
    # Not 0: the standard's matrix, rounded to six digits, sums to its white only up to 7e-5.
    assert np.abs(lab[:, 1]).max() < 3e-3
    assert np.abs(lab[:, 2]).max() < 5e-3
    assert (np.diff(lab[:, 0]) > 0).all()
    assert lab[0, 0] == 0
    assert lab[-1, 0] == pytest.approx(100, abs=1e-4)
    np.testing.assert_allclose(color.grey_to_lightness(grey), lab[:, 0], atol=1e-4)
    np.testing.assert_allclose(
        color.lightness_to_grey(color.grey_to_lightness(grey)), grey / 65535, atol=1e-6
    )


def test_middle_grey() -> None:
    # 18 % of white's light is L* 49.496, by CIE 15's formula: 116 · 0.18^(1/3) - 16.
    value = 1.055 * 0.18 ** (1 / 2.4) - 0.055
    assert color.grey_to_lightness(np.array([value])) == pytest.approx(116 * 0.18 ** (1 / 3) - 16, abs=1e-3)
    assert color.grey_to_lightness(np.array([119], np.uint8)) == pytest.approx(50.03, abs=0.01)


@given(st.integers(0, 255), st.integers(0, 255), st.integers(0, 255), st.sampled_from([0, 1, 2]))
def test_more_light_in_a_channel_is_lighter(red: int, green: int, blue: int, channel: int) -> None:
    rgb = np.array([red, green, blue], np.uint8)
    brighter = rgb.copy()
    brighter[channel] = min(255, rgb[channel].item() + 1)
    darker_l, brighter_l = color.rgb_to_lab(np.stack([rgb, brighter]))[:, 0]
    assert brighter_l > darker_l or rgb[channel] == 255


def test_lightness_of_colour_and_grey_pixels(picture) -> None:
    pixels = picture(301, 997, seed=3)  # more than one strip
    np.testing.assert_allclose(color.lightness(pixels), rgb2lab(pixels)[..., 0], atol=1e-3)
    grey = pixels[..., 0]
    np.testing.assert_array_equal(color.lightness(grey), color.grey_to_lightness(grey))


@given(st.integers(1, 300), st.integers(1, 5000), st.integers(1, 20000))
def test_strips_cover_every_row_once(height: int, width: int, pixels: int) -> None:
    strips = list(color.strips((height, width), pixels))
    assert [row for strip in strips for row in range(strip.start, strip.stop)] == list(range(height))
    assert all((strip.stop - strip.start) * width <= max(pixels, width) for strip in strips)


def test_quantisation_error_is_as_documented() -> None:
    lab = color.rgb_to_lab(CUBE)
    packed = color.quantise(lab)
    assert packed.dtype == np.uint8
    unpacked = color.dequantise(packed)
    assert unpacked.dtype == np.float32
    delta_76, delta_2000 = deltaE_cie76(lab, unpacked), deltaE_ciede2000(lab, unpacked)
    assert delta_76.mean() == pytest.approx(0.40, abs=0.005)
    assert delta_76.max() <= math.hypot(0.5 / 2.55, 0.5, 0.5) + 1e-3  # half a step on each axis
    assert delta_2000.mean() == pytest.approx(0.205, abs=0.005)
    assert delta_2000.max() <= 0.88
    worst = color.rgb_to_lab(np.array([16, 17, 21], np.uint8))  # of the 256³, searched once
    assert deltaE_ciede2000(worst, color.dequantise(color.quantise(worst))) == pytest.approx(0.878, abs=0.002)


def test_no_colour_of_srgb_is_clipped_by_quantising() -> None:
    lab = color.rgb_to_lab(CUBE)
    assert np.abs(color.dequantise(color.quantise(lab)) - lab).max(axis=0) == pytest.approx(
        [0.5 / 2.55, 0.5, 0.5], abs=0.01
    )


@given(stn.arrays(np.uint8, (5, 3)))
def test_quantised_values_survive_another_round(packed: NDArray[np.uint8]) -> None:
    np.testing.assert_array_equal(color.quantise(color.dequantise(packed)), packed)


def test_to_bytes_clips_and_rounds() -> None:
    values = np.array([-0.5, 0, 0.4999 / 255, 0.5001 / 255, 1, 1.5], np.float32)
    np.testing.assert_array_equal(color.to_bytes(values), [0, 0, 0, 1, 255, 255])


def test_in_gamut_colours_keep_lightness_and_hue(picture) -> None:
    lab = color.rgb_to_lab(picture(40, 40, seed=1))
    lab[..., 1:] *= 4
    rgb = color.lab_to_rgb_in_gamut(lab)
    shown = color.rgb_to_lab(rgb)
    np.testing.assert_allclose(shown[..., 0], lab[..., 0], atol=0.01)
    clipped = color.rgb_to_lab(np.clip(color.lab_to_rgb(lab), 0, 1))
    assert np.abs(clipped[..., 0] - lab[..., 0]).max() > 5  # what clipping would do
    chroma, shown_chroma = np.hypot(lab[..., 1], lab[..., 2]), np.hypot(shown[..., 1], shown[..., 2])
    assert (shown_chroma <= chroma + 0.05).all()
    cosine = (lab[..., 1:] * shown[..., 1:]).sum(axis=-1) / (chroma * shown_chroma)
    assert cosine[shown_chroma > 1].min() > 0.9999


@given(any_lab)
def test_gamut_mapping_ends_in_gamut_and_keeps_shown_colours(lab: NDArray[np.float32]) -> None:
    rgb, plain = color.lab_to_rgb_in_gamut(lab), color.lab_to_rgb(lab)
    assert rgb.min() >= 0
    assert rgb.max() <= 1
    inside = ((plain >= 0) & (plain <= 1)).all(axis=-1)
    # Grey is exactly grey here, which it is not by the constants' last digits: a quarter of 1/255 at most.
    np.testing.assert_allclose(rgb[inside], plain[inside], atol=1e-3)


@given(any_lab.filter(lambda lab: bool(np.abs(lab[:, 1:]).max() > 60)))
def test_gamut_mapping_keeps_as_much_chroma_as_can_be_shown(lab: NDArray[np.float32]) -> None:
    shown = color.rgb_to_lab(color.lab_to_rgb_in_gamut(lab))
    chroma, shown_chroma = np.hypot(lab[:, 1], lab[:, 2]), np.hypot(shown[:, 1], shown[:, 2])
    more = lab.copy()
    more[:, 1:] *= (shown_chroma / np.maximum(chroma, 1e-6) + 2e-3)[:, None]
    rgb = color.lab_to_rgb(more)
    reduced = shown_chroma < chroma - 0.5
    assert ((rgb < 0) | (rgb > 1)).any(axis=-1)[reduced].all()


def test_colourfulness_of_a_worked_example() -> None:
    # Two pixels, red and blue. rg = (255, 0): mean 127.5, deviation 127.5.
    # yb = (127.5, -255): mean -63.75, deviation 191.25. M = hypot(127.5, 191.25) + 0.3 hypot(127.5, 63.75).
    rgb = np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8)
    assert color.colourfulness(rgb) == pytest.approx(229.855 + 0.3 * 142.550, abs=0.01)


@given(stn.arrays(np.uint8, (4, 5, 3)))
def test_colourfulness_agrees_with_the_formula_written_out(rgb: NDArray[np.uint8]) -> None:
    rg, yb = [], []
    for red, green, blue in rgb.reshape(-1, 3).tolist():
        rg.append(red - green)
        yb.append(0.5 * (red + green) - blue)
    count = len(rg)
    mean_rg, mean_yb = math.fsum(rg) / count, math.fsum(yb) / count
    variance_rg = math.fsum((value - mean_rg) ** 2 for value in rg) / count
    variance_yb = math.fsum((value - mean_yb) ** 2 for value in yb) / count
    expected = math.sqrt(variance_rg + variance_yb) + 0.3 * math.sqrt(mean_rg**2 + mean_yb**2)
    assert color.colourfulness(rgb) == pytest.approx(expected, abs=1e-3)


def test_colourfulness_of_grey_is_0_and_large_photos_are_precise() -> None:
    assert color.colourfulness(np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)) == 0
    vivid = np.tile(np.array([[[255, 0, 0], [0, 0, 255]]], np.uint8), (1500, 1000, 1))
    assert color.colourfulness(vivid) == pytest.approx(229.855 + 0.3 * 142.550, abs=0.01)
