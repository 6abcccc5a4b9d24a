"""Orientation and colour profiles of photographs that are read."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.imaging.test_photos import read

# pytest forgets the filters that silence Pillow; test_odd_metadata_makes_no_noise_on_stderr sees to those.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

SIDES = {  # EXIF 2.3, tag 274: where the file's first row and its first column are seen
    1: ("top", "left"),
    2: ("top", "right"),
    3: ("bottom", "right"),
    4: ("bottom", "left"),
    5: ("left", "top"),
    6: ("right", "top"),
    7: ("right", "bottom"),
    8: ("left", "bottom"),
}


def side(pixels: NDArray[np.generic], name: str) -> set[int]:
    sides = {"top": pixels[0], "bottom": pixels[-1], "left": pixels[:, 0], "right": pixels[:, -1]}
    return set(sides[name].ravel().tolist())


def orientation_block(orientation: int) -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return exif.tobytes()


@pytest.mark.parametrize("orientation", SIDES)
@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_orientation(name: str, orientation: int, encoded) -> None:
    stored = np.arange(0, 240, 20, np.uint8).reshape(3, 4)  # all values differ
    blocks = stored.repeat(16, axis=0).repeat(16, axis=1)
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100}}.get(name, {})
    data = encoded(blocks, name, exif=orientation_block(orientation), **options)
    shown = read(data).rgb()[8::16, 8::16, 0]
    np.testing.assert_allclose(shown.astype(int) % 20, 0)
    rows_side, columns_side = SIDES[orientation]
    assert side(shown, rows_side) == set(stored[0].tolist())
    assert side(shown, columns_side) == set(stored[:, 0].tolist())


def test_orientation_comes_with_transparency_and_depth(encoded) -> None:
    block = orientation_block(6)
    clear = np.array([[[9, 9, 9, 0], [1, 2, 3, 255]]], np.uint8)
    np.testing.assert_array_equal(
        read(encoded(clear, "PNG", exif=block)).pixels, [[[255, 255, 255]], [[1, 2, 3]]]
    )
    deep = np.array([[1, 60000]], np.uint16)
    np.testing.assert_array_equal(read(encoded(deep, "PNG", exif=block)).pixels, [[1], [60000]])
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([0, 1])
    np.testing.assert_array_equal(
        read(encoded(image, "PNG", exif=block, transparency=0)).pixels, [[[255] * 3], [[200, 100, 50]]]
    )


def test_orientation_beside_a_tag_of_the_wrong_type(encoded, picture) -> None:
    # Tag 282, the resolution, is a text here: Pillow can read such a block, but not write it again.
    entries = struct.pack("<HHIHH", 274, 3, 1, 6, 0) + struct.pack("<HHI4s", 282, 2, 4, b"300")
    block = b"Exif\0\0II*\0\x08\0\0\0\x02\0" + entries + bytes(4)
    assert read(encoded(picture(48, 32), "JPEG", exif=block)).pixels.shape == (48, 32, 3)


@given(block=st.binary(max_size=200), after=st.sampled_from([b"", b"Exif\0\0", b"Exif\0\0II*\0\x08\0\0\0"]))
def test_garbage_in_exif_never_costs_the_photo(picture, encoded, block: bytes, after: bytes) -> None:
    pixels = picture(24, 16)
    photo = read(encoded(pixels, "JPEG", quality=95, exif=after + block))
    assert sorted(photo.pixels.shape) == [3, 16, 24]
    png = read(encoded(pixels, "PNG", exif=after + block))
    assert sorted(png.pixels.shape) == [3, 16, 24]
    assert png.pixels.astype(int).sum() == pixels.astype(int).sum()


# --- colour profiles

D50 = (0.9642, 1.0, 0.8249)
SRGB_PRIMARIES = [(0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.71410)]


def icc_profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC v2 profile."""
    tags = {b"wtpt": xyz_tag(D50)} | tags
    body, table, offset = b"", struct.pack(">I", len(tags)), 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = (
        struct.pack(">I4xI", offset + len(body), 0x02400000) + b"mntr" + space + pcs + bytes(12) + b"acsp"
    )
    header += bytes(28) + fixed(D50)
    return header.ljust(128, b"\0") + table + body


def fixed(numbers: tuple[float, ...]) -> bytes:
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def xyz_tag(numbers: tuple[float, ...]) -> bytes:
    return b"XYZ " + bytes(4) + fixed(numbers)


LINEAR_CURVE = b"curv" + bytes(8)


