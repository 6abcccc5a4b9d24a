"""Whatever an archive holds: dry run, summary, manifest, files and exit status say the same of each file."""

import io
import os
import re
import shutil
import tempfile
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from PIL import Image
from typer.testing import CliRunner

from tests.conftest import make_picture
from tests.ordinary_user import as_ordinary_user
from tests.scoring.conftest import make_settings, saved
from tintlab.cli import app
from tintlab.scoring import archive, manifest
from tintlab.scoring.targets import fold
from tintlab.scoring.trace import trace

_JPEG = saved(Image.fromarray(make_picture(24, 16)), "JPEG")
_PAGES = tuple(Image.fromarray(make_picture(24, 16, seed=seed)).convert("L") for seed in range(3))
_ALBUM = saved(_PAGES[0], "TIFF", save_all=True, append_images=_PAGES[1:])
CONTENTS = {
    "photo": _JPEG,
    "broken": _JPEG[:200],
    "empty": b"",
    "pages": _ALBUM,
    "frames": saved(_PAGES[0], "GIF", save_all=True, append_images=_PAGES[1:]),
}
"""What a file may hold."""

names = st.sampled_from(
    ["a.jpg", "A.JPG", "a.png", "a", "b.tif", "B.TIF", "ä.jpg", "notes.txt", "x.XMP", ".h.jpg"]
)
folder_names = st.sampled_from(["1920", "Box", "box", "a.png", ".trash", "out", "done"])
leaves = st.sampled_from([*CONTENTS, "lost link", "link to a file", "link to a folder", "link outside"])
trees = st.recursive(
    st.dictionaries(names, leaves, max_size=5),
    lambda inner: st.dictionaries(names | folder_names, leaves | inner, max_size=5),
    max_leaves=14,
)


