import os
import shutil
from pathlib import Path

import pytest

from tests.ordinary_user import as_ordinary_user
from tintlab.sources.walk import Walk, Why, walk
from tintlab.system.errors import TintlabError


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


def names(folder: Path, found: Walk) -> list[str]:
    return [file.relative_to(folder).as_posix() for file in found.files]


def reasons(folder: Path, found: Walk) -> dict[str, Why]:
    return {one.path.relative_to(folder).as_posix(): one.why for one in found.left_out}


def test_folders_that_can_t_be_read_are_named(open_folder: Path) -> None:
    touch(open_folder, "a.jpg", "secret/b.jpg", "names-only/c.jpg", "names-only/sub/d.jpg")
    (open_folder / "secret").chmod(0o000)
    (open_folder / "names-only").chmod(0o744)
    found = as_ordinary_user(lambda: walk(open_folder))
    assert names(open_folder, found) == ["a.jpg", "names-only/c.jpg"]
    assert reasons(open_folder, found) == {
        "secret": Why.UNREADABLE,
        "names-only/sub": Why.UNREADABLE,
    }
    assert [one.reason for one in found.left_out] == ["can't be entered: Permission denied"] * 2
    assert all(one.may_hide_photographs for one in found.left_out)


def test_a_whole_folder_that_can_t_be_read_is_one_line(open_folder: Path) -> None:
    touch(open_folder, "secret/b.jpg")
    (open_folder / "secret").chmod(0o000)

    def fault() -> str:
        with pytest.raises(TintlabError) as error:
            walk(open_folder / "secret")
        return str(error.value)

    assert "secret can't be entered: Permission denied: " in as_ordinary_user(fault)


def test_linked_folders_are_named_and_entered_on_request(tmp_path: Path) -> None:
    scans = touch(tmp_path / "scans", "a.jpg")
    touch(tmp_path / "album", "b.jpg", "1931/c.jpg")
    (scans / "album").symlink_to(tmp_path / "album")
    without = walk(scans)
    assert names(scans, without) == ["a.jpg"]
    assert reasons(scans, without) == {"album": Why.LINKED}
    assert without.left_out[0].may_hide_photographs
    found = walk(scans, follow_links=True)
    assert names(scans, found) == ["a.jpg", "album/1931/c.jpg", "album/b.jpg"]
    assert not found.left_out


def test_links_in_circles_end_and_each_file_is_taken_once(tmp_path: Path) -> None:
    scans = touch(tmp_path / "scans", "1/a.jpg", "1/2/b.jpg")
    touch(tmp_path / "album", "c.jpg")
    (scans / "1/2/up").symlink_to(scans)
    (scans / "again").symlink_to(scans / "1")
    (scans / "album").symlink_to(tmp_path / "album")
    (scans / "album2").symlink_to(tmp_path / "album")
    (tmp_path / "album/back").symlink_to(scans)
    (scans / "all").symlink_to(tmp_path)
    (scans / "1/same.jpg").symlink_to("a.jpg")
    (scans / "other.jpg").symlink_to(tmp_path / "album/c.jpg")
    found = walk(scans, follow_links=True)
    assert names(scans, found) == ["1/2/b.jpg", "1/a.jpg", "album/c.jpg"]
    assert set(reasons(scans, found).values()) == {Why.TWICE}
    without = walk(scans)
    assert names(scans, without) == ["1/2/b.jpg", "1/a.jpg", "1/same.jpg", "other.jpg"]
    assert reasons(scans, without) == {
        "1/2/up": Why.TWICE,
        "again": Why.TWICE,
        "album": Why.LINKED,
        "album2": Why.LINKED,
        "all": Why.LINKED,
    }


def test_links_to_nowhere_and_pipes_are_files(tmp_path: Path) -> None:
    (tmp_path / "lost.jpg").symlink_to(tmp_path / "nowhere")
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "pipe")
    assert names(tmp_path, walk(tmp_path, follow_links=True)) == ["circle", "lost.jpg", "pipe"]


def test_hidden_ones_are_named_or_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", ".b.jpg", ".trash/c.jpg")
    found = walk(tmp_path)
    assert names(tmp_path, found) == ["a.jpg"]
    assert reasons(tmp_path, found) == {".b.jpg": Why.HIDDEN, ".trash": Why.HIDDEN}
    assert not any(one.may_hide_photographs for one in found.left_out)
    assert names(tmp_path, walk(tmp_path, with_hidden=True)) == [".b.jpg", ".trash/c.jpg", "a.jpg"]


def test_what_is_asked_for_each_folder(tmp_path: Path) -> None:
    touch(tmp_path, "a/1.jpg", "b/2.jpg", "c/3.jpg")
    found = walk(
        tmp_path,
        leave_out=lambda folder: Why.OUTPUT if folder.name == "b" else None,
        may_enter=lambda folder: folder.name != "c",
    )
    assert names(tmp_path, found) == ["a/1.jpg"]
    assert reasons(tmp_path, found) == {"b": Why.OUTPUT}
    assert found.left_out[0].reason == "is the output of a scoring"


def test_very_deep_folders_are_named_where_the_system_ends(tmp_path: Path) -> None:
    here = Path.cwd()
    try:
        os.chdir(tmp_path)
        for _ in range(25):  # each path element of 200 letters; 4096 is the limit
            Path("x" * 200).mkdir()
            os.chdir("x" * 200)
        Path("deep.jpg").touch()
    finally:
        os.chdir(here)
    found = walk(tmp_path)
    assert not found.files
    assert [one.reason for one in found.left_out] == ["can't be entered: File name too long"]
    shutil.rmtree(tmp_path / ("x" * 200))
