"""Files that came out wrong, or were refused though ordinary: each with the L* that is right."""

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.imaging import making, matrix
from tests.imaging.making import Page, grey_page, tiff_of
from tests.imaging.matrix import PROFILES, expected_lightness
from tintlab.imaging.photos import Photo, PhotoError, read_photo

RAMP = np.tile(np.linspace(0, 1, 96), (64, 1))
SRGB = expected_lightness(RAMP, "none")
PREVIEW, PICTURE = 1, 0  # NewSubfileType


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


# --- pages


def page(
    width: int, height: int, kind: int | None, shade: int = 90, channels: int = 1, **more: object
) -> Page:
    samples = np.full((height, width, channels), shade, "u1")
    tags: making.Tags = {} if kind is None else {254: ("I", [kind])}
    return grey_page(samples, 8, photometric=2 if channels == 3 else 1, more=tags | more.get("more", {}))


def test_an_album_says_how_many_pages_are_left() -> None:
    photo = read(tiff_of([page(60, 40, 2, shade) for shade in (50, 100, 150)]))
    assert photo.more_pages == 2
    assert photo.notes == ("2 more pages of the file were not read",)
    assert (photo.pixels == 50).all()
    assert read(tiff_of([page(60, 40, None), page(60, 40, None)])).notes == (
        "1 more page of the file was not read",
    )


@pytest.mark.parametrize(("order", "big"), [("<", False), (">", False), ("<", True)])
def test_a_preview_gives_way_to_the_picture(order: str, big: bool) -> None:
    def pages(kinds: list[int | None]) -> list[Page]:
        sizes = [(40, 30), (160, 120)]
        return [
            grey_page(
                np.full((h, w), w, "u1"), 8, order=order, more={} if kind is None else {254: ("I", [kind])}
            )
            for (w, h), kind in zip(sizes, kinds, strict=True)
        ]

    for kinds in ([1, 0], [1, None], [None, None], [None, 0]):
        photo = read(tiff_of(pages(kinds), order, big))
        assert photo.pixels.shape == (120, 160)
        assert (photo.more_pages, photo.notes) == (0, ())
    first, second = pages([1, 0])
    first.sub = [second]
    assert read(tiff_of([first], order, big)).pixels.shape == (120, 160)


def test_smaller_copies_and_masks_are_no_pages() -> None:
    photo = read(tiff_of([page(160, 120, 0), page(80, 60, 1), page(40, 30, 1), page(160, 120, 4)]))
    assert photo.more_pages == 0
    main = page(160, 120, 0)
    main.sub = [page(80, 60, 1), page(40, 30, 1)]
    assert read(tiff_of([main])).more_pages == 0


def test_a_picture_that_is_only_a_preview_says_so() -> None:
    assert read(tiff_of([page(40, 30, 1)])).notes == ("the file has only a reduced picture",)


def test_the_metadata_and_orientation_of_a_preview_are_those_of_its_picture() -> None:
    preview = page(40, 30, 1, more={271: ("s", b"scanner\0"), 274: ("H", [6])})
    preview.sub = [page(160, 120, 0)]
    photo = read(tiff_of([preview]))
    assert photo.pixels.shape == (160, 120)
    assert b"scanner" in photo.metadata.exif


# --- camera raw


def raw(make: bytes, **tags: object) -> bytes:
    preview = page(40, 30, 1, channels=3, more={271: ("s", make + b"\0")})
    mosaic = grey_page(np.full((120, 160), 900, "u2"), 16, photometric=32803, more={254: ("I", [0])})
    mosaic.tags |= tags.get("tags", {})
    preview.sub = [page(80, 60, 1, channels=3), mosaic]
    return tiff_of([preview])


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(raw(b"NIKON CORPORATION"), id="colour filter array"),
        pytest.param(raw(b"NIKON CORPORATION", tags={262: ("H", [1])}), id="a deep mosaic"),
        pytest.param(
            raw(b"NIKON CORPORATION", tags={262: ("H", [1]), 259: ("H", [34713])}), id="compression"
        ),
        pytest.param(raw(b"NIKON CORPORATION", tags={262: ("H", [34892])}), id="linear raw"),
    ],
)
def test_camera_raw_is_refused_by_its_name(data: bytes) -> None:
    assert reason(data).startswith("camera raw (NIKON CORPORATION), which is not read: develop it")


def test_dng_without_a_maker_is_refused() -> None:
    plain = page(160, 120, 0, channels=3, more={50706: ("B", [1, 4, 0, 0])})
    assert reason(tiff_of([plain])).startswith("camera raw (DNG")


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
    assert "BigTIFF in big-endian order" in reason(tiff_of([page(9, 9, 0)], ">", big=True))


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


# --- what PNG states

