import io
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageCms

from tests.scoring.conftest import decoded_png, exiftool, grey_profile, saved
from tintlab.imaging import color
from tintlab.imaging.encoding import EncodingError, Format, encode, srgb_profile
from tintlab.imaging.metadata import CaptureMetadata
from tintlab.imaging.photos import Photo, read_photo
from tintlab.imaging.provenance import Provenance, read_provenance

# pytest forgets the filters that silence Pillow.
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning")

ORIGIN = Provenance(software="tintlab 1", weights_sha256="ab" * 32, source_sha256="cd" * 32)
FORMATS: list[Format] = ["png", "jpeg", "webp"]
CAPTION = "Der alte Hafen, 1931 – Übersee"


def written(pixels: np.ndarray, file_format: Format, metadata: CaptureMetadata | None = None) -> bytes:
    pieces, _ = encode(pixels, file_format, metadata or CaptureMetadata(), ORIGIN)
    return b"".join(pieces)


def capture() -> Image.Exif:
    """What a camera that was held upright (orientation 6) and a scanner's software write."""
    exif = Image.Exif()
    exif[ExifTags.Base.Make], exif[ExifTags.Base.Model] = "Leitz", "Leica I"
    exif[ExifTags.Base.DateTime] = "1931:05:06 07:08:09"
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.XResolution] = exif[ExifTags.Base.YResolution] = 1200.0
    exif[ExifTags.Base.ResolutionUnit] = 2
    details = exif.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.DateTimeOriginal] = "1931:02:03 04:05:06"
    details[ExifTags.Base.FNumber], details[ExifTags.Base.ISOSpeedRatings] = 3.5, 25
    details[ExifTags.Base.ExifImageWidth] = 9999
    details[ExifTags.Base.ColorSpace] = 65535
    place = exif.get_ifd(ExifTags.IFD.GPSInfo)
    place[1], place[2], place[3], place[4] = "N", (53.0, 4.0, 30.0), "E", (8.0, 48.0, 0.0)
    return exif


def iptc_block() -> bytes:
    """IPTC data sets as Photoshop puts them into JPEG: UTF-8, a caption and two keywords."""

    def one(record: int, number: int, value: bytes) -> bytes:
        return b"\x1c" + bytes([record, number]) + len(value).to_bytes(2, "big") + value

    sets = one(1, 90, b"\x1b%G") + one(2, 120, CAPTION.encode()) + one(2, 25, b"Hafen") + one(2, 25, b"Kran")
    resource = b"8BIM\x04\x04\0\0" + len(sets).to_bytes(4, "big") + sets + b"\0" * (len(sets) % 2)
    body = b"Photoshop 3.0\0" + resource
    return b"\xff\xed" + (len(body) + 2).to_bytes(2, "big") + body


@pytest.fixture(scope="module")
def scan() -> Photo:
    """A grey JPEG with all kinds of metadata; stored 60 x 40, upright 40 x 60."""
    grey = Image.fromarray(np.linspace(0, 255, 2400).reshape(40, 60).astype(np.uint8))
    data = saved(grey, "JPEG", exif=capture(), dpi=(1200, 1200), extra=iptc_block())
    return read_photo(data, 1)


