"""Read the files of folders and archives through one interface, within limits.

Archives are not unpacked under their own names: a member is read into memory, and stored under a name that
tintlab chooses. All headers of an archive are checked before the first member is read.
"""

import bz2
import gzip
import io
import lzma
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tintlab.sources.limits import (
    DEFAULT_LIMITS,
    LONGEST_NAME,
    Limits,
    device_fault,
    refuse_bomb,
    refuse_large,
    refuse_link_outside,
    refuse_outside,
    refuse_too_many,
    refuse_unfit,
)
from tintlab.sources.walk import Why, walk
from tintlab.system import console
from tintlab.system.errors import TintlabError

_CHUNK = 1 << 20
_LARGEST_HEADER = 64 << 20  # bytes of a zip's directory, or of one of a tar's headers

_COMPRESSIONS: dict[bytes, Callable[..., Any]] = {
    b"\x1f\x8b": gzip.open,
    b"BZh": bz2.open,
    b"\xfd7zXZ\0": lzma.open,
    b"\x5d\0\0": lzma.open,
}
_DECODER_FAULTS = (
    zipfile.BadZipFile,
    tarfile.TarError,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    NotImplementedError,  # a compression method that Python lacks
    RuntimeError,  # an encrypted zip
    ValueError,
    IndexError,
    struct.error,
)


@dataclass(frozen=True)
class Member:
    """One file of a source: its path within the source, and its bytes."""

    name: PurePosixPath
    data: bytes


def read_members(
    path: Path, only: str | None = None, limits: Limits = DEFAULT_LIMITS, follow_links: bool = False
) -> Iterator[Member]:
    """Yield the files of a folder or an archive (zip, tar.*), sorted by name; hidden ones are left out.

    Links inside an archive are left out: their targets are in the archive too.

    Args:
        path: of the folder or archive.
        only: take only the files with this name, in any folder.
        limits: of an archive.
        follow_links: enter the linked folders of a folder, see `walk.walk`; links to files are always followed.

    Raises:
        TintlabError: the path does not exist. An archive is of an unknown kind, damaged or encrypted, exceeds
            `limits`, or contains a path or link that leaves it, a device, a name twice or a file larger than
            4 GB. A folder can't be entered, or is linked and must not be entered.
    """
    with _naming_faults(path):
        if path.is_dir():
            yield from _read_folder(path, only, follow_links)
        elif path.is_file():
            with _open_archive(path, limits) as archive:
                read = _read_zip if isinstance(archive, zipfile.ZipFile) else _read_tar
                yield from read(path, archive, only, limits)
        elif path.exists():
            raise _no_archive(path)
        else:
            raise TintlabError(f"{path} does not exist: restore it, or take it out of the sources")


def is_archive(path: Path) -> bool:
    """Whether a file looks like an archive that `read_members` reads; it may still be damaged."""
    with path.open("rb") as file:
        if file.read(8).startswith(tuple(_COMPRESSIONS)):
            return True
    return _is_plain_tar(path) or zipfile.is_zipfile(path)


# --- opening


class _Bounded(io.BufferedReader):
    """A file that refuses to read more than `largest` bytes at once, while that is set: headers may lie."""

    def __init__(self, file: Path | int) -> None:
        super().__init__(io.FileIO(file, closefd=not isinstance(file, int)))
        self.largest: int | None = _LARGEST_HEADER

    def read(self, size: int | None = -1) -> bytes:
        if self.largest is None:
            return super().read(size)
        wanted = self.largest + 1 if size is None or size < 0 else size
        data = super().read(min(wanted, self.largest + 1))
        if len(data) > self.largest:
            raise ValueError(f"headers of more than {self.largest >> 20} MB")
        return data


@contextmanager
def _open_archive(path: Path, limits: Limits) -> Iterator[Any]:
    with path.open("rb") as file:
        head = file.read(8)
    unpack = next((opener for magic, opener in _COMPRESSIONS.items() if head.startswith(magic)), None)
    if unpack is not None:
        # Into a temporary file, in which seeking back to a member is cheap.
        with tempfile.TemporaryFile() as plain:
            _unpack(path, unpack, plain, limits)
            with _Bounded(plain.fileno()) as bounded, tarfile.open(fileobj=bounded, mode="r:") as tar:
                yield tar
        return
    with _Bounded(path) as bounded:
        # Check tar before zip: a zip is recognised by its end, and the last member of a tar may be a zip.
        if _is_plain_tar(path):
            with tarfile.open(fileobj=bounded, mode="r:") as tar:
                yield tar
        elif zipfile.is_zipfile(path):
            with zipfile.ZipFile(bounded) as archive:
                yield archive
        else:
            raise _no_archive(path)


def _is_plain_tar(path: Path) -> bool:
    try:
        with _Bounded(path) as file, tarfile.open(fileobj=file, mode="r:"):
            return True
    except (tarfile.TarError, ValueError):
        return False


def _unpack(path: Path, opener: Callable[[Path], IO[bytes]], plain: IO[bytes], limits: Limits) -> None:
    packed, unpacked = path.stat().st_size, 0
    with opener(path) as stream:
        while chunk := stream.read(_CHUNK):
            unpacked += len(chunk)
            refuse_bomb(path, unpacked, packed, limits)
            plain.write(chunk)
    plain.seek(0)


