"""A file in a store, as its listing describes it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in a store, as its listing describes it.

    Attributes:
        name: below the folder that was listed.
        size: bytes; None where the store does not say.
        etag: identifies the content; empty where there is none.
        mtime_ns: of its last change, in nanoseconds since 1970; None where the store does not say.
        key: what the store calls it below the folder, where that is not `name`.
    """

    name: str
    size: int | None
    etag: str = ""
    mtime_ns: int | None = None
    key: str = ""


def etag_of(info: Mapping[str, Any]) -> str:
    """What identifies the content, in the words of any client; empty where there is nothing."""
    return str(info.get("ETag") or info.get("etag") or info.get("generation") or "").strip('"')


def nanoseconds_of(value: Any) -> int | None:
    """A time, in the form of any client, in nanoseconds since 1970."""
    if isinstance(value, str):
        value = parsedate_to_datetime(value) if "," in value else datetime.fromisoformat(value)
    if isinstance(value, datetime):
        value = value.timestamp()
    return None if value is None else round(value * 1e6) * 1000
