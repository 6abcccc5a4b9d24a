import json
import os
import stat
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, atomic_path, read_json, write_json, write_text

LONGEST = "ж" * 125 + ".json"  # 255 bytes: the most that file systems take


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


# --- files


def test_a_file_appears_whole_with_its_folders(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folder" / "file.bin"
    with atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        temporary.write_bytes(b"new")
        assert not path.exists()
    assert path.read_bytes() == b"new"
    assert names(path.parent) == ["file.bin"]
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt, OSError])
def test_a_fault_leaves_the_old_file_and_nothing_else(kind: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(kind), atomic_path(path) as temporary:
        temporary.write_bytes(b"half of the n")
        raise kind
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["file"]


def test_a_fault_leaves_no_file_where_there_was_none(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), atomic_path(tmp_path / "file") as temporary:
        temporary.write_bytes(b"half")
        raise RuntimeError
    assert names(tmp_path) == []


def test_content_reaches_the_disk_before_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")
    seen = []
    fsync = os.fsync

    def watched(handle: int) -> None:
        seen.append((os.fstat(handle).st_size, path.read_bytes()))
        fsync(handle)

    monkeypatch.setattr(os, "fsync", watched)
    with atomic_path(path) as temporary:
        temporary.write_bytes(b"brand new")
    assert seen == [(len(b"brand new"), b"old")]


def test_a_read_only_file_is_replaced_its_hard_links_stay(tmp_path: Path) -> None:
    path, cached = tmp_path / "file", tmp_path / "cached"
    path.write_bytes(b"old")
    cached.hardlink_to(path)  # as DVC links outputs to its cache
    path.chmod(0o444)
    write_text(path, "new")
    assert path.read_text() == "new"
    assert cached.read_bytes() == b"old"


def test_the_longest_names(tmp_path: Path) -> None:
    write_text(tmp_path / LONGEST, "new")
    with atomic_folder(tmp_path / LONGEST.replace(".", "-")):
        pass
    assert len(names(tmp_path)) == 2


def test_text_is_utf_8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "file", "a\nümläut\n")
    assert (tmp_path / "file").read_bytes() == b"a\n\xc3\xbcml\xc3\xa4ut\n"


# --- JSON

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(json_values.filter(lambda value: "\\ud" not in json.dumps(value)))
def test_json_survives_the_round_trip(tmp_path_factory: pytest.TempPathFactory, value: object) -> None:
    path = tmp_path_factory.getbasetemp() / "value.json"
    write_json(path, value)
    assert read_json(path) == value


def test_json_is_readable_and_always_the_same(tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"b": [1, 2.5], "a": "ü"})
    expected = '{\n  "b": [\n    1,\n    2.5\n  ],\n  "a": "ü"\n}\n'
    assert (tmp_path / "file").read_text(encoding="utf-8") == expected


@pytest.mark.parametrize("number", [float("nan"), float("inf"), float("-inf")])
def test_json_has_no_nan(number: float, tmp_path: Path) -> None:
    write_json(tmp_path / "file", {"old": 1})
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "file", {"new": [number]})
    assert read_json(tmp_path / "file") == {"old": 1}
    assert names(tmp_path) == ["file"]


@pytest.mark.parametrize("content", [b"", b"{", b"<<<<<<< HEAD\n{}\n", b"\xff\xfe\x00", b"\xff{}"])
def test_broken_json_is_one_clear_line(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "file.json").write_bytes(content)
    with pytest.raises(TintlabError) as caught:
        read_json(tmp_path / "file.json")
    assert str(caught.value).startswith(f"{tmp_path / 'file.json'} is not readable JSON")
    assert "\n" not in str(caught.value)


def test_missing_json_is_for_the_caller_to_explain(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / "file.json")


# --- folders


def fill(folder: Path, content: str) -> None:
    (folder / "inner").mkdir()
    for name in ("one", "two", "inner/three"):
        (folder / name).write_text(content)


