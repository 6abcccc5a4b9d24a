"""Picture files byte by byte, of any claimed size and often without their data."""

import struct
import zlib
from pathlib import Path

SAMPLE = Path(__file__).parents[1] / "imaging" / "samples" / "plain.heic"


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


def heic(width: int, height: int) -> bytes:
    """A small HEIC file that claims another size."""
    data = SAMPLE.read_bytes()
    place = data.index(b"ispe") + 8
    return data[:place] + struct.pack(">II", width, height) + data[place + 8 :]


def jxl(width: int, height: int) -> bytes:
    """A JPEG XL codestream of a header alone; sides beyond 2^30 are cut to it."""
    bits, used = 0, 0
    for value, count in (
        (0, 1),
        (3, 2),
        (max(height - 1, 0), 30),
        (0, 3),
        (3, 2),
        (max(width - 1, 0), 30),
        (1, 1),
    ):
        bits |= (value & ((1 << count) - 1)) << used
        used += count
    return b"\xff\x0a" + bits.to_bytes(16, "little") + bytes(50)


def jxl_with_box(name: bytes, content: bytes) -> bytes:
    """A small JPEG XL file with one more box in its container."""
    codestream = jxl(8, 8)
    boxes = ((b"ftyp", b"jxl \0\0\0\0jxl "), (name, content), (b"jxlc", codestream))
    head = b"\0\0\0\x0cJXL \r\n\x87\n"
    return head + b"".join(struct.pack(">I4s", 8 + len(data), kind) + data for kind, data in boxes)