def build(tree: dict[str, object], folder: Path, outside: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in sorted(tree.items()):
        path = folder / name
        if name == "out" and (not isinstance(content, dict) or "link" in str(content)):
            continue  # OUTPUT that is a file is refused, and links in it lead elsewhere
        if isinstance(content, dict):
            build(content, path, outside)
        elif content == "lost link":
            path.symlink_to(folder / "nowhere")
        elif content == "link to a file":
            path.symlink_to(outside / "linked.jpg")
        elif content == "link to a folder":
            path.symlink_to("..")
        elif content == "link outside":
            path.symlink_to(outside)
        else:
            path.write_bytes(CONTENTS[str(content)])
        if name == "done" and path.is_dir() and not path.is_symlink():
            (path / manifest.STATE).mkdir(exist_ok=True)


def count_files(folder: Path, output: Path) -> int:
    """Files in the folders that are entered without following links, counted by other means."""
    total = 0
    for entry in os.scandir(folder):
        if not entry.is_dir():
            total += 1
        elif not (entry.is_symlink() or entry.name.startswith(".") or Path(entry.path) == output):
            is_output = (Path(entry.path) / manifest.STATE).is_dir()
            total += 0 if is_output else count_files(Path(entry.path), output)
    return total


def part_about(word: str, said: str) -> str:
    """The part of a summary such as `2 files skipped (1 hidden, 1 by suffix)`."""
    part = re.search(rf"\d+ (files?|folders?) {word} \(([^)]*)\)", said)
    return part[0] if part else ""


def kinds_in(said: str, word: str) -> int:
    """The sum of the kinds in that part, which is also the number before it."""
    number, *kinds = map(int, re.findall(r"\d+", part_about(word, said)) or [0])
    assert sum(kinds) == number
    return number


def sums(said: str) -> list[int]:
    """The numbers of a summary; of `5 pages in 3 files found` the pages."""
    return list(map(int, re.findall(r"\d+", re.sub(r" pages in \d+", "", said))))


def check_agreement(tree: dict[str, object], model: Path, place: Path, follow_links: bool) -> None:
    scans, output, outside = place / "scans", place / "scans/out", place / "outside"
    build({"sure.jpg": "photo", **tree}, scans, outside)
    build({"linked.jpg": "photo", "b.jpg": "photo"}, outside, outside)
    settings = replace(make_settings(model, output), working_size=32, workers=1)
    planned = archive.plan_scoring(scans, settings, follow_links)
    dry = archive.preview(planned).splitlines()[-1]
    if not follow_links:
        assert planned.plan.files == count_files(scans, output)
    made_before = {path for path in output.rglob("*") if path.is_file()}
    result = archive.score(scans, settings, lambda _: None, follow_links)
    rows = pq.read_table(output / manifest.MANIFEST).to_pandas()
    outcomes = Counter(rows["outcome"])
    folders = rows[rows["input"].str.endswith("/")]
    files = rows[~rows["input"].str.endswith("/")]
    # Plan and manifest: every file once, or each of its pages once.
    assert files["input"].nunique() == planned.plan.files
    assert len(files) == len(files[["input", "page"]].drop_duplicates()) == planned.plan.pages
    assert len(folders) == sum(one.is_folder for one in planned.plan.skipped)
    assert outcomes["coloured"] == result.coloured
    assert outcomes["quarantined"] == len(result.quarantined)
    # The summary's numbers, as a reader adds them up.
    said = result.line()
    found, coloured, bad = sums(said)[:3]
    assert found == coloured + bad + kinds_in(said, "skipped") == planned.plan.pages
    assert (coloured, bad) == (result.coloured, len(result.quarantined))
    assert sums(dry)[:2] == [found, coloured + bad]
    for word in ("skipped", "not entered"):
        assert part_about(word, dry) == part_about(word, said)
    assert kinds_in(said, "not entered") == len(folders)
    # Files on the disk, also where case is folded.
    made = {path for path in output.rglob("*.png") if path.is_file()} - made_before
    assert len({fold(path) for path in made}) == len(made) == coloured
    pages = int(rows["more_pages"].fillna(0).sum())
    assert pages == sum(result.more_pages)
    assert ("more page" in said) == bool(pages)
    lost = folders["reason"].str.contains("can't be entered|is a linked folder").any()
    assert result.status == (1 if not coloured else 2 if bad or lost else 0)


@pytest.mark.parametrize("follow_links", [False, True])
@effort(max_examples=10, suppress_health_check=[HealthCheck.too_slow])
@given(tree=trees)
def test_all_sums_agree_on_random_trees(tree: dict[str, object], follow_links: bool, model: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        check_agreement(tree, model, Path(place), follow_links)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("follow_links", [False, True])
@effort(max_examples=250, suppress_health_check=[HealthCheck.too_slow])
@given(tree=trees)
def test_all_sums_agree_on_500_random_trees(tree: dict[str, object], follow_links: bool, model: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        check_agreement(tree, model, Path(place), follow_links)


def test_an_unreadable_folder_is_said_everywhere(model: Path, open_folder: Path) -> None:
    scans, output = open_folder / "scans", open_folder / "out"
    build(
        {"a.jpg": "photo", "notes.txt": "empty", "secret": {"b.jpg": "photo"}}, scans, open_folder / "outside"
    )
    (open_folder / "outside").mkdir()
    (scans / "album").symlink_to(open_folder / "outside")
    # Everything is imported here: that user may not be allowed to read Python's own files.
    archive.score(scans / "a.jpg", make_settings(model, open_folder / "first"), lambda _: None)
    (scans / "secret").chmod(0o000)
    weights = open_folder / "model"
    shutil.copytree(model, weights)
    for path in (weights, *weights.iterdir()):
        path.chmod(0o755)

    def run() -> list[tuple[int, list[str]]]:
        command = ["score", str(scans), str(output), "--model", str(weights), "--engine", "torch"]
        results = [CliRunner().invoke(app, [*command, *more]) for more in (["--dry-run"], [])]
        return [(one.exit_code, one.stdout.splitlines()) for one in results]

    left_out = (
        "1 file skipped (1 by suffix), 2 folders not entered (1 linked, see --follow-links, 1 unreadable)"
    )
    (dry_status, dry), (status, said) = as_ordinary_user(run)
    assert (dry_status, status) == (2, 2), (dry, said)
    assert dry[-1].endswith(left_out)
    assert said[-1] == f"2 files found: 1 photograph coloured, 0 files can't be used, {left_out}"
    rows = pq.read_table(output / manifest.MANIFEST).to_pandas().set_index("input")["reason"]
    assert rows["secret/"] == "can't be entered: Permission denied"
    assert rows["album/"] == "is a linked folder, which is not entered"


def test_what_was_skipped_once_may_be_entered_later(model: Path, tmp_path: Path) -> None:
    scans, settings = tmp_path / "scans", make_settings(model, tmp_path / "out")
    build({"a.jpg": "photo"}, scans, tmp_path)
    build({"b.jpg": "photo"}, tmp_path / "album", tmp_path)
    (scans / "album").symlink_to(tmp_path / "album")
    assert archive.score(scans, settings, lambda _: None).status == 2
    result = archive.score(scans, settings, lambda _: None, follow_links=True)
    assert (result.status, result.line()) == (
        0,
        "2 files found: 2 photographs coloured, 0 files can't be used",
    )
    assert set(pq.read_table(tmp_path / "out" / manifest.MANIFEST)["input"].to_pylist()) == {
        "a.jpg",
        "album/b.jpg",
    }


def test_each_page_of_a_tiff_is_a_photograph(model: Path, tmp_path: Path) -> None:
    damaged = bytearray(saved(_PAGES[0], "TIFF", save_all=True, append_images=_PAGES[1:], compression="jpeg"))
    with Image.open(io.BytesIO(damaged)) as image:
        image.seek(1)
        (middle,) = image.tag_v2[273]  # type: ignore[attr-defined]
    damaged[middle : middle + 40] = bytes(40)
    contents = {"b.tif": _ALBUM, "b-p01.jpg": _JPEG, "c/d.tiff": bytes(damaged), "notes.txt": b""}
    for name, data in contents.items():
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / name).write_bytes(data)
    settings = make_settings(model, tmp_path / "out")
    dry = archive.preview(archive.plan_scoring(tmp_path / "scans", settings)).splitlines()
    assert dry[-1].startswith("8 pages in 4 files found: 7 photographs would be coloured")
    assert dry[2].startswith("b.tif, page 2 -> ")
    result = archive.score(tmp_path / "scans", settings, lambda _: None)
    assert result.line() == (
        "8 pages in 4 files found: 6 photographs coloured, 1 page can't be used, 1 file skipped (1 by suffix)"
    )
    (broken,) = result.quarantined
    assert broken == "c/d.tiff, page 2"
    assert (
        (tmp_path / "out" / manifest.QUARANTINE).read_text().splitlines()[1].startswith("c/d.tiff,page 2: ")
    )
    made = {str(path.relative_to(tmp_path / "out")) for path in (tmp_path / "out").rglob("*.png")}
    assert made == {
        *("b-p01.tif.png", "b-p01.jpg.png", "b-p02.png", "b-p03.png"),
        *("c/d-p01.png", "c/d-p03.png"),
    }
    for page, name in enumerate(("b-p01.tif.png", "b-p02.png", "b-p03.png"), 1):
        with Image.open(tmp_path / "out" / name) as image:
            theirs = np.asarray(image.convert("L")).astype(int)
        assert np.abs(theirs - np.asarray(_PAGES[page - 1]).astype(int)).mean() < 3
        assert trace(tmp_path / "out" / name).manifest["page"] == str(page)
        assert trace(tmp_path / "out" / name).file.source_page == str(page)
    (tmp_path / "out/b-p02.png").unlink()
    (left,) = archive.plan_scoring(tmp_path / "scans/b.tif", replace(settings, output=tmp_path / "x")).left[
        :1
    ]
    assert left.page == 1
    left = archive.plan_scoring(tmp_path / "scans", settings).left
    assert [(photo.name, photo.page) for photo in left] == [("b.tif", 2), ("c/d.tiff", 2)]


def test_a_file_that_is_cut_says_which_page_is_missing(model: Path, tmp_path: Path) -> None:
    (tmp_path / "b.tif").write_bytes(_ALBUM[: len(_ALBUM) - 300])
    result = archive.colorize([tmp_path / "b.tif"], make_settings(model, tmp_path / "out"))
    assert result.coloured >= 1
    assert all(name.startswith(f"{tmp_path}/b.tif, page ") for name in result.quarantined)
    assert result.quarantined
    assert (tmp_path / "out/b-p01-coloured.png").exists()


def test_frames_that_were_not_coloured_are_counted(model: Path, tmp_path: Path) -> None:
    build({"a.jpg": "photo", "b.gif": "frames"}, tmp_path / "scans", tmp_path)
    result = archive.score(tmp_path / "scans", make_settings(model, tmp_path / "out"), lambda _: None)
    assert result.status == 0
    assert result.line().endswith("0 files can't be used, 2 more pages in 1 file were not coloured")
    rows = pq.read_table(tmp_path / "out" / manifest.MANIFEST).to_pandas().set_index("input")
    assert rows["more_pages"].to_dict() == {"a.jpg": 0, "b.gif": 2}
