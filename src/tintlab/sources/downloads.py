"""Download the archives that URLs name into the state folder, for `tintlab sources refresh` and `pull`.

An interrupted download resumes where it stopped. A copy is used as a source only if it is complete, is an
archive, and has the expected digest.
"""

import hashlib
import time
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

from tintlab.sources import archives
from tintlab.sources import lock as sources_lock
from tintlab.sources.remote import ChangedError, InterruptedDownloadError, Patience, Remote, Version
from tintlab.system import paths, urls
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json
from tintlab.system.locks import exclusive
from tintlab.system.params import FetchParams, SourceParams

_PROGRESS = 1 << 20  # an attempt that gains so many bytes resets the count of failures


def refresh(params: FetchParams, lock: Any, patience: Patience | None = None) -> dict[str, Any]:
    """The present content of the lock file: the digest of each source and of the inbox, keyed by their paths.

    Archives that URLs name are downloaded, unless the server's ETag is that of the copy.

    Raises:
        TintlabError: a source is missing, can't be copied, is not an archive, or not the one in params.yaml.
    """
    entries = {}
    for source in params.sources:
        if urls.is_url(source.path):
            entries[source.path] = _refresh_source(source, params, lock, patience or Patience())
        else:
            entries[source.path] = {"digest": sources_lock.compute_local_digest(source)}
    return sources_lock.record_inbox(entries, paths.INBOX)


def pull(params: FetchParams, lock: Any, patience: Patience | None = None) -> list[str]:
    """Download the recorded archives that are not on this machine yet; returns their URLs.

    Raises:
        TintlabError: see `refresh`; or a server now has another archive than the one that was recorded.
    """
    copied = []
    for source in params.sources:
        if not urls.is_url(source.path):
            continue
        recorded = sources_lock.recorded_digest(source, lock)
        copy = sources_lock.copy_of(source.path, recorded)
        if not (copy.is_file() and sources_lock.compute_digest(copy) == recorded):
            _copy_archive(_expect_recorded(source, recorded), params, patience or Patience())
            copied.append(source.path)
    return copied


def _expect_recorded(source: SourceParams, recorded: str) -> SourceParams:
    sources_lock.check_digest(source, recorded)
    return source.model_copy(update={"sha256": recorded})


def _refresh_source(
    source: SourceParams, params: FetchParams, lock: Any, patience: Patience
) -> dict[str, Any]:
    known: str | None = None
    with suppress(TintlabError):
        recorded = sources_lock.recorded_digest(source, lock)
        copy = sources_lock.copy_of(source.path, recorded)
        if (
            copy.is_file()
            and sources_lock.compute_digest(copy) == recorded
            and source.sha256 in (None, recorded)
        ):
            known = lock[source.path].get("etag") or None
    if known is not None and Remote(source.path, patience).is_still(known):
        entry: dict[str, Any] = lock[source.path]
        return entry
    digest, version = _copy_archive(source, params, patience)
    return {"digest": digest, "size": version.size} | ({"etag": version.etag} if version.etag else {})


def _copy_archive(source: SourceParams, params: FetchParams, patience: Patience) -> tuple[str, Version]:
    """Download an archive to its place; returns its digest, and its version as the server states it."""
    parts = paths.source_copies() / "parts"
    parts.mkdir(parents=True, exist_ok=True)
    part = parts / hashlib.sha256(source.path.encode()).hexdigest()
    with exclusive(paths.download_lock(), "another download", wait_seconds=patience.seconds):
        version = _download(source.path, part, params.max_gigabytes, patience)
        try:
            digest = sources_lock.compute_digest(part)
            sources_lock.check_digest(source, digest)
            if not archives.is_archive(part):
                raise TintlabError(f"source {source.path} is no zip or tar archive: correct fetch.sources")
            copy = sources_lock.copy_of(source.path, digest)
            copy.parent.mkdir(parents=True, exist_ok=True)
            part.replace(copy)
        finally:
            _forget(part)
    return digest, Version(version.etag, copy.stat().st_size)


def _download(url: str, part: Path, max_gigabytes: float, patience: Patience) -> Version:
    """Download `url` to `part`. After a refusal nothing stays; after an interruption, resumable data stays."""
    remote = Remote(url, patience)
    failures = 0
    while True:
        start = _find_resumable(part)
        before = part.stat().st_size if start else 0
        try:
            return _try_download(remote, part, start, max_gigabytes)
        except ChangedError:
            _forget(part)
            fault = "it changes while it is copied"
        except InterruptedDownloadError as error:
            fault = str(error)
            if _find_resumable(part) is None:
                _forget(part)
        except TintlabError:
            _forget(part)
            raise
        gained = (part.stat().st_size if part.exists() else 0) - before
        failures = 1 if gained >= _PROGRESS else failures + 1
        if failures >= patience.attempts:
            kept = "; what has come is kept, run it again" if part.exists() else ""
            raise TintlabError(f"source {url} can't be copied ({fault}){kept}")
        time.sleep(patience.pause * 2 ** (failures - 1))


def _try_download(remote: Remote, part: Path, start: Version | None, max_gigabytes: float) -> Version:
    offset = part.stat().st_size if start else 0
    with closing(remote.read_from(offset, start)) as pieces:
        version: Version
        offset, version = next(pieces)
        _refuse_large(remote.url, version.size or 0, max_gigabytes)
        if not offset:
            part.write_bytes(b"")  # before the facts describe another version
        write_json(_facts_path(part), {"etag": version.etag, "size": version.size})
        with part.open("ab") as file:
            for piece in pieces:
                file.write(piece)
                _refuse_large(remote.url, file.tell(), max_gigabytes)
                if version.size is not None and file.tell() > version.size:
                    raise TintlabError(f"source {remote.url}: the server sends more than it says")
            if version.size is not None and file.tell() < version.size:
                raise InterruptedDownloadError("the server ends the connection early")
    return version


def _find_resumable(part: Path) -> Version | None:
    """The version that a part belongs to, if the download can be resumed; otherwise None."""
    with suppress(FileNotFoundError, TintlabError, TypeError, KeyError, AttributeError):
        facts = read_json(_facts_path(part))
        version = Version(facts["etag"], facts["size"])
        if version.etag and part.stat().st_size:
            return version
    return None


def _facts_path(part: Path) -> Path:
    return part.with_suffix(".json")


def _forget(part: Path) -> None:
    part.unlink(missing_ok=True)
    _facts_path(part).unlink(missing_ok=True)


def _refuse_large(url: str, size: int, max_gigabytes: float) -> None:
    if size > max_gigabytes * 1e9:
        raise TintlabError(f"source {url} is larger than fetch.max_gigabytes {max_gigabytes:g}")
