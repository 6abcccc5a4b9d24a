import io
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from PIL import Image, ImageCms

from tests.hostile.corpus import chunk
from tintlab.imaging import color
from tintlab.imaging.photos import Photo, PhotoError, read_photo

LIMIT = 200.0
# pytest forgets the filters that silence Pillow; test_odd_metadata_makes_no_noise_on_stderr sees to those.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")

FORMATS = ["JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000", "AVIF", "PPM", "QOI", "SGI"]


def read(data: bytes, limit: float = LIMIT) -> Photo:
    return read_photo(data, limit)


def tiff(pixels: NDArray[np.generic], **options: object) -> bytes:
    file = io.BytesIO()
    tifffile.imwrite(file, pixels, **options)
    return file.getvalue()


def reason(data: bytes | Path, limit: float = LIMIT) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(data, limit)
    text = str(caught.value)
    assert text
    assert "\n" not in text
    return text


# --- formats and modes


@pytest.mark.parametrize("name", FORMATS)
def test_every_format_of_cameras_scanners_and_archives_is_read(name: str, picture, encoded) -> None:
    pixels = picture(48, 32)
    photo = read(encoded(pixels, name))
    assert photo.format == name
    assert (photo.height, photo.width) == (32, 48)
    assert photo.rgb().dtype == np.uint8
    tolerance = {"PNG": 0, "TIFF": 0, "BMP": 0, "PPM": 0, "QOI": 0, "SGI": 0, "JPEG2000": 0}.get(name, 12)
    assert np.abs(photo.rgb().astype(int) - pixels).mean() <= tolerance


def test_files_and_bytes_read_alike(tmp_path: Path, picture, encoded) -> None:
    data = encoded(picture())
    (tmp_path / "photo").write_bytes(data)
    np.testing.assert_array_equal(read_photo(tmp_path / "photo", LIMIT).pixels, read(data).pixels)


@pytest.mark.parametrize("wrap", [str, np.str_, bytearray])
def test_only_a_path_or_bytes_is_a_photograph(wrap, tmp_path: Path, encoded, picture) -> None:
    (tmp_path / "photo.png").write_bytes(encoded(picture()))
    source = wrap(b"P5 1 1 255\n0") if wrap is bytearray else wrap(tmp_path / "photo.png")
    with pytest.raises(TypeError, match=r"^a photograph is a Path or bytes, not \w+$"):
        read_photo(source, LIMIT)
    assert reason(str(tmp_path / "photo.png").encode()) == "not a picture in a format that can be read"


def test_grey_keeps_to_one_plane(picture, encoded) -> None:
    grey = picture()[..., 0]
    photo = read(encoded(grey))
    np.testing.assert_array_equal(photo.pixels, grey)
    np.testing.assert_array_equal(photo.rgb(), np.stack([grey] * 3, axis=-1))
    np.testing.assert_array_equal(photo.lightness(), color.grey_to_lightness(grey))


def test_bilevel_scan(encoded) -> None:
    bits = np.array([[0, 1], [1, 0], [1, 1]], bool)
    photo = read(encoded(bits))
    assert photo.mode == "1"
    np.testing.assert_array_equal(photo.pixels, bits * np.uint8(255))


def test_palette(encoded) -> None:
    image = Image.new("P", (2, 1))
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.putdata([1, 0])
    photo = read(encoded(image))
    assert photo.mode == "P"
    np.testing.assert_array_equal(photo.pixels, [[[200, 100, 50], [10, 20, 30]]])


def test_palette_with_transparency_lies_on_white(encoded) -> None:
    image = Image.new("P", (3, 1))
    image.putpalette([10, 20, 30, 200, 100, 50, 0, 0, 0])
    image.putdata([0, 1, 2])
    one_clear = read(encoded(image, "PNG", transparency=0))
    np.testing.assert_array_equal(one_clear.pixels, [[[255, 255, 255], [200, 100, 50], [0, 0, 0]]])
    graded = read(encoded(image, "PNG", transparency=bytes([255, 0, 128])))
    np.testing.assert_array_equal(graded.pixels[0, :2], [[10, 20, 30], [255, 255, 255]])
    np.testing.assert_allclose(graded.pixels[0, 2], 127, atol=1)
    as_gif = read(encoded(image, "GIF", transparency=0))
    np.testing.assert_array_equal(as_gif.pixels[0, 0], [255, 255, 255])


