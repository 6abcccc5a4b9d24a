"""For MkDocs: links that leave docs/ stay links in the repository and become plain text on the site."""

import re
from typing import Any

_OUTSIDE = re.compile(r"\[([^\]]+)\]\(\.\./[^)]*\)")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Replace `[text](../FILE)` by its text."""
    return _OUTSIDE.sub(r"\1", markdown)
