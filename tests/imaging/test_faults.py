"""Files that came out wrong, or were refused though ordinary: each with the L* that is right."""

import struct

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.imaging import making
from tests.imaging.making import grey_page, tiff_of
from tests.imaging.matrix import PROFILES, expected_lightness
from tintlab.imaging.photos import Photo, PhotoError, read_photo

RAMP = np.tile(np.linspace(0, 1, 96), (64, 1))
SRGB = expected_lightness(RAMP, "none")


def read(data: bytes) -> Photo:
    return read_photo(data, 10)


def reason(data: bytes) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(data, 10)
    text = str(caught.value)
    assert text.isprintable()
    assert len(text) <= 200
    return text


def whole(share: NDArray[np.float64], most: int, dtype: str = "u2") -> NDArray[np.generic]:
    return np.rint(share * most).astype(dtype)


def check(data: bytes, expected: NDArray[np.float64] = SRGB, tolerance: float = 0.3) -> None:
    np.testing.assert_allclose(read(data).lightness(), expected, atol=tolerance)


def grey_alpha(bits: int, opacity: float = 1.0) -> NDArray[np.generic]:
    most, dtype = 2**bits - 1, f"u{bits // 8}"
    return np.dstack([whole(RAMP, most, dtype), np.full(RAMP.shape, round(opacity * most), dtype)])


def test_12_bits_packed() -> None:
    check(tiff_of([grey_page(whole(RAMP, 4095), 12)]))


def test_guard_16_bits_signed() -> None:
    check(tiff_of([grey_page(whole(RAMP, 32767, "i2"), 16)]))


@pytest.mark.parametrize("bits", [16, 32, 64])
@pytest.mark.parametrize("photometric", [0, 1])
def test_floats_with_black_or_white_as_zero(bits: int, photometric: int) -> None:
    share = RAMP if photometric else 1 - RAMP
    check(tiff_of([grey_page(share.astype(f"f{bits // 8}"), bits, photometric=photometric)]))


def test_floats_to_255_are_refused_with_their_range() -> None:
    data = tiff_of([grey_page((255 * RAMP).astype("f4"), 32)])
    assert "from 0 to 255" in reason(data)
    assert "no known white" in reason(data)


@pytest.mark.parametrize(("kind", "tag"), [("f", (341, 340)), ("d", (341, 340))])
def test_floats_to_255_with_a_stated_range(kind: str, tag: tuple[int, int]) -> None:
    more: making.Tags = {tag[0]: (kind, [255.0]), tag[1]: (kind, [0.0])}
    check(tiff_of([grey_page((255 * RAMP).astype("f4"), 32, more=more)]))


def test_12_bits_in_16_with_a_stated_range() -> None:
    check(tiff_of([grey_page(whole(RAMP, 4095), 16, more={341: ("H", [4095])})]))
    # What looks like the extremes of one picture says nothing of white.
    check(tiff_of([grey_page(whole(RAMP, 65535), 16, more={341: ("H", [65535]), 340: ("H", [0])})]))
    check(tiff_of([grey_page(whole(RAMP, 65535), 16, more={341: ("H", [61234]), 340: ("H", [7])})]))


@pytest.mark.parametrize("most", [255, 4095, 32767, 100_000, 16_000_000])
def test_32_bit_integers_whose_white_is_unknown(most: int) -> None:
    data = tiff_of([grey_page(np.rint(RAMP * most).astype("u4"), 32)])
    if most == 16_000_000:  # all 24 bits in use
        check(data, expected_lightness(RAMP * most / (2**24 - 1), "none"))
    else:
        assert f"from 0 to {most:g}" in reason(data)


@pytest.mark.parametrize("bits", [16, 32])
def test_signed_integers_below_zero_are_refused_with_their_range(bits: int) -> None:
    values = (whole(RAMP, 2 ** (bits - 1) - 1, f"i{bits // 8}") - 5).astype(f"i{bits // 8}")
    assert "from -5 to " in reason(tiff_of([grey_page(values, bits)]))


