"""Picture files byte by byte, so that a test decides every tag: TIFF, PNG, ICC profiles."""

import io
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image

Samples = NDArray[np.generic]
Tags = dict[int, tuple[str, Sequence[float] | bytes]]

D50 = (0.9642, 1.0, 0.8249)
COMPRESSIONS = {"none": 1, "group 4": 4, "LZW": 5, "deflate": 8, "PackBits": 32773}
_NAMES = {"group 4": "group4", "LZW": "tiff_lzw", "PackBits": "packbits"}
_TYPES = {"B": 1, "s": 2, "H": 3, "I": 4, "Q": 16, "d": 12, "f": 11}


@dataclass
class Page:
    """A page of a TIFF file.

    Attributes:
        tags: their type, as `struct` names it, and values.
        segments: strips, or tiles where the tags have a tile's width.
        sub: pages that it refers to (SubIFDs).
    """

    tags: Tags
    segments: list[bytes]
    sub: list["Page"] = field(default_factory=list)


def tiff_of(pages: Sequence[Page], order: str = "<", big: bool = False, magic: int = 0) -> bytes:
    """A TIFF file of these pages; `magic` stands in place of 42 (43 of a BigTIFF)."""
    header = (b"II" if order == "<" else b"MM") + struct.pack(f"{order}H", magic or (43 if big else 42))
    body = bytearray(header + (struct.pack(f"{order}HH", 8, 0) + bytes(8) if big else bytes(4)))
    word = f"{order}Q" if big else f"{order}I"
    place = 8 if big else 4
    for page in pages:
        start, following = _add_page(body, page, order, big)
        struct.pack_into(word, body, place, start)
        place = following
    return bytes(body)


def _add_page(body: bytearray, page: Page, order: str, big: bool) -> tuple[int, int]:
    word, width = ("Q", 8) if big else ("I", 4)
    tags = dict(page.tags)
    offsets = []
    for segment in page.segments:
        offsets.append(len(body))
        body += segment
    tiled = 322 in tags
    tags[324 if tiled else 273] = (word, offsets)
    tags.setdefault(325 if tiled else 279, (word, [len(segment) for segment in page.segments]))
    if page.sub:
        tags[330] = (word, [_add_page(body, sub, order, big)[0] for sub in page.sub])
    entries = b""
    for tag in sorted(tags):
        kind, values = tags[tag]
        data = bytes(values) if kind in "sB" else struct.pack(f"{order}{len(values)}{kind}", *values)
        count = len(values)
        if len(data) > width:
            body += bytes(len(body) % 2)
            data, at = struct.pack(order + word, len(body)), data
            body += at
        entries += struct.pack(f"{order}HH{word}", tag, _TYPES[kind], count) + data.ljust(width, b"\0")
    body += bytes(len(body) % 2)
    start = len(body)
    body += struct.pack(f"{order}{'Q' if big else 'H'}", len(tags)) + entries + bytes(width)
    return start, len(body) - width


def grey_page(
    samples: Samples,
    bits: int,
    *,
    photometric: int = 1,
    compression: str = "none",
    tile: int = 0,
    order: str = "<",
    predictor: int = 1,
    planar: bool = False,
    rows_per_strip: int = 7,
    more: Tags | None = None,
) -> Page:
    """A page of samples `(h, w)` or `(h, w, n)` with the tags that go with them; `more` adds or replaces some."""
    if samples.ndim == 2:
        samples = samples[..., None]
    height, width, channels = samples.shape
    kind = {"u": 1, "i": 2, "f": 3}[samples.dtype.kind]
    tags: Tags = {
        256: ("I", [width]),
        257: ("I", [height]),
        258: ("H", [bits] * channels),
        259: ("H", [COMPRESSIONS[compression]]),
        262: ("H", [photometric]),
        277: ("H", [channels]),
        339: ("H", [kind] * channels),
    }
    if planar:
        tags[284] = ("H", [2])
    if predictor > 1:
        tags[317] = ("H", [predictor])
    if tile:
        tags |= {322: ("I", [tile]), 323: ("I", [tile])}
    else:
        tags[278] = ("I", [rows_per_strip])
    segments = []
    for plane in np.split(samples, channels, axis=2) if planar else [samples]:
        for block in _blocks(plane, tile, rows_per_strip):
            coded = predict(block, bits, predictor == 3) if predictor > 1 else block
            rows = pack(coded.reshape(len(coded), -1), 8 if predictor == 3 else bits, order)
            segments.append(squeeze(rows, compression))
    return Page(tags | (more or {}), segments)


def _blocks(samples: Samples, tile: int, rows: int) -> list[Samples]:
    height, width = samples.shape[:2]
    if not tile:
        return [samples[top : top + rows] for top in range(0, height, rows)]
    padded = np.pad(samples, ((0, -height % tile), (0, -width % tile), (0, 0)))
    return [
        np.ascontiguousarray(padded[top : top + tile, left : left + tile])
        for top in range(0, height, tile)
        for left in range(0, width, tile)
    ]


