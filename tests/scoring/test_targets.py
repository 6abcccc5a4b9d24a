"""Names of coloured files: distinct on file systems that fold case or normal forms, and the same on all."""

import shutil
import subprocess
import unicodedata
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintlab.scoring.targets import fold, meet, name_targets

E_ACUTE, E_AND_ACUTE = "caf\N{LATIN SMALL LETTER E WITH ACUTE}", "cafe\N{COMBINING ACUTE ACCENT}"


def targets(*names: str) -> list[str]:
    return [target.as_posix() for target in name_targets([Path(name) for name in names], ".png")]


def test_names_that_differ_in_case_stay_apart() -> None:
    assert targets("B.JPG", "b.tif") == ["B.JPG.png", "b.tif.png"]
    assert targets("A.jpg", "a.jpg") == ["A.jpg~c88c8fca.png", "a.jpg~509b0d46.png"]
    assert targets("A/x.jpg", "a/y.jpg", "a/x.tif") == ["A/x.jpg.png", "a/y.png", "a/x.tif.png"]


def test_normal_forms_and_sharp_s_stay_apart() -> None:
    for one, other in ((E_ACUTE, E_AND_ACUTE), ("Straße", "STRASSE"), ("ǅ", "ǆ")):
        found = targets(f"{one}.jpg", f"{other}.jpg")
        assert len({fold(target) for target in found}) == 2


def test_a_file_and_a_folder_of_one_name_stay_apart() -> None:
    assert targets("a.jpg", "a.png/x.jpg") == ["a.jpg.png", "a.png/x.png"]
    assert targets("a.jpg", "A.PNG/x.jpg") == ["a.jpg.png", "A.PNG/x.png"]


def test_plain_names_stay_plain() -> None:
    assert targets("a.jpg", "b.tif", "1920/a.jpg") == ["a.png", "b.png", "1920/a.png"]
    assert targets("a.jpg", "a.png", "a") == ["a.jpg.png", "a.png.png", "a.png"]


def test_overwriting_is_seen_whatever_the_case() -> None:
    assert meet([Path("/out/A.png")], [Path("/out/sub/../a.PNG")]) == Path("/out/A.png")
    assert meet([Path("/out/A.png")], [Path("/out/b.png")]) is None


parts = st.sampled_from(["a", "A", "a.jpg", "A.JPG", "a.png", "ß", "SS", E_ACUTE, E_AND_ACUTE, "b"])
suffixes = st.sampled_from(["", ".jpg", ".JPG", ".png", ".tif"])
file_names = st.tuples(st.lists(parts, max_size=2), parts, suffixes).map(
    lambda made: "/".join([*made[0], made[1] + made[2]])
)


@given(st.sets(file_names, min_size=1, max_size=12))
def test_no_two_of_a_random_archive_meet(found: set[str]) -> None:
    # A name can't be a file and a folder at once.
    found = {name for name in found if not any(other.startswith(f"{name}/") for other in found)}
    made = name_targets([Path(name) for name in sorted(found)], ".png")
    folded = {fold(target) for target in made}
    assert len(folded) == len(found)
    folders = {fold(parent) for target in made for parent in target.parents}
    assert not folded & folders


@given(st.sets(file_names, min_size=1, max_size=8))
def test_names_do_not_depend_on_the_order(found: set[str]) -> None:
    ordered = sorted(Path(name) for name in found)
    there = dict(zip(ordered, name_targets(ordered, ".png"), strict=True))
    back = dict(zip(ordered[::-1], name_targets(ordered[::-1], ".png"), strict=True))
    assert there == back


def test_on_a_disk_that_folds_case(tmp_path: Path) -> None:
    """A real one, where this machine can mount it: as many files as names."""
    image, disk = tmp_path / "disk.img", tmp_path / "disk"
    disk.mkdir()
    if not shutil.which("mkfs.vfat"):
        pytest.skip("mkfs.vfat is missing: apt-get install dosfstools")
    with image.open("wb") as file:
        file.truncate(8 << 20)
    subprocess.run(["mkfs.vfat", str(image)], check=True, capture_output=True)
    mount = ["mount", "-o", "loop,utf8,shortname=mixed", str(image), str(disk)]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this machine mounts no vfat disk")
    try:
        names = ["A.jpg", "a.jpg", "B.JPG", "b.tif", f"{unicodedata.normalize('NFC', 'é')}.jpg", "É.jpg"]
        for target in name_targets([Path(name) for name in names], ".png"):
            (disk / target).write_text("")
        assert len(list(disk.iterdir())) == len(names)
    finally:
        subprocess.run(["umount", str(disk)], check=True)