@pytest.mark.parametrize("name", ["PNG", "TIFF"])
def test_alpha_is_laid_on_white(name: str, encoded) -> None:
    rgba = np.array([[[100, 150, 200, 255], [100, 150, 200, 0], [100, 150, 200, 51]]], np.uint8)
    photo = read(encoded(rgba, name))
    assert photo.mode == "RGBA"
    np.testing.assert_array_equal(photo.pixels[0, :2], [[100, 150, 200], [255, 255, 255]])
    np.testing.assert_allclose(photo.pixels[0, 2], [224, 234, 244], atol=1)  # 0.2 c + 0.8 · 255


def test_grey_with_alpha_stays_grey(encoded) -> None:
    image = Image.merge("LA", [Image.new("L", (2, 1), 100), Image.fromarray(np.array([[255, 0]], np.uint8))])
    photo = read(encoded(image))
    assert photo.mode == "LA"
    np.testing.assert_array_equal(photo.pixels, [[100, 255]])


def test_a_transparent_colour_in_the_header(encoded) -> None:
    rgb = np.array([[[1, 2, 3], [9, 8, 7]]], np.uint8)
    np.testing.assert_array_equal(
        read(encoded(rgb, "PNG", transparency=(1, 2, 3))).pixels, [[[255, 255, 255], [9, 8, 7]]]
    )
    grey = np.array([[5, 60]], np.uint8)
    np.testing.assert_array_equal(read(encoded(grey, "PNG", transparency=5)).pixels, [[255, 60]])


def test_cmyk_without_a_profile(encoded) -> None:
    inks = np.array(
        [[[0, 0, 0, 0], [255, 0, 0, 0], [0, 255, 0, 0], [0, 0, 255, 0], [0, 0, 0, 255]]], np.uint8
    )
    shown = [[255, 255, 255], [0, 255, 255], [255, 0, 255], [255, 255, 0], [0, 0, 0]]
    photo = read(encoded(Image.fromarray(inks, "CMYK"), "TIFF"))
    assert photo.mode == "CMYK"
    np.testing.assert_array_equal(photo.pixels[0], shown)
    blocks = np.repeat(np.repeat(inks, 16, axis=0), 16, axis=1)
    jpeg = read(encoded(Image.fromarray(blocks, "CMYK"), "JPEG", quality=95))  # Adobe's, stored inverted
    assert (jpeg.format, jpeg.mode) == ("JPEG", "CMYK")
    np.testing.assert_allclose(jpeg.pixels[8, 8::16], shown, atol=6)


def test_ycbcr_tiff_and_jpeg(picture, encoded) -> None:
    pixels = picture()
    ycbcr = np.asarray(Image.fromarray(pixels).convert("YCbCr"))
    photo = read(tiff(ycbcr, photometric="ycbcr"))
    assert photo.mode == "YCbCr"
    np.testing.assert_allclose(photo.pixels.astype(int), pixels, atol=3)
    jpeg = read(encoded(pixels, "JPEG", quality=100, subsampling=0))
    np.testing.assert_allclose(jpeg.pixels.astype(int), pixels, atol=4)


def test_lab_tiff(encoded) -> None:
    # L* 50 neutral is sRGB 119; a* > 0 is reddish, b* < 0 bluish. Pillow keeps a* + 128 and b* + 128.
    image = Image.new("LAB", (3, 1))
    image.putdata([(128, 128, 128), (128, 188, 128), (128, 128, 68)])
    photo = read(encoded(image, "TIFF"))
    assert photo.mode == "LAB"
    neutral, red, blue = photo.pixels[0].astype(int)
    np.testing.assert_allclose(neutral, 119, atol=2)
    np.testing.assert_allclose(color.rgb_to_lab(photo.pixels[0])[:, 0], 50, atol=1.5)
    assert red[0] > red[1] + 80
    assert blue[2] > blue[0] + 50


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(lambda deep, encoded: encoded(deep, "PNG"), id="PNG"),
        pytest.param(lambda deep, encoded: encoded(deep, "PPM"), id="PGM"),
        pytest.param(lambda deep, encoded: encoded(deep, "JPEG2000", irreversible=False), id="JPEG2000"),
        pytest.param(lambda deep, encoded: tiff(deep), id="TIFF"),
        pytest.param(lambda deep, encoded: tiff(deep, byteorder=">"), id="big-endian TIFF"),
        pytest.param(lambda deep, encoded: tiff(deep, compression="zlib"), id="deflated TIFF"),
        pytest.param(lambda deep, encoded: tiff(65535 - deep, photometric="miniswhite"), id="negative TIFF"),
        pytest.param(lambda deep, encoded: tiff(deep.astype(np.int32)), id="32-bit TIFF"),
        pytest.param(lambda deep, encoded: tiff((deep / 65535).astype(np.float32)), id="float TIFF"),
    ],
)
def test_deep_grey_keeps_16_bits(data, encoded) -> None:
    deep = np.linspace(0, 65535, 64 * 48).round().astype(np.uint16).reshape(48, 64)
    photo = read(data(deep, encoded))
    assert photo.pixels.dtype == np.uint16
    np.testing.assert_array_equal(photo.pixels, deep)
    lightness = photo.lightness()
    assert len(np.unique(lightness)) == deep.size  # 256 levels would be what 8 bits leave
    np.testing.assert_array_equal(photo.rgb()[..., 1], np.round(deep / 65535 * 255))