@pytest.mark.parametrize("bits", [8, 16])
def test_png_with_gamma_1_is_linear_light(bits: int) -> None:
    data = making.png_of(
        whole(RAMP, 2**bits - 1, f"u{bits // 8}"), bits, (b"gAMA", struct.pack(">I", 100_000))
    )
    light = np.rint(RAMP * (2**bits - 1)) / (2**bits - 1)
    check(data, np.where(light > (6 / 29) ** 3, 116 * np.cbrt(light) - 16, light * (29 / 3) ** 3))


@pytest.mark.parametrize("profile", ["gamma 1.8", "dot gain", "Lab"])
def test_a_grey_profile_on_a_palette(profile: str) -> None:
    grey = whole(RAMP, 255, "u1")
    chunks = [
        making.png_profile(PROFILES[profile]),
        (b"PLTE", np.arange(256, dtype="u1").repeat(3).tobytes()),
    ]
    check(making.png_of(grey, 8, *chunks, colour_type=3), expected_lightness(grey / 255, profile))


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [1, 2])
def test_tiff_of_grey_with_alpha(bits: int, kind: int) -> None:
    opaque = tiff_of([grey_page(grey_alpha(bits), bits, more={338: ("H", [kind])})])
    assert read(opaque).pixels.ndim == 2
    check(opaque)
    clear = tiff_of([grey_page(grey_alpha(bits, 0.5), bits, more={338: ("H", [kind])})])
    shown = RAMP * 0.5 + 0.5 if kind == 2 else np.minimum(RAMP + 0.5, 1)
    check(clear, expected_lightness(shown, "none"), 0.5)


def test_tiff_with_a_channel_of_no_meaning() -> None:
    check(tiff_of([grey_page(grey_alpha(8), 8, more={338: ("H", [0])})]))
    assert "ExtraSamples" in reason(tiff_of([grey_page(grey_alpha(8), 8)]))


LAB = {
    (9, 8): (255, 128, "u1"),
    (9, 16): (65280, 32768, "u2"),
    (8, 8): (255, 0, "u1"),
    (8, 16): (65535, 0, "u2"),
}


@pytest.mark.parametrize(("photometric", "bits"), LAB)
@pytest.mark.parametrize("planar", [False, True])
def test_lab_tiff(photometric: int, bits: int, planar: bool) -> None:
    white, zero, dtype = LAB[photometric, bits]
    middle = np.full(RAMP.shape, zero, dtype)
    samples = np.dstack([whole(RAMP, white, dtype), middle, middle])
    data = tiff_of([grey_page(samples, bits, photometric=photometric, compression="deflate", planar=planar)])
    assert read(data).mode == "LAB"
    check(data, 100 * RAMP, 0.5 if bits == 8 else 0.01)


def test_lab_tiff_in_colour() -> None:
    # L* 60, a* 40, b* -30 under D50 is sRGB (193, 117, 199), says LittleCMS.
    for (photometric, bits), (white, zero, dtype) in LAB.items():
        unit = 1 if bits == 8 else 256
        colour = [round(0.6 * white), (zero + 40 * unit) % 2**bits, (zero - 30 * unit) % 2**bits]
        samples = np.full((64, 96, 3), colour).astype(dtype)
        photo = read(tiff_of([grey_page(samples, bits, photometric=photometric)]))
        np.testing.assert_allclose(photo.pixels[0, 0], [193, 117, 199], atol=2)


# --- what the tags leave open


def test_a_tiff_without_photometric_interpretation_is_refused() -> None:
    bare = grey_page(whole(RAMP, 255, "u1"), 8)
    del bare.tags[262]
    assert "PhotometricInterpretation" in reason(tiff_of([bare]))


