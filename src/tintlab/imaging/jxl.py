"""Read the headers of JPEG XL files (ISO/IEC 18181): size, depth, and metadata that the decoder leaves out.

The decoder unpacks a picture as soon as it is opened, so the guards must run first.
"""

import io
import struct
from dataclasses import dataclass

import brotli

from tintlab.imaging import guards
from tintlab.imaging.guards import PhotoError, WatchedFile
from tintlab.imaging.headers import Header, boxes, refuse_high_dynamic_range

_CONTAINER = b"\0\0\0\x0cJXL \r\n\x87\n"
_CODESTREAM = b"\xff\x0a"
_HEADER_BYTES = 4096
_LARGEST_METADATA = 16 << 20
_RATIOS = ((0, 1), (1, 1), (12, 10), (4, 3), (3, 2), (16, 9), (5, 4), (2, 1))
_SIDES = ((1, 9), (1, 13), (1, 18), (1, 30))  # see `_Bits.choice`
_PREVIEW_SIDES = ((1, 6), (65, 8), (321, 10), (1345, 12))
_PREVIEW_EIGHTHS = ((16, 0), (32, 0), (1, 5), (33, 9))
_GREY, _XYB = 1, 2  # colour spaces
_CUSTOM = 2
_ALPHA_BY_DEFAULT = 1


@dataclass(frozen=True)
class JxlFile:
    """A file that is safe to open.

    Attributes:
        file: the file for the decoder, without the data from which it would rebuild a packed JPEG file.
        header: see `headers.Header`.
        width: in pixels, as the picture is seen.
        height: see `width`.
        exif: a TIFF structure, or empty.
        xmp: a packet, or empty.
        notes: one line about each part of the file that is not read.
    """

    file: WatchedFile
    header: Header
    width: int
    height: int
    exif: bytes
    xmp: bytes
    notes: tuple[str, ...]


@dataclass(frozen=True)
class _Stated:
    width: int
    height: int
    bits: int = 8
    animated: bool = False
    transfer: int = 13


def is_jxl(head: bytes) -> bool:
    """Whether a file that starts with `head` is JPEG XL."""
    return head.startswith((_CONTAINER, _CODESTREAM)) or head[4:12] == b"ftypjxl "


def jxl_size(file: WatchedFile) -> tuple[int, int]:
    """Width and height by the header."""
    stated = _read_stated(_codestream(file))
    return stated.width, stated.height


def open_jxl(file: WatchedFile, max_megapixels: float) -> JxlFile:
    """Examine a file before its decoder sees it.

    Raises:
        PhotoError: it is too large, of high dynamic range, or broken.
    """
    stated = _read_stated(_codestream(file))
    guards.refuse_large(stated.width, stated.height, max_megapixels)
    refuse_high_dynamic_range("JPEG XL", stated.transfer)
    exif, xmp = b"", b""
    file.seek(0)
    data = file.read()
    if data.startswith(_CONTAINER):
        for name, start, end in boxes(file, 0, file.size()):
            kind, content = name, data[start:end]
            if name == b"brob":
                kind, content = content[:4], _unpack(content[4:])
            if name == b"jbrd":  # data to rebuild the JPEG file, which would have to be decoded too
                data = data[: start - 4] + b"skip" + data[start:]
            exif = exif or (content[4:] if kind == b"Exif" else b"")
            xmp = xmp or (content if kind == b"xml " else b"")
    notes = ("further frames of the file were not read",) if stated.animated else ()
    unseen = WatchedFile(io.BytesIO(data))
    return JxlFile(unseen, Header(depth=stated.bits), stated.width, stated.height, exif, xmp, notes)


def _unpack(content: bytes) -> bytes:
    """Unpack Brotli data; empty if it is broken or too large."""
    try:
        unpacked = brotli.Decompressor().process(content, output_buffer_limit=_LARGEST_METADATA)
    except brotli.error:
        return b""
    return bytes(unpacked) if len(unpacked) < _LARGEST_METADATA else b""


