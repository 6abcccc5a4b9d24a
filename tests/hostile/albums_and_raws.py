"""Hostile files of several pages and of camera raw: cut short, with sizes that lie, and bombs."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from tests.conftest import encode, make_picture
from tests.hostile.picture_files import jpeg_header, many_scans
from tests.imaging import making, raws


def album(count: int = 4) -> bytes:
    """A TIFF file of photographs."""
    pixels = [make_picture(48, 36, seed=seed)[..., 0] for seed in range(min(count, 4))]
    return making.tiff_of([making.grey_page(pixels[number % 4], 8) for number in range(count)])


def of_pages() -> Iterator[tuple[bytes, bytes]]:
    """Files of several pages."""
    whole = album()
    for tenth in range(1, 10):
        yield f"album-{tenth}.tif".encode(), whole[: len(whole) * tenth // 10]
    beyond = bytearray(whole)
    beyond[-4:] = struct.pack("<I", len(whole) + 1000)
    yield b"page-beyond-the-end.tif", bytes(beyond)
    circle = bytearray(whole)
    circle[-4:] = whole[4:8]
    yield b"circle.tif", bytes(circle)
    pages = [making.grey_page(make_picture(48, 36)[..., 0], 8) for _ in range(3)]
    pages[1].tags |= {256: ("I", [60_000]), 257: ("I", [60_000])}
    yield b"a-page-of-3-gigapixels.tif", making.tiff_of(pages)
    pages[1].tags |= {256: ("I", [48]), 257: ("I", [36]), 279: ("I", [2**31] * len(pages[1].segments))}
    yield b"a-page-of-long-strips.tif", making.tiff_of(pages)
    pages[1] = making.Page({256: ("I", [48]), 257: ("I", [36]), 259: ("H", [5]), 262: ("H", [1])}, [b""])
    yield b"a-page-of-nothing.tif", making.tiff_of(pages)
    zeros = zlib.compress(bytes(25_000_000), 9)
    size = {256: ("I", [5000]), 257: ("I", [5000]), 258: ("H", [8]), 259: ("H", [8]), 262: ("H", [1])}
    bomb = making.Page(size | {277: ("H", [1]), 278: ("I", [5000])}, [zeros])
    yield b"25-megapixels-each.tif", making.tiff_of([bomb, bomb])
    yield b"1001-pages.tif", album(1001)


def of_camera_raw() -> Iterator[tuple[bytes, bytes]]:
    """Camera raw files."""
    whole, _ = raws.sample()
    mosaic = raws.dng(np.arange(160 * 120, dtype=np.uint16).reshape(120, 160))
    fuji = raws.raf(encode(make_picture(1200, 900), "JPEG"))
    for name, data in ((b"preview.nef", whole), (b"mosaic.dng", mosaic), (b"preview.raf", fuji)):
        yield name, data
        for tenth in range(1, 10, 2):
            yield b"%d-%s" % (tenth, name), data[: len(data) * tenth // 10]
    for width, height in ((60_000, 60_000), (65_535, 1), (0, 0)):
        lying = jpeg_header(width, height)
        yield f"preview-{width}x{height}.nef".encode(), raws.with_preview(lying, (160, 120), (160, 120))
    small = encode(make_picture(40, 30), "JPEG")
    yield b"preview-larger-than-it-is.nef", raws.with_preview(small, (160, 120), (160, 120))
    yield b"scans.nef", raws.with_preview(many_scans(4000, 4000, 3000), (4000, 4000), (160, 120))
    yield b"preview-beyond.raf", fuji[:84] + struct.pack(">II", 2**31, 2**31 - 1) + fuji[92:]
    yield b"preview-is-all.raf", fuji[:84] + struct.pack(">II", 0, len(fuji)) + fuji[92:]
    for side in (60_000, 15_000):
        lying = bytearray(mosaic)
        for tag in (256, 257):  # the values of width and height lie in the directory itself
            place = lying.index(struct.pack("<HHI", tag, 4, 1)) + 8
            struct.pack_into("<I", lying, place, side)
        yield f"mosaic-{side}.dng".encode(), bytes(lying)
