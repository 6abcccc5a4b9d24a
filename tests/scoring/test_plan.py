import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintlab.scoring.plan import Plan, plan
from tintlab.system.errors import TintlabError

NAMES = ["a.jpg", "a.png", "a.jpg.jpg", "a.jpg.jpg.tif", "b", "b.png", "c.d.jpg", "sub/c.jpg"]


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def targets(found: Plan) -> dict[str, str]:
    return {photo.name: photo.target.as_posix() for photo in found.photos}


@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp"])
def test_no_two_files_of_a_tree_become_one(suffix: str, tmp_path: Path) -> None:
    found = targets(plan(touch(tmp_path / "scans", *NAMES), tmp_path / "out", suffix))
    assert len(found) == len(set(found.values())) == len(NAMES)
    assert found["c.d.jpg"] == f"c.d{suffix}"
    assert found["sub/c.jpg"] == f"sub/c{suffix}"


stems = st.sampled_from(["a", "a.jpg", "a.png", "a.jpg.png", "b"])
suffixes = st.sampled_from(["", ".jpg", ".png", ".tif"])


@given(st.sets(st.tuples(stems, suffixes).map("".join), min_size=1))
def test_whatever_the_names(names: set[str]) -> None:
    from tintlab.scoring.targets import name_targets

    found = name_targets([Path(name) for name in sorted(names)], ".png")
    assert len(set(found)) == len(names)


def test_hidden_files_and_what_is_no_photograph_are_left_out(tmp_path: Path) -> None:
    scans = touch(tmp_path / "scans", "a.jpg", ".b.jpg", ".trash/c.jpg", "d.XMP", "Thumbs.db", "e.nef", "f")
    found = plan(scans, tmp_path / "out", ".png")
    assert sorted(targets(found)) == ["a.jpg", "e.nef", "f"]
    assert {one.name: one.kind for one in found.skipped} == {
        ".b.jpg": "hidden",
        ".trash/": "hidden",
        "Thumbs.db": "by suffix",
        "d.XMP": "by suffix",
    }


def test_output_inside_input_is_no_input(tmp_path: Path) -> None:
    scans = touch(tmp_path / "scans", "a.jpg", "out/a.png", "earlier/.tintlab-score/lock", "earlier/a.png")
    assert list(targets(plan(scans, scans / "out", ".png"))) == ["a.jpg"]
    assert list(targets(plan(str(scans / "**"), scans / "out", ".png"))) == ["a.jpg", "earlier/a.png"]


def test_photographs_are_never_overwritten(tmp_path: Path) -> None:
    scans = touch(tmp_path / "scans", "scans/a.tif", "a.png")
    for itself in (scans, str(scans / "*.png")):
        with pytest.raises(TintlabError, match="INPUT itself"):
            plan(itself, tmp_path / "other/../scans", ".png")
    with pytest.raises(TintlabError, match=r"a\.png would overwrite a photograph"):
        plan(scans / "a.png", scans, ".png")
    assert targets(plan(scans / "a.png", scans, ".jpg")) == {"a.png": "a.jpg"}
    touch(scans, "1/b.png")
    (tmp_path / "out").mkdir()
    (tmp_path / "out/1").symlink_to(scans / "1")
    with pytest.raises(TintlabError, match=r"b\.png would overwrite a photograph"):
        plan(scans, tmp_path / "out", ".png")


def test_a_list_names_photographs_relative_to_itself(tmp_path: Path) -> None:
    touch(tmp_path / "scans", "1/a.jpg", "2/b c.tif")
    (tmp_path / "scans/which.txt").write_bytes(b"1/a.jpg\r\n\n2/b c.tif\n1/../1/a.jpg\nmissing.jpg\n")
    found = plan(tmp_path / "scans/which.txt", tmp_path / "out", ".png")
    assert targets(found) == {"1/a.jpg": "1/a.png", "2/b c.tif": "2/b c.png", "missing.jpg": "missing.png"}
    assert found.photos[0].source == tmp_path / "scans/1/a.jpg"


def test_a_list_of_photographs_keeps_the_paths_they_do_not_share(tmp_path: Path) -> None:
    touch(tmp_path, "disk/1/a.jpg", "disk/2/b.jpg")
    (tmp_path / "lists").mkdir()
    lines = f"{tmp_path}/disk/1/a.jpg\n{tmp_path}/disk/2/b.jpg\n"
    (tmp_path / "lists/all.lst").write_text(lines)
    assert list(targets(plan(tmp_path / "lists/all.lst", tmp_path / "out", ".png"))) == ["1/a.jpg", "2/b.jpg"]


def test_a_pattern_keeps_what_its_wildcards_matched(tmp_path: Path) -> None:
    touch(tmp_path / "scans", "1/x/a.tif", "1/b.jpg", "2/c.tif")
    assert targets(plan(str(tmp_path / "scans/**/*.tif"), tmp_path / "out", ".png")) == {
        "1/x/a.tif": "1/x/a.png",
        "2/c.tif": "2/c.png",
    }
    assert list(targets(plan(str(tmp_path / "scans/1/?.jpg"), tmp_path / "out", ".png"))) == ["b.jpg"]


def test_one_photograph_and_none(tmp_path: Path) -> None:
    touch(tmp_path / "scans", "a.jpg")
    assert targets(plan(tmp_path / "scans/a.jpg", tmp_path / "out", ".png")) == {"a.jpg": "a.png"}
    with pytest.raises(TintlabError, match="no folder, list, pattern or photograph"):
        plan(tmp_path / "nowhere", tmp_path / "out", ".png")
    (tmp_path / "empty.txt").touch()
    with pytest.raises(TintlabError, match="names no photographs"):
        plan(tmp_path / "empty.txt", tmp_path / "out", ".png")


def test_names_that_are_no_utf8_have_a_text(tmp_path: Path) -> None:
    scans = tmp_path / "scans"
    scans.mkdir()
    Path(os.fsdecode(os.fsencode(scans) + b"/caf\xe9\n.jpg")).touch()
    [photo] = plan(scans, tmp_path / "out", ".png").photos
    assert photo.name == "caf\\xe9\n.jpg"
    assert photo.source.exists()
    photo.name.encode()
