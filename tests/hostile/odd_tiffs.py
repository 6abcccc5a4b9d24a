"""Files of samples that Pillow does not read by itself: valid ones, and TIFFs whose tags ask for far too much."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from tests.conftest import encode
from tests.imaging import making


def tiff_bombs() -> Iterator[tuple[bytes, bytes]]:
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
