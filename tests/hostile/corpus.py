"""Hostile photographs, made from nothing but this script: the same files each time.

`python -m tests.hostile.corpus FOLDER` writes them; with `large`, those of 25 megapixels as well.
"""

import os
import struct
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import brotli
import numpy as np
from PIL import Image

from tests.conftest import encode, make_picture
from tests.hostile.albums_and_raws import album, of_camera_raw, of_pages
from tests.hostile.odd_tiffs import of_odd_samples, tiff_bombs
from tests.hostile.picture_files import (
    bmp,
    chunk,
    gif,
    heic,
    itxt,
    jpeg2000,
    jpeg_header,
    jxl,
    jxl_with_box,
    many_scans,
    png,
    psd,
    sgi,
    tiff,
    tiff_of_strips,
    tiff_of_tags,
    webp,
    with_chunk,
)
from tests.imaging import raws
from tintlab.imaging.formats import pillow_formats

Files = Iterator[tuple[bytes, bytes]]  # a path, not always UTF-8, and a content

MODES = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB",
    "I", "F", "I;16", "I;16B", "I;16L", "I;16N",
)  # fmt: skip
FORMATS = {
    "JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "DIB": "dib",
    "JPEG2000": "jp2", "AVIF": "avif", "HEIF": "heic", "JXL": "jxl", "PPM": "ppm", "QOI": "qoi", "SGI": "sgi",
}  # fmt: skip
pillow_formats()  # else Pillow knows neither HEIF nor JXL


def make(folder: Path, large: bool = False) -> int:
    """Write the corpus; how many entries there are."""
    makers: list[Callable[[], Files]] = [
        in_every_mode, cut_short, flipped, gigapixels, bombs, of_many_frames, with_broken_metadata,
        misnamed, with_odd_names, of_odd_shapes, of_pages, of_camera_raw,
    ]  # fmt: skip
    makers += [of_25_megapixels] if large else []
    count = 0
    for maker in makers:
        for name, data in maker():
            path = os.path.join(os.fsencode(folder), maker.__name__.encode(), name)  # noqa: PTH118
            os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
            with open(path, "wb") as file:  # noqa: PTH123
                file.write(data)
            count += 1
    return count + links(folder / "links")


def seeds() -> dict[str, bytes]:
    """A small valid file of each format, by its name."""
    pixels = make_picture(64, 48, seed=3)
    exif = Image.Exif()
    exif[274], exif[271] = 6, "a camera"
    found = {f"seed.{suffix}": encode(pixels, name) for name, suffix in FORMATS.items()}
    found["progressive.jpg"] = encode(pixels, "JPEG", progressive=True, exif=exif.tobytes())
    found["lzw.tif"] = encode(pixels, "TIFF", compression="tiff_lzw")
    found["deflated.tif"] = encode(pixels, "TIFF", compression="tiff_adobe_deflate")
    found["jpeg.tif"] = encode(pixels, "TIFF", compression="jpeg")
    found["deep.png"] = encode(make_picture(64, 48)[..., 0].astype(np.uint16) * 257, "PNG")
    found["palette.png"] = encode(Image.fromarray(pixels).convert("P"), "PNG")
    found["lossless.webp"] = encode(pixels, "WEBP", lossless=True)
    found["cmyk.jpg"] = encode(Image.fromarray(pixels).convert("CMYK"), "JPEG")
    found["plain.ppm"] = b"P3 8 6 255\n" + b" ".join(b"%d" % value for value in pixels[:6, :8].ravel())
    found["small.psd"] = psd(64, 48, pixels.transpose(2, 0, 1).tobytes())
    found["album.tif"], found["preview.nef"] = album(), raws.sample()[0]
    return found | of_odd_samples(pixels)


def in_every_mode() -> Files:
    """Each mode in each format that takes it."""
    picture = Image.fromarray(make_picture(40, 30, seed=1))
    for mode in MODES:
        with suppress(ValueError, OSError):
            image = picture.convert("L").convert(mode) if mode[0] in "IF" else picture.convert(mode)
            for name, suffix in FORMATS.items():
                with suppress(OSError, ValueError, KeyError, TypeError, SystemError, NotImplementedError):
                    yield f"{mode.replace(';', '')}.{suffix}".encode(), encode(image, name)


