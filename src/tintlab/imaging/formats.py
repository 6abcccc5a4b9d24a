"""Recognise file formats by their magic numbers: those that are read, and those that are refused by name."""

import functools
import warnings
from dataclasses import dataclass

from PIL import Image

# Formats of cameras, scanners and archives, each with a signature. Pillow reads more formats, but the others
# are icons, textures and films, have no signature, or are passed to other programs.
_READ = (
    "JPEG",
    "PNG",
    "TIFF",
    "WEBP",
    "GIF",
    "BMP",
    "DIB",
    "JPEG2000",
    "AVIF",
    "HEIF",
    "JXL",
    "PSD",
    "PPM",
    "QOI",
    "SGI",
)
HEAD_SIZE = 2100
"""Bytes at the start of a file that `unread_reason` looks at."""

_CONVERT = "convert it to JPEG, PNG or TIFF"
_FRAME = "save single frames as PNG"
_PAGES = "export its pages as TIFF or PNG"


@dataclass(frozen=True)
class _Format:
    """A format that is not read.

    Attributes:
        name: as people call it.
        advice: what to do.
        signatures: bytes that such files have, each at its offset; one of them is enough.
    """

    name: str
    advice: str
    signatures: tuple[tuple[int, bytes], ...]


_UNREAD = (
    _Format("camera raw (Canon CR2)", "", ((8, b"CR\x02"),)),
    _Format("camera raw (Canon CRW)", "", ((6, b"HEAPCCDR"),)),
    _Format("camera raw (Fujifilm RAF)", "", ((0, b"FUJIFILMCCD-RAW"),)),
    _Format("camera raw (Olympus ORF)", "", ((0, b"IIRO"), (0, b"IIRS"), (0, b"MMOR"))),
    _Format("camera raw (Panasonic RW2)", "", ((0, b"IIU\0"),)),
    _Format("camera raw (Minolta MRW)", "", ((0, b"\0MRM"),)),
    _Format("camera raw (Sigma X3F)", "", ((0, b"FOVb"),)),
    _Format("camera raw (Phase One IIQ)", "", ((8, b"IIII"), (8, b"MMMM"))),
    _Format("JPEG XR", _CONVERT, ((0, b"II\xbc\1"),)),
    _Format("JPEG-LS", _CONVERT, ((0, b"\xff\xd8\xff\xf7"),)),
    _Format("PSB (a large Photoshop document)", _CONVERT, ((0, b"8BPS\0\2"),)),
    _Format("XCF (a GIMP picture)", _CONVERT, ((0, b"gimp xcf"),)),
    _Format("OpenEXR", _CONVERT, ((0, b"v/1\1"),)),
    _Format("Radiance HDR", _CONVERT, ((0, b"#?RADIANCE"), (0, b"#?RGBE"))),
    _Format("Photo CD", _CONVERT, ((2048, b"PCD_"), (0, b"PCD_OPA"))),
    _Format("DICOM", _CONVERT, ((128, b"DICM"),)),
    _Format("FITS", _CONVERT, ((0, b"SIMPLE  ="),)),
    _Format("DPX", _CONVERT, ((0, b"SDPX"), (0, b"XPDS"))),
    _Format("Cineon", _CONVERT, ((0, b"\x80\x2a\x5f\xd7"),)),
    _Format("BPG", _CONVERT, ((0, b"BPG\xfb"),)),
    _Format("FLIF", _CONVERT, ((0, b"FLIF"),)),
    _Format("PCX", _CONVERT, ((0, b"\x0a\5\1\x08"), (0, b"\x0a\5\1\1"))),
    _Format("JBIG2", _CONVERT, ((0, b"\x97JB2\r\n\x1a\n"),)),
    _Format("MNG (an animation)", _FRAME, ((0, b"\x8aMNG\r\n\x1a\n"),)),
    _Format("JNG", _CONVERT, ((0, b"\x8bJNG\r\n\x1a\n"),)),
    _Format("an icon", _CONVERT, ((0, b"\0\0\1\0"), (0, b"icns"))),
    _Format("a Windows metafile", _CONVERT, ((0, b"\xd7\xcd\xc6\x9a"),)),
    _Format("a PDF document", _PAGES, ((0, b"%PDF-"),)),
    _Format("PostScript", _PAGES, ((0, b"%!PS"), (0, b"\xc5\xd0\xd3\xc6"))),
    _Format("a DjVu document", _PAGES, ((0, b"AT&TFORM"),)),
    _Format("a video (Matroska or WebM)", _FRAME, ((0, b"\x1a\x45\xdf\xa3"),)),
    _Format("a video (MPEG)", _FRAME, ((0, b"\0\0\1\xba"), (0, b"\0\0\1\xb3"))),
    _Format("a video (Windows Media)", _FRAME, ((0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11"),)),
    _Format("a video (Flash)", _FRAME, ((0, b"FLV\1"),)),
    _Format("a video or sound (Ogg)", _FRAME, ((0, b"OggS"),)),
    _Format("a ZIP archive", "unpack it", ((0, b"PK\3\4"),)),
    _Format("a RAR archive", "unpack it", ((0, b"Rar!\x1a\7"),)),
    _Format("a 7z archive", "unpack it", ((0, b"7z\xbc\xaf\x27\x1c"),)),
    _Format("a gzip file", "unpack it", ((0, b"\x1f\x8b\x08"),)),
    _Format("HDF5", _CONVERT, ((0, b"\x89HDF\r\n\x1a\n"),)),
)
_PHOTOSHOP_NAMES = ("bits", "grey", "a palette", "RGB", "CMYK", "HSL", "HSB", "inks", "duotone", "L*a*b*")
_PHOTOSHOP_READ = {(0, 1), (1, 8), (2, 8), (3, 8), (4, 8), (9, 8)}
_RIFF = {
    b"AVI ": _Format("a video (AVI)", _FRAME, ()),
    b"WAVE": _Format("a sound (WAV)", "it has no picture", ()),
}
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"hevm", b"hevs", b"mif1", b"msf1"}
_MAJOR_BRANDS = {
    b"crx ": _Format("camera raw (Canon CR3)", "", ()),
}
_AVIF_BRANDS = {b"avif", b"avis"}


def is_heif(head: bytes) -> bool:
    """Whether a file that starts with `head` is HEIC, AVIF or another format of their family."""
    return head[4:8] == b"ftyp" and bool(_brands(head) & (_HEIF_BRANDS | _AVIF_BRANDS))


def pillow_formats() -> list[str]:
    """Names of the formats that Pillow may try."""
    return list(_loaded_formats())


def camera_raw_name(head: bytes) -> str:
    """The name of the camera raw format that a file starts as; empty for others, and for those that are TIFF."""
    found = _find_unread(head)
    return found.name if found and found.name.startswith("camera raw") else ""


def unread_reason(head: bytes) -> str | None:
    """Why a file that starts with `head` is not read, naming its format; None if it may be readable.

    Camera raw has reasons of its own; see `camera_raw`.

    Args:
        head: the first `HEAD_SIZE` bytes.
    """
    if head.startswith(b"8BPS\0\1"):
        return _photoshop_reason(head)
    found = _find_unread(head)
    if found is None or found.name.startswith("camera raw"):
        return None
    return f"{found.name}, which is not read: {found.advice}"


def _find_unread(head: bytes) -> _Format | None:
    matching = (
        one for one in _UNREAD if any(head[at:].startswith(signature) for at, signature in one.signatures)
    )
    return _container(head) or next(matching, None)


def _photoshop_reason(head: bytes) -> str | None:
    """Why a Photoshop document is not read: its kind of channels; None if it may be readable."""
    bits, mode = int.from_bytes(head[22:24], "big"), int.from_bytes(head[24:26], "big")
    if (mode, bits) in _PHOTOSHOP_READ:
        return None
    kind = _PHOTOSHOP_NAMES[mode] if mode < len(_PHOTOSHOP_NAMES) else f"colour mode {mode}"
    return f"PSD of {kind} with {bits} bits a channel, which is not read: {_CONVERT}"


def _container(head: bytes) -> _Format | None:
    """The format of a file in one of the two containers that many formats share: RIFF and ISO media files."""
    if head.startswith(b"RIFF"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _media_format(head)
    quicktime = head[4:8] in (b"moov", b"mdat", b"wide", b"free") and head[:2] == b"\0\0"
    return _Format("a video (QuickTime)", _FRAME, ()) if quicktime else None


def _media_format(head: bytes) -> _Format | None:
    """The format of an ISO media file, by its brands."""
    major, brands = head[8:12], _brands(head)
    if major in _MAJOR_BRANDS:
        return _MAJOR_BRANDS[major]
    if brands & _AVIF_BRANDS:
        return None if "AVIF" in _loaded_formats() else _Format("AVIF", _CONVERT, ())
    if major == b"jxl " or brands & _HEIF_BRANDS:
        return None
    return _Format("a video (MP4 or QuickTime)", _FRAME, ())


def _brands(head: bytes) -> set[bytes]:
    """All brands that an ISO media file states."""
    size = min(int.from_bytes(head[:4], "big"), len(head))
    return {head[8:12], *(head[at : at + 4] for at in range(16, size - 3, 4))}


@functools.cache
def _loaded_formats() -> tuple[str, ...]:
    import pillow_heif
    from pillow_jxl import JpegXLImagePlugin

    # Pillow would warn about odd metadata on stderr, without naming the file.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    Image.init()
    # The decoders' threads would compete with the worker processes.
    pillow_heif.register_heif_opener(decode_threads=1, thumbnails=False, depth_images=False, aux_images=False)
    JpegXLImagePlugin.DECODE_THREADS = 0
    return tuple(name for name in _READ if name in Image.OPEN)
