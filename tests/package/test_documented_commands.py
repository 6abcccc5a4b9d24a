"""Commands in the documentation: each exists, with its options. Those of two pages are run, or say why not."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from tests.package.documents import blocks
from tintlab.cli import app

RUN = ("README.md", "docs/quickstart.md")
"""test_init.py runs their blocks of shell and Python."""

END = re.compile(r"[|&;<>()]+")
ASSIGNMENT = re.compile(r"\w+=")


def commands(code: str) -> Iterator[list[str]]:
    """The commands in lines of shell, as words."""
    for line in code.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars="|&;<>()")
        lexer.whitespace_split = True
        command: list[str] = []
        try:
            words = [*lexer, ";"]
        except ValueError:  # a quotation of several lines
            continue
        for word in words:
            if not END.fullmatch(word):
                command += [word] if command or not ASSIGNMENT.match(word) else []
            elif command:
                yield command
                command = []


def refuse_unknown(words: list[str]) -> None:
    """Read a command's arguments as the program does, without doing anything."""
    command: Any = typer.main.get_command(app)
    while hasattr(command, "commands") and words and not words[0].startswith("-"):
        command, *words = command.commands[words[0]], *words[1:]
    command.make_context("tintlab", words, resilient_parsing=words[:1] in (["-h"], ["--version"]))


def test_every_command_exists_with_its_options(repository: Path) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (repository / "Makefile").read_text(), re.MULTILINE))
    pages = [
        *repository.glob("*.md"),
        *(repository / "docs").glob("*.md"),
        repository / "presets" / "README.md",
    ]
    count = 0
    for block in (block for page in pages for block in blocks(page) if block.language in ("", "sh")):
        for program, *words in commands(block.code):
            try:
                if program == "tintlab":
                    refuse_unknown(words)
                    count += 1
                elif program == "make":
                    assert [word for word in words if word in targets], words
            except Exception as error:
                raise AssertionError(f"{block.page}: {program} {' '.join(words)}: {error!r}") from error
    assert count > 60
    with pytest.raises(Exception, match="--colour"):
        refuse_unknown(["score", "scans", "out", "--colour"])


@pytest.mark.parametrize("name", RUN)
def test_a_block_that_is_not_run_says_why(name: str, repository: Path) -> None:
    found = list(blocks(repository / name))
    assert {block.language for block in found} <= {"sh", "python"}
    for block in found:
        servers = re.search(r"tintlab (up|ui|studio)|make |pip install", block.code)
        assert not servers or block.why_long, block.code