def test_void_samples_are_unsigned() -> None:
    check(tiff_of([grey_page(whole(RAMP, 65535), 16, more={339: ("H", [4])})]))
    check(tiff_of([grey_page(whole(RAMP, 255, "u1"), 8, more={339: ("H", [4])})]))


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({339: ("H", [5])}, "complex"),
        ({258: ("H", [8, 16]), 277: ("H", [2]), 338: ("H", [0])}, "several sizes"),
        ({262: ("H", [10])}, "ITU L*a*b*"),
        ({262: ("H", [32845])}, "LogLuv"),
        ({262: ("H", [77])}, "photometric interpretation 77"),
        ({277: ("H", [900])}, "900 samples"),
        ({258: ("H", [64]), 339: ("H", [1])}, "64-bit integers"),
        ({258: ("H", [24]), 339: ("H", [3])}, "24-bit floating"),
        ({262: ("H", [3]), 258: ("H", [16])}, "palette with 16 bits"),
        ({259: ("H", [34887]), 258: ("H", [16])}, "compression 34887"),
    ],
)
def test_tiff_of_kinds_that_are_not_read_says_which(more: making.Tags, word: str) -> None:
    assert word in reason(tiff_of([grey_page(whole(RAMP, 255, "u1"), 8, more=more)]))


def test_big_endian_bigtiff_is_refused() -> None:
    assert "BigTIFF in big-endian order" in reason(
        tiff_of([grey_page(whole(RAMP, 255, "u1"), 8)], ">", big=True)
    )


def test_bits_in_reversed_order() -> None:
    for bits in (1, 2, 4, 8):
        samples = whole(RAMP, 2**bits - 1, "u1")
        plain = grey_page(samples, bits, more={266: ("H", [2]), 341: ("H", [255])})
        plain.segments = [
            bytes(int(f"{byte:08b}"[::-1], 2) for byte in segment) for segment in plain.segments
        ]
        check(tiff_of([plain]), expected_lightness(samples / (2**bits - 1), "none"))


def test_24_bits() -> None:
    for order in "<>":
        check(tiff_of([grey_page(np.rint(RAMP * (2**24 - 1)).astype("u4"), 24, order=order)], order))


def test_a_palette_of_8_bit_values() -> None:
    grey = np.arange(256, dtype="u1")
    for scale in (1, 257):
        colours = [int(value) * scale for value in np.tile(grey, 3)]
        data = tiff_of([grey_page(whole(RAMP, 255, "u1"), 8, photometric=3, more={320: ("H", colours)})])
        check(data)


def test_subsampled_ycbcr_is_no_noise() -> None:
    odd = grey_page(np.full((64, 96), 128, "u1"), 8, photometric=6)
    odd.tags |= {258: ("H", [8, 8, 8]), 277: ("H", [3]), 530: ("H", [2, 2])}
    assert "subsampled YCbCr" in reason(tiff_of([odd]))


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("predictor", [1, 2])
@pytest.mark.parametrize("dtype", ["u2", "f4", "u1"])
def test_deep_colours_are_read_with_8_bits(order: str, planar: bool, predictor: int, dtype: str) -> None:
    share = np.dstack([RAMP, RAMP[:, ::-1], np.full(RAMP.shape, 0.25)])
    bits = 8 * int(dtype[1])
    samples = share.astype(dtype) if dtype == "f4" else whole(share, 2**bits - 1, dtype)
    data = tiff_of(
        [
            grey_page(
                samples,
                bits,
                photometric=2,
                compression="LZW",
                planar=planar,
                predictor=predictor,
                order=order,
                tile=32,
            )
        ],
        order,
    )
    photo = read(data)
    np.testing.assert_allclose(photo.pixels, share * 255, atol=0.51)
    assert photo.notes == (() if bits == 8 else (f"of its {bits} bits a channel 8 were read",))


@pytest.mark.parametrize("predictor", [1, 3])
@pytest.mark.parametrize("tile", [0, 1024])
def test_large_strips_are_read_in_parts(predictor: int, tile: int) -> None:
    share = np.random.default_rng(0).random((1100, 1300), np.float32)
    how = {"compression": "deflate", "predictor": predictor, "tile": tile, "rows_per_strip": 1100}
    photo = read(tiff_of([grey_page(share, 32, **how)]))
    np.testing.assert_array_equal(photo.pixels, np.rint(share.astype(np.float64) * 65535))