def pack(samples: Samples, bits: int, order: str = "<") -> list[bytes]:
    """The rows of samples `(h, n)` as TIFF stores them: packed from the highest bit on, or whole numbers."""
    if bits == 24:
        four = samples.astype(f"{order}u4").view(np.uint8).reshape(*samples.shape, 4)
        return [row.tobytes() for row in (four[..., :3] if order == "<" else four[..., 1:])]
    if bits in (8, 16, 32, 64):
        return [row.tobytes() for row in samples.astype(samples.dtype.newbyteorder(order))]
    rows = []
    for row in samples:
        text = "".join(f"{int(value):0{bits}b}" for value in row)
        text += "0" * (-len(text) % 8)
        rows.append(int(text, 2).to_bytes(len(text) // 8, "big"))
    return rows


def squeeze(rows: list[bytes], compression: str) -> bytes:
    """Rows of bytes compressed as one strip."""
    data = b"".join(rows)
    if compression == "none":
        return data
    if compression == "deflate":
        return zlib.compress(data)
    size = (8 * len(rows[0]), len(rows)) if compression == "group 4" else (len(rows[0]), len(rows))
    image = Image.frombytes("1" if compression == "group 4" else "L", size, data)
    file = io.BytesIO()
    image.save(file, "TIFF", compression=_NAMES[compression], strip_size=1 << 30)
    tags = Image.open(io.BytesIO(file.getvalue())).tag_v2
    (offset,), (count,) = tags[273], tags[279]
    # Pillow writes fax data of white as zero, whatever the samples mean.
    return file.getvalue()[offset : offset + count]


def predict(samples: Samples, bits: int, floating: bool) -> Samples:
    """Samples `(h, w, n)` as differences: predictor 2, or 3 as bytes `(h, w · bits / 8, n)`."""
    if not floating:
        whole = samples.view(f"u{samples.dtype.itemsize}")
        return np.concatenate([whole[:, :1], np.diff(whole, axis=1)], axis=1)
    height, _, channels = samples.shape
    flat = np.ascontiguousarray(samples.reshape(height, -1).astype(samples.dtype.newbyteorder(">")))
    planes = flat.view(np.uint8).reshape(height, -1, bits // 8)
    planes = np.moveaxis(planes, 2, 1).reshape(height, -1, channels)
    return np.concatenate([planes[:, :1], np.diff(planes, axis=1)], axis=1)


def png_of(
    samples: Samples, bits: int, *chunks: tuple[bytes, bytes], colour_type: int | None = None
) -> bytes:
    """A PNG file of samples `(h, w)` or `(h, w, n)`; the chunks stand before the pixels."""
    if samples.ndim == 2:
        samples = samples[..., None]
    height, width, channels = samples.shape
    kind = {1: 0, 2: 4, 3: 2, 4: 6}[channels] if colour_type is None else colour_type
    rows = pack(samples.reshape(height, -1), bits, ">")
    header = struct.pack(">IIBBBBB", width, height, bits, kind, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = [(b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(png_chunk(*part) for part in parts)


def png_chunk(name: bytes, content: bytes) -> bytes:
    """One chunk."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def png_profile(profile: bytes) -> tuple[bytes, bytes]:
    """A profile as a chunk."""
    return b"iCCP", b"profile\0\0" + zlib.compress(profile)


def fixed(numbers: Sequence[float]) -> bytes:
    """Numbers as ICC writes them."""
    return b"".join(struct.pack(">i", round(number * 65536)) for number in numbers)


def icc_profile(space: bytes, pcs: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A minimal ICC v2 profile."""
    tags = {b"wtpt": b"XYZ " + bytes(4) + fixed(D50)} | tags
    body, table, offset = b"", struct.pack(">I", len(tags)), 132 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", offset + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    header = (
        struct.pack(">I4xI", offset + len(body), 0x02400000) + b"mntr" + space + pcs + bytes(12) + b"acsp"
    )
    return (header + bytes(28) + fixed(D50)).ljust(128, b"\0") + table + body


def curve(*values: float) -> bytes:
    """ICC's curve: a gamma, or a table of two or more values in [0, 1]."""
    if len(values) == 1:
        return b"curv" + bytes(4) + struct.pack(">IH", 1, round(values[0] * 256))
    table = [round(value * 65535) for value in values]
    return b"curv" + bytes(4) + struct.pack(f">I{len(table)}H", len(table), *table)


def jp2_of(codestream: bytes, width: int, height: int, bits: int, colour: bytes) -> bytes:
    """A JP2 file of a grey codestream; `colour` is the content of its colour box."""
    image_header = struct.pack(">IIHBBBB", height, width, 1, bits - 1, 7, 0, 0)
    inner = _box(b"ihdr", image_header) + _box(b"colr", colour)
    start = _box(b"jP  ", b"\r\n\x87\n") + _box(b"ftyp", b"jp2 \0\0\0\0jp2 ")
    return start + _box(b"jp2h", inner) + _box(b"jp2c", codestream)


def _box(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", 8 + len(content)) + name + content