def contents(folder: Path) -> set[str]:
    return {file.read_text() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    for content in ("old", "new"):
        with atomic_folder(tmp_path / "parent" / "folder") as temporary:
            assert names(temporary) == []
            fill(temporary, content)
    folder = tmp_path / "parent" / "folder"
    assert contents(folder) == {"new"}
    assert names(tmp_path / "parent") == ["folder"]
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.parametrize("kind", [RuntimeError, KeyboardInterrupt])
def test_a_fault_leaves_the_old_folder_and_nothing_else(kind: type[BaseException], tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "folder") as temporary:
        fill(temporary, "old")
    with pytest.raises(kind), atomic_folder(tmp_path / "folder") as temporary:
        fill(temporary, "new")
        assert contents(tmp_path / "folder") == {"old"}  # until the end
        raise kind
    assert contents(tmp_path / "folder") == {"old"}
    assert names(tmp_path) == ["folder"]


def test_a_folder_that_can_t_be_put_in_place_leaves_the_old_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "folder"
    with atomic_folder(folder) as temporary:
        fill(temporary, "old")
    replace = Path.replace

    def refusing(source: Path, target: Path) -> Path:
        if source.suffix == ".part":
            raise PermissionError(13, "Permission denied")
        return replace(source, target)

    monkeypatch.setattr(Path, "replace", refusing)
    with pytest.raises(PermissionError), atomic_folder(folder) as temporary:
        fill(temporary, "new")
    assert contents(folder) == {"old"}
    assert names(tmp_path) == ["folder"]


def test_a_folder_does_not_replace_a_file(tmp_path: Path) -> None:
    (tmp_path / "folder").write_text("a file")
    with pytest.raises(OSError, match="Not a directory"), atomic_folder(tmp_path / "folder"):
        pass
    assert (tmp_path / "folder").read_text() == "a file"
    assert names(tmp_path) == ["folder"]


def test_a_link_to_a_folder_is_replaced_its_target_stays(tmp_path: Path) -> None:
    with atomic_folder(tmp_path / "elsewhere") as temporary:
        fill(temporary, "old")
    (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
    with atomic_folder(tmp_path / "folder") as temporary:
        fill(temporary, "new")
    assert contents(tmp_path / "folder") == {"new"}
    assert not (tmp_path / "folder").is_symlink()
    assert contents(tmp_path / "elsewhere") == {"old"}
    assert names(tmp_path) == ["elsewhere", "folder"]


# --- readers in another process

READ_FILE = """
    data = path.read_bytes()
    assert len(data) == 300_000 and len(set(data)) == 1, (len(data), set(data))
"""
READ_FOLDER = """
    try:
        held = [(path / name).read_text() for name in ("one", "two", "inner/three")]
    except FileNotFoundError:
        held = []  # between the two renames, or the folder moved on while it was read
    assert all(text in ("0", "1") for text in held), held
    gaps += not held
"""


@contextmanager
def reader(path: Path, read: str) -> Iterator[None]:
    """Another process that reads `path` again and again, and fails when it sees half of something."""
    stop = path.with_name("stop")
    program = (
        "import sys\nfrom pathlib import Path\npath, stop = map(Path, sys.argv[1:])\nreads = gaps = 0\n"
        "print('ready', flush=True)\n"
        f"while not stop.exists():{textwrap.indent(textwrap.dedent(read), '    ')}    reads += 1\n"
        "assert reads > 20, reads\nassert gaps < reads / 2, (gaps, reads)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program, str(path), str(stop)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield
    time.sleep(0.1)
    stop.touch()
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors


def test_a_reader_never_sees_half_a_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_text(path, "a" * 300_000)
    with reader(path, READ_FILE):
        for number in range(200):
            write_text(path, "ab"[number % 2] * 300_000)
    assert names(tmp_path) == ["file", "stop"]


def test_a_reader_never_sees_half_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    with atomic_folder(folder) as temporary:
        fill(temporary, "0")
    with reader(folder, READ_FOLDER):
        for number in range(200):
            with atomic_folder(folder) as temporary:
                fill(temporary, str(number % 2))
            time.sleep(0.001)
    assert names(tmp_path) == ["folder", "stop"]


def test_two_writers_end_with_one_whole_file(tmp_path: Path) -> None:
    program = (
        "import sys\nfrom pathlib import Path\nfrom tintlab.system.files import write_text\n"
        "for _ in range(50): write_text(Path(sys.argv[1]), sys.argv[2] * 100_000)\n"
    )
    path = tmp_path / "file"
    writers = [subprocess.Popen([sys.executable, "-c", program, str(path), letter]) for letter in "ab"]
    assert [writer.wait(60) for writer in writers] == [0, 0]
    assert path.read_text() in ("a" * 100_000, "b" * 100_000)
    assert names(tmp_path) == ["file"]


# --- writers that were killed

WRITER = """
import os, signal, sys
from pathlib import Path
from tintlab.system import files
with files.atomic_{kind}(Path(sys.argv[1])) as temporary:
    (temporary / "file" if "{kind}" == "folder" else temporary).write_text("half")
    print(temporary.name, flush=True)
    {then}
"""


def writer(kind: str, path: Path, then: str) -> "subprocess.Popen[str]":
    code = WRITER.format(kind=kind, then=then)
    process = subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline().endswith(".part\n")
    return process


@pytest.mark.parametrize("kind", ["path", "folder"])
def test_guard_only_files_of_dead_writers_are_swept(tmp_path: Path, kind: str) -> None:
    """Guard: `files._sweep`, and the lock by which it knows the living."""
    path = tmp_path / "data" / "thing"
    killed = writer(kind, path, "os.kill(os.getpid(), signal.SIGKILL)")
    killed.communicate()
    assert len(names(path.parent)) == 1
    living = writer(kind, path, "sys.stdin.readline()")
    (kept,) = names(path.parent)
    assert kept.startswith(".thing.")
    write_text(path.parent / "other", "")
    assert names(path.parent) == [kept, "other"]
    living.communicate()
    assert names(path.parent) == ["other", "thing"]


def test_a_working_folder_goes_and_a_killed_one_goes_with_the_next(tmp_path: Path) -> None:
    code = (
        "import os, signal\nfrom tintlab.system.files import temporary_folder\n"
        "with temporary_folder('work') as folder:\n    (folder / 'file').touch()\n    {then}"
    )
    for then, left in (("os.kill(os.getpid(), signal.SIGKILL)", 1), ("pass", 0)):
        subprocess.run(
            [sys.executable, "-c", code.format(then=then)],
            env={**os.environ, "TMPDIR": str(tmp_path)},
            check=False,
        )
        assert len(names(tmp_path)) == left


def test_guard_a_folder_returns_after_a_kill_between_renames(
    tmp_path: Path,
) -> None:
    """Guard: `files._recover_old`."""
    folder = tmp_path / "folder"
    with atomic_folder(folder) as temporary:
        fill(temporary, "old")
    between = "replace = Path.replace; Path.replace = lambda a, b: (replace(a, b), os.kill(os.getpid(), 9))"
    writer("folder", folder, between).communicate()
    assert not folder.exists()
    with pytest.raises(ZeroDivisionError), atomic_folder(folder):
        assert contents(folder) == {"old"}
        raise ZeroDivisionError
    assert contents(folder) == {"old"}


def test_a_full_disk_is_told_with_the_file_s_name(tmp_path: Path) -> None:
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*photos\.csv'"),
        atomic_path(tmp_path / "photos.csv"),
    ):
        Path("/dev/full").write_text("a line")
