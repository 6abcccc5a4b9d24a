"""Check which URLs may name a source, and remove secrets from URLs before they are shown.

params.yaml and the lock file are tracked by git, so a source's URL must not contain a secret. Logs, messages
and pages may quote any URL; `redacted` removes the secrets.
"""

import re
from urllib.parse import SplitResult, parse_qsl, unquote, urlsplit

HTTP = ("http", "https")
STORES = ("s3", "gs")

_SECRET = re.compile(
    r"sig|secret|token|passw|pwd|key|cred|auth|session|policy|expire|code|hash|^x-amz|^x-goog|^s[pevtr]$",
    re.IGNORECASE,
)
_URL = re.compile(r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"<>`]+)")
UNREADABLE = "not a URL that can be read"
_LONGEST_VALUE = 60  # characters of a query's value; identifiers are shorter, signatures longer


def is_url(text: str) -> bool:
    """Whether a source is named by a URL, not by a path."""
    return re.match(r"[A-Za-z][A-Za-z0-9+.-]*://", text) is not None


def split(url: str) -> SplitResult | None:
    """The parts of a URL; None if it can't be read, also if its host or port can't."""
    try:
        parts = urlsplit(url)
        _ = parts.hostname, parts.port
    except ValueError:
        return None
    return parts


def fault_of(url: str) -> str | None:
    """Why a URL can't be a source, as text without the URL; None if it can."""
    parts = split(url)
    if parts is None:
        return UNREADABLE
    faults = {
        f"sources are read by http, https, s3 and gs, not by {parts.scheme[:20]!r}": (
            parts.scheme not in (*HTTP, *STORES)
        ),
        "the URL of a source names a host or bucket, and a file there": (
            not parts.hostname or not parts.path.strip("/")
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
    """A safe file name for a copy of `url`: its last part, with letters and digits kept."""
    name = unquote(urlsplit(url).path).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip(".-")[-80:] or "archive"


def _has_secret(query: str) -> bool:
    pairs = parse_qsl(query, keep_blank_values=True)
    return any(_SECRET.search(name) or len(value) > _LONGEST_VALUE for name, value in pairs) or (
        bool(query) and not pairs
    )


def redacted(text: str) -> str:
    """Remove the userinfo and the query from each URL in a text.

    `https://ann:secret@host/a?X-Amz-Signature=1f` becomes `https://host/a?…`. The names in a query don't show
    whether it is a signature, so no query is shown. The fragment after `#` is not part of the query and
    stays.
    """
    return _URL.sub(_shown, text)


def without_userinfo(text: str, url: str) -> str:
    """Remove the user name and the password of `url` from a text, wherever they occur."""
    secret = urlsplit(url).netloc.rpartition("@")[0]
    return text.replace(f"{secret}@", "") if secret else text


def _shown(url: re.Match[str]) -> str:
    rest, hash_mark, fragment = url["rest"].partition("#")
    rest, question_mark, _ = rest.partition("?")
    authority, slash, path = rest.partition("/")
    # A password may contain an unescaped slash, so everything before the last @ of the URL may be secret.
    if "@" in path and ":" in authority:
        authority, slash, path = rest.rpartition("@")[2].partition("/")
    shown = f"{url['scheme']}://{authority.rpartition('@')[2]}{slash}{path}"
    return shown + (f"{question_mark}…" if question_mark else "") + hash_mark + fragment
