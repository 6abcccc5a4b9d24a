"""What is read of phones' formats, of TIFF files of several pages and of camera raw, against other programs.

`python -m tests.imaging.other_formats` prints the table in docs/scoring.md, after checking each cell.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import rawpy
import tifffile
from PIL import Image, ImageCms

from tests.conftest import encode, make_picture
from tests.imaging import raws
from tests.imaging.make_samples import P3, SAMPLES
from tests.imaging.test_profiles import rgb_profile
from tests.imaging.test_samples import theirs
from tintlab.imaging import color
from tintlab.imaging.photos import Photo, count_pages, read_photo

PROFILE = rgb_profile(P3)
TOLERANCE = 0.5


@dataclass(frozen=True)
class Row:
    """A format: the bits of grey and of colour that are read, and what else."""

    name: str
    grey: str
    colour: str
    profile: str
    metadata: str
    pictures: str
    by: str


def rows() -> Iterator[Row]:
    """Read the samples."""
    for name, pillows, grey, colour, dated, by in (
        ("HEIC", "HEIF", "deep.heic", "plain.heic", "turned.heic", "heif-convert"),
        ("AVIF", "AVIF", "", "ten.avif", "turned.avif", "avifdec"),
        ("JPEG XL", "", "deep.jxl", "lossy.jxl", "turned.jxl", "djxl"),
    ):
        yield Row(
            name,
            _sample(grey) if grey else "–",
            _sample(colour),
            # The plugin for JPEG XL writes no profile.
            _profiled(encode(make_picture(60, 40), pillows, icc_profile=PROFILE)) if pillows else "–",
            _kept(read_photo(SAMPLES / dated, 1)),
            "the first",
            by,
        )
    yield _pages()
    yield from _camera_raw()


def _sample(name: str) -> str:
    photo, wanted = read_photo(SAMPLES / name, 1), theirs(name)
    off = np.abs(photo.lightness() - wanted)
    # Of 10 bits 8 are read, of which each channel's last one may differ.
    assert (np.percentile(off, 99) if name.startswith("ten") else off.max()) <= TOLERANCE, name
    return str(8 * photo.pixels.itemsize)


def _profiled(data: bytes, shown: bytes = b"") -> str:
    """Whether a picture's profile counts, by LittleCMS; `shown` is what Pillow shall read in its place."""
    with Image.open(io.BytesIO(shown or data)) as image:
        pixels = image.convert("RGB")
    converted = ImageCms.profileToProfile(
        pixels, ImageCms.ImageCmsProfile(io.BytesIO(PROFILE)), ImageCms.createProfile("sRGB")
    )
    wanted = color.lightness(np.asarray(converted))
    assert np.abs(color.lightness(np.asarray(pixels)) - wanted).max() > 2
    return "yes" if np.abs(read_photo(data, 1).lightness() - wanted).max() <= TOLERANCE else "no"


def _kept(photo: Photo) -> str:
    exif = Image.Exif()
    exif.load(b"Exif\0\0" + photo.metadata.exif)
    return "yes" if 271 in exif else "no"


def _pages() -> Row:
    """Pages of several sizes and kinds, written and read by tifffile."""
    deep = make_picture(60, 40)[..., 0].astype(np.uint16) * 257
    pages = [deep, make_picture(48, 64, seed=2), make_picture(30, 44, seed=3)]
    file = io.BytesIO()
    with tifffile.TiffWriter(file) as writer:
        for pixels in pages:
            kind = "rgb" if pixels.ndim == 3 else "minisblack"
            writer.write(
                pixels, photometric=kind, compression="deflate", extratags=[(271, "s", 0, "a maker", False)]
            )
    data = file.getvalue()
    assert count_pages(data) == len(pages)
    bits = []
    with tifffile.TiffFile(io.BytesIO(data)) as reader:
        for number, page in enumerate(reader.pages, 1):
            photo = read_photo(data, 1, number)
            wanted = page.asarray()
            wanted_l = color.grey_to_lightness(wanted) if wanted.ndim == 2 else color.lightness(wanted)
            assert np.abs(photo.lightness() - wanted_l).max() <= TOLERANCE
            bits.append(str(8 * photo.pixels.itemsize))
            kept = _kept(photo)
    first = Image.fromarray(pages[1])
    profiled = encode(first, "TIFF", save_all=True, append_images=[first], icc_profile=PROFILE)
    return Row("TIFF of several pages", bits[0], bits[1], _profiled(profiled), kept, "each page", "tifffile")


def _camera_raw() -> Iterator[Row]:
    jpeg = encode(make_picture(160, 120, seed=5), "JPEG", quality=95)
    photo = read_photo(raws.with_preview(jpeg, (160, 120), (160, 120)), 1)
    with Image.open(io.BytesIO(jpeg)) as image:
        assert np.abs(photo.lightness() - color.lightness(np.asarray(image))).max() <= TOLERANCE
    jpeg = encode(make_picture(160, 120, seed=5), "JPEG", quality=95, icc_profile=PROFILE)
    profiled = _profiled(raws.with_preview(jpeg, (160, 120), (160, 120)), jpeg)
    yield Row("camera raw, its full-size preview", "–", "8", profiled, _kept(photo), "one", "Pillow")
    data = raws.dng((make_picture(160, 120)[..., 0].astype(np.uint16)) * 200)
    photo = read_photo(data, 1)
    with rawpy.imread(io.BytesIO(data)) as raw:
        wanted = raw.postprocess(use_camera_wb=True, gamma=(2.4, 12.92), output_bps=8)
    assert np.abs(photo.lightness() - color.lightness(wanted)).max() <= TOLERANCE
    yield Row("camera raw, developed (`tintlab[raw]`)", "–", "8", "–", _kept(photo), "one", "LibRaw")


def table() -> str:
    """As Markdown."""
    lines = [
        "| format | grey | colour | with a profile | EXIF | pictures | L\\* compared with |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {row.name} | {row.grey} | {row.colour} | {row.profile} | {row.metadata} | {row.pictures} | {row.by} |"
        for row in rows()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
