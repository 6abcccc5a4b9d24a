"""What is printed can't fail: real locales of other encodings, a terminal that is a file, odd names."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from rich.table import Table

from tests.conftest import encode, make_picture
from tintlab.system import console
from tintlab.system.console import one_line, printable, progress
from tintlab.system.errors import TintlabError

HARD = "→ ΔE00 ½ … λ “x” é Łódź 写真 \udce9"
SOURCE = f"""
from tintlab.system import console, entry_point
from rich.table import Table

def main():
    text = {HARD!a}
    console.say(text)
    console.say(text, error=True)
    print(text)
    table = Table("a", "b")
    table.add_row(text, text)
    console.print_table(table)
    for _ in console.progress(range(2), "files", text, 2):
        pass
    raise SystemExit(0)

entry_point.run(main)
"""


@pytest.fixture(scope="session")
def latin_1(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a terminal in a real locale `de_DE.ISO-8859-1`."""
    if not shutil.which("localedef"):
        pytest.skip("localedef is missing: apt-get install libc-bin")
    folder = tmp_path_factory.mktemp("locales")
    made = subprocess.run(
        ["localedef", "-i", "de_DE", "-f", "ISO-8859-1", str(folder / "de_DE.ISO-8859-1")],
        check=False,
        capture_output=True,
        text=True,
    )
    if not (folder / "de_DE.ISO-8859-1").is_dir():
        pytest.skip(f"localedef made no locale ({made.stderr.strip()[:100]}): apt-get install locales")
    return bare_environment() | {"LOCPATH": str(folder), "LC_ALL": "de_DE.ISO-8859-1"}


def bare_environment() -> dict[str, str]:
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("LC_", "LANG", "PYTHON"))
    }
    return ours | ({"PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {})


def run(
    environment: dict[str, str], *command: str, folder: Path | None = None
) -> "subprocess.CompletedProcess[bytes]":
    return subprocess.run(
        [sys.executable, *command], env=environment, capture_output=True, timeout=120, check=False, cwd=folder
    )


def test_a_latin_1_terminal(latin_1: dict[str, str]) -> None:
    assert run(latin_1, "-c", "import sys; print(sys.stdout.encoding)").stdout == b"iso8859-1\n"
    result = run(latin_1, "-c", SOURCE)
    assert result.returncode == 0, result.stderr
    first = result.stdout.decode("latin-1").splitlines()[0]
    assert first == '-> dE00 ½ ... lambda "x" é \\u0141ódz \\u5199\\u771f \\udce9'
    assert b"Traceback" not in result.stderr
    assert result.stderr.decode("latin-1").splitlines()[0] == first


@pytest.mark.parametrize(
    "variables",
    [
        {"LC_ALL": "C"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "ascii"},
        {"PYTHONIOENCODING": "cp437:strict"},
        {"PYTHONIOENCODING": "utf-8:strict"},
    ],
    ids=lambda variables: " ".join(variables.values()),
)
def test_other_terminals(variables: dict[str, str]) -> None:
    result = run(bare_environment() | variables, "-c", SOURCE)
    assert (result.returncode, b"Traceback" in result.stderr) == (0, False), result.stderr


def test_commands_in_a_latin_1_terminal(latin_1: dict[str, str], tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    for name in (b"caf\xe9.jpg", "Łódź →.jpg".encode()):
        Path(os.fsdecode(os.fsencode(scans) + b"/" + name)).write_bytes(encode(make_picture(), "JPEG"))
    program = "from tintlab.cli import main; main()"
    for command in (
        ["score", "scans", "out", "--dry-run"],
        ["doctor"],
        ["trace", "scans/nothing→.jpg"],
        ["--help"],
    ):
        result = run(latin_1, "-c", program, *command, folder=tmp_path)
        assert result.returncode in (0, 1), (command, result.stderr)
        assert b"Traceback" not in result.stderr, (command, result.stderr.decode("latin-1"))
        assert result.stdout or result.stderr.startswith(b"error: ")


def test_programs_that_are_started_can_t_fail_either(latin_1: dict[str, str]) -> None:
    source = (
        "import subprocess, sys\n"
        "from tintlab.system.entry_point import prepare_environment\n"
        "prepare_environment()\n"
        "sys.exit(subprocess.run([sys.executable, '-c', 'print(chr(0x2192))']).returncode)"
    )
    result = run(latin_1, "-c", source)
    assert (result.returncode, result.stdout) == (0, b"\\u2192\n"), result.stderr


def test_tables_are_printed(capsys: pytest.CaptureFixture[str]) -> None:
    table = Table("figure", box=None)
    table.add_row("ΔE00")
    console.print_table(table)
    assert [line.strip() for line in capsys.readouterr().out.splitlines()] == ["figure", "ΔE00"]


def test_progress_passes_every_item_and_reports_on_stderr(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(progress(iter("abc"), "files", "gathering", 3)) == ["a", "b", "c"]
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "gathering" in captured.err
    assert "3/3" in captured.err


def test_printable() -> None:
    assert printable("Größe 5 µm.jpg") == "Größe 5 µm.jpg"
    assert printable("a\nb\x1b[31m\u202ec\udce9") == "a\\nb\\x1b[31m\\u202ec\\udce9"


def test_one_line() -> None:
    assert one_line(TintlabError("a\n\tb  c")) == "a b c"
    assert one_line(ValueError()) == "ValueError"
