"""Read the colour and depth data of PNG, JPEG 2000, HEIC, AVIF and BMP headers that Pillow does not report.

PNG is ISO/IEC 15948 in its third edition, JPEG 2000 is ISO/IEC 15444-1, and code points are those of ITU-T
H.273. QOI's byte for linear light is ignored: its specification calls it informative, and Pillow sets it for
sRGB.
"""

import struct
import zlib
from dataclasses import dataclass, replace

from tintlab.imaging.guards import PatchedFile, PhotoError, WatchedFile
from tintlab.imaging.profiles import Calibration, Transfer

_MOST_CHUNKS = 100_000
_MOST_BOXES = 1000
_LARGEST_PROFILE = 16 << 20
_PNG_CHANNELS = {0: 1, 2: 3, 3: 3, 4: 1, 6: 3}  # by colour type, without transparency
_TRANSFERS: dict[int, Transfer] = {
    1: "bt709",
    4: 2.2,
    5: 2.8,
    6: "bt709",
    8: 1.0,
    13: "srgb",
    14: "bt709",
    15: "bt709",
}
HDR_TRANSFERS = {16: "PQ", 18: "HLG"}
"""Code points of the curves of high dynamic range."""

_PRIMARIES = {
    1: None,
    2: None,
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060),
}
_NEAR_SRGB = {5: 1, 6: 1, 7: 1}  # those of television before HDTV
_JP2_SPACES = {0, 12, 15, 16, 17, 18}
"""Enumerated colour spaces that Pillow reads correctly; in the space 0, white is zero."""


@dataclass(frozen=True)
class Header:
    """The properties of the values that a file states.

    Attributes:
        calibration: of its colours; None if they are sRGB or have a profile.
        profile: an ICC profile that Pillow does not find, or empty.
        ignores_profile: whether a profile that Pillow finds must be ignored.
        depth: bits of a sample in the file; 0 if the file does not state it.
        is_shifted: whether Pillow shifts such samples to 8 or 16 bits instead of scaling them.
        significant: number of significant bits of each colour's samples; empty if all bits are.
        is_negative: whether white is zero.
        is_deep_with_alpha: whether it is a PNG of 16-bit grey with transparency.
    """

    calibration: Calibration | None = None
    profile: bytes = b""
    ignores_profile: bool = False
    depth: int = 0
    is_shifted: bool = False
    significant: tuple[int, ...] = ()
    is_negative: bool = False
    is_deep_with_alpha: bool = False


def read_header(file: WatchedFile, head: bytes) -> Header:
    """Read the header of a file; an empty `Header` if the file is of another format, or is broken.

    Args:
        file: its position stays.
        head: its first bytes, at least 64 if it is long enough.

    Raises:
        PhotoError: the file says that its values mean something that is not read.
    """
    place = file.tell()
    found = Header()
    try:
        if head.startswith(b"\x89PNG\r\n\x1a\n"):
            found = _png(file)
        elif head.startswith(b"\xff\x4f\xff\x51"):
            found = _with_depth(found, head)
        elif head[4:8] == b"jP  ":
            found = _jp2(file)
        elif head[4:8] == b"ftyp":
            found = _heif(file)
        elif head.startswith(b"BM"):
            found = _bmp(file, head)
    except (struct.error, IndexError, KeyError, ValueError):
        return Header()  # the decoder will report the fault
    finally:
        file.seek(place)
    return found


def _bmp(file: WatchedFile, head: bytes) -> Header:
    """The profile that a BMP of version 5 has embedded."""
    if struct.unpack("<I", head[14:18])[0] < 124 or head[70:74] != b"DEBM":
        return Header()
    offset, size = struct.unpack("<II", head[126:134])
    file.seek(14 + offset)
    return Header(profile=file.read(min(size, _LARGEST_PROFILE)))


def _png(file: WatchedFile) -> Header:
    chunks: dict[bytes, bytes] = {}
    file.seek(8)
    for _ in range(_MOST_CHUNKS):
        start = file.tell()
        length, name = struct.unpack(">I4s", file.read(8))
        if name in (b"IDAT", b"IEND"):
            break
        if name in (b"IHDR", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"sBIT", b"iCCP") and name not in chunks:
            chunks[name] = file.read(min(length, 32))
        file.seek(start + 12 + length)
    depth, kind = chunks[b"IHDR"][8:10]
    depth = 8 if kind == 3 else depth
    stated = tuple(chunks.get(b"sBIT", b""))[: _PNG_CHANNELS.get(kind, 0)]
    significant = tuple(bits if 0 < bits < depth else depth for bits in stated)
    header = Header(depth=depth, significant=significant, is_deep_with_alpha=(depth, kind) == (16, 4))
    if b"cICP" in chunks:
        primaries, transfer, matrix, full = chunks[b"cICP"][:4]
        if matrix != 0 or full != 1:
            raise PhotoError("PNG in video's range or in YCbCr, which is not read: save it as full-range RGB")
        return replace(header, calibration=_by_code_points("PNG", primaries, transfer), ignores_profile=True)
    if b"iCCP" in chunks or b"sRGB" in chunks:
        return header
    return replace(header, calibration=_png_calibration(chunks))


def as_rgba(file: WatchedFile) -> PatchedFile:
    """Present a PNG of 16-bit grey with transparency as 8-bit RGBA, which has the same bytes and filters.

    Pillow would read only 8 of the 16 bits. As RGBA, red and green hold the two bytes of grey, blue and alpha
    hold the two bytes of the opacity.
    """
    file.seek(0)
    head = bytearray(file.read(33))
    head[24:26] = 8, 6
    head[29:33] = struct.pack(">I", zlib.crc32(head[12:29]))
    return PatchedFile(file, bytes(head))