@pytest.mark.parametrize("file_format", FORMATS)
def test_exiftool_finds_capture_and_origin(file_format: Format, scan: Photo, tmp_path: Path) -> None:
    path = tmp_path / f"coloured.{file_format}"
    path.write_bytes(written(scan.rgb(), file_format, scan.metadata))
    found = exiftool(path)
    assert found["IFD0:Make"] == "Leitz"
    assert found["IFD0:ModifyDate"] == "1931:05:06 07:08:09"
    assert found["IFD0:Orientation"] == "1"
    assert found["ExifIFD:DateTimeOriginal"] == "1931:02:03 04:05:06"
    assert float(found["ExifIFD:FNumber"]) == 3.5
    assert (found["ExifIFD:ExifImageWidth"], found["ExifIFD:ExifImageHeight"]) == ("40", "60")
    assert found["ExifIFD:ColorSpace"] == "1"
    assert float(found["Composite:GPSLatitude"]) == pytest.approx(53.075)
    assert float(found["Composite:GPSLongitude"]) == pytest.approx(8.8)
    assert found["XMP-dc:Description"] == CAPTION
    assert found["XMP-dc:Subject"] == "Hafen|Kran"
    assert found["XMP-iptcExt:DigitalSourceType"].endswith("/compositeWithTrainedAlgorithmicMedia")
    assert found["XMP-tintlab:WeightsSha256"] == "ab" * 32
    assert found["XMP-tintlab:SourceSha256"] == "cd" * 32
    assert "sRGB" in found["ICC_Profile:ProfileDescription"]
    assert "ExifTool:Warning" not in found
    if file_format == "png":
        assert float(found["PNG-pHYs:PixelsPerUnitX"]) == pytest.approx(1200 / 0.0254, abs=1)
    if file_format == "jpeg":
        assert found["JFIF:XResolution"] == "1200"
        assert found["File:YCbCrSubSampling"] == "1 1"


@pytest.mark.parametrize("file_format", FORMATS)
def test_pillow_finds_them_too(file_format: Format, scan: Photo) -> None:
    data = written(scan.rgb(), file_format, scan.metadata)
    assert read_provenance(data) == ORIGIN
    again = read_photo(data, 1)
    assert (again.width, again.height) == (40, 60)
    assert again.metadata.exif
    with Image.open(io.BytesIO(data)) as image:
        assert image.getexif()[ExifTags.Base.Orientation] == 1
        assert image.info["icc_profile"] == srgb_profile()
        assert image.getexif().get_ifd(ExifTags.IFD.GPSInfo)[1] == "N"


@pytest.mark.parametrize("turn", range(1, 9))
def test_orientation_is_applied_once(turn: int) -> None:
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = turn
    grey = Image.fromarray(np.arange(6, dtype=np.uint8).reshape(2, 3) * 40)
    source = read_photo(saved(grey, "PNG", exif=exif), 1)
    again = read_photo(written(source.rgb(), "png", source.metadata), 1)
    np.testing.assert_array_equal(again.pixels, source.rgb())
    assert (again.width, again.height) == ((3, 2) if turn < 5 else (2, 3))


@pytest.mark.parametrize("shape", [(300, 471, 3), (1, 1, 3)])
def test_png_is_exact(shape: tuple[int, int, int]) -> None:
    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, shape, np.uint8)
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(written(pixels, "png")))), pixels)
    deep = random.integers(0, 65536, (shape[0], min(shape[1], 40), 3), np.uint16)
    np.testing.assert_array_equal(decoded_png(written(deep, "png")), deep)


def test_jpeg_keeps_full_colour_resolution() -> None:
    """A chequerboard of red and blue pixels, which shared chroma would turn purple."""
    pixels = np.zeros((64, 64, 3), np.uint8)
    pixels[::2, ::2, 0] = pixels[1::2, 1::2, 0] = 255
    pixels[1::2, ::2, 2] = pixels[::2, 1::2, 2] = 255
    read = np.asarray(Image.open(io.BytesIO(written(pixels, "jpeg")))).astype(int)
    assert np.abs(read - pixels).mean() < 12


def test_the_bytes_depend_on_the_arguments_alone(scan: Photo, monkeypatch: pytest.MonkeyPatch) -> None:
    first = [written(scan.rgb(), file_format, scan.metadata) for file_format in FORMATS]
    srgb_profile.cache_clear()
    time.sleep(1.1)  # LittleCMS's profiles hold a time in seconds
    assert [written(scan.rgb(), file_format, scan.metadata) for file_format in FORMATS] == first


def test_the_profile_is_srgb() -> None:
    profile = ImageCms.getOpenProfile(io.BytesIO(srgb_profile()))
    ramp = Image.fromarray(np.arange(256 * 3, dtype=np.uint32).astype(np.uint8).reshape(16, 16, 3))
    same = ImageCms.profileToProfile(ramp, profile, ImageCms.createProfile("sRGB"))
    assert np.abs(np.asarray(same).astype(int) - np.asarray(ramp)).max() <= 1


