"""Formats and pixel modes that are read."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tifffile
from numpy.typing import NDArray
from PIL import Image

from tests.hostile.picture_files import chunk
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
