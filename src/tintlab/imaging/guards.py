"""Guard against hostile files: limit which files are opened, how often they are read, and a decoder's work.

The limits count reads, scans or pixels, not seconds, so they are the same on every machine.
"""

import io
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, cast

from PIL import Image

from tintlab.system.errors import TintlabError

_LONGEST_SIDE = 100_000
_SLOW_DECODERS = {"bmp_rle", "ppm", "ppm_plain", "qoi"}
_SLOW_MEGAPIXELS = 4
_MOST_READS = 2_000_000
_FEW_SCANS = 50  # encoders make ten
_MOST_SCANNED = 2000  # scans times megapixels


class PhotoError(TintlabError):
    """A file that can't be used as a photograph; the message is the reason, without the file's name."""


class WatchedFile:
    """A file that may be read `_MOST_READS` times.

    Some of Pillow's decoders ask for a few bytes at a time, for each chunk or each run of pixels: small files
    can keep them busy for hours.

    Attributes:
        bytes_read: number of bytes read so far; repeated reads count again.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._left = _MOST_READS
        self.bytes_read = 0
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, or the rest of the file.

        Raises:
            PhotoError: the file has been read too often.
        """
        self._left -= 1
        if self._left < 0:
            raise PhotoError("its data is in too many small pieces: save it again, as PNG or TIFF")
        data = self._file.read(size)
        self.bytes_read += len(data)
        return data

    def size(self) -> int:
        """Bytes of the file; the position stays."""
        place = self.tell()
        end = self.seek(0, os.SEEK_END)
        self.seek(place)
        return end


class PatchedFile(WatchedFile):
    """A file with replaced first bytes: a decoder takes it for another format, or reads another page."""

    def __init__(self, file: WatchedFile, start: bytes) -> None:
        super().__init__(cast(BinaryIO, file))
        self._start = start
        file.seek(0)

    def read(self, size: int = -1) -> bytes:
        """See `WatchedFile.read`."""
        place = self.tell()
        data = super().read(size)
        if place >= len(self._start):
            return data
        return self._start[place : place + len(data)] + data[max(0, len(self._start) - place) :]


class WindowFile(WatchedFile):
    """A part of a file as a file of its own, for data that lie in others.

    Args:
        file: the whole.
        offset: of the part.
        length: of it, in bytes.
    """

    def __init__(self, file: WatchedFile, offset: int, length: int) -> None:
        super().__init__(cast(BinaryIO, file))
        self._whole, self._offset, self._length = file, offset, length
        self._place = 0
        self.seek, self.tell = self._seek, lambda: self._place

    def read(self, size: int = -1) -> bytes:
        """See `WatchedFile.read`."""
        left = max(0, self._length - self._place)
        self._whole.seek(self._offset + self._place)
        data = super().read(left if size < 0 else min(size, left))
        self._place += len(data)
        return data

    def _seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: self._length}[whence]
        self._place = max(0, start + place)
        return self._place


@contextmanager
def open_source(source: Path | bytes) -> Iterator[WatchedFile]:
    """Open a regular file, or the contents of one.

    Raises:
        PhotoError: it can't be opened, is empty, or is a device or pipe.
        TypeError: `source` is neither a `Path` nor `bytes`.
    """
    if isinstance(source, bytes):
        if not source:
            raise PhotoError("the file is empty")
        yield WatchedFile(io.BytesIO(source))
        return
    if not isinstance(source, Path):
        raise TypeError(f"a photograph is a Path or bytes, not {type(source).__name__}")
    try:
        # Without O_NONBLOCK, opening a pipe that nobody writes to would wait forever.
        file = open(source, "rb", opener=lambda path, flags: os.open(path, flags | os.O_NONBLOCK))  # noqa: SIM115
    except OSError as error:
        raise PhotoError(f"can't be opened: {error.strerror}") from error
    with file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise PhotoError("a device or pipe, no file")
        if not found.st_size:
            raise PhotoError("the file is empty")
        yield WatchedFile(file)


def refuse_large(width: int, height: int, max_megapixels: float) -> None:
    """Refuse pictures with too many pixels, and pictures that are only a line.

    Raises:
        PhotoError: the picture is too large.
    """
    megapixels = width * height / 1e6
    if megapixels > max_megapixels:
        raise PhotoError(f"{megapixels:.1f} megapixels, more than photos.max_megapixels {max_megapixels:g}")
    if max(width, height) > _LONGEST_SIDE:
        raise PhotoError(f"{width} × {height} pixels: a line, no photograph")


def refuse_slow(image: Image.Image) -> None:
    """Refuse large pictures for Pillow's decoders in Python, which take about a microsecond per pixel.

    Raises:
        PhotoError: the picture is too large for its decoder.
    """
    megapixels = image.width * image.height / 1e6
    slow = any(tile[0] in _SLOW_DECODERS for tile in getattr(image, "tile", ()))
    if slow and megapixels > _SLOW_MEGAPIXELS:
        raise PhotoError(
            f"{megapixels:.1f} megapixels of a kind of {image.format} that takes long to read: "
            "save it as PNG or TIFF"
        )


def refuse_many_scans(file: WatchedFile, megapixels: float) -> None:
    """Refuse JPEG bombs: a progressive JPEG goes over all its pixels in each scan, and a scan takes ten bytes.

    Raises:
        PhotoError: the file has far more scans than encoders make.
    """
    place = file.tell()
    file.seek(0)
    scans = 0
    tail = b""
    while block := file.read(1 << 20):
        scans += (tail + block).count(b"\xff\xda")
        tail = block[-1:]
    file.seek(place)
    if scans > _FEW_SCANS and scans * megapixels > _MOST_SCANNED:
        raise PhotoError(f"{scans} scans over {megapixels:.1f} megapixels, as bombs have")
