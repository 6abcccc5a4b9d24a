"""Encode coloured pixels as PNG with 8 or 16 bits, JPEG or WebP, in sRGB, with metadata and provenance.

With the same versions of the libraries, the same arguments give the same bytes.
"""

import functools
import io
import struct
import zlib
from collections.abc import Iterator
from typing import Literal, cast

import numpy as np
from isal import isal_zlib
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from tintlab.imaging import color, compiled
from tintlab.imaging.metadata import CaptureMetadata
from tintlab.imaging.provenance import Provenance, build_packet
from tintlab.system.errors import TintlabError

Format = Literal["png", "jpeg", "webp"]

SUFFIXES: dict[Format, str] = {"png": ".png", "jpeg": ".jpg", "webp": ".webp"}

QUALITY = 92
"""Default quality of JPEG and WebP."""

_LARGEST_SIDE: dict[Format, int] = {"png": 2**31 - 1, "jpeg": 65535, "webp": 16383}
_LARGEST_SEGMENT = 65533  # of a JPEG file, including its name
_XMP_NAME = 29  # bytes of the name of the XMP segment in JPEG
_ICC_DATE = slice(24, 36)
_A_DATE = bytes([7, 208, 0, 1, 0, 1, 0, 0, 0, 0, 0, 0])  # 1 January 2000
_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_RGB, _PNG_AVERAGE = 2, 3
# On photographs, ISA-L's level 2 gives files as small as level 3 in half the time. Files coloured by torch
# stay at level 3, so their bytes don't change.
_DEFLATE_LEVEL, _TORCH_DEFLATE_LEVEL = 2, 3


class EncodingError(TintlabError):
    """The format can't hold the picture. The message is the reason, without the name of the file."""


def encode(
    pixels: color.Pixels,
    file_format: Format,
    metadata: CaptureMetadata,
    origin: Provenance,
    quality: int = QUALITY,
) -> tuple[list[bytes], list[str]]:
    """Encode a picture file.

    Args:
        pixels: sRGB `(h, w, 3)`; 16 bits only for PNG.
        file_format: of the file.
        metadata: of the capture.
        origin: how the pixels were made.
        quality: of JPEG and WebP.

    Returns:
        The bytes of the file in pieces, and one line about each part of the metadata that was left out.

    Raises:
        EncodingError: the format can't hold a picture of this size.
    """
    height, width = pixels.shape[:2]
    if max(height, width) > _LARGEST_SIDE[file_format]:
        raise EncodingError(
            f"{width} x {height} pixels: {file_format} holds {_LARGEST_SIDE[file_format]} a side, use png"
        )
    exif = _set_size(metadata.exif, width, height)
    packet = build_packet(origin, metadata.xmp, metadata.iptc)
    left_out = []
    if file_format == "png":
        level = _TORCH_DEFLATE_LEVEL if origin.engine.startswith("torch") else _DEFLATE_LEVEL
        return _encode_png(pixels, exif, packet, metadata.dpi, level), []
    if file_format == "jpeg" and len(packet) > _LARGEST_SEGMENT - _XMP_NAME:
        packet = build_packet(origin)
        left_out.append("the XMP packet of the source is too long for JPEG")
    if file_format == "jpeg" and len(exif) > _LARGEST_SEGMENT - len(b"Exif\0\0"):
        exif = b""
        left_out.append("the EXIF block of the source is too long for JPEG")
    return [_encode_with_pillow(pixels, file_format, exif, packet, metadata.dpi, quality)], left_out


@functools.cache
def srgb_profile() -> bytes:
    """An sRGB ICC profile with a fixed date, so that its bytes don't depend on the time."""
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    profile[_ICC_DATE] = _A_DATE  # LittleCMS writes the current time
    return bytes(profile)


