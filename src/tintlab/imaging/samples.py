"""Read a TIFF page's samples as they are stored: of any size, signed, floating, packed, in planes or tiles.

Pillow reads some kinds of samples wrongly and others not at all. Here libtiff, through Pillow, only undoes
the compression. Each segment (a strip or a tile) is passed to it as rows of bytes, under a header that this
module writes, so a hostile file can't influence the header. numpy handles bits, byte order and predictors.
"""

import functools
import io
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.TiffImagePlugin import ImageFileDirectory_v2, TiffImageFile

from tintlab.imaging import tiff
from tintlab.imaging.guards import PhotoError, WatchedFile

Block = NDArray[np.generic]

_NO_COMPRESSION = 1
COMPRESSIONS = {
    1: "none",
    5: "LZW",
    8: "deflate",
    32946: "deflate",
    32773: "PackBits",
    34925: "LZMA",
    50000: "Zstandard",
}
"""Compressions that are undone here. The others define their own kinds of samples, and Pillow reads them."""

_BLOCK = 2 << 20  # bytes of samples that are converted together
_BAND = 16 << 20  # bytes of samples that are decoded together, if segments are smaller
_MOST_SEGMENT = 640 << 20
_MOST_SEGMENTS = 100_000
_NO_PREDICTOR, _HORIZONTAL, _FLOATING = 1, 2, 3


@dataclass(frozen=True)
class _Segments:
    """Strips, or tiles, of one page.

    Attributes:
        offsets: in the file.
        sizes: bytes of each, compressed.
        width: pixels of a row.
        height: rows.
        across: how many lie side by side.
        channels: samples of a pixel in each.
    """

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    width: int
    height: int
    across: int
    channels: int


