"""Statements of PNG, TIFF, BMP, JPEG 2000, PSD and JPEG about their values, and frames."""

import struct

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from tests.imaging import making, matrix
from tests.imaging.making import grey_page, tiff_of
from tests.imaging.matrix import PROFILES, expected_lightness
from tests.imaging.test_faults import RAMP, SRGB, check, read, reason, whole

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
def test_png_with_fewer_significant_bits_however_filled(depth: int, bits: int) -> None:
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
