"""A folder in an object store (s3, gs, az), on an SSH server (sftp) or on a web server (https, to read only).

Everything goes through fsspec. This module adds what it leaves open: a listing that comes page by page, objects
that are read into memory up to a limit, objects that appear whole or not at all, a new attempt with backoff
where a store is busy, and one line, without secrets, where it refuses.
"""

import functools
import random
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from tintlab.sources.remote import InterruptedDownloadError, MissingError, Patience, Remote
from tintlab.sources.store_clients import fault_of, open_system
from tintlab.sources.store_faults import StoreError, is_missing, is_passing, reason_of
from tintlab.sources.stored_file import StoredFile, etag_of, nanoseconds_of
from tintlab.system import urls
from tintlab.system.errors import TintlabError

T = TypeVar("T")

MOST_BYTES = 1 << 30
"""Bytes of the largest object that is read into memory."""

PATIENCE = Patience(seconds=30.0, attempts=8, pause=0.25)

_LONGEST_PAUSE = 10.0
_PAGE = 1000  # files of a listing
# In one request, up to the limit of S3 and Google: an upload in parts that is killed leaves the parts behind.
_ONE_REQUEST = 5 << 29
_PART = ".tintlab.part"


class Store:
    """A folder in a store; see `open_store`. Safe to use from several threads.

    Args:
        url: as `s3://bucket/folder`, without a secret.
        patience: with a store that is busy or silent.
    """

    def __init__(self, url: str, patience: Patience) -> None:
        if fault := fault_of(url):
            raise TintlabError(f"{urls.redacted(url)!r}: {fault}")
        self.url = url.rstrip("/")
        self.scheme = urlsplit(url).scheme
        self.patience = patience
        self.is_read_only = self.scheme in urls.HTTP
        self._system = open_system(self.url, self.scheme, patience)
        self._root = self.url if self.is_read_only else self._system._strip_protocol(self.url).rstrip("/")

    def files(self, below: str = "") -> Iterator[StoredFile]:
        """All files of the folder, or of one of its subfolders, as the store lists them, page by page.

        Raises:
            StoreError: there is no such bucket, it may not be listed, or the store stays away.
        """
        if self.scheme == "s3":
            yield from self._list_s3(below)
            return
        if self.scheme == "gs":
            yield from self._list_gs(below)
            return
        waiting = [self._place(below)]
        while waiting:
            place = waiting.pop()
            for info in self._list_folder(place):
                if info.get("type") == "directory":
                    if info["name"].rstrip("/") != place.rstrip("/"):
                        waiting.append(info["name"].rstrip("/") + ("/" if self.is_read_only else ""))
                else:
                    yield self._described(info)

    def describe(self, name: str) -> StoredFile | None:
        """One file, or None where there is none of that name."""
        try:
            info = self._attempt("read", lambda: self._system.info(self._place(name)))
        except FileNotFoundError:
            return None
        return None if info.get("type") == "directory" else self._described(info)

    def read(self, name: str, most: int = MOST_BYTES) -> bytes:
        """The bytes of a file.

        Args:
            name: below the folder; of a web server, as it stands in its URL.
            most: more bytes than these are not read.

        Raises:
            FileNotFoundError: there is none.
            TooLargeError: it has more than `most` bytes.
            StoreError: it may not be read, or the store stays away.
        """
        read = self._read_http if self.is_read_only else self._read_object
        data = self._attempt("read", lambda: read(name, most))
        if len(data) > most:
            raise TooLargeError
        return data

    def write(self, name: str, data: bytes) -> None:
        """Write a file, which appears whole or not at all.

        Raises:
            StoreError: it may not be written, or the store stays away.
        """
        self._write(name, data, {}, only_new=False)

    def write_marked(self, name: str, data: bytes, marks: Mapping[str, str], only_new: bool) -> bool:
        """Write a file with a few words about it, where the store keeps some (`keeps_marks`).

        Args:
            name: below the folder.
            data: of the file.
            marks: ASCII letters alone in the words, and below 2 kB together.
            only_new: leave a file alone that has this name already.

        Returns:
            Whether the file was written.

        Raises:
            StoreError: it may not be written, or the store stays away.
        """
        try:
            self._write(name, data, marks, only_new)
        except FileExistsError:
            return False
        return True

    @property
    def keeps_marks(self) -> bool:
        """Whether the store keeps words about a file, and writes on condition that there is none."""
        return self.scheme in ("s3", "gs")

    def marks(self, name: str) -> dict[str, str]:
        """The words about a file; none of a file that is not there."""
        place = self._place(name)
        try:
            if self.scheme == "s3":
                return dict(self._attempt("read", lambda: self._system.metadata(place)))
            return dict(self._attempt("read", lambda: self._system.info(place)).get("metadata") or {})
        except FileNotFoundError:
            return {}

    def _write(self, name: str, data: bytes, marks: Mapping[str, str], only_new: bool) -> None:
        if self.is_read_only:
            raise StoreError(f"{self.url} can only be read: name a folder or a store for OUTPUT")
        place = self._place(name)
        if self.scheme == "sftp":
            self._attempt("written", lambda: self._write_and_rename(place, data))
            return
        options: dict[str, Any] = {}
        if self.keeps_marks:
            options["chunksize"] = _ONE_REQUEST
        elif self.scheme == "az":
            options["overwrite"] = True
        if marks:
            options["Metadata" if self.scheme == "s3" else "metadata"] = dict(marks)
        if only_new:
            options["mode"] = "create"
        try:
            self._attempt("written", lambda: self._system.pipe_file(place, data, **options))
        except FileNotFoundError:
            raise StoreError(f"{self.url}: there is no such bucket") from None

    def delete(self, names: Iterable[str]) -> None:
        """Remove files; those that are gone already are no fault."""
        for name in names:
            try:
                self._attempt("deleted", functools.partial(self._system.rm_file, self._place(name)))
            except FileNotFoundError:
                continue

    def _place(self, name: str) -> str:
        return f"{self._root}/{name}" if name else self._root

    def _attempt(self, doing: str, work: Callable[[], T]) -> T:
        """Do it, again and again while the store is busy, each time after a longer pause."""
        for attempt in range(1, self.patience.attempts + 1):
            try:
                return work()
            except (TintlabError, TooLargeError, FileExistsError):
                raise
            except Exception as error:  # each client has its own kinds
                if is_missing(error):
                    raise FileNotFoundError(doing) from None
                if not is_passing(error) or attempt == self.patience.attempts:
                    tried = f" after {attempt} attempts" if attempt > 1 else ""
                    raise StoreError(f"{self.url} can't be {doing}{tried}: {reason_of(error)}") from None
            pause = min(self.patience.pause * 2 ** (attempt - 1), _LONGEST_PAUSE)
            time.sleep(pause * random.uniform(0.5, 1))
        raise AssertionError

    def _list_s3(self, below: str) -> Iterator[StoredFile]:
        bucket, _, prefix = self._place(below).partition("/")
        wanted: dict[str, Any] = {"Bucket": bucket, "Prefix": f"{prefix}/" if prefix else ""}
        cut = len(f"{self._root}/") - len(f"{bucket}/")
        while True:
            call = functools.partial(self._system.call_s3, "list_objects_v2", **wanted)
            try:
                page = self._attempt("listed", call)
            except FileNotFoundError:
                raise StoreError(f"{self.url}: there is no such bucket") from None
            for one in page.get("Contents", ()):
                if not one["Key"].endswith("/"):  # consoles make objects for folders
                    changed = round(one["LastModified"].timestamp() * 1e6) * 1000
                    yield StoredFile(one["Key"][cut:], one["Size"], one["ETag"].strip('"'), changed)
            if not page.get("IsTruncated"):
                return
            wanted["ContinuationToken"] = page["NextContinuationToken"]

    def _list_gs(self, below: str) -> Iterator[StoredFile]:
        bucket, _, prefix = self._place(below).partition("/")
        wanted = {"prefix": f"{prefix}/" if prefix else "", "maxResults": _PAGE}
        cut = len(f"{self._root}/") - len(f"{bucket}/")
        while True:
            call = functools.partial(self._system.call, "GET", "b/{}/o", bucket, json_out=True, **wanted)
            try:
                page = self._attempt("listed", call)
            except FileNotFoundError:
                raise StoreError(f"{self.url}: there is no such bucket") from None
            for one in page.get("items", ()):
                if not one["name"].endswith("/"):
                    changed = nanoseconds_of(one["updated"])
                    yield StoredFile(one["name"][cut:], int(one["size"]), etag_of(one), changed)
            if not page.get("nextPageToken"):
                return
            wanted["pageToken"] = page["nextPageToken"]

    def _list_folder(self, place: str) -> list[dict[str, Any]]:
        try:
            found: list[dict[str, Any]] = self._attempt("listed", lambda: self._system.ls(place, detail=True))
        except (FileNotFoundError, NotADirectoryError):
            # Stores have no folders: an empty one is none. Only a missing bucket is a fault.
            if self.scheme != "sftp" and place == self._root and not self._bucket_exists():
                raise StoreError(f"{self.url}: there is no such bucket or folder") from None
            return []
        if self.is_read_only:  # a web server's pages have links that only sort them
            found = [info for info in found if not {"?", "#"} & set(info["name"])]
        # Some stores list an object as the content of itself.
        return [info for info in found if info["name"].rstrip("/") != place.rstrip("/")]

    def _bucket_exists(self) -> bool:
        bucket = self._root.partition("/")[0]
        if self.is_read_only:
            return False
        try:
            self._attempt("listed", lambda: self._system.ls(bucket))
        except FileNotFoundError:
            return False
        return True

    def _described(self, info: dict[str, Any]) -> StoredFile:
        key = info["name"].removeprefix(self._root).lstrip("/")
        if self.is_read_only:
            try:
                about = self._attempt("read", lambda: self._system.info(info["name"]))
            except FileNotFoundError:  # a dead link
                about = {}
            changed = nanoseconds_of(about.get("Last-Modified"))
            return StoredFile(unquote(key), about.get("size"), etag_of(about), changed, key)
        etag = etag_of(info)
        changed = info.get("LastModified") or info.get("last_modified") or info.get("mtime")
        return StoredFile(key, info.get("size"), etag, nanoseconds_of(changed))

    def _read_object(self, name: str, most: int) -> bytes:
        try:
            data: bytes = self._system.cat_file(self._place(name), start=0, end=most + 1)
        except Exception as error:
            if "InvalidRange" in str(error) or "416" in str(error):  # it is empty
                return b""
            raise
        return data

    def _read_http(self, name: str, most: int) -> bytes:
        pieces, got = [], 0
        reading = Remote(f"{self.url}/{name}" if name else self.url, self.patience).read_from(0, None)
        try:
            next(reading)  # where it starts, and its version
            for piece in reading:
                pieces.append(piece)
                got += len(piece)
                if got > most:
                    raise TooLargeError
        except MissingError:
            raise FileNotFoundError(name) from None
        except InterruptedDownloadError as error:
            raise TimeoutError(str(error)) from None
        finally:
            reading.close()
        return b"".join(pieces)

    def _write_and_rename(self, place: str, data: bytes) -> None:
        folder, _, name = place.rpartition("/")
        part = f"{folder}/.{name[:20]}.{random.getrandbits(64):016x}{_PART}"
        self._system.makedirs(folder, exist_ok=True)
        try:
            self._system.pipe_file(part, data)
            self._system.mv(part, place)
        except BaseException:
            if self._system.exists(part):
                self._system.rm_file(part)
            raise


class TooLargeError(Exception):
    """A file has more bytes than may be read into memory."""


@functools.lru_cache(maxsize=8)
def open_store(url: str) -> Store:
    """A folder in a store, with one connection pool a process.

    Raises:
        TintlabError: the URL holds a secret, is of another scheme, or a package is missing.
    """
    return Store(url, PATIENCE)


def is_store(text: str) -> bool:
    """Whether a text is a URL and not a path."""
    return urls.is_url(text)
