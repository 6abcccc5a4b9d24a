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

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tests.conftest import encode, make_picture
from tests.imaging import making

Files = Iterator[tuple[bytes, bytes]]  # a path, not always UTF-8, and a content

MODES = (
    "1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV", "LAB",
    "I", "F", "I;16", "I;16B", "I;16L", "I;16N",
)  # fmt: skip
FORMATS = {
    "JPEG": "jpg", "PNG": "png", "TIFF": "tif", "WEBP": "webp", "GIF": "gif", "BMP": "bmp", "DIB": "dib",
    "JPEG2000": "jp2", "AVIF": "avif", "PPM": "ppm", "QOI": "qoi", "SGI": "sgi",
}  # fmt: skip


def make(folder: Path, large: bool = False) -> int:
    """Write the corpus; how many entries there are."""
    makers: list[Callable[[], Files]] = [
        in_every_mode, cut_short, flipped, gigapixels, bombs, of_many_frames, with_broken_metadata,
        misnamed, with_odd_names, of_odd_shapes,
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
    return found | of_odd_samples(pixels)


def of_odd_samples(pixels: NDArray[np.uint8]) -> dict[str, bytes]:
    """A small valid file of each kind of samples that Pillow does not read by itself, and of pages."""
    grey = pixels[..., 0].astype(np.uint16)
    deep, floats = grey * 257, (pixels / 255).astype(np.float32)
    preview = making.grey_page(pixels[::4, ::4], 8, photometric=2, more={254: ("I", [1])})
    preview.sub = [making.grey_page(pixels, 8, photometric=2)]
    pages = [making.grey_page(grey // (number + 1), 12) for number in range(3)]
    profile = making.png_profile(making.icc_profile(b"GRAY", b"XYZ ", {b"kTRC": making.curve(1.8)}))
    lab_profile = making.icc_profile(b"GRAY", b"Lab ", {b"kTRC": making.curve(1.0)})
    primaries = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    return {
        "packed.tif": making.tiff_of([making.grey_page(grey, 12, compression="LZW")]),
        "floats.tif": making.tiff_of(
            [making.grey_page(floats, 32, photometric=2, compression="deflate", predictor=3, planar=True)]
        ),
        "tiles.tif": making.tiff_of(
            [making.grey_page(deep, 16, order=">", tile=16, predictor=2, compression="LZW")], ">"
        ),
        "lab.tif": making.tiff_of([making.grey_page(pixels, 8, photometric=9, compression="PackBits")]),
        "alpha.tif": making.tiff_of(
            [making.grey_page(np.dstack([deep, deep]), 16, more={338: ("H", [1])})], big=True
        ),
        "preview.tif": making.tiff_of([preview]),
        "pages.tif": making.tiff_of(pages),
        "alpha.png": making.png_of(np.dstack([deep, deep]), 16, (b"sBIT", bytes([12, 16]))),
        "gamma.png": making.png_of(
            pixels,
            8,
            (b"gAMA", struct.pack(">I", 100_000)),
            (b"cHRM", primaries),
            (b"sBIT", bytes([5, 6, 5])),
        ),
        "profile.png": making.png_of(deep, 16, profile, (b"tRNS", bytes(2))),
        "profile.jp2": making.jp2_of(
            encode(deep, "JPEG2000", no_jp2=True),
            64,
            48,
            16,
            b"\2\0\0" + lab_profile,
        ),
    }


def in_every_mode() -> Files:
    """Each mode in each format that takes it."""
    picture = Image.fromarray(make_picture(40, 30, seed=1))
    for mode in MODES:
        with suppress(ValueError, OSError):
            image = picture.convert("L").convert(mode) if mode[0] in "IF" else picture.convert(mode)
            for name, suffix in FORMATS.items():
                with suppress(OSError, ValueError, KeyError, TypeError, SystemError):
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
        b"frames.png",
        png(8, 8, zlib.compress(bytes(200)), chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0))),
    )
    yield b"layers.psd", psd(8, 8, bytes(192), layers=30_000)
    yield b"tiles.jp2", jpeg2000(5000, 5000, tile=1)
    yield b"components.jp2", jpeg2000(500, 500, components=16_384)