def _encode_with_pillow(
    pixels: color.Pixels,
    file_format: Format,
    exif: bytes,
    packet: bytes,
    dpi: tuple[float, float] | None,
    quality: int,
) -> bytes:
    file = io.BytesIO()
    image = Image.fromarray(cast(color.Byte, pixels))
    common = {"quality": quality, "icc_profile": srgb_profile(), "xmp": packet}
    if exif:
        common["exif"] = b"Exif\0\0" + exif
    if file_format == "webp":
        image.save(file, "WEBP", method=2, **common)
    else:
        if dpi:
            common["dpi"] = dpi
        image.save(file, "JPEG", subsampling="4:4:4", **common)
    return file.getvalue()


def _encode_png(
    pixels: color.Pixels, exif: bytes, packet: bytes, dpi: tuple[float, float] | None, level: int
) -> list[bytes]:
    """A PNG file (ISO 15948) in pieces: Pillow writes no 16-bit colours, and libpng is three times as slow."""
    height, width = pixels.shape[:2]
    depth = 8 * pixels.itemsize
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", packet.decode())
    chunks = [
        (b"IHDR", struct.pack(">IIBBBBB", width, height, depth, _PNG_RGB, 0, 0, 0)),
        (b"iCCP", b"ICC Profile\0\0" + zlib.compress(srgb_profile())),
    ]
    if dpi:
        chunks.append((b"pHYs", struct.pack(">IIB", *(round(value / 0.0254) for value in dpi), 1)))
    if exif:
        chunks.append((b"eXIf", exif))
    chunks += [(name, content) for name, content, _ in text.chunks]
    return [
        _PNG_SIGNATURE,
        *(_make_chunk(name, content) for name, content in chunks),
        *(_make_chunk(b"IDAT", data) for data in _deflate(pixels, level)),
        _make_chunk(b"IEND", b""),
    ]


def _make_chunk(name: bytes, content: bytes) -> bytes:
    file = io.BytesIO()
    PngImagePlugin.putchunk(file, name, content)
    return file.getvalue()


def _deflate(pixels: color.Pixels, level: int) -> Iterator[bytes]:
    """Compress the rows, strip by strip.

    Each sample is filtered by the mean of its left and upper neighbours. On grainy photographs this is the best
    fixed filter of PNG; choosing one for each row would compress better, but is slow.
    """
    squeeze = isal_zlib.compressobj(level)
    above = np.zeros((1, pixels[0].nbytes), np.uint8)
    for strip in color.strips(pixels.shape):
        rows = np.concatenate([above, _to_bytes(pixels[strip])])
        above = rows[-1:]
        filtered = compiled.filter_rows(rows, 3 * pixels.itemsize)
        if filtered is None:
            filtered = _filter_rows(rows, 3 * pixels.itemsize)
        if data := squeeze.compress(filtered.data):
            yield data
    yield squeeze.flush()


def _to_bytes(pixels: color.Pixels) -> color.Byte:
    """The bytes of rows of pixels `(h, w, 3)`, the most significant first: `(h, n)`."""
    return (
        np.ascontiguousarray(pixels, pixels.dtype.newbyteorder(">")).view(np.uint8).reshape(len(pixels), -1)
    )


def _filter_rows(rows: color.Byte, pixel: int) -> color.Byte:
    """Filter rows `(h + 1, n)` and mark each with its filter; the first row is used only as a neighbour."""
    above, here = rows[:-1], rows[1:]
    # The mean without overflow: the bits set in both values, plus half of the bits set in only one.
    left = np.zeros_like(here)
    left[:, pixel:] = here[:, :-pixel]
    mean = left ^ above
    mean >>= 1
    mean += left & above
    result = np.empty((len(here), here.shape[1] + 1), np.uint8)
    result[:, 0] = _PNG_AVERAGE
    np.subtract(here, mean, out=result[:, 1:])
    return result


def _set_size(exif: bytes, width: int, height: int) -> bytes:
    """Write the size of the pixels into an EXIF block."""
    if not exif:
        return b""
    block = Image.Exif()
    block.load(b"Exif\0\0" + exif)
    details = block.get_ifd(ExifTags.IFD.Exif)
    details[ExifTags.Base.ExifImageWidth], details[ExifTags.Base.ExifImageHeight] = width, height
    return block.tobytes().removeprefix(b"Exif\0\0")