def test_sizes_that_a_format_cannot_hold_are_refused() -> None:
    with pytest.raises(EncodingError, match="16384 x 1 pixels: webp holds 16383 a side, use png"):
        written(np.zeros((1, 16384, 3), np.uint8), "webp")
    with pytest.raises(EncodingError, match="use png"):
        written(np.zeros((65536, 1, 3), np.uint8), "jpeg")


def test_what_jpeg_cannot_hold_is_left_out_and_said() -> None:
    long = CaptureMetadata(xmp=build_long(), exif=capture().tobytes().removeprefix(b"Exif\0\0"))
    pieces, left_out = encode(np.zeros((4, 4, 3), np.uint8), "jpeg", long, ORIGIN)
    assert left_out == ["the XMP packet of the source is too long for JPEG"]
    assert read_provenance(b"".join(pieces)) == ORIGIN
    _, left_out = encode(np.zeros((4, 4, 3), np.uint8), "png", long, ORIGIN)
    assert left_out == []


def build_long() -> bytes:
    text = "x" * 70_000
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:o="urn:o:" o:text="{text}"/></rdf:RDF></x:xmpmeta>'
    ).encode()


def test_metadata_of_a_tiff_are_those_of_the_capture_alone() -> None:
    grey = Image.fromarray(np.zeros((8, 8), np.uint8))
    metadata = read_photo(saved(grey, "TIFF", exif=capture(), dpi=(600, 600)), 1).metadata
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + metadata.exif)
    assert exif[ExifTags.Base.Make] == "Leitz"
    assert ExifTags.Base.StripOffsets not in exif
    assert ExifTags.Base.ImageWidth not in exif
    assert metadata.dpi == (600, 600)


@pytest.mark.parametrize("at", range(6, 60, 3))
def test_a_broken_exif_block_costs_no_photograph(at: int) -> None:
    data = bytearray(saved(Image.new("L", (8, 8)), "JPEG", exif=capture()))
    start = data.index(b"Exif\0\0") + at
    data[start : start + 3] = b"\xff\xff\xff"
    photo = read_photo(bytes(data), 1)
    assert read_provenance(written(photo.rgb(), "jpeg", photo.metadata)) == ORIGIN


# --- 16-bit grey and its profile


def test_a_ramp_of_16_bits_survives_in_lightness() -> None:
    """60,000 levels in, more than 256 out: every step of L* by less than an 8-bit level is kept."""
    ramp = np.linspace(2000, 62000, 4096).astype(np.uint16).reshape(64, 64)
    source = read_photo(saved(Image.fromarray(ramp), "TIFF"), 1)
    pixels = color.lab_to_pixels(source.lightness(), *np.zeros((2, 64, 64), np.float32), np.uint16)
    data = written(pixels, "png")
    decoded = decoded_png(data)
    assert len(np.unique(decoded[..., 1])) > 4000
    np.testing.assert_allclose(color.lightness(decoded), source.lightness(), atol=0.005)


def test_the_profile_of_16_bit_grey_is_honoured() -> None:
    """Against the formulas: a power of 1.8 in, the sRGB curve out."""
    ramp = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    plain = read_photo(saved(Image.fromarray(ramp), "TIFF"), 1)
    np.testing.assert_array_equal(plain.pixels, ramp)
    photo = read_photo(saved(Image.fromarray(ramp), "TIFF", icc_profile=grey_profile(1.8)), 1)
    light = (ramp / 65535.0) ** (round(1.8 * 256) / 256)
    srgb = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    assert photo.pixels.dtype == np.uint16
    assert np.abs(photo.pixels / 65535.0 - srgb).max() < 0.05 / 255
    assert len(np.unique(photo.lightness())) > 50_000


@pytest.mark.parametrize("profile", [b"nonsense", srgb_profile()], ids=["broken", "of colours"])
def test_an_unfitting_profile_is_as_good_as_none(profile: bytes) -> None:
    ramp = np.arange(4096, dtype=np.uint16).reshape(64, 64)
    photo = read_photo(saved(Image.fromarray(ramp), "TIFF", icc_profile=profile), 1)
    np.testing.assert_array_equal(photo.pixels, ramp)