def tiff_bombs() -> Files:
    """TIFFs whose tags ask for far more than the file has, in the kinds that Pillow does not read by itself."""

    def bomb(
        bits: int, data: bytes, rows: int = 5000, side: int = 5000, **more: tuple[str, list[int]]
    ) -> bytes:
        tags: making.Tags = {int(tag[1:]): values for tag, values in more.items()}
        sizes = {256: ("I", [side]), 257: ("I", [side]), 258: ("H", [bits]), 259: ("H", [8]), 262: ("H", [1])}
        tags = sizes | {277: ("H", [1]), 278: ("I", [rows])} | tags
        count = -(-side // rows)
        page = making.Page(tags, [data])
        page.tags[279] = ("I", [len(data)] * count)
        return making.tiff_of([page])

    floats = zlib.compress(bytes(8 * 25_000_000), 9)
    yield b"floats.tif", bomb(64, floats, t339=("H", [3]))
    yield b"colours.tif", bomb(64, zlib.compress(bytes(8)), t277=("H", [4]), t262=("H", [2]), t339=("H", [3]))
    yield b"integers.tif", bomb(32, zlib.compress(b"\x80" * (4 * 25_000_000), 9))
    yield b"packed.tif", bomb(12, zlib.compress(bytes(37_500_000), 9))
    yield b"channels.tif", bomb(16, zlib.compress(bytes(32)), t277=("H", [16]), t338=("H", [0] * 15))
    yield b"samples.tif", bomb(16, zlib.compress(bytes(32)), t277=("I", [2**31]))
    yield b"bits.tif", bomb(65_535, zlib.compress(bytes(32)))
    yield b"huge-tile.tif", bomb(16, bytes(99), t322=("I", [2**31 - 16]), t323=("I", [2**31 - 16]))
    yield b"small-tiles.tif", bomb(16, bytes(99), t322=("I", [1]), t323=("I", [1]))
    page = making.grey_page(np.zeros((8, 8), np.uint16), 16)
    page.segments *= 400_000
    yield b"same-strips.tif", making.tiff_of([page])
    yield b"many-pages.tif", making.tiff_of([making.Page({256: ("I", [1])}, [b""])] * 30_000)
    endless = making.grey_page(np.zeros((8, 8), np.uint16), 16, more={330: ("I", [8] * 900_000)})
    yield b"sub-pages.tif", making.tiff_of([endless])
    shared = making.grey_page(np.zeros((8, 8), np.uint16), 16, more={700: ("B", bytes(4_000_000))})
    data = bytearray(making.tiff_of([shared]))
    start = struct.unpack_from("<I", data, 4)[0]
    directory = bytes(data[start:-4])
    for _ in range(2000):  # pages that all refer to the same metadata
        struct.pack_into("<I", data, len(data) - 4, len(data))
        data += directory + bytes(4)
    yield b"same-metadata.tif", bytes(data)


def of_many_frames() -> Files:
    """Films and documents: the first frame counts."""
    frames = [Image.fromarray(make_picture(32, 24, seed=number)) for number in range(40)]
    for name, suffix in (
        ("GIF", "gif"),
        ("WEBP", "webp"),
        ("PNG", "png"),
        ("TIFF", "tif"),
        ("AVIF", "avif"),
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
        for name, suffix in (("JPEG", "jpg"), ("PNG", "png"), ("WEBP", "webp")):
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


# --- files, byte by byte


def chunk(kind: bytes, content: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, packed: bytes, between: bytes = b"") -> bytes:
    """An RGB PNG of any claimed size."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + between + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def with_chunk(data: bytes, added: bytes) -> bytes:
    """A PNG with one more chunk after its header."""
    return data[:33] + added + data[33:]


def itxt(xmp: bytes) -> bytes:
    """XMP as PNGs hold it."""
    return chunk(b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + xmp)


def tiff(width: int, height: int, data: bytes, compression: int = 1, following: int = 0) -> bytes:
    """A grey TIFF of one strip."""
    values = {
        256: width,
        257: height,
        258: 8,
        259: compression,
        262: 1,
        273: 122,
        277: 1,
        278: height,
        279: len(data),
    }
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in values.items())
    return b"II*\0\x08\0\0\0" + struct.pack("<H", len(values)) + entries + struct.pack("<I", following) + data


def tiff_of_strips(width: int, height: int) -> bytes:
    """A TIFF with a strip for each row, all of them the same bytes."""
    values = {
        256: (1, width),
        257: (1, height),
        258: (1, 8),
        259: (1, 1),
        262: (1, 1),
        277: (1, 1),
        278: (1, 1),
    }
    start = 8 + 2 + 12 * 9 + 4
    values |= {273: (height, start), 279: (height, start + 4 * height)}
    entries = b"".join(struct.pack("<HHII", tag, 4, *values[tag]) for tag in sorted(values))
    offsets = struct.pack("<I", start + 8 * height) * height + struct.pack("<I", width) * height
    return b"II*\0\x08\0\0\0" + struct.pack("<H", 9) + entries + bytes(4) + offsets + bytes(width)


def tiff_of_tags(count: int) -> bytes:
    """A TIFF with as many tags as fit."""
    entries = b"".join(struct.pack("<HHII", tag, 2, 1 << 20, 8) for tag in range(400, 400 + count))
    return b"II*\0\x08\0\0\0" + struct.pack("<H", count) + entries + bytes(1 << 20)


def bmp(width: int, height: int, compression: int, bits: int, data: bytes, palette: bytes = b"") -> bytes:
    """A BMP; compression 1 is run-length."""
    offset = 54 + len(palette)
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, bits, compression, 0, 0, 0, 0, 0)
    return b"BM" + struct.pack("<IHHI", offset + len(data), 0, 0, offset) + header + palette + data


def gif(width: int, height: int, data: bytes, before: bytes = b"") -> bytes:
    """A GIF of one frame, after `before`."""
    start = b"GIF89a" + struct.pack("<HHBBB", width, height, 0, 0, 0) + before
    return start + b",\0\0\0\0" + struct.pack("<HHBB", width, height, 0, 8) + data


def jpeg_header(width: int, height: int) -> bytes:
    """The start of a JPEG."""
    frame = b"\xff\xc0\0\x11\x08" + struct.pack(">HH", height, width) + b"\3\1\x11\0\2\x11\0\3\x11\0"
    return b"\xff\xd8" + frame + b"\xff\xda\0\0"


def many_scans(width: int, height: int, scans: int) -> bytes:
    """A grey progressive JPEG: each scan refines all coefficients, and says in a few bytes that none changes."""
    frame = b"\xff\xc2\0\x0b\x08" + struct.pack(">HH", height, width) + b"\1\1\x11\0"
    table = b"\xff\xdb\0\x43\0" + bytes([1]) * 64
    # One code, 0: 0xe0 ends the band for 2^14 blocks and as many more as 14 bits say.
    codes = b"\xff\xc4\0\x14\x10" + bytes([1] + [0] * 15) + b"\xe0"
    dc = b"\xff\xc4\0\x14\0" + bytes([1] + [0] * 15) + b"\0"
    blocks = -(-width // 8) * -(-height // 8)
    runs = -(-blocks // 32767)
    bits = ("0" + "1" * 14) * runs
    body = int(bits.ljust(-(-len(bits) // 8) * 8, "1"), 2).to_bytes(-(-len(bits) // 8), "big")
    body = body.replace(b"\xff", b"\xff\0")
    first = b"\xff\xda\0\x08\1\1\0\0\0\0" + bytes(-(-blocks // 8))
    scan = b"\xff\xda\0\x08\1\1\0\1\x3f\x10" + body
    return b"\xff\xd8" + table + frame + dc + codes + first + scan * scans + b"\xff\xd9"


def psd(width: int, height: int, data: bytes, layers: int = 0) -> bytes:
    """A Photoshop file of three channels."""
    header = b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, height, width, 8, 3) + bytes(8)
    layer = struct.pack(">iiiiH", 0, 0, 8, 8, 0) + b"8BIMnorm" + bytes(4) + struct.pack(">I", 0)
    content = struct.pack(">h", layers) + layer * layers if layers else b""
    section = struct.pack(">I", len(content)) + content if content else b""
    return header + struct.pack(">I", len(section)) + section + struct.pack(">H", 0) + data


def jpeg2000(width: int, height: int, tile: int = 0, components: int = 3) -> bytes:
    """The start of a JPEG 2000 codestream."""
    size = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, tile or width, tile or height, 0, 0, components)
    siz = b"\xff\x51" + struct.pack(">H", 38 + 3 * components) + size + b"\7\1\1" * components
    cod = b"\xff\x52\0\x0c\0\0\0\1\0\5\4\4\0\0"
    qcd = b"\xff\x5c\0\x13\x40" + b"\x48" * 16
    sot = b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93"
    return b"\xff\x4f" + siz + cod + qcd + sot + bytes(50)


def sgi(width: int, height: int) -> bytes:
    """The start of an SGI image."""
    return struct.pack(">HBBHHHH", 474, 1, 1, 3, width, height, 3).ljust(512, b"\0") + bytes(100)


def webp(width: int, height: int) -> bytes:
    """The start of a WebP with a canvas."""
    canvas = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    content = b"VP8X" + struct.pack("<I", 10) + bytes(4) + canvas
    return b"RIFF" + struct.pack("<I", 4 + len(content)) + b"WEBP" + content


if __name__ == "__main__":
    written = make(Path(sys.argv[1]), large="large" in sys.argv[2:])
    print(f"{written} files in {sys.argv[1]}")