def read_samples(
    file: WatchedFile, ifd: ImageFileDirectory_v2, layout: tiff.Layout
) -> Iterator[tuple[int, int, slice, Block]]:
    """The samples in blocks, each once.

    Yields:
        The first row, the first column, which samples of a pixel, and the block `(h, w, samples)` of unsigned,
        signed or floating numbers of the smallest type that holds them.

    Raises:
        PhotoError: they are cut short, or stored in an unsupported way.
    """
    _refuse_unread(layout)
    segments = _segments(ifd, layout)
    row_size = -(-segments.width * segments.channels * layout.bits // 8)
    if row_size * min(segments.height, layout.height) > _MOST_SEGMENT:
        raise PhotoError("TIFF of one huge strip or tile: save it with smaller ones")
    if sum(segments.sizes) > 2 * file.size():
        raise PhotoError("its strips claim more data than the file has, as bombs do")
    unpack = _unpacker(layout)
    down = -(-layout.height // segments.height)
    if down * segments.across > _MOST_SEGMENTS:
        raise PhotoError("its data is in too many small pieces: save it again, with larger strips or tiles")
    planes = layout.samples if layout.is_planar else 1
    if len(segments.offsets) < planes * down * segments.across:
        raise PhotoError("the picture's data is cut short")
    together = max(1, _BAND // max(1, row_size * segments.height))
    for plane in range(planes):
        channels = slice(plane, plane + 1) if layout.is_planar else slice(0, layout.samples)
        start = plane * down * segments.across
        places = [(row, column) for row in range(down) for column in range(segments.across)]
        for at in range(0, len(places), together):
            some = places[at : at + together]
            numbers = range(start + at, start + at + len(some))
            heights = [_height(segments, layout, row, ifd) for row, _ in some]
            for number, below, rows in _decoded(file, segments, layout, numbers, heights, row_size):
                row, column = some[number]
                block = unpack(rows, segments.width, segments.channels)
                top, left = row * segments.height + below, column * segments.width
                if top < layout.height:
                    yield top, left, channels, block[: layout.height - top, : layout.width - left]


def _refuse_unread(layout: tiff.Layout) -> None:
    whole = layout.bits in (8, 16, 24, 32, 64)
    if layout.compression not in COMPRESSIONS:
        raise PhotoError(
            f"TIFF of {layout.bits} bits a sample in compression {layout.compression}, which is not read: "
            "save it with LZW or deflate"
        )
    if layout.kind == "float" and layout.bits not in (16, 32, 64):
        raise PhotoError(
            f"TIFF of {layout.bits}-bit floating numbers, which is not read: save it with 32 bits"
        )
    if layout.kind != "float" and not (layout.bits <= 16 or layout.bits in (24, 32)):
        raise PhotoError(f"TIFF of {layout.bits}-bit integers, which is not read: save it with 16 bits")
    if layout.kind == "signed" and not whole:
        raise PhotoError(
            f"TIFF of signed integers of {layout.bits} bits, which is not read: save it with 16 bits"
        )
    if layout.reversed_bits and layout.bits > 8:
        raise PhotoError(
            f"TIFF of {layout.bits} bits a sample in reversed order (FillOrder 2): save it again"
        )
    fits = {
        _NO_PREDICTOR: True,
        _HORIZONTAL: layout.bits in (8, 16, 32, 64),
        _FLOATING: layout.kind == "float",
    }
    if layout.compression != _NO_COMPRESSION and not fits.get(layout.predictor, False):
        raise PhotoError(
            f"TIFF of {layout.bits} bits a sample with predictor {layout.predictor}, which is not read: "
            "save it without a predictor"
        )


def _segments(ifd: ImageFileDirectory_v2, layout: tiff.Layout) -> _Segments:
    channels = 1 if layout.is_planar else layout.samples
    if tiff.TILE_OFFSETS in ifd:
        width, height = tiff.number(ifd, tiff.TILE_WIDTH, 0), tiff.number(ifd, tiff.TILE_HEIGHT, 0)
        offsets, sizes = tiff.numbers(ifd, tiff.TILE_OFFSETS), tiff.numbers(ifd, tiff.TILE_SIZES)
    else:
        width = layout.width
        height = min(tiff.number(ifd, tiff.ROWS, layout.height) or layout.height, layout.height)
        offsets, sizes = tiff.numbers(ifd, tiff.STRIP_OFFSETS), tiff.numbers(ifd, tiff.STRIP_SIZES)
    # A single strip or tile, or one whole row of them, may be as large as the picture, but not larger.
    if not (0 < width <= 2 * layout.width + 65_536 and 0 < height <= 2 * layout.height + 65_536):
        raise PhotoError("broken picture data (strips or tiles of impossible size)")
    row_size = -(-width * channels * layout.bits // 8)
    if layout.compression == _NO_COMPRESSION:
        sizes = (row_size * height,) * len(offsets)  # the sizes that files state are often wrong
    if len(sizes) < len(offsets):
        raise PhotoError("broken picture data (the sizes of its strips are missing)")
    if any(not 0 <= value < 2**63 for value in (*offsets, *sizes)):
        raise PhotoError("broken picture data (the places of its strips)")
    return _Segments(
        tuple(map(int, offsets)),
        tuple(map(int, sizes[: len(offsets)])),
        width,
        height,
        -(-layout.width // width),
        channels,
    )


def _height(segments: _Segments, layout: tiff.Layout, row: int, ifd: ImageFileDirectory_v2) -> int:
    """Rows of a segment: the last strip has only the rows that are left, and tiles are whole."""
    if tiff.TILE_OFFSETS in ifd:
        return segments.height
    return min(segments.height, layout.height - row * segments.height)


def _decoded(
    file: WatchedFile,
    segments: _Segments,
    layout: tiff.Layout,
    chosen: range,
    heights: list[int],
    row_size: int,
) -> Iterator[tuple[int, int, NDArray[np.uint8]]]:
    """Decode segments; yields the index in `chosen`, a row number, and `(h, row_size)` bytes from that row."""
    step = max(1, _BLOCK // max(1, row_size))
    if layout.compression == _NO_COMPRESSION:
        for number, (index, height) in enumerate(zip(chosen, heights, strict=True)):
            for top in range(0, height, step):
                rows = min(step, height - top)
                file.seek(segments.offsets[index] + top * row_size)
                data = file.read(rows * row_size)
                if len(data) < rows * row_size:
                    raise PhotoError("the picture's data is cut short")
                found = np.frombuffer(data, np.uint8).reshape(rows, row_size)
                yield number, top, _reversed_bits()[found] if layout.reversed_bits else found
        return
    pieces = []
    for index in chosen:
        file.seek(segments.offsets[index])
        pieces.append(file.read(segments.sizes[index]))
    image = _Bytes(io.BytesIO(_as_tiff(pieces, heights, row_size, layout)))
    image.load()
    start = 0
    for number, height in enumerate(heights):
        for top in range(0, height, step):
            rows = min(step, height - top)
            data = image.crop((0, start + top, row_size, start + top + rows)).tobytes()
            yield number, top, np.frombuffer(data, np.uint8).reshape(rows, row_size)
        start += height


class _Bytes(TiffImageFile):
    """A TIFF that this module wrote, without Pillow's limit on its size: the size was checked before."""

    def load_prepare(self) -> None:
        self.im = Image.core.new(self.mode, self._tile_size)  # type: ignore[attr-defined]


def _as_tiff(pieces: list[bytes], heights: list[int], row_size: int, layout: tiff.Layout) -> bytes:
    """Compressed segments as the strips of an 8-bit grey TIFF, a pixel a byte."""
    count = len(pieces)
    start = 8
    body = b"".join(pieces)
    offsets, at = [], start
    for piece in pieces:
        offsets.append(at)
        at += len(piece)
    lists = struct.pack(f"<{2 * count}I", *offsets, *map(len, pieces))
    inline = count == 1
    where = (offsets[0], len(pieces[0])) if inline else (at, at + 4 * count)
    entries = [
        (tiff.WIDTH, 1, row_size),
        (tiff.HEIGHT, 1, sum(heights)),
        (tiff.BITS, 1, 8),
        (tiff.COMPRESSION, 1, layout.compression),
        (tiff.PHOTOMETRIC, 1, tiff.BLACK_IS_ZERO),
        (tiff.FILL_ORDER, 1, 2 if layout.reversed_bits else 1),
        (tiff.STRIP_OFFSETS, count, where[0]),
        (tiff.SAMPLES, 1, 1),
        (tiff.ROWS, 1, heights[0]),
        (tiff.STRIP_SIZES, count, where[1]),
    ]
    directory = at + (0 if inline else 8 * count)
    table = struct.pack("<H", len(entries)) + b"".join(
        struct.pack("<HHII", tag, 4, n, value) for tag, n, value in entries
    )
    return b"II*\0" + struct.pack("<I", directory) + body + (b"" if inline else lists) + table + bytes(4)


def _unpacker(layout: tiff.Layout) -> Callable[[NDArray[np.uint8], int, int], Block]:
    """The function that turns rows of bytes `(h, n)` into samples `(h, w, channels)`."""
    compressed = layout.compression != _NO_COMPRESSION

    def unpack(rows: NDArray[np.uint8], width: int, channels: int) -> Block:
        if compressed and layout.predictor == _FLOATING:
            return _undo_floating(rows, width, channels, layout.bits // 8)
        if layout.bits not in (8, 16, 24, 32, 64):
            samples: Block = _unpack_bits(rows, width * channels, layout.bits).reshape(
                len(rows), width, channels
            )
            return samples
        samples = _whole(rows, layout).reshape(len(rows), width, channels)
        if compressed and layout.predictor == _HORIZONTAL:
            # Predictor differences are integers, even for floating samples.
            as_integers = samples.view(f"u{samples.dtype.itemsize}")
            samples = np.cumsum(as_integers, axis=1, dtype=as_integers.dtype).view(samples.dtype)
        return samples

    return unpack


def _whole(rows: NDArray[np.uint8], layout: tiff.Layout) -> Block:
    """Samples of whole bytes `(h, n)`, in this machine's byte order; those of 24 bits in 32."""
    order = "<" if layout.little_endian else ">"
    kind = {"unsigned": "u", "signed": "i", "float": "f"}[layout.kind]
    if layout.bits != 24:
        found = np.ascontiguousarray(rows).view(f"{order}{kind}{layout.bits // 8}")
        native: Block = found.astype(found.dtype.newbyteorder("="), copy=False)
        return native
    three = rows.reshape(len(rows), -1, 3)
    four = np.zeros((*three.shape[:2], 4), np.uint8)
    four[..., 1:] = three[..., ::-1] if layout.little_endian else three
    values = four.view(">u4")[..., 0].astype(np.uint32)
    if layout.kind == "signed":
        return (values << 8).view(np.int32) >> 8
    return values


def _unpack_bits(rows: NDArray[np.uint8], count: int, bits: int) -> Block:
    """Packed unsigned samples of up to 16 bits, the highest bit first: `(h, count)`."""
    first = np.arange(count, dtype=np.int64) * bits
    byte, shift = first >> 3, (24 - bits - (first & 7)).astype(np.uint32)
    padded = np.zeros((len(rows), rows.shape[1] + 3), np.uint8)
    padded[:, : rows.shape[1]] = rows
    result = np.empty((len(rows), count), np.uint8 if bits <= 8 else np.uint16)
    step = max(1, (1 << 20) // max(1, count))
    mask = np.uint32((1 << bits) - 1)
    for top in range(0, len(rows), step):
        part = padded[top : top + step].astype(np.uint32)
        word = (part[:, byte] << 16) | (part[:, byte + 1] << 8) | part[:, byte + 2]
        result[top : top + step] = (word >> shift) & mask
    return result


def _undo_floating(rows: NDArray[np.uint8], width: int, channels: int, size: int) -> Block:
    """Floating-point predictor (Adobe's TIFF technical note 3): differences of bytes, the highest bytes first."""
    sums = np.cumsum(rows.reshape(len(rows), size * width, channels), axis=1, dtype=np.uint8)
    planes = sums.reshape(len(rows), size, width * channels)
    found = np.ascontiguousarray(np.moveaxis(planes, 1, 2)).view(f">f{size}")[..., 0]
    native: Block = found.astype(found.dtype.newbyteorder("="))
    return native.reshape(len(rows), width, channels)


@functools.cache
def _reversed_bits() -> NDArray[np.uint8]:
    bits = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1)
    return np.packbits(bits[:, ::-1], axis=1)[:, 0]