def _png_calibration(chunks: dict[bytes, bytes]) -> Calibration | None:
    gamma: int = struct.unpack(">I", chunks[b"gAMA"][:4])[0] if b"gAMA" in chunks else 0
    curve: Transfer = 100_000 / gamma if gamma else "srgb"
    if b"cHRM" in chunks:
        points = tuple(value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"][:32]))
        if is_possible(points):
            return Calibration(curve, points[2:], (points[0], points[1]))
    return Calibration(curve) if gamma else None


def is_possible(points: tuple[float, ...]) -> bool:
    """Whether these chromaticities of a white and three primaries are valid and enclose an area."""
    _, white_y, rx, ry, gx, gy, bx, by = points
    area = abs((gx - rx) * (by - ry) - (bx - rx) * (gy - ry))
    return white_y > 0.01 and min(ry, gy, by) > 0.001 and area > 0.001 and max(points) <= 2


def refuse_high_dynamic_range(name: str, transfer: int) -> None:
    """Refuse a picture by its transfer function's code point.

    Raises:
        PhotoError: it is PQ or HLG.
    """
    if transfer in HDR_TRANSFERS:
        raise PhotoError(
            f"{name} in high dynamic range ({HDR_TRANSFERS[transfer]}), which is not read: save it in sRGB"
        )


def _by_code_points(name: str, primaries: int, transfer: int) -> Calibration | None:
    refuse_high_dynamic_range(name, transfer)
    if transfer not in (*_TRANSFERS, 2) or primaries not in _PRIMARIES:
        raise PhotoError(
            f"{name} of colours {primaries}/{transfer} (H.273), which are not read: save it in sRGB"
        )
    exponent, chosen = _TRANSFERS.get(transfer, "srgb"), _PRIMARIES[primaries]
    return None if exponent == "srgb" and chosen is None else Calibration(exponent, chosen)


def boxes(file: WatchedFile, start: int, end: int) -> list[tuple[bytes, int, int]]:
    """Name, start and end of the content of each box of an ISO media file or JP2 between two places."""
    found: list[tuple[bytes, int, int]] = []
    while start + 8 <= end and len(found) < _MOST_BOXES:
        file.seek(start)
        size, name = struct.unpack(">I4s", file.read(8))
        inner = start + 8
        if size == 1:
            size, inner = struct.unpack(">Q", file.read(8))[0], start + 16
        stop = end if size == 0 else min(end, start + size)
        if stop < inner:
            break
        found.append((name, inner, stop))
        start = stop
    return found


def _jp2(file: WatchedFile) -> Header:
    header = Header()
    found = boxes(file, 0, file.size())
    for name, start, end in found:
        if name == b"jp2h":
            colours = [(at, to) for inner, at, to in boxes(file, start, end) if inner == b"colr"]
            if colours:
                header = _jp2_colours(file, *colours[0])
            break
    for name, start, _ in found:
        if name == b"jp2c":
            file.seek(start)
            return _with_depth(header, file.read(1 << 16))
    return header


def _jp2_colours(file: WatchedFile, start: int, end: int) -> Header:
    file.seek(start)
    content = file.read(min(end - start, _LARGEST_PROFILE))
    method = content[0]
    if method in (2, 3):
        return Header(profile=content[3:])
    space = struct.unpack(">I", content[3:7])[0] if method == 1 else -1
    if space not in _JP2_SPACES:
        raise PhotoError(f"JPEG 2000 in colour space {space}, which is not read: convert it to sRGB or grey")
    return Header(is_negative=space == 0)


def _with_depth(header: Header, codestream: bytes) -> Header:
    """With the depth of the samples, by the codestream's SIZ marker (ISO/IEC 15444-1, A.5.1)."""
    if codestream[:4] != b"\xff\x4f\xff\x51":
        return header
    count = struct.unpack(">H", codestream[40:42])[0]
    kinds = {codestream[42 + 3 * index] for index in range(min(count, 4))}
    if len(kinds) > 1:
        raise PhotoError("JPEG 2000 of several depths, which is not read: save it as TIFF or PNG")
    kind = kinds.pop()
    if kind & 0x80:
        raise PhotoError("JPEG 2000 of signed numbers, which have no known black: save it with unsigned ones")
    return replace(header, depth=(kind & 0x7F) + 1, is_shifted=True)


def _heif(file: WatchedFile) -> Header:
    """Colours and depth of a HEIC or AVIF file, by the properties of its items (ISO/IEC 23008-12)."""
    places = [(0, file.size())]
    for name in (b"meta", b"iprp", b"ipco"):
        places = [
            (at + (4 if name == b"meta" else 0), to)
            for start, end in places
            for inner, at, to in boxes(file, start, end)
            if inner == name
        ]
    calibration, depth, is_hevc = None, 0, False
    for start, end in places:
        for name, at, _ in boxes(file, start, end):
            file.seek(at)
            content = file.read(32)
            if name == b"colr" and content[:4] == b"nclx" and calibration is None:
                primaries, transfer = struct.unpack(">HH", content[4:8])
                # BT.709's curve in a still picture is an encoder's default for sRGB.
                if transfer not in (1, 6):
                    calibration = _by_code_points(
                        "HEIC or AVIF", _NEAR_SRGB.get(primaries, primaries), transfer
                    )
            elif name == b"av1C":
                depth = max(depth, (12 if content[2] & 0x20 else 10) if content[2] & 0x40 else 8)
            elif name == b"hvcC":
                depth, is_hevc = max(depth, 8 + (content[17] & 7)), True
    return Header(calibration, depth=depth, is_shifted=is_hevc)
