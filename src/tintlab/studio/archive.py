"""Write a ZIP file in pieces, so that it can be sent while it is made."""

import re
import zipfile
from collections.abc import Sequence
from pathlib import PurePosixPath

_LONGEST_NAME = 80
_DATE = (1980, 1, 1, 0, 0, 0)  # the same bytes at any time


class _Pieces:
    """A file that can only be written to; what was written is taken out again."""

    def __init__(self) -> None:
        self._pieces: list[bytes] = []

    def write(self, data: bytes) -> int:
        self._pieces.append(bytes(data))
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def take(self) -> bytes:
        data = b"".join(self._pieces)
        self._pieces.clear()
        return data


class ZipStream:
    """A ZIP file in pieces; pictures are stored without compression, because they are compressed already."""

    def __init__(self) -> None:
        self._pieces = _Pieces()
        self._zip = zipfile.ZipFile(self._pieces, "w")  # type: ignore[call-overload]  # can't be read

    def add(self, name: str, content: bytes) -> bytes:
        """The bytes of the next member."""
        self._zip.writestr(zipfile.ZipInfo(name, _DATE), content)
        return self._pieces.take()

    def end(self) -> bytes:
        """The last bytes."""
        self._zip.close()
        return self._pieces.take()


def member_names(names: Sequence[str], suffix: str) -> list[str]:
    """Names in a ZIP file, of the names that clients gave: no paths, no two alike in any case of letters."""
    found: list[str] = []
    taken: set[str] = set()
    for name in names:
        stem = PurePosixPath(name.replace("\\", "/")).stem
        clean = re.sub(r"[^\w ()+,-]", "_", stem).strip("_. ")[:_LONGEST_NAME] or "photo"
        candidate, number = f"{clean}-coloured{suffix}", 1
        while candidate.casefold() in taken:
            number += 1
            candidate = f"{clean}-{number}-coloured{suffix}"
        taken.add(candidate.casefold())
        found.append(candidate)
    return found