SRGB_POINTS = (0.3127, 0.329, 0.64, 0.33, 0.3, 0.6, 0.15, 0.06)
P3_POINTS = (0.3127, 0.329, 0.68, 0.32, 0.265, 0.69, 0.15, 0.06)
GAMMA_1 = (b"gAMA", struct.pack(">I", 100_000))


def primaries(points: tuple[float, ...]) -> tuple[bytes, bytes]:
    return b"cHRM", struct.pack(">8I", *(round(100_000 * value) for value in points))


def grey_png(*chunks: tuple[bytes, bytes]) -> bytes:
    return making.png_of(whole(RAMP, 65535), 16, *chunks)


def power_of(value: float | NDArray[np.float64], exponent: float) -> NDArray[np.float64]:
    light = np.asarray(value) ** exponent
    return np.where(light > (6 / 29) ** 3, 116 * np.cbrt(light) - 16, light * (29 / 3) ** 3)


def power(exponent: float) -> NDArray[np.float64]:
    return power_of(RAMP, exponent)


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        pytest.param([GAMMA_1, primaries(SRGB_POINTS)], power(1), id="gAMA with cHRM"),
        pytest.param([(b"gAMA", struct.pack(">I", 45_455))], power(1 / 0.45455), id="gAMA of a screen"),
        pytest.param([GAMMA_1, (b"sRGB", b"\0")], SRGB, id="sRGB over gAMA"),
        pytest.param(
            [GAMMA_1, (b"sRGB", b"\0"), making.png_profile(PROFILES["gamma 1.8"])],
            expected_lightness(RAMP, "gamma 1.8"),
            id="iCCP over both",
        ),
        pytest.param(
            [making.png_profile(PROFILES["gamma 1.8"]), (b"cICP", bytes([1, 8, 0, 1]))],
            power(1),
            id="cICP over all",
        ),
        pytest.param([(b"cICP", bytes([1, 13, 0, 1])), GAMMA_1], SRGB, id="cICP of sRGB"),
        pytest.param([(b"gAMA", bytes(4))], SRGB, id="gAMA of nothing"),
    ],
)
def test_which_of_pngs_statements_counts(
    chunks: list[tuple[bytes, bytes]], expected: NDArray[np.float64]
) -> None:
    check(grey_png(*chunks), expected, 0.1)


@pytest.mark.parametrize(
    ("code", "word"), [([9, 16, 0, 1], "PQ"), ([9, 18, 0, 1], "HLG"), ([1, 13, 1, 1], "YCbCr")]
)
def test_png_in_videos_codes_is_refused(code: list[int], word: str) -> None:
    assert word in reason(grey_png((b"cICP", bytes(code))))


def test_png_primaries_of_colours() -> None:
    # P3's own red, green and blue at half light, by the matrices of SMPTE EG 432-1 and IEC 61966-2-1.
    half = np.full((4, 4, 3), 128, "u1")
    photo = read(making.png_of(half, 8, GAMMA_1, primaries(P3_POINTS)))
    np.testing.assert_allclose(photo.pixels[0, 0], 188, atol=1)  # grey stays grey
    green = np.zeros((4, 4, 3), "u1")
    green[..., 1] = 255
    green[..., 0] = 128
    photo = read(making.png_of(green, 8, GAMMA_1, primaries(P3_POINTS)))
    red = 0.5020 * 1.2249 - 1.0 * 0.2247
    np.testing.assert_allclose(photo.pixels[0, 0, 0], 255 * (1.055 * red ** (1 / 2.4) - 0.055), atol=1.5)


@pytest.mark.parametrize(("depth", "bits"), [(16, 12), (16, 10), (8, 5), (8, 7)])
def test_png_with_fewer_significant_bits_however_they_were_filled(depth: int, bits: int) -> None:
    most, dtype = 2**depth - 1, f"u{depth // 8}"
    raw = np.rint(RAMP * (2**bits - 1))
    expected = expected_lightness(raw / (2**bits - 1), "none")
    zeros = (raw * 2 ** (depth - bits)).astype(dtype)
    scaled = np.rint(raw * most / (2**bits - 1)).astype(dtype)
    for samples in (zeros, scaled):
        check(making.png_of(samples, depth, (b"sBIT", bytes([bits]))), expected)
    full = whole(RAMP, most, dtype)  # more bits than the file says
    check(making.png_of(full, depth, (b"sBIT", bytes([bits]))), expected_lightness(full / most, "none"))


