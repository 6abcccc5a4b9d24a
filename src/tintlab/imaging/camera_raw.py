"""Camera raw: by the full-size JPEG that cameras put into their files, else developed by LibRaw if installed.

DNG, NEF, CR2 and ARW are TIFF files whose pages refer to JPEG data; RAF has it at a place that its header names.
"""

import importlib.util
import io
import struct
from dataclasses import dataclass
from typing import cast

import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import guards, tiff_pages
from tintlab.imaging.guards import PhotoError, WatchedFile, WindowFile
from tintlab.imaging.tiff import HEADERS as TIFF_HEADERS
from tintlab.system import console

_RAF, _RAF_PREVIEW = b"FUJIFILMCCD-RAW", 84
_FULL_SIZE = 0.75  # of the sensor's pixels, at least
_LEAST_PIXELS = 1_000_000  # where the file does not say how many the sensor has
_MOST_SEGMENTS = 200
_FRAMES = {0xC0, 0xC1, 0xC2}  # of JPEG that photographs have; 0xC3 is the sensor's own data, lossless
_NO_FRAMES = {0xC4, 0xC8, 0xCC}
_INSTALL = "`pip install 'tintlab[raw]'`"


@dataclass(frozen=True)
class Preview:
    """A full-size JPEG within a raw file.

    Attributes:
        file: that JPEG alone.
        width: in pixels, as `height`.
        height: see `width`.
        outer: offset of the TIFF directory with the file's orientation and metadata; 0 without.
    """

    file: WindowFile
    width: int
    height: int
    outer: int


def find_preview(file: WatchedFile) -> Preview | None:
    """The largest JPEG of a raw file, if it has about the size of the sensor."""
    file.seek(0)
    head = file.read(_RAF_PREVIEW + 8)
    sensor, outer = 0, 0
    places: list[tuple[int, int]] = []
    if head.startswith(_RAF) and len(head) == _RAF_PREVIEW + 8:
        places = [cast(tuple[int, int], struct.unpack(">II", head[_RAF_PREVIEW:]))]
    elif head.startswith(TIFF_HEADERS):
        try:
            found = tiff_pages.find_jpegs(file)
        except (PhotoError, OSError, SyntaxError, struct.error):
            return None
        places, sensor, outer = list(found.places), found.sensor_pixels, found.first
    least = _FULL_SIZE * sensor if sensor else _LEAST_PIXELS
    sized = [(size, place) for place in places if (size := _jpeg_size(file, *place))]
    (width, height), (offset, length) = max(
        sized, key=lambda one: one[0][0] * one[0][1], default=((0, 0), (0, 0))
    )
    if width * height < max(1, least):
        return None
    return Preview(WindowFile(file, offset, length), width, height, outer)


def is_libraw_installed() -> bool:
    """Whether the extra `raw` is."""
    return importlib.util.find_spec("rawpy") is not None


def develop(file: WatchedFile, name: str, max_megapixels: float) -> tuple[NDArray[np.uint8], str]:
    """Develop a raw file by LibRaw, with the camera's white balance, upright.

    Args:
        file: the file.
        name: of its kind, for the messages.
        max_megapixels: see `photos.read_photo`.

    Returns:
        sRGB pixels `(h, w, 3)`, and what made them.

    Raises:
        PhotoError: LibRaw is not installed, can't read the file, or would make too many pixels.
    """
    if not is_libraw_installed():
        raise PhotoError(f"{name}, which is not read: {_INSTALL} reads it, or save it as TIFF or JPEG")
    import rawpy

    file.seek(0)
    try:
        with rawpy.imread(io.BytesIO(file.read())) as raw:
            guards.refuse_large(raw.sizes.raw_width, raw.sizes.raw_height, max_megapixels)
            pixels = raw.postprocess(use_camera_wb=True, gamma=(2.4, 12.92), output_bps=8)
    except rawpy.LibRawError as error:
        text = console.printable(console.one_line(error)).strip("b'\"")[:80]
        raise PhotoError(f"{name} that LibRaw can't read ({text})") from None
    if pixels.ndim != 3 or pixels.shape[2] != 3:
        raise PhotoError(f"{name} of {pixels.shape[-1]} colours, which is not read: save it as TIFF or JPEG")
    version = ".".join(map(str, rawpy.libraw_version))
    return cast(NDArray[np.uint8], pixels), f"camera raw, developed by LibRaw {version}"


def _jpeg_size(file: WatchedFile, offset: int, length: int) -> tuple[int, int] | None:
    """Width and height of a JPEG of 8 bits; None where there is none, or one that is cut short."""
    if offset <= 0 or length < 4 or offset + length > file.size():
        return None
    file.seek(offset)
    if file.read(2) != b"\xff\xd8":
        return None
    place = offset + 2
    for _ in range(_MOST_SEGMENTS):
        file.seek(place)
        segment = file.read(9)
        if len(segment) < 9 or segment[0] != 0xFF or place > offset + length:
            return None
        marker = segment[1]
        if marker in _FRAMES:
            _, precision, height, width = struct.unpack(">HBHH", segment[2:])
            return (width, height) if precision == 8 and width and height else None
        if marker in (0xD9, 0xDA) or (0xC0 <= marker <= 0xCF and marker not in _NO_FRAMES):
            return None
        place += 2 + struct.unpack(">H", segment[2:4])[0]
    return None
