"""Where photographs come from: folders and archives, read through one code path, and their digests.

Archives are never unpacked by name: a member is read into memory and stored under a name of ours.
"""

import hashlib
import os
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from tintlab.errors import TintlabError
from tintlab.params import SourceParams

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """One file of a source: its path within the source, and its bytes."""

    name: PurePosixPath
    data: bytes


def members(path: Path, only: str | None = None) -> Iterator[Member]:
    """Yield the files of a folder or an archive (zip, tar.*), sorted by name; hidden ones are left out.

    With `only`, just the files of that name, in whatever folder.

    Raises:
        TintlabError: nothing there, no known archive, a damaged one, or one whose members point outside it.
    """
    with _faults_of(path):
        if path.is_dir():
            yield from _folder_members(path, only)
        elif zipfile.is_zipfile(path):
            yield from _zip_members(path, only)
        elif path.is_file() and tarfile.is_tarfile(path):
            yield from _tar_members(path, only)
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


def check(source: SourceParams, lock: dict[str, Any]) -> None:
    """Compare a source with what `tintlab sources refresh` recorded of it.

    Raises:
        TintlabError: never recorded, changed since, or not the archive that params.yaml expects.
    """
    path = Path(source.path)
    entry = lock.get(source.path)
    if entry is None:
        raise TintlabError(f"source {source.path} is not in the lock file: run `tintlab sources refresh`")
    found = digest(path)
    if source.sha256 is not None and found != source.sha256:
        raise TintlabError(
            f"source {source.path} has sha256 {found}, params.yaml expects {source.sha256}: "
            "get the right file or correct fetch.sources"
        )
    if found != entry["digest"]:
        raise TintlabError(
            f"source {source.path} changed since it was recorded: run `tintlab sources refresh`"
        )


def record(sources: tuple[SourceParams, ...]) -> dict[str, Any]:
    """The content of the lock file: each source's digest, keyed by its path as params.yaml spells it.

    Raises:
        TintlabError: a source is missing, or is not the archive that params.yaml expects.
    """
    lock = {source.path: {"digest": digest(Path(source.path))} for source in sources}
    for source in sources:
        check(source, lock)
    return lock


def _folder_members(folder: Path, only: str | None) -> Iterator[Member]:
    files = sorted(Path(parent, name) for parent, _, names in os.walk(folder) for name in names)
    for file in files:
        name = PurePosixPath(file.relative_to(folder).as_posix())
        if _wanted(name, only) and file.is_file():
            yield Member(name, file.read_bytes())


def _zip_members(path: Path, only: str | None) -> Iterator[Member]:
    with zipfile.ZipFile(path) as archive:
        entries = [entry for entry in archive.infolist() if not entry.is_dir()]
        for entry in entries:
            _refuse_outside(path, entry.filename)
        for entry in sorted(entries, key=lambda entry: entry.filename):
            if _wanted(name := PurePosixPath(entry.filename), only):
                yield Member(name, archive.read(entry))


def _tar_members(path: Path, only: str | None) -> Iterator[Member]:
    with tarfile.open(path) as archive:
        entries = archive.getmembers()
        for entry in entries:
            _refuse_outside(path, entry.name)
        for entry in sorted((entry for entry in entries if entry.isfile()), key=lambda entry: entry.name):
            file: IO[bytes] | None = archive.extractfile(entry)
            if file is not None and _wanted(name := PurePosixPath(entry.name), only):
                yield Member(name, file.read())


def _wanted(name: PurePosixPath, only: str | None) -> bool:
    if only is not None and name.name != only:
        return False
    return not any(part.startswith((".", "__MACOSX")) and part != "." for part in name.parts)


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
    except (zipfile.BadZipFile, tarfile.TarError, EOFError, NotImplementedError, RuntimeError) as error:
        raise TintlabError(
            f"{path} is a damaged or unsupported archive ({error}): get a whole copy"
        ) from error