def cut_short() -> Files:
    """Cut at every tenth."""
    for name, data in seeds().items():
        for tenth in range(10):
            yield f"{tenth}-{name}".encode(), data[: len(data) * tenth // 10]


def flipped() -> Files:
    """A few bits changed, anywhere or near the start."""
    for number, (name, data) in enumerate(seeds().items()):
        random = np.random.default_rng(number)
        for trial in range(10):
            changed = np.frombuffer(data, np.uint8).copy()
            reach = min(len(data), 128) if trial % 2 else len(data)
            places = random.integers(0, reach, 1 + trial)
            changed[places] ^= (1 << random.integers(0, 8, len(places))).astype(np.uint8)
            yield f"{trial}-{name}".encode(), changed.tobytes()


def gigapixels() -> Files:
    """Headers that claim far more than there is."""
    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0), (15_000, 15_000)):
        size = f"{width}x{height}"
        yield f"{size}.png".encode(), png(width, height, zlib.compress(bytes(100)))
        yield f"{size}.tif".encode(), tiff(width, height, bytes(100))
        yield f"{size}.ppm".encode(), b"P6 %d %d 255\n" % (width, height) + bytes(50)
        yield f"{size}.qoi".encode(), b"qoif" + struct.pack(">IIBB", width, height, 3, 0) + bytes(20)
        yield f"{size}.bmp".encode(), bmp(width, height, 0, 24, bytes(99))
        yield f"{size}.psd".encode(), psd(width, height, bytes(50))
        yield f"{size}.jp2".encode(), jpeg2000(width, height)
        yield f"{size}.heic".encode(), heic(width, height)
        yield f"{size}.jxl".encode(), jxl(width, height)
        short = min(width, 65_535), min(height, 65_535)
        yield f"{size}.gif".encode(), gif(*short, bytes(20))
        yield f"{size}.jpg".encode(), jpeg_header(*short)
        yield f"{size}.sgi".encode(), sgi(*short)
        canvas = min(max(width, 1), 1 << 24), min(max(height, 1), 1 << 24)
        yield f"{size}.webp".encode(), webp(*canvas)


