"""Files that are no photographs, broken ones, and random damage: a reason, and never another exception."""

import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.imaging.test_photos import FORMATS, read, reason
from tests.imaging.test_profiles import SRGB_PRIMARIES, orientation_block, rgb_profile
from tintlab.imaging.photos import PhotoError, read_photo

# pytest forgets the filters that silence Pillow; test_odd_metadata_makes_no_noise_on_stderr sees to those.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::PIL.Image.DecompressionBombWarning")


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
