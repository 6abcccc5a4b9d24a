"""The code blocks of Markdown pages."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^<!-- long: (?P<why>[^\n]+) -->\n)?^```(?P<language>\w*)\n(?P<code>.*?)^```$", re.M | re.S
)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: its file's name.
        language: sh, python and so on; empty without one.
        code: what it holds.
        why_long: why no test runs it, as the comment before it says; empty where one does.
    """

    page: str
    language: str
    code: str
    why_long: str


def blocks(page: Path) -> Iterator[Block]:
    """The fenced blocks of a page, in order."""
    for found in _BLOCK.finditer(page.read_text(encoding="utf-8")):
        yield Block(page.name, found["language"], found["code"], found["why"] or "")


def script(page: Path) -> str:
    """All blocks of shell and Python that are not long, as one shell script."""
    lines = ["set -eux"]
    for block in blocks(page):
        if block.why_long:
            continue
        if block.language == "sh":
            lines.append(block.code)
        elif block.language == "python":
            lines.append(f"python - <<'PYTHON'\n{block.code}PYTHON\n")
    return "\n".join(lines)