def test_8_bit_negatives_are_positive_too() -> None:
    grey = np.arange(12, dtype=np.uint8).reshape(3, 4)
    np.testing.assert_array_equal(read(tiff(255 - grey, photometric="miniswhite")).pixels, grey)


def deep_png(pixels: NDArray[np.uint16]) -> bytes:
    """A PNG with 16 bits a channel, of colours, or of grey with transparency."""
    height, width, channels = pixels.shape
    rows = pixels.astype(">u2").tobytes()
    size = 2 * channels * width
    packed = zlib.compress(b"".join(b"\0" + rows[size * y : size * (y + 1)] for y in range(height)))
    header = struct.pack(">IIBBBBB", width, height, 16, {2: 4, 3: 2, 4: 6}[channels], 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def opaque(pixels: NDArray[np.uint16]) -> NDArray[np.uint16]:
    return np.dstack([pixels, np.full(pixels.shape[:2], 65535, np.uint16)])


DEEP = {
    "TIFF": lambda pixels: tiff(pixels, photometric="rgb"),
    "TIFF, big-endian": lambda pixels: tiff(pixels, photometric="rgb", byteorder=">"),
    "TIFF, deflated": lambda pixels: tiff(pixels, photometric="rgb", compression="zlib", predictor=True),
    "TIFF in tiles": lambda pixels: tiff(pixels, photometric="rgb", tile=(16, 16)),
    "TIFF, planes deflated": lambda pixels: tiff(
        np.moveaxis(pixels, -1, 0), photometric="rgb", planarconfig="separate", compression="zlib"
    ),
    "TIFF with transparency": lambda pixels: tiff(
        opaque(pixels), photometric="rgb", extrasamples=["unassalpha"]
    ),
    "PNG": deep_png,
    "PNG with transparency": lambda pixels: deep_png(opaque(pixels)),
    "PPM": lambda pixels: b"P6 %d %d 65535\n" % pixels.shape[1::-1] + pixels.astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", DEEP)
def test_of_16_bit_colours_8_bits_are_read_and_the_photo_says_so(name: str, picture) -> None:
    pixels = picture()
    photo = read(DEEP[name](pixels.astype(np.uint16) * 257))
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert photo.notes == ("of its 16 bits a channel 8 were read",)


def test_grey_with_16_bits_and_transparency_keeps_them() -> None:
    deep = np.arange(0, 65536, 64, np.uint16).reshape(32, 32)
    alpha = np.full_like(deep, 65535)
    alpha[0] = 0
    photo = read(deep_png(np.dstack([deep, alpha])))
    assert photo.notes == ()
    np.testing.assert_array_equal(photo.pixels[1:], deep[1:])
    assert (photo.pixels[0] == 65535).all()


@pytest.mark.parametrize("depth", [np.uint8, np.uint16])
def test_planes_of_16_bits_are_no_noise(depth: type, picture) -> None:
    pixels = picture()
    planes = np.moveaxis(pixels.astype(depth) * (257 if depth is np.uint16 else 1), -1, 0)
    photo = read(tiff(planes, photometric="rgb", planarconfig="separate"))
    np.testing.assert_array_equal(photo.pixels, pixels)
    assert len(photo.notes) == (depth is np.uint16)


def test_nothing_is_said_of_what_is_read_in_full(picture, encoded) -> None:
    wide = np.zeros((3, 20_000, 3), np.uint8)
    deep = picture()[..., 0].astype(np.uint16) * 257
    for data in (
        *(encoded(wide, name) for name in ("BMP", "PPM", "TIFF", "PNG", "JPEG", "SGI", "GIF")),
        encoded(deep, "PNG"), encoded(deep, "TIFF"), b"P5 9 3 65535\n" + bytes(54), tiff(deep, byteorder=">"),
    ):  # fmt: skip
        assert read(data).notes == ()


@pytest.mark.parametrize("values", [[-1, 5], [0, 70000]])
def test_32_bit_grey_without_a_known_white_is_refused(values: list[int]) -> None:
    assert "no known white" in reason(tiff(np.array([values], np.int32)))


@pytest.mark.parametrize("values", [[0, 1.5], [np.nan, 0], [np.inf, 0]])
def test_float_grey_without_a_known_white_is_refused(values: list[float]) -> None:
    assert "no known white" in reason(tiff(np.array([values], np.float32)))


@pytest.mark.parametrize("name", ["GIF", "WEBP", "TIFF", "PNG"])
def test_the_first_frame_is_taken(name: str, encoded) -> None:
    frames = [Image.new("RGB", (8, 8), shade) for shade in ("red", "blue", "lime")]
    options = {"lossless": True} if name == "WEBP" else {}
    photo = read(encoded(frames[0], name, save_all=True, append_images=frames[1:], **options))
    np.testing.assert_array_equal(photo.pixels, np.full((8, 8, 3), [255, 0, 0]))


# --- orientation

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


# --- files that are no photographs


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    assert reason(tmp_path / "empty.jpg") == "the file is empty"
    assert reason(b"") == "the file is empty"


def test_text_named_jpg(tmp_path: Path) -> None:
    (tmp_path / "note.jpg").write_text("Dear reader, this is no photograph.\n" * 50)
    assert reason(tmp_path / "note.jpg") == "not a picture in a format that can be read"


def test_missing_file_and_folder(tmp_path: Path) -> None:
    assert reason(tmp_path / "absent.jpg") == "can't be opened: No such file or directory"
    assert reason(tmp_path) == "can't be opened: Is a directory"


@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "GIF", "BMP", "PPM", "WEBP", "JPEG2000", "AVIF"])
def test_cut_short(name: str, picture, encoded) -> None:
    data = encoded(picture(64, 64), name)
    reason(data[: len(data) // 2])


@pytest.mark.parametrize("name", ["JPEG", "PNG"])
def test_cut_short_says_so(name: str, picture, encoded) -> None:
    data = encoded(picture(64, 64), name)
    assert reason(data[: len(data) * 2 // 3]) == "the picture's data is cut short"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"#define im_width 9\n#define im_height 9\nstatic char im_bits[] = {\n0x01};", id="XBM"),
        pytest.param(bytes([0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 24, 0]) + bytes(12), id="TGA"),
    ],
)
def test_formats_without_a_signature_are_not_tried(data: bytes) -> None:
    assert reason(data) == "not a picture in a format that can be read"


def png_header(width: int, height: int) -> bytes:
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    pixels = b"IDAT" + zlib.compress(bytes(100))
    return data + struct.pack(">I", len(pixels) - 4) + pixels + struct.pack(">I", zlib.crc32(pixels))


def tiff_header(width: int, height: int) -> bytes:
    values = {256: width, 257: height, 258: 8, 259: 1, 262: 1, 273: 8, 277: 1, 278: height, 279: 100}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + entries + bytes(4)


def vp8x_header(width: int, height: int) -> bytes:
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    chunk = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def gif_header(screen: tuple[int, int], frame: tuple[int, int]) -> bytes:
    return (
        b"GIF89a"
        + struct.pack("<HHBBB", *screen, 0, 0, 0)
        + b",\0\0\0\0"
        + struct.pack("<HHBBB", *frame, 0, 8, 0)
    )


OVERSIZE = {
    "PNG": png_header,
    "GIF": lambda w, h: gif_header((w, h), (w, h)),
    "BMP": lambda w, h: (
        b"BM" + struct.pack("<IIIIiiHHIIiiII", 154, 0, 54, 40, w, h, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(99)
    ),
    "TIFF": tiff_header,
    "JPEG": lambda w, h: (
        b"\xff\xd8\xff\xc0\0\x11\x08" + struct.pack(">HH", h, w) + b"\3\1\x11\0\2\x11\0\3\x11\0\xff\xda\0\0"
    ),
    "PPM": lambda w, h: b"P6 %d %d 255\n" % (w, h),
    "QOI": lambda w, h: b"qoif" + struct.pack(">IIBB", w, h, 3, 0) + bytes(20),
    "WEBP": vp8x_header,
}


@pytest.mark.parametrize("name", OVERSIZE)
def test_oversize_is_told_by_the_header(name: str) -> None:
    side_length = 16384 if name == "WEBP" else 60000  # a WebP can't claim more
    data = OVERSIZE[name](side_length, side_length)
    assert len(data) < 300  # no pixels to decode: the size alone must be the reason
    assert "photos.max_megapixels 100" in reason(data, 100)
    assert "photos.max_megapixels" not in reason(OVERSIZE[name](100, 100), 100)


@pytest.mark.parametrize("name", sorted(OVERSIZE.keys() - {"WEBP"}))
def test_a_little_over_the_limit_is_told_with_its_size(name: str) -> None:
    message = "225.0 megapixels, more than photos.max_megapixels 200"
    assert reason(OVERSIZE[name](15000, 15000)) == message


def test_a_small_screen_with_an_oversize_frame() -> None:
    assert "photos.max_megapixels" in reason(gif_header((5, 5), (60000, 60000)))


def test_the_limit_is_exact(picture, encoded) -> None:
    data = encoded(picture(50, 40))
    assert read(data, 0.002).pixels.shape == (40, 50, 3)
    assert reason(data, 0.0019) == "0.0 megapixels, more than photos.max_megapixels 0.0019"


@settings(max_examples=300)
@given(
    start=st.sampled_from(
        [b"", *(OVERSIZE[name](20, 10)[:30] for name in OVERSIZE), b"\0\0\0\x0cjP  \r\n\x87\n"]
    ),
    rest=st.binary(max_size=300),
)
def test_no_bytes_raise_anything_but_a_photo_error(start: bytes, rest: bytes) -> None:
    photo_or_reason(start + rest)


@settings(max_examples=400)
@given(
    name=st.sampled_from(FORMATS),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(1, 255)), min_size=1, max_size=6),
    near_start=st.booleans(),
    kept=st.floats(0.05, 1),
)
def test_no_damage_raises_anything_but_a_photo_error(
    picture, encoded, name: str, flips: list[tuple[float, int]], near_start: bool, kept: float
) -> None:
    options = {"exif": orientation_block(6)} if name in ("JPEG", "PNG", "WEBP", "TIFF", "AVIF") else {}
    if name in ("JPEG", "PNG", "WEBP", "TIFF"):
        options["icc_profile"] = rgb_profile(SRGB_PRIMARIES)
    data = bytearray(encoded(picture(20, 14), name, **options))
    reach = min(len(data), 80) if near_start else len(data)
    for position, mask in flips:
        data[int(position * reach)] ^= mask
    photo_or_reason(bytes(data[: max(1, int(kept * len(data)))] if kept < 0.5 else data))


def photo_or_reason(data: bytes) -> None:
    try:
        photo = read_photo(data, 1.0)
    except PhotoError as error:
        assert str(error)
        assert str(error).isprintable()
    else:
        assert photo.pixels.dtype in (np.uint8, np.uint16)
        assert photo.pixels.ndim == 2 or photo.pixels.shape[2] == 3
        assert photo.pixels.size > 0
        assert photo.width * photo.height <= 1e6


def test_odd_metadata_makes_no_noise_on_stderr(tmp_path: Path, picture, encoded) -> None:
    # Pillow warns of EXIF that is cut short and of sizes near its own limit.
    block = b"Exif\0\0II*\0\x08\0\0\0\x09\0" + struct.pack("<HHII", 271, 5, 3, 60000)
    (tmp_path / "odd.jpg").write_bytes(encoded(picture(), "JPEG", exif=block))
    (tmp_path / "big.png").write_bytes(png_header(15000, 15000))
    program = (
        "import sys; from pathlib import Path; from tintlab.imaging.photos import PhotoError, read_photo\n"
        "for name in sys.argv[1:]:\n"
        "    try: print(read_photo(Path(name), 200).width)\n"
        "    except PhotoError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "odd.jpg"), str(tmp_path / "big.png")],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    assert done.stdout == "48\n225.0 megapixels, more than photos.max_megapixels 200\n"
