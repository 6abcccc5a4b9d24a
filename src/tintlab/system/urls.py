"""What a source's URL may look like. params.yaml and the lock file are tracked: no secrets in them."""

import re
from urllib.parse import parse_qsl, unquote, urlsplit

HTTP = ("http", "https")
STORES = ("s3", "gs")

_SECRET = re.compile(
    r"sig|secret|token|passw|pwd|key|cred|auth|session|policy|expire|code|hash|^x-amz|^x-goog|^s[pevtr]$",
    re.IGNORECASE,
)
_LONGEST_VALUE = 60  # letters of a query's value; identifiers are shorter, signatures longer


def is_url(text: str) -> bool:
    """Whether a source is named by a URL, not by a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def fault_of(url: str) -> str | None:
    """Why a URL can't be a source, in words without the URL; None where it can."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "not a URL that can be read"
    faults = {
        f"sources are read by http, https, s3 and gs, not by {parts.scheme[:20]!r}": (
            parts.scheme not in (*HTTP, *STORES)
        ),
        "the URL of a source names a host or bucket, and a file there": (
            not host or not parts.path.strip("/")
        ),
        "a URL with a user name, password, signature or fragment: params.yaml is tracked, so give "
        "credentials by the environment (SECURITY.md tells which)": (
            "@" in parts.netloc or _has_secret(parts.query) or bool(parts.fragment)
        ),
        "the URL of an object in a store has no query": bool(parts.query) and parts.scheme in STORES,
        "a URL with spaces or control characters: escape them with %": not url.isprintable() or " " in url,
    }
    return next((fault for fault, there in faults.items() if there), None)


def file_name(url: str) -> str:
    """A plain name for a copy of what `url` names: its last part, letters and digits as they are."""
    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[-80:] or "archive"


def _has_secret(query: str) -> bool:
    pairs = parse_qsl(query, keep_blank_values=True)
    return any(_SECRET.search(name) or len(value) > _LONGEST_VALUE for name, value in pairs) or (
        bool(query) and not pairs
    )
