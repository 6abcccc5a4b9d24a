"""Limit the contents of archives, and refuse archives that exceed the limits or are hostile."""

import posixpath
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from tintlab.system.errors import TintlabError

_LARGEST = 4 << 30  # bytes of a file: the limit of classic zip and TIFF; a larger file is not a photograph
_TOO_SMALL_TO_HARM = 100_000_000  # unpacked bytes; blank scans compress as well as bombs do
LONGEST_NAME = 4096
"""Greatest length of a name in characters, as in file systems."""


@dataclass(frozen=True)
class Limits:
    """The limits of an archive; see `params.FetchParams`."""

    files: int = 500_000
    gigabytes: float = 500.0
    ratio: float = 200.0


DEFAULT_LIMITS = Limits()


def refuse_unfit(path: Path, names: Iterable[str], limits: Limits) -> None:
    """Refuse names that are too long, leave the archive or occur twice, and too many names."""
    seen: set[str] = set()
    for name in names:
        if len(name) > LONGEST_NAME:
            raise TintlabError(f"{path} is refused: it contains a name of {len(name)} letters")
        refuse_outside(path, name)
        plain = posixpath.normpath(name)
        # A folder may be listed repeatedly.
        if plain in seen and not name.endswith("/"):
            raise TintlabError(f"{path} holds {_shown(name)} twice: pack it again with only the right one")
        seen.add(plain)
        refuse_too_many(path, len(seen), limits)


def refuse_bomb(path: Path, unpacked: int, packed: int, limits: Limits) -> None:
    """Refuse more unpacked bytes than `Limits.gigabytes`, or than `Limits.ratio` times the packed ones."""
    if unpacked > limits.gigabytes * 1e9:
        raise TintlabError(
            f"{path} unpacks to more than fetch.max_gigabytes {limits.gigabytes:g}: "
            "split it, or raise the limit if you trust it"
        )
    if unpacked > max(_TOO_SMALL_TO_HARM, packed * limits.ratio):
        raise TintlabError(
            f"{path} unpacks to more than fetch.max_ratio {limits.ratio:g} times its size, as bombs do: "
            "raise the limit if you trust it"
        )


def refuse_large(source: Path, name: str, size: int) -> None:
    """Refuse one file that is larger than zip and TIFF can hold."""
    if size > _LARGEST:
        raise TintlabError(
            f"{source} holds {_shown(name)} of {size / 1e9:.1f} GB, no photograph: take it out"
        )


def refuse_outside(archive: Path, name: str) -> None:
    """Refuse a name that leads out of the archive."""
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts:
        raise TintlabError(
            f"{archive} is refused: it contains {_shown(name)}, a path that leaves the archive"
        )


def refuse_link_outside(archive: Path, name: str, target: str) -> None:
    """Refuse a link whose target lies outside the archive."""
    aim = posixpath.normpath(posixpath.join(posixpath.dirname(name), target.replace("\\", "/")))
    if aim.startswith(("/", "../")) or aim == "..":
        raise TintlabError(
            f"{archive} is refused: it contains {_shown(name)}, a link that leaves the archive"
        )


def device_fault(archive: Path, name: str) -> TintlabError:
    """The error for an archive that contains a device or a pipe."""
    return TintlabError(f"{archive} is refused: it contains {_shown(name)}, a device or pipe")


def refuse_too_many(path: Path, count: int, limits: Limits) -> None:
    """Refuse more entries than `Limits.files`."""
    if count > limits.files:
        raise TintlabError(
            f"{path} holds more than fetch.max_files {limits.files} entries: split it, or raise it"
        )


def _shown(name: str) -> str:
    return repr(name if len(name) <= 120 else f"{name[:120]}…")