@pytest.mark.parametrize("bits", [1, 2, 4, 8, 16])
def test_pngs_one_transparent_value(bits: int) -> None:
    samples = np.arange(2 ** min(bits, 8), dtype="u2" if bits == 16 else "u1")[None]
    photo = read(making.png_of(samples, bits, (b"tRNS", struct.pack(">H", 1))))
    most = np.iinfo(photo.pixels.dtype).max
    assert photo.pixels[0, 1] == most
    rest = np.delete(photo.pixels[0], 1) / most
    np.testing.assert_allclose(rest, np.delete(samples[0], 1) / (2**bits - 1), atol=0.002)


# --- what other formats state


def test_a_grey_picture_with_a_profile_of_colours() -> None:
    linear = making.curve(1.0)
    points = {b"rXYZ": (0.43607, 0.22249, 0.01392), b"gXYZ": (0.38515, 0.71687, 0.09708)}
    points[b"bXYZ"] = (0.14307, 0.06061, 0.71410)
    tags = {name: b"XYZ " + bytes(4) + making.fixed(values) for name, values in points.items()}
    profile = making.icc_profile(b"RGB ", b"XYZ ", tags | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), linear))
    for bits in (8, 16):
        grey = whole(RAMP, 2**bits - 1, f"u{bits // 8}")
        light = grey / (2**bits - 1)
        expected = np.where(light > (6 / 29) ** 3, 116 * np.cbrt(light) - 16, light * (29 / 3) ** 3)
        check(making.png_of(grey, bits, making.png_profile(profile)), expected, 0.4)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("photometric", [0, 1])
def test_tiff_with_a_transfer_function(bits: int, photometric: int) -> None:
    table = np.rint(np.linspace(0, 1, 2**bits) ** 1.5 * 65535).astype(int)
    table = table if photometric else table[::-1]
    samples = whole(RAMP if photometric else 1 - RAMP, 2**bits - 1, f"u{bits // 8}")
    data = tiff_of([grey_page(samples, bits, photometric=photometric, more={301: ("H", table.tolist())})])
    check(data, power_of(np.rint(RAMP * (2**bits - 1)) / (2**bits - 1), 1.5))


def test_bmp_with_an_embedded_profile() -> None:
    profile = PROFILES["gamma 1.8"]
    grey = whole(RAMP, 255, "u1")
    rows = np.repeat(grey[::-1, :, None], 3, axis=2).tobytes()
    header = struct.pack("<IiiHHIIiiII", 124, 96, 64, 1, 24, 0, len(rows), 0, 0, 0, 0) + bytes(16) + b"DEBM"
    header += bytes(48) + struct.pack("<4I", 4, 124 + len(rows), len(profile), 0)
    data = b"BM" + struct.pack("<IHHI", 138 + len(rows) + len(profile), 0, 0, 138) + header + rows + profile
    check(data, expected_lightness(grey / 255, "gamma 1.8"))


def test_jpeg_2000_in_other_colour_spaces_is_refused() -> None:
    stream = (matrix.JPEG_2000 / "8.j2k").read_bytes()
    for space in (14, 20, 21):  # CIELab, e-sRGB, ROMM-RGB
        data = making.jp2_of(stream, 64, 24, 8, b"\1\0\0" + space.to_bytes(4, "big"))
        assert f"colour space {space}" in reason(data)


def photoshop(depth: int, mode: int, channels: int, resources: bytes = b"") -> bytes:
    start = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", channels, 4, 8, depth, mode) + bytes(4)
    start += struct.pack(">I", len(resources)) + resources + bytes(4)
    return start + bytes(2) + bytes(32 * channels * depth // 8)


def test_photoshop_documents_of_other_kinds_are_refused_by_them() -> None:
    assert read(photoshop(8, 3, 3)).pixels.shape == (4, 8, 3)
    assert "PSD of RGB with 16 bits a channel" in reason(photoshop(16, 3, 3))
    assert "PSD of inks with 8 bits" in reason(photoshop(8, 7, 3))
    version = b"8BIM" + struct.pack(">HHI", 1057, 0, 6) + bytes(4) + b"%c\0"
    assert read(photoshop(8, 3, 3, version % 1)).width == 8
    assert "layers alone" in reason(photoshop(8, 3, 3, version % 0))


def test_adobe_rgb_of_a_camera_without_a_profile(encoded) -> None:
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: "R03"}
    data = encoded(np.full((16, 16, 3), 60, np.uint8), "JPEG", exif=exif.tobytes(), quality=100)
    check(data, np.full((16, 16), float(power_of(60 / 255, 563 / 256))), 0.3)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG", "AVIF"])
def test_frames_are_counted_like_pages(name: str, encoded) -> None:
    frames = [Image.new("RGB", (16, 16), shade) for shade in ("red", "blue", "lime")]
    photo = read(encoded(frames[0], name, save_all=True, append_images=frames[1:]))
    assert photo.more_pages == 2
    assert photo.notes == ("2 more pages of the file were not read",)
    assert read(encoded(frames[0], name)).more_pages == 0
