"""Where photographs come from: folders and archives, read through one code path, and their digests.

Archives are never unpacked by name: a member is read into memory and stored under a name of ours.
"""

import hashlib
import io
import lzma
import os
import stat
import struct
import tarfile
import tempfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from tintlab import program
from tintlab.errors import TintlabError
from tintlab.params import SourceParams

_CHUNK = 1 << 20
_LARGEST = 4 << 30  # bytes of a file: as much as zip and TIFF can hold; more is a bomb or a film


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


def members(path: Path, only: str | None = None) -> Iterator[Member]:
    """Yield the files of a folder or an archive (zip, tar.*), sorted by name; hidden ones are left out.

    With `only`, just the files of that name, in whatever folder. In a folder, links to files are followed
    and links to folders are not; archives' links and devices are left out.

    Raises:
        TintlabError: nothing there, no known archive, a damaged one, one whose members point outside it, or a
            file larger than 4 GB.
    """
    with _faults_of(path):
        if path.is_dir():
            yield from _folder_members(path, only)
        # tar before zip: a zip is known by its end, and a tar may end with one.
        elif path.is_file() and tarfile.is_tarfile(path):
            yield from _tar_members(path, only)
        elif path.is_file() and zipfile.is_zipfile(path):
            yield from _zip_members(path, only)
        elif path.exists():
            raise TintlabError(
                f"{path} is neither a folder nor a zip or tar archive: name one of these as a source"
            )
        else:
            raise TintlabError(f"{path} does not exist: restore it, or take it out of the sources")


def digest(path: Path) -> str:
    """sha256 of an archive's bytes, or of a folder's sorted names and contents.

    Raises:
        TintlabError: nothing there, or it can't be read.
    """
    sha = hashlib.sha256()
    if path.is_file():
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                sha.update(chunk)
    else:
        for member in members(path):
            content = hashlib.sha256(member.data).hexdigest()
            sha.update(f"{content}  {member.name}\n".encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def check(source: SourceParams, lock: Any) -> None:
    """Compare a source with what `tintlab sources refresh` recorded of it.

    Raises:
        TintlabError: never recorded, changed since, or not the archive that params.yaml expects.
    """
    try:
        recorded = lock[source.path]["digest"]
    except (KeyError, TypeError):
        raise TintlabError(
            f"source {source.path} is not in the lock file: run `tintlab sources refresh`"
        ) from None
    if _expected_digest(source) != recorded:
        raise TintlabError(
            f"source {source.path} changed since it was recorded: run `tintlab sources refresh`"
        )


def record(sources: tuple[SourceParams, ...]) -> dict[str, Any]:
    """The content of the lock file: each source's digest, keyed by its path as params.yaml spells it.

    Raises:
        TintlabError: a source is missing, or is not the archive that params.yaml expects.
    """
    return {source.path: {"digest": _expected_digest(source)} for source in sources}


def _expected_digest(source: SourceParams) -> str:
    found = digest(Path(source.path))
    if source.sha256 is not None and found != source.sha256:
        raise TintlabError(
            f"source {source.path} has sha256 {found}, params.yaml expects {source.sha256}: "
            "get the right file or correct fetch.sources"
        )
    return found


def _folder_members(folder: Path, only: str | None) -> Iterator[Member]:
    walk = os.walk(folder, onerror=_raise)
    for file in sorted(Path(parent, name) for parent, _, names in walk for name in names):
        name = PurePosixPath(file.relative_to(folder).as_posix())
        if _wanted(name, only) and file.is_file():
            _refuse_large(folder, str(name), file.stat().st_size)
            yield Member(name, file.read_bytes())


def _zip_members(path: Path, only: str | None) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in entries:
            _refuse_outside(path, entry.filename)
        files = [entry for entry in entries if not stat.S_ISLNK(entry.external_attr >> 16)]
        for entry in sorted(files, key=lambda entry: entry.filename):
            if _wanted(name := PurePosixPath(entry.filename), only):
                _refuse_large(path, entry.filename, entry.file_size)
                yield Member(name, archive.read(entry))


def _tar_members(path: Path, only: str | None) -> Iterator[Member]:
    with _plain_tar(path) as archive:
        entries = archive.getmembers()
        _refuse_early_end(archive)
        for entry in entries:
            _refuse_outside(path, entry.name)
        for entry in sorted((entry for entry in entries if entry.isfile()), key=lambda entry: entry.name):
            if _wanted(name := PurePosixPath(entry.name), only):
                _refuse_large(path, entry.name, entry.size)
                file = archive.extractfile(entry)
                assert file is not None  # as it is a regular file
                yield Member(name, file.read())


@contextmanager
def _plain_tar(path: Path) -> Iterator[tarfile.TarFile]:
    """Open a tar; unpack a compressed one to a temporary file, where going back to a member costs nothing."""
    with tarfile.open(path) as archive:
        stream = archive.fileobj
        assert stream is not None
        if isinstance(stream, io.BufferedReader):
            yield archive
            return
        with tempfile.TemporaryFile() as plain:
            stream.seek(0)
            while chunk := stream.read(_CHUNK):
                plain.write(chunk)
            plain.seek(0)
            with tarfile.open(fileobj=plain, mode="r:") as unpacked:
                yield unpacked


def _refuse_early_end(archive: tarfile.TarFile) -> None:
    """tarfile takes a broken header, or no more data, for the end; the true end is a block of zeros."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it ends early or has a broken header inside")


def _wanted(name: PurePosixPath, only: str | None) -> bool:
    if only is not None and name.name != only:
        return False
    return not any(part.startswith(".") or part == "__MACOSX" for part in name.parts)


def _refuse_large(source: Path, name: str, size: int) -> None:
    if size > _LARGEST:
        raise TintlabError(f"{source} holds {name!r} of {size / 1e9:.1f} GB, no photograph: take it out")


def _refuse_outside(archive: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise TintlabError(
            f"{archive} holds {name!r}, a path that leaves the archive: don't use archives like this"
        )


@contextmanager
def _faults_of(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno is not None:  # of the file system; decompressors set none
            raise
        raise _damaged(path, error) from error
    except _DECODER_FAULTS as error:
        raise _damaged(path, error) from error


def _damaged(path: Path, error: Exception) -> TintlabError:
    return TintlabError(
        f"{path} is a damaged or unsupported archive ({program.one_line(error)}): get a whole copy"
    )


def _raise(error: OSError) -> None:
    raise error