def bombs() -> Files:
    """Small files that cost much: time, or memory."""
    zeros = zlib.compress(bytes(30_000_000), 9)
    yield b"25-megapixels.png", png(5000, 5000, zlib.compress(bytes(5000 * 15001), 9))
    yield b"more-than-its-size.png", png(10, 10, zeros)
    for width, height in ((25_000_000, 1), (1, 25_000_000), (5_000_000, 5)):
        rows = zlib.compress(bytes(height * (3 * width + 1)), 1)
        yield f"line-{width}x{height}.png".encode(), png(width, height, rows)
    yield b"text.png", png(8, 8, zlib.compress(bytes(200)), chunk(b"zTXt", b"Comment\0\0" + zeros))
    yield b"profile.png", png(8, 8, zlib.compress(bytes(200)), chunk(b"iCCP", b"icc\0\0" + zeros))
    yield b"chunks.png", png(8, 8, zlib.compress(bytes(200)), chunk(b"tEXt", b"a\0b") * 400_000)
    yield b"empty-chunks.png", png(8, 8, zlib.compress(bytes(200)), chunk(b"aaAa", b"") * 1_000_000)
    yield b"scans.jpg", many_scans(4000, 4000, 3000)
    yield b"scans-25-megapixels.jpg", many_scans(5000, 5000, 79)
    yield b"runs.qoi", b"qoif" + struct.pack(">IIBB", 5000, 5000, 3, 0) + bytes(25_000_000)
    yield b"runs.bmp", bmp(5000, 5000, 1, 8, b"\1\7" * 12_500_000, palette=bytes(1024))
    yield b"tokens.ppm", b"P3 2900 2900 255\n" + b"1 " * (3 * 2900 * 2900)
    yield b"spaces.ppm", b"P3 5000 5000 255\n" + b" " * 30_000_000
    yield b"depth.ppm", b"P6 5000 5000 254\n" + bytes(75_000_000)
    yield b"bits.pbm", b"P1 5000 5000\n" + b"1" * 25_000_000
    yield b"comment.ppm", b"P6 #" + b"x" * 5_000_000 + b"\n8 8 255\n" + bytes(192)
    yield b"extensions.gif", gif(8, 8, bytes(9), b"!\xfe\1x\0" * 1_000_000)
    yield b"blocks.gif", gif(8, 8, bytes(9), b"!\xfe" + b"\1x" * 3_000_000 + b"\0")
    yield b"deflated.tif", tiff(5000, 5000, zlib.compress(bytes(25_000_000), 9), compression=8)
    yield b"strips.tif", tiff_of_strips(8, 400_000)
    yield b"tags.tif", tiff_of_tags(65_000)
    yield b"loop.tif", tiff(8, 8, bytes(64), following=8)
    yield from tiff_bombs()
    yield b"boxes.jp2", b"\0\0\0\x0cjP  \r\n\x87\n" + struct.pack(">I4s", 8, b"jp2h") * 500_000
    yield (
        b"boxes.avif",
        struct.pack(">I4s8s", 16, b"ftyp", b"avif") + struct.pack(">I4s", 8, b"meta") * 500_000,
    )
    yield (
        b"boxes.heic",
        struct.pack(">I4s8s", 16, b"ftyp", b"heic") + struct.pack(">I4s", 8, b"meta") * 500_000,
    )
    yield b"smaller-than-it-says.heic", heic(5000, 5000)
    yield b"larger-than-it-says.heic", heic(8, 8)
    yield b"metadata.jxl", jxl_with_box(b"brob", b"Exif" + brotli.compress(bytes(500_000_000), quality=1))
    yield b"boxes.jxl", jxl_with_box(b"skip", b"") + struct.pack(">I4s", 8, b"Exif") * 500_000
    yield b"25-megapixels.jxl", encode(np.zeros((5000, 5000, 3), np.uint8), "JXL", lossless=True, effort=1)
    yield (
        b"frames.png",
        png(8, 8, zlib.compress(bytes(200)), chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    )
    yield b"layers.psd", psd(8, 8, bytes(192), layers=30_000)
    yield b"tiles.jp2", jpeg2000(5000, 5000, tile=1)
    yield b"components.jp2", jpeg2000(500, 500, components=16_384)


def of_many_frames() -> Files:
    """Films and documents: the first frame counts."""
    frames = [Image.fromarray(make_picture(32, 24, seed=number)) for number in range(40)]
    for name, suffix in (
        ("GIF", "gif"),
        ("WEBP", "webp"),
        ("PNG", "png"),
        ("TIFF", "tif"),
        ("AVIF", "avif"),
        ("HEIF", "heic"),
        ("MPO", "mpo"),
    ):
        for count in (2, 40):
            data = encode(frames[0], name, save_all=True, append_images=frames[1:count])
            yield f"{count}.{suffix}".encode(), data
            yield f"{count}-cut.{suffix}".encode(), data[: len(data) // 3]


def with_broken_metadata() -> Files:
    """EXIF, ICC profiles and XMP that are random, endless, circular or of the wrong type."""
    pixels = make_picture(48, 36, seed=2)
    random = np.random.default_rng(9)
    blocks = [random.bytes(size) for size in (1, 7, 64, 900, 60_000)]
    ifd = b"Exif\0\0II*\0\x08\0\0\0"
    circle = ifd + struct.pack("<HHHII", 1, 0x8769, 4, 1, 8) + struct.pack("<I", 8)
    orientations = [
        ifd + struct.pack("<HHHIII", 1, 274, kind, count, value, 0)
        for kind, count, value in (
            (3, 1, 9),
            (3, 1, 0),
            (3, 2**31, 6),
            (2, 4, 6),
            (10, 1, 6),
            (77, 1, 6),
            (7, 9, 1),
        )
    ]
    exifs = [*blocks, *(ifd + block for block in blocks), circle, *orientations]
    for number, block in enumerate(exifs):
        for name, suffix in (
            ("JPEG", "jpg"),
            ("PNG", "png"),
            ("WEBP", "webp"),
            ("HEIF", "heic"),
            ("JXL", "jxl"),
        ):
            yield f"exif-{number}.{suffix}".encode(), encode(pixels, name, exif=block[:65_000])
    header = struct.pack(">I4xI", 200, 0x02400000) + b"mntrRGB XYZ " + bytes(12) + b"acsp"
    endless = header.ljust(128, b"\0") + struct.pack(">I", 2**31 - 1) + bytes(500)
    for number, block in enumerate([*blocks, endless, header]):
        for name, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("TIFF", "tif"), ("WEBP", "webp")):
            yield f"icc-{number}.{suffix}".encode(), encode(pixels, name, icc_profile=block)
    nested = b"<x:xmpmeta>" + b"<a>" * 20_000
    laughs = b'<!DOCTYPE l [<!ENTITY a "ha"><!ENTITY b "' + b"&a;" * 1000 + b'">]><x>' + b"&b;" * 1000
    for number, block in enumerate([*blocks, nested, laughs]):
        yield f"xmp-{number}.jpg".encode(), encode(pixels, "JPEG", xmp=block[:65_000])
        yield f"xmp-{number}.png".encode(), with_chunk(encode(pixels, "PNG"), itxt(block))
        yield f"xmp-{number}.webp".encode(), encode(pixels, "WEBP", xmp=block)


def misnamed() -> Files:
    """Contents under another kind's name, and things that are no pictures under a picture's."""
    suffixes = list(FORMATS.values())
    for number, data in enumerate(seeds().values()):
        yield f"photo{number}.{suffixes[(number + 5) % len(suffixes)]}".encode(), data
        yield f"photo{number}".encode(), data
    others = {
        "page.jpg": b"<html><script>alert(1)</script></html>", "zip.jpg": b"PK\3\4" + bytes(99),
        "program.png": b"\x7fELF" + bytes(99),
        "postscript.tif": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n",
        "vector.png": b"<svg xmlns='http://www.w3.org/2000/svg'><image href='file:///etc/passwd'/></svg>",
        "pickle.jpg": b"\x80\4\x95\x1e\0\0\0\0\0\0\0\x8c\5posix\x94\x8c\6system\x94\x93\x94.",
        "delegate.png": b"push graphic-context\nfill 'url(https://127.0.0.1/)'\npop graphic-context\n",
        "empty.jpg": b"", "zero.png": bytes(5000), "one.webp": b"R",
    }  # fmt: skip
    yield from ((name.encode(), data) for name, data in others.items())


def with_odd_names() -> Files:
    """A valid photograph under names that file systems allow."""
    data = encode(make_picture(24, 20, seed=4), "PNG")
    names = [
        b"line\nbreak.png", b"tab\there.png", b"carriage\rreturn.png", b"\x1b[31mred\x1b[0m.png", b"bell\7.png",
        "left\u202eright.png".encode(), "zero\u200bwidth.png".encode(), "line\u2028separator.png".encode(),
        b"x" * 250 + b".png", "ü".encode() * 120 + b".png", b"x" * 251, b"caf\xe9.png", b"\xff\xfe.png",
        b"-rf.png", b"--help.png", b" space .png", b"dot..png", b"~.png", b"$HOME.png", b"`id`.png", b"a;b.png",
        b"a&b.png", b"'quote'.png", b'"quote".png', b"<script>alert(1)<", b"<img src=x onerror=alert(1)>.png",
        b"{{7*7}}.png", b"%2e%2e%2f.png", b"back\\slash.png", b"..\\..\\up.png", b"con.png", b"nul", b"=1+1.png",
        b"*.png", b"?.png", b"[a].png", b"#.png", b"a,b.png", b"\xf0\x9f\x93\xb7.png", b"\xef\xbf\xbd.png",
        b"e\xcc\x81.png", b"\xc3\xa9.png", b"PHOTO.PNG", b"photo.png", b"photo.jpg", b"photo.jpg.png", b"photo",
        b"no suffix.", b"s" * 100 + b"." + b"p" * 100,
    ]  # fmt: skip
    for number, name in enumerate(names):
        yield name, data + bytes([number])  # else they would all be copies of one
    yield b"/".join([b"deep"] * 60 + [b"photo.png"]), data + b"deep"
    yield b"d" * 200 + b"/" + b"e" * 200 + b"/" + b"f" * 200 + b".png", data + b"long"


def of_odd_shapes() -> Files:
    """Lines, points, and pictures of one colour."""
    for width, height in ((1, 1), (2, 1), (1, 3), (10_000, 1), (1, 10_000), (65_000, 2), (7, 5_000)):
        pixels = np.full((height, width, 3), 128, np.uint8)
        yield f"{width}x{height}.png".encode(), encode(pixels)
        yield f"{width}x{height}.tif".encode(), encode(pixels[..., 0], "TIFF")
    for shade in ((0, 0, 0), (255, 255, 255), (255, 0, 0), (1, 2, 3)):
        yield b"%d-%d-%d.png" % shade, encode(np.full((50, 60, 3), shade, np.uint8))
    values = np.zeros((20, 20), np.float32)
    for number, odd in enumerate((np.nan, np.inf, -np.inf, 3e38, -1.0, 1e-45)):
        values[3, 3] = odd
        yield f"float-{number}.tif".encode(), encode(values, "TIFF")


def of_25_megapixels() -> Files:
    """As large as most cameras make them, in the modes that cost the most memory."""
    grey = np.add.outer(np.arange(5000), np.arange(5000)) % 65_536
    random = np.random.default_rng(0)
    colour = np.kron(random.integers(0, 255, (50, 50, 3)).astype(np.uint8), np.ones((100, 100, 1), np.uint8))
    image = Image.fromarray(colour)
    exif = Image.Exif()
    exif[274] = 6
    srgb = Image.new("RGB", (1, 1))
    from PIL import ImageCms

    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    srgb.close()
    options = {"exif": exif.tobytes(), "icc_profile": profile}
    yield b"rgb.jpg", encode(image, "JPEG", **options)
    yield b"progressive.jpg", encode(image, "JPEG", progressive=True, **options)
    yield b"cmyk.jpg", encode(image.convert("CMYK"), "JPEG")
    yield b"rgba.png", encode(image.convert("RGBA"), "PNG", compress_level=1, **options)
    yield b"palette.png", encode(image.quantize(64), "PNG", compress_level=1, transparency=3)
    yield b"la.png", encode(image.convert("LA"), "PNG", compress_level=1)
    yield b"deep.png", encode(grey.astype(np.uint16), "PNG", compress_level=1)
    yield b"integers.tif", encode(grey.astype(np.int32), "TIFF")
    yield b"floats.tif", encode((grey / 65_535).astype(np.float32), "TIFF")
    yield b"lab.tif", encode(image.convert("LAB"), "TIFF")
    yield b"ycbcr.tif", encode(image.convert("YCbCr"), "TIFF")
    yield b"lossy.webp", encode(image, "WEBP", method=0)
    yield b"still.gif", encode(image.quantize(64), "GIF")
    yield b"plain.bmp", encode(image, "BMP")
    yield b"lossless.jp2", encode(image, "JPEG2000", irreversible=False)
    yield b"fast.avif", encode(image, "AVIF", speed=10, **options)
    yield b"phone.heic", encode(image, "HEIF", quality=50, **options)
    yield b"lossless.jxl", encode(image, "JXL", lossless=True, effort=1)


def links(folder: Path) -> int:
    """Links in circles, to nowhere, to devices, and a pipe; how many."""
    folder.mkdir(parents=True, exist_ok=True)
    targets = {
        "self.jpg": "self.jpg", "a.jpg": "b.jpg", "b.jpg": "a.jpg",
        "circle": ".", "up": "..", "nowhere.jpg": "absent",
        "zero.jpg": "/dev/zero", "random.png": "/dev/urandom", "memory.png": "/proc/self/mem", "home": "/",
    }  # fmt: skip
    for name, target in targets.items():
        if not (folder / name).is_symlink():
            (folder / name).symlink_to(target)
    if not (folder / "pipe.jpg").exists():
        os.mkfifo(folder / "pipe.jpg")
    return len(targets) + 1


if __name__ == "__main__":
    written = make(Path(sys.argv[1]), large="large" in sys.argv[2:])
    print(f"{written} files in {sys.argv[1]}")
