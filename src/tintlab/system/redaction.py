"""Text for logs and pages, without the credentials that URLs carry."""

import re

_URL = re.compile(r"\b(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*)://(?P<rest>[^\s'\"<>`]+)")


def redacted(text: str) -> str:
    """The same text; URLs in it lose their userinfo, and the values of their queries.

    `https://ann:secret@host/a?X-Amz-Signature=1f` becomes `https://host/a?…`: whether a query is a signature
    can't be told from its names alone, so none is shown. What follows `#` is no query and stays.
    """
    return _URL.sub(_shown, text)


def _shown(url: re.Match[str]) -> str:
    rest, hash_mark, fragment = url["rest"].partition("#")
    rest, question_mark, _ = rest.partition("?")
    authority, slash, path = rest.partition("/")
    # A password may hold a slash that was not escaped: all before the last @ of the URL may be secret.
    if "@" in path and ":" in authority:
        authority, slash, path = rest.rpartition("@")[2].partition("/")
    shown = f"{url['scheme']}://{authority.rpartition('@')[2]}{slash}{path}"
    return shown + (f"{question_mark}…" if question_mark else "") + hash_mark + fragment