# --- reading


def list_files(folder: Path, follow_links: bool = False, with_hidden: bool = False) -> tuple[Path, ...]:
    """All files of a source that is a folder, sorted; see `walk.walk`.

    A model must not be made from a part of a source, so a folder that the walk would leave out is an error.

    Raises:
        TintlabError: a folder can't be entered, or is linked without `follow_links`.
    """
    found = walk(folder, follow_links, with_hidden=with_hidden)
    for one in found.left_out:
        if one.why == Why.UNREADABLE:
            raise TintlabError(
                f"{one.path} {one.reason}: change its permissions, or take it out of the source"
            )
        if one.why == Why.LINKED:
            raise TintlabError(
                f"{one.path} {one.reason}: name its target in fetch.sources, or set follow_links: true there"
            )
    return found.files


def _read_folder(folder: Path, only: str | None, follow_links: bool) -> Iterator[Member]:
    for file in list_files(folder, follow_links):
        name = PurePosixPath(file.relative_to(folder).as_posix())
        if _is_wanted(name, only) and file.is_file():
            size = file.stat().st_size
            refuse_large(folder, str(name), size)
            # The kernel's virtual files state a size of 0 and may never end.
            yield Member(name, _read_content(file) if size else b"")


def _read_content(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        error.filename = str(file)  # the error of a bad disk does not name the file
        raise


def _read_zip(path: Path, archive: zipfile.ZipFile, only: str | None, limits: Limits) -> Iterator[Member]:
    entries = archive.infolist()
    refuse_unfit(path, (entry.filename for entry in entries), limits)
    files = [entry for entry in entries if not entry.is_dir()]
    refuse_bomb(path, sum(entry.file_size for entry in files), path.stat().st_size, limits)
    for entry in files:
        if entry.flag_bits & 1:
            raise TintlabError(f"{path} is encrypted: unpack it with its password and name the folder")
        kind = stat.S_IFMT(entry.external_attr >> 16)
        if kind == stat.S_IFLNK and entry.file_size <= LONGEST_NAME:
            refuse_link_outside(path, entry.filename, archive.read(entry).decode("utf-8", "replace"))
        elif kind not in (0, stat.S_IFREG):
            raise device_fault(path, entry.filename)
    photos = [entry for entry in files if not stat.S_ISLNK(entry.external_attr >> 16)]
    _lift_bound(archive.fp)
    for entry in sorted(photos, key=lambda entry: entry.filename):
        if _is_wanted(name := PurePosixPath(entry.filename), only):
            refuse_large(path, entry.filename, entry.file_size)
            yield Member(name, archive.read(entry))


def _read_tar(path: Path, archive: tarfile.TarFile, only: str | None, limits: Limits) -> Iterator[Member]:
    entries = _list_tar(path, archive, limits)
    _refuse_early_end(archive)
    refuse_unfit(path, (entry.name for entry in entries), limits)
    files = [entry for entry in entries if entry.isfile()]
    # The stated size also holds for a sparse member.
    refuse_bomb(path, sum(entry.size for entry in files), path.stat().st_size, limits)
    for entry in entries:
        if entry.issym():
            refuse_link_outside(path, entry.name, entry.linkname)
        elif entry.islnk():
            refuse_outside(path, entry.linkname)
        elif entry.isdev():
            raise device_fault(path, entry.name)
    _lift_bound(archive.fileobj)
    for entry in sorted(files, key=lambda entry: entry.name):
        if _is_wanted(name := PurePosixPath(entry.name), only):
            refuse_large(path, entry.name, entry.size)
            file = archive.extractfile(entry)
            assert file is not None  # because it is a regular file
            yield Member(name, file.read())


def _list_tar(path: Path, archive: tarfile.TarFile, limits: Limits) -> list[tarfile.TarInfo]:
    entries: list[tarfile.TarInfo] = []
    while (entry := archive.next()) is not None:
        entries.append(entry)
        refuse_too_many(path, len(entries), limits)
    return entries


def _lift_bound(file: Any) -> None:
    """Remove the bound of `_Bounded`: from here on only members are read, whose sizes were checked."""
    file.largest = None


def _refuse_early_end(archive: tarfile.TarFile) -> None:
    """Refuse a tar without its final block of zeros: tarfile takes broken or missing data for the end."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends early or has a broken header inside")


def _is_wanted(name: PurePosixPath, only: str | None) -> bool:
    if only is not None and name.name != only:
        return False
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


# --- faults


def _no_archive(path: Path) -> TintlabError:
    return TintlabError(f"{path} is neither a folder nor a zip or tar archive: name one of these as a source")


@contextmanager
def _naming_faults(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # an error of the file system; decompressors set no errno
            raise
        raise _damaged(path, error) from error
    except _DECODER_FAULTS as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> TintlabError:
    return TintlabError(
        f"{path} is a damaged or unsupported archive ({console.one_line(error)}): get a whole copy"
    )