def rgb_profile(primaries: list[tuple[float, float, float]]) -> bytes:
    tags = {b"%cXYZ" % channel: xyz_tag(xyz) for channel, xyz in zip(b"rgb", primaries, strict=True)}
    return icc_profile(b"RGB ", b"XYZ ", tags | {b"%cTRC" % channel: LINEAR_CURVE for channel in b"rgb"})


def cmyk_profile() -> bytes:
    """No ink is white, all inks are black, and every other corner of the ink cube is L* 50, a* 60: red."""
    grid = bytes([255, 128, 128]) + bytes([128, 188, 128]) * 14 + bytes([0, 128, 128])
    ramps = bytes(range(256))
    identity = fixed((1, 0, 0, 0, 1, 0, 0, 0, 1))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + identity + ramps * 4 + grid + ramps * 3
    return icc_profile(b"CMYK", b"Lab ", {b"A2B0": lut})


def companded(linear: NDArray[np.generic]) -> NDArray[np.float64]:
    value = linear / 255
    return 255 * np.where(value <= 0.0031308, 12.92 * value, 1.055 * value ** (1 / 2.4) - 0.055)


@pytest.mark.parametrize("name", ["PNG", "TIFF", "WEBP", "JPEG"])
def test_a_linear_profile_is_converted(name: str, picture, encoded) -> None:
    pixels = np.repeat(np.repeat(picture(6, 5), 16, axis=0), 16, axis=1)
    options = {"WEBP": {"lossless": True}, "JPEG": {"quality": 100, "subsampling": 0}}.get(name, {})
    data = encoded(pixels, name, icc_profile=rgb_profile(SRGB_PRIMARIES), **options)
    bare = encoded(pixels, name, **options)
    expected = companded(read(bare).pixels)
    np.testing.assert_allclose(read(data).pixels, expected, atol=3)
    assert np.abs(expected - pixels).mean() > 20


def test_swapped_primaries_swap_the_channels(picture, encoded) -> None:
    pixels = picture()
    data = encoded(pixels, icc_profile=rgb_profile(SRGB_PRIMARIES[::-1]))
    np.testing.assert_allclose(read(data).pixels, companded(pixels[..., ::-1]), atol=3)


def test_profiles_hold_under_transparency_and_orientation(encoded) -> None:
    profile = rgb_profile(SRGB_PRIMARIES)
    rgba = np.array([[[50, 50, 50, 255], [50, 50, 50, 0]]], np.uint8)
    photo = read(encoded(rgba, icc_profile=profile, exif=orientation_block(6)))
    np.testing.assert_allclose(photo.pixels[:, 0, 1], [companded(np.array(50)), 255], atol=2)
    image = Image.new("P", (1, 1))
    image.putpalette([50, 50, 50])
    assert read(encoded(image, icc_profile=profile)).pixels[0, 0, 1] == pytest.approx(122, abs=2)


@pytest.mark.parametrize("mode", ["L", "LA"])
def test_grey_profiles(mode: str, encoded) -> None:
    profile = icc_profile(b"GRAY", b"XYZ ", {b"kTRC": LINEAR_CURVE})
    grey = np.arange(0, 256, 17, np.uint8)[None]
    photo = read(encoded(Image.fromarray(grey).convert(mode), icc_profile=profile))
    assert photo.pixels.ndim == 2
    np.testing.assert_allclose(photo.pixels, companded(grey), atol=2)


@pytest.mark.parametrize("name", ["TIFF", "JPEG"])
def test_cmyk_with_a_profile(name: str, encoded) -> None:
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    red, green, blue = read(encoded(image, name, icc_profile=cmyk_profile())).pixels[8, 8].astype(int)
    assert red > green + 80  # the profile's cyan ink is a red one; without it this would be (0, 255, 255)
    assert red > blue + 80


@pytest.mark.parametrize(
    "profile",
    [
        pytest.param(b"garbage", id="garbage"),
        pytest.param(rgb_profile(SRGB_PRIMARIES)[:150], id="cut short"),
        pytest.param(bytes(500), id="zeros"),
        pytest.param(cmyk_profile(), id="of another colour space"),
        pytest.param(icc_profile(b"RGB ", b"XYZ ", {}), id="without curves"),
    ],
)
def test_broken_and_unfitting_profiles_are_ignored(profile: bytes, picture, encoded) -> None:
    pixels = picture()
    np.testing.assert_array_equal(read(encoded(pixels, icc_profile=profile)).pixels, pixels)
    np.testing.assert_array_equal(read(encoded(pixels[..., 0], icc_profile=profile)).pixels, pixels[..., 0])


def test_the_usual_profile_changes_nothing(picture, encoded) -> None:
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    pixels = picture()
    np.testing.assert_allclose(read(encoded(pixels, icc_profile=profile)).pixels.astype(int), pixels, atol=1)
