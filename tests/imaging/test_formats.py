"""Formats that are not read, by their magic numbers."""

import io

import numpy as np
import pytest
from PIL import Image

from tintlab.imaging.photos import PhotoError, read_photo


def media(major: bytes, *brands: bytes) -> bytes:
    brand_list = b"".join(brands)
    return (16 + len(brand_list)).to_bytes(4, "big") + b"ftyp" + major + bytes(4) + brand_list + bytes(400)


UNREAD = {
    "camera raw (Canon CR3)": [media(b"crx ", b"isom")],
    "camera raw (Canon CR2)": [b"II*\0\x10\0\0\0CR\x02\0" + bytes(90)],
    "camera raw (Canon CRW)": [b"II\x1a\0\0\0HEAPCCDR" + bytes(90)],
    "camera raw (Fujifilm RAF)": [b"FUJIFILMCCD-RAW 0201" + bytes(90)],
    "camera raw (Olympus ORF)": [b"IIRO\x08\0\0\0" + bytes(90), b"MMOR\0\0\0\x08" + bytes(90)],
    "camera raw (Panasonic RW2)": [b"IIU\0\x18\0\0\0" + bytes(90)],
    "camera raw (Minolta MRW)": [b"\0MRM" + bytes(90)],
    "camera raw (Sigma X3F)": [b"FOVb" + bytes(90)],
    "a PDF document": [b"%PDF-1.4\n"],
    "PostScript": [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n"],
    "PSB (a large Photoshop document)": [b"8BPS\0\2" + bytes(90)],
    "a video (MP4 or QuickTime)": [media(b"isom", b"mp42"), media(b"qt  "), media(b"M4V ")],
    "a video (QuickTime)": [b"\0\0\0\x08wide\0\0\x10\0mdat" + bytes(90)],
    "a video (Matroska or WebM)": [b"\x1a\x45\xdf\xa3" + bytes(90)],
    "a video (AVI)": [b"RIFF\0\1\0\0AVI LIST" + bytes(90)],
    "a video (MPEG)": [b"\0\0\1\xba" + bytes(90), b"\0\0\1\xb3" + bytes(80)],
    "a video (Windows Media)": [b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(90)],
    "OpenEXR": [b"v/1\1" + bytes(90)],
    "Radiance HDR": [b"#?RADIANCE\n" + bytes(90)],
    "DICOM": [bytes(128) + b"DICM" + bytes(90)],
    "Photo CD": [bytes(2048) + b"PCD_IPI" + bytes(90)],
    "XCF (a GIMP picture)": [b"gimp xcf v011\0" + bytes(90)],
    "a DjVu document": [b"AT&TFORM\0\0\1\0DJVU" + bytes(90)],
    "a Windows metafile": [b"\xd7\xcd\xc6\x9a\0\0" + bytes(80)],
    "HDF5": [b"\x89HDF\r\n\x1a\n" + bytes(80)],
    "a ZIP archive": [b"PK\3\4" + bytes(90)],
}


def reason(data: bytes) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(data, 1)
    return str(caught.value)


@pytest.mark.parametrize("name", UNREAD)
def test_the_reason_names_the_format_and_what_to_do(name: str) -> None:
    for data in UNREAD[name]:
        text = reason(data)
        if name.startswith("camera raw"):
            assert text.startswith(f"{name} that LibRaw can't read (")
        else:
            assert text.startswith(f"{name}, which is not read: ")
        assert len(text) <= 120


def test_no_format_that_is_read_is_taken_for_another() -> None:
    picture = Image.fromarray(np.arange(48 * 48, dtype=np.uint16).astype(np.uint8).reshape(48, 48))
    for name in ("JPEG", "PNG", "TIFF", "WEBP", "GIF", "BMP", "JPEG2000", "AVIF", "PPM", "SGI"):
        file = io.BytesIO()
        picture.save(file, name)
        assert read_photo(file.getvalue(), 1).format == name