def _codestream(file: WatchedFile) -> bytes:
    """The beginning of the codestream; the position stays."""
    place = file.tell()
    try:
        file.seek(0)
        head = file.read(_HEADER_BYTES)
        if head.startswith(_CODESTREAM):
            return head[2:]
        for name, start, end in boxes(file, 0, file.size()):
            if name in (b"jxlc", b"jxlp"):
                file.seek(start + (4 if name == b"jxlp" else 0))
                found = file.read(min(end - start, _HEADER_BYTES))
                if found.startswith(_CODESTREAM):
                    return found[2:]
                break
    except (struct.error, ValueError):
        pass
    finally:
        file.seek(place)
    raise PhotoError("broken picture data (JPEG XL without a picture)")


class _Bits:
    """Bits from the least significant on (ISO/IEC 18181-1, 9.2)."""

    def __init__(self, data: bytes) -> None:
        self._bits = int.from_bytes(data, "little")
        self._left = 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise PhotoError("the picture's data is cut short")
        value = self._bits & ((1 << count) - 1)
        self._bits >>= count
        return value

    def flag(self) -> bool:
        return bool(self.take(1))

    def choice(self, *kinds: tuple[int, int]) -> int:
        """One of four kinds of numbers: an offset, and the bits that are added."""
        offset, count = kinds[self.take(2)]
        return offset + self.take(count)

    def enum(self) -> int:
        return self.choice((0, 0), (1, 0), (2, 4), (18, 6))


def _read_stated(data: bytes) -> _Stated:
    bits = _Bits(data[:_HEADER_BYTES])
    width, height = _size(bits)
    if bits.flag():  # all by default
        return _Stated(width, height)
    animated = False
    if bits.flag():
        turned = bits.take(3) >= 4
        width, height = (height, width) if turned else (width, height)
        if bits.flag():
            _size(bits)
        if bits.flag():
            _size(bits, of_preview=True)
        if animated := bits.flag():
            bits.choice((100, 0), (1000, 0), (1, 10), (1, 30))
            bits.choice((1, 0), (1001, 0), (1, 8), (1, 10))
            bits.choice((0, 0), (0, 3), (0, 16), (0, 32))
            bits.flag()
    depth = _depth(bits)
    bits.flag()  # 16-bit buffers
    extra = bits.choice((0, 0), (1, 0), (2, 4), (1, 12))
    if not all(bits.flag() for _ in range(extra)):
        # The fields after this one can't be found without reading all channels.
        return _Stated(width, height, depth, animated)
    bits.flag()  # XYB
    return _Stated(width, height, depth, animated, _transfer(bits))


def _size(bits: _Bits, of_preview: bool = False) -> tuple[int, int]:
    """Width and height of a SizeHeader or PreviewHeader."""
    small = bits.flag()

    def side() -> int:
        if not small:
            return bits.choice(*(_PREVIEW_SIDES if of_preview else _SIDES))
        return 8 * (bits.choice(*_PREVIEW_EIGHTHS) if of_preview else bits.take(5) + 1)

    height = side()
    ratio = bits.take(3)
    if not ratio:
        return side(), height
    across, down = _RATIOS[ratio]
    return height * across // down, height


def _depth(bits: _Bits) -> int:
    if bits.flag():  # floating numbers
        found = bits.choice((32, 0), (16, 0), (24, 0), (1, 6))
        bits.take(4)
        return found
    return bits.choice((8, 0), (10, 0), (12, 0), (1, 6))


def _transfer(bits: _Bits) -> int:
    """The transfer function, by its number in H.273; sRGB's if a profile describes it."""
    if bits.flag():  # all by default
        return 13
    has_profile, space = bits.flag(), bits.enum()
    if has_profile or space == _XYB:
        return 13
    if bits.enum() == _CUSTOM:
        _custom_points(bits, 1)
    if space != _GREY and bits.enum() == _CUSTOM:
        _custom_points(bits, 3)
    return 13 if bits.flag() else bits.enum()


def _custom_points(bits: _Bits, count: int) -> None:
    for _ in range(2 * count):
        bits.choice((0, 19), (524288, 19), (1048576, 20), (2097152, 21))
