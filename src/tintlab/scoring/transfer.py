"""Read photographs and save coloured files, on disks or, by way of memory, in object stores."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO

from tintlab.imaging.photos import PhotoError
from tintlab.scoring.plan import PlannedPhoto
from tintlab.scoring.settings import ScoreSettings
from tintlab.scoring.targets import as_text
from tintlab.scoring.threads import Budget
from tintlab.sources import stores
from tintlab.sources.stored_file import StoredFile
from tintlab.system.files import atomic_path, file_sha256

MEGABYTES_AT_ONCE = 1500.0
"""Files of a store of so many megabytes together are in memory at a time, or one that is larger."""

# What an object says of itself. Azure allows letters and digits only.
_SOURCE, _SETTINGS, _SHA256, _SIZE = "tintlabsource", "tintlabsettings", "tintlabsha256", "tintlabsize"


@dataclass(frozen=True)
class Original:
    """A photograph as it was read.

    Attributes:
        content: its path, or the bytes of its file; empty where there is a fault.
        size: bytes; None where it can't be told.
        mtime_ns: of its last change, in nanoseconds since 1970.
        etag: by which a store identifies the content.
        fault: why a store did not give it.
    """

    content: Path | bytes
    size: int | None
    mtime_ns: int | None
    etag: str = ""
    fault: str = ""

    def sha256(self) -> str:
        """Of the file's bytes.

        Raises:
            PhotoError: it can't be read.
        """
        if isinstance(self.content, bytes):
            return hashlib.sha256(self.content).hexdigest()
        try:
            return file_sha256(self.content)
        except OSError as error:
            raise PhotoError(f"can't be opened: {error.strerror}") from error


@contextmanager
def take_original(photo: PlannedPhoto, settings: ScoreSettings, budget: Budget) -> Iterator[Original]:
    """Have a photograph at hand; of a store, its bytes are in memory meanwhile.

    Args:
        photo: from a file or a store.
        settings: name the store.
        budget: megabytes in memory; shared by the threads.

    Raises:
        StoreError: the store refuses, or stays away.
    """
    if photo.stored is None:
        yield local_original(photo.source)
        return
    with budget.take((photo.stored.size or 0) / 1e6):
        yield _read(photo.stored, settings.source_store)


def local_original(path: Path) -> Original:
    """A photograph in a file, which is not read yet."""
    return Original(path, *size_and_time(path))


@dataclass(frozen=True)
class SavedFile:
    """A coloured file that is written.

    Attributes:
        sha256: of its bytes.
        size: bytes.
    """

    sha256: str
    size: int


def save(settings: ScoreSettings, target: Path, pieces: Sequence[bytes], source: str) -> SavedFile:
    """Write a coloured file, which appears whole or not at all.

    In a store, an object of the same photograph and settings stays as it is: the process that wrote it was killed
    before it recorded that, or the store's answer was lost.

    Args:
        settings: name the folder or the store.
        target: path below OUTPUT.
        pieces: of the file, in turn.
        source: identifies the photograph, by its content, and what a person said about it.

    Returns:
        The file that is there now.

    Raises:
        OSError: the disk is full or failing.
        StoreError: the store refuses, or stays away.
    """
    digest, size = hashlib.sha256(), 0
    for piece in pieces:
        digest.update(piece)
        size += len(piece)
    made = SavedFile(digest.hexdigest(), size)
    if settings.store:
        return _save_in_store(settings, as_text(target), b"".join(pieces), made, source)
    with atomic_path(settings.output / target) as temporary, temporary.open("wb") as file:
        for piece in pieces:
            file.write(piece)
    return made


def _save_in_store(
    settings: ScoreSettings, name: str, data: bytes, made: SavedFile, source: str
) -> SavedFile:
    store = stores.open_store(settings.store)
    if not store.keeps_marks:
        store.write(name, data)
        return made
    origin = {_SOURCE: source, _SETTINGS: settings.digest()}
    marks = origin | {_SHA256: made.sha256, _SIZE: str(made.size)}
    if store.write_marked(name, data, marks, only_new=True):
        return made
    found = store.marks(name)
    if origin.items() <= found.items() and {_SHA256, _SIZE} <= found.keys():
        return SavedFile(found[_SHA256], int(found[_SIZE]))
    store.write_marked(name, data, marks, only_new=False)
    return made


def open_saved(settings: ScoreSettings, target: Path) -> IO[bytes]:
    """Open a coloured file, to read it.

    Args:
        settings: name the folder or the store.
        target: path below OUTPUT.

    Raises:
        OSError: it is not there, or can't be read.
        StoreError: the store refuses, or stays away.
    """
    if settings.store:
        return BytesIO(stores.open_store(settings.store).read(as_text(target)))
    return (settings.output / target).open("rb")


class SavedFiles:
    """The sizes of coloured files.

    Args:
        settings: name the folder or the store.
        many: list the store once, and do not ask for each file.
    """

    def __init__(self, settings: ScoreSettings, many: bool) -> None:
        self._folder, self._store = settings.output, settings.store
        self._known: dict[str, int | None] | None = None
        if self._store and many:
            self._known = {one.name: one.size for one in stores.open_store(self._store).files()}

    def size(self, target: Path) -> int | None:
        """Bytes of one; None where there is none.

        Args:
            target: path below OUTPUT.
        """
        if not self._store:
            return size_and_time(self._folder / target)[0]
        if self._known is not None:
            return self._known.get(as_text(target))
        found = stores.open_store(self._store).describe(as_text(target))
        return found.size if found else None


def size_and_time(path: Path) -> tuple[int | None, int | None]:
    """Bytes and last change of a file; None where it can't be asked."""
    try:
        found = path.stat()
    except OSError:
        return None, None
    return found.st_size, found.st_mtime_ns


def _read(stored: StoredFile, url: str) -> Original:
    limit = stores.MOST_BYTES
    content, fault = b"", ""
    try:
        if (stored.size or 0) > limit:
            raise stores.TooLargeError
        content = b"" if stored.size == 0 else stores.open_store(url).read(stored.key or stored.name, limit)
        if stored.size is not None and len(content) != stored.size:
            fault = "changed while it was read: score it again"
    except stores.TooLargeError:
        fault = f"has more than {limit / 1e9:.1f} GB: files of a store are read into memory"
    except FileNotFoundError:
        fault = "is gone since the store was listed"
    # What the listing said, and not what is there now: a later change shows as a difference.
    return Original(b"" if fault else content, stored.size, stored.mtime_ns, stored.etag, fault)
