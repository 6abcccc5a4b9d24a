"""HEIC, AVIF and JPEG XL by other programs: L* as those programs read it, and metadata. See `make_samples`."""

import io

import numpy as np
import pytest
from PIL import Image, ImageCms
from skimage.color import rgb2lab

from tests.imaging.make_samples import SAMPLES
from tintlab.imaging.photos import PhotoError, megapixels_of, read_photo

FILES = sorted(path.name for path in SAMPLES.iterdir() if path.suffix != ".png")


def theirs(name: str) -> np.ndarray:
    """L* of what the other program made of a file; profiles by LittleCMS, L* by scikit-image."""
    with Image.open(SAMPLES / f"{name}.png") as image:
        if image.mode == "I;16":
            grey = np.asarray(image) / 65535
            return rgb2lab(np.stack([grey] * 3, axis=-1))[..., 0]
        profile = image.info.get("icc_profile")
        shown = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
        shown = shown.convert("RGB")
        if profile:
            srgb = ImageCms.createProfile("sRGB")
            shown = ImageCms.profileToProfile(shown, ImageCms.ImageCmsProfile(io.BytesIO(profile)), srgb)
        if name == "turned.avif":  # avifdec leaves that to the viewer
            shown = shown.transpose(Image.Transpose.ROTATE_270)
        return rgb2lab(np.asarray(shown))[..., 0]


@pytest.mark.parametrize("name", FILES)
def test_lightness_is_what_the_other_program_reads(name: str) -> None:
    photo = read_photo(SAMPLES / name, 1)
    expected = theirs(name)
    assert photo.pixels.shape[:2] == expected.shape
    off = np.abs(photo.lightness() - expected)
    # Of 10 bits 8 are read, of which each channel's last one may differ.
    assert (np.percentile(off, 99) if name == "ten.avif" else off.max()) <= 0.5
    assert megapixels_of(SAMPLES / name, 1) == pytest.approx(expected.size / 1e6)


@pytest.mark.parametrize("name", ["profile.heic", "turned.heic", "turned.avif", "turned.jxl"])
def test_date_and_place_are_kept(name: str) -> None:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + read_photo(SAMPLES / name, 1).metadata.exif)
    assert (exif[271], exif[306], exif[274]) == ("a camera", "2001:02:03 04:05:06", 1)
    assert exif.get_ifd(0x8825)[2] == (48.0, 12.0, 30.0)


def test_xmp_is_kept() -> None:
    assert b"harbour" in read_photo(SAMPLES / "plain.heic", 1).metadata.xmp


def test_deep_grey_keeps_its_bits() -> None:
    for name in ("deep.heic", "deep.jxl"):
        photo = read_photo(SAMPLES / name, 1)
        assert photo.pixels.dtype == np.uint16
        assert len(np.unique(photo.pixels)) > 600


def test_what_is_left_is_said() -> None:
    assert read_photo(SAMPLES / "album.heic", 1).more_pages == 1
    assert read_photo(SAMPLES / "ten.avif", 1).notes == ("of its 10 bits a channel 8 were read",)


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_short_is_refused_in_a_line(name: str) -> None:
    data = (SAMPLES / name).read_bytes()
    for part in (3, 5, 8):
        with pytest.raises(PhotoError) as caught:
            read_photo(data[: len(data) * part // 10], 1)
        assert str(caught.value).isprintable()


def test_too_many_pixels_are_refused_before_decoding() -> None:
    for name in ("tiles.heic", "turned.jxl"):
        with pytest.raises(PhotoError, match="max_megapixels"):
            read_photo(SAMPLES / name, 0.001)
