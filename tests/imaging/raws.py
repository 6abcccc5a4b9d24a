"""Camera raw files, made byte by byte: a colour mosaic with the previews that cameras put beside it."""

import struct

import numpy as np
from numpy.typing import NDArray

from tests.conftest import encode, make_picture
from tests.imaging.making import Page, Tags, grey_page, tiff_of

MAKER = b"NIKON CORPORATION\0"


def mosaic(values: NDArray[np.uint16], **more: object) -> Page:
    """The page of the sensor's data, as DNG has it."""
    tags: Tags = {
        254: ("I", [0]),
        33421: ("H", [2, 2]),
        33422: ("B", [0, 1, 1, 2]),
        50706: ("B", [1, 4, 0, 0]),
        50708: ("s", b"Maker One\0"),
        50714: ("H", [0]),
        50717: ("I", [65535]),
        271: ("s", MAKER),
        272: ("s", b"One\0"),
    }
    return grey_page(values, 16, photometric=32803, rows_per_strip=len(values), more=tags)


def dng(values: NDArray[np.uint16]) -> bytes:
    """A raw file without a preview, which LibRaw develops."""
    return tiff_of([mosaic(values)])


def with_preview(
    jpeg: bytes, size: tuple[int, int], sensor: tuple[int, int], orientation: int = 1, compression: int = 7
) -> bytes:
    """A small picture first, then a JPEG preview and the sensor's data behind it; sizes are width and height."""
    first = grey_page(
        np.full((30, 40, 3), 90, "u1"),
        8,
        photometric=2,
        more={254: ("I", [1]), 271: ("s", MAKER), 274: ("H", [orientation])},
    )
    preview = Page(
        {
            254: ("I", [1]),
            256: ("I", [size[0]]),
            257: ("I", [size[1]]),
            258: ("H", [8, 8, 8]),
            259: ("H", [compression]),
            262: ("H", [6]),
            277: ("H", [3]),
            278: ("I", [size[1]]),
        },
        [jpeg],
    )
    first.sub = [preview, mosaic(np.full((sensor[1], sensor[0]), 900, np.uint16))]
    return tiff_of([first])


def raf(jpeg: bytes) -> bytes:
    """Fujifilm's: the header names the place of the JPEG."""
    head = b"FUJIFILMCCD-RAW 0201FF383501".ljust(84, b"\0") + struct.pack(">II", 160, len(jpeg))
    return head.ljust(160, b"\0") + jpeg + bytes(5000)


def sample(seed: int = 5) -> tuple[bytes, NDArray[np.uint8]]:
    """A raw file with a full-size preview, and that preview's pixels before it was encoded."""
    pixels = make_picture(160, 120, seed=seed)
    return with_preview(encode(pixels, "JPEG", quality=95), (160, 120), (164, 124)), pixels
