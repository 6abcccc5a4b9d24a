"""Find the folders and archives that params.yaml names, and compare them with the lock file.

`tintlab sources refresh` writes the lock file. This module does not use the network: archives that URLs name
were downloaded into the state folder before, see `downloads`.
"""

import hashlib
import re
from pathlib import Path
from typing import Any

from tintlab.sources.archives import read_members
from tintlab.system import checkout, paths, urls
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256
from tintlab.system.params import SourceParams

INBOX = paths.INBOX.as_posix()
"""The inbox's key in the lock file."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


def compute_digest(path: Path, follow_links: bool = False) -> str:
    """sha256 of an archive's bytes, or of a folder's sorted names and contents.

    Raises:
        TintlabError: nothing there, or it can't be read; see `archives.read_members`.
    """
    if path.is_file():
        return file_sha256(path)
    sha = hashlib.sha256()
    for member in read_members(path, follow_links=follow_links):
        content = hashlib.sha256(member.data).hexdigest()
        sha.update(f"{content}  {member.name}\n".encode("utf-8", "surrogateescape"))
    return sha.hexdigest()


def locate_source(source: SourceParams, lock: Any) -> Path:
    """Where a source lies on this machine; it is first compared with its entry in the lock file.

    Raises:
        TintlabError: never recorded, changed since, not the archive that params.yaml expects, or not copied
            to this machine yet.
    """
    recorded = recorded_digest(source, lock)
    if urls.is_url(source.path):
        path = copy_of(source.path, recorded)
        if not path.is_file():
            raise TintlabError(
                f"source {source.path} is not on this machine: run `tintlab sources pull`, which copies it"
            )
        if compute_digest(path) != recorded:
            raise TintlabError(f"{path} is damaged: run `tintlab sources pull`, which copies it again")
        check_digest(source, recorded)
        return path
    if compute_local_digest(source) != recorded:
        raise TintlabError(
            f"source {source.path} changed since it was recorded: run `tintlab sources refresh`"
        )
    return Path(source.path)


def recorded_digest(source: SourceParams, lock: Any) -> str:
    """The digest of a source in the lock file.

    Raises:
        TintlabError: the lock file has no digest of it.
    """
    try:
        recorded = lock[source.path]["digest"]
    except (KeyError, TypeError):
        recorded = None
    # The digest becomes part of a path.
    if not (isinstance(recorded, str) and _DIGEST.fullmatch(recorded)):
        raise TintlabError(
            f"source {source.path} is not in the lock file: run `tintlab sources refresh`"
        ) from None
    return recorded


def compute_local_digest(source: SourceParams) -> str:
    """The digest of a folder or an archive on this machine.

    Raises:
        TintlabError: it is missing, or is not the archive that params.yaml expects.
    """
    found = compute_digest(Path(source.path), source.follow_links)
    check_digest(source, found)
    return found


# --- the inbox, which git ignores


def inbox_entry(inbox: Path) -> dict[str, Any] | None:
    """The lock file's entry for an inbox: the digest and the number of its files; None if it is empty.

    Its README belongs to the project and does not count.
    """
    sha, files = hashlib.sha256(), 0
    for member in read_members(inbox) if inbox.is_dir() else ():
        if str(member.name) != "README.md":
            content = hashlib.sha256(member.data).hexdigest()
            sha.update(f"{content}  {member.name}\n".encode("utf-8", "surrogateescape"))
            files += 1
    return {"digest": sha.hexdigest(), "files": files} if files else None


def record_inbox(lock: dict[str, Any], inbox: Path) -> dict[str, Any]:
    """The lock file's content with a new entry for the inbox."""
    others = {name: entry for name, entry in lock.items() if name != INBOX}
    entry = inbox_entry(inbox)
    return others | ({INBOX: entry} if entry else {})


def find_inbox(lock: Any) -> Path:
    """The inbox with the files that were recorded: the one here, or in DVC's temporary copies the checkout's.

    In an ordinary checkout, an inbox that was never recorded is used as it is, because DVC tracks its
    content. A temporary copy lacks the files that git ignores, so there the inbox must have been recorded.

    Raises:
        TintlabError: it holds other files than were recorded, or is not on this machine.
    """
    origin = checkout.origin_of_copy()
    inbox = (origin / paths.INBOX) if origin else paths.INBOX
    recorded = lock.get(INBOX) if isinstance(lock, dict) else None
    if recorded is None and origin is None:
        return inbox
    now = inbox_entry(inbox)
    if now != recorded:
        counts = f"{now['files'] if now else 0} files, {recorded['files'] if recorded else 0} were recorded"
        again = " and queue the experiment again" if origin else ""
        raise TintlabError(
            f"{inbox} is not as recorded ({counts}): restore it, or run `tintlab sources refresh`{again}"
        )
    return inbox


def check_digest(source: SourceParams, found: str) -> None:
    """Compare a digest with the one that params.yaml expects of the source, if it names one.

    Raises:
        TintlabError: they differ.
    """
    if source.sha256 is not None and found != source.sha256:
        raise TintlabError(
            f"source {source.path} has sha256 {found}, params.yaml expects {source.sha256}: "
            "get the right file or correct fetch.sources"
        )


def copy_of(url: str, recorded: str) -> Path:
    """The path of the copy of the archive that a URL names; the digest of its content is part of the path."""
    return paths.source_copies() / recorded / urls.file_name(url)
