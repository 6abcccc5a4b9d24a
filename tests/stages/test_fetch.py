import csv
import hashlib
import io
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.stages.fetched import fetched
from tintlab.system.errors import TintlabError
from tintlab.system.params import FetchParams, load_params


def picture(seed: int, size: tuple[int, int] = (120, 90), picture_format: str = "PNG") -> bytes:
    """A smooth colourful picture, another one for each seed."""
    small = np.random.default_rng(seed).integers(0, 255, (4, 4, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).save(buffer, picture_format)
    return buffer.getvalue()


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """Five photographs in two folders and at the top."""
    folder = tmp_path / "inbox"
    for place in ("dogs/a.png", "dogs/b.png", "cats/old/c.png", "d.png", "e.png"):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(picture(len(list(folder.rglob("*.png")))))
    return folder


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    return folder


def params(**changes: object) -> FetchParams:
    return load_params().fetch.model_copy(update=changes)


def test_every_photograph_gets_its_row_of_facts(inbox: Path, raw: Path) -> None:
    photos, attribution = fetched([inbox], params(), 10, raw)
    assert len(photos) == 5
    assert set(photos["photo"]) == {path.name for path in raw.iterdir()} == set(attribution["photo"])
    row = photos[photos["origin"] == "inbox/cats/old/c.png"].iloc[0]
    content = (inbox / "cats/old/c.png").read_bytes()
    assert row["category"] == "cats"
    assert row["sha256"] == hashlib.sha256(content).hexdigest()
    assert (raw / row["photo"]).read_bytes() == content
    assert row["photo"] == f"c-{row['sha256'][:8]}.png"
    assert (row["width"], row["height"], row["format"], row["mode"], row["bytes"]) == (
        120, 90, "PNG", "RGB", len(content),
    )  # fmt: skip
    assert 0 <= row["l_low"] < row["l_high"] <= 100
    assert photos["sha256"].is_monotonic_increasing


def test_the_same_content_twice_is_one_photograph(inbox: Path, raw: Path) -> None:
    (inbox / "copy.png").write_bytes((inbox / "d.png").read_bytes())
    photos, _ = fetched([inbox], params(), 10, raw)
    assert len(photos) == 5
    assert photos.set_index("origin")["copies"].to_dict()["inbox/copy.png"] == 1
    assert photos["copies"].sum() == 1


def test_unreadable_files_get_a_reason_and_the_others_are_kept(inbox: Path, raw: Path) -> None:
    whole = picture(50, picture_format="JPEG")
    bad = {"cut.jpg": whole[: len(whole) // 2], "empty.jpg": b"", "text.jpg": b"no picture\n" * 50}
    for name, content in bad.items():
        (inbox / name).write_bytes(content)
    (inbox / "notes.txt").write_text("not a photograph, and not meant to be one")
    photos, _ = fetched([inbox], params(), 10, raw)
    reasons = photos[photos["photo"] == ""].set_index("origin")["problem"].to_dict()
    assert reasons == {
        "inbox/cut.jpg": "the picture's data is cut short",
        "inbox/empty.jpg": "the file is empty",
        "inbox/text.jpg": "not a picture in a format that can be read",
    }
    assert len(photos) == 8
    assert len(list(raw.iterdir())) == 5


def test_a_larger_limit_only_adds(inbox: Path, tmp_path: Path) -> None:
    kept: list[set[str]] = []
    for limit in (1, 3, 4):
        folder = tmp_path / f"raw{limit}"
        folder.mkdir()
        photos, _ = fetched([inbox], params(limit=limit), 10, folder)
        kept.append(set(photos["sha256"]))
        assert len(photos) == len(list(folder.iterdir())) == limit
    assert kept[0] < kept[1] < kept[2]
    salted = {sha256: hashlib.sha256(f"limit tintlab {sha256}".encode()).hexdigest() for sha256 in kept[2]}
    assert kept[0] == {min(salted, key=salted.__getitem__)}


def test_an_archive_brings_its_attribution(raw: Path, tmp_path: Path) -> None:
    table = io.StringIO()
    writer = csv.writer(table)
    writer.writerows([["file", "category", "source", "licence", "author", "origin"]])
    writer.writerows([["one.png", "reef", "somewhere", "CC0-1.0", "Ada", "a book"]])
    with zipfile.ZipFile(tmp_path / "photos.zip", "w") as archive:
        archive.writestr("photos/one.png", picture(1))
        archive.writestr("photos/two.png", picture(2))
        archive.writestr("ATTRIBUTION.csv", table.getvalue())
    photos, attribution = fetched([tmp_path / "photos.zip"], params(), 10, raw)
    categories = photos.set_index("origin")["category"].to_dict()
    assert categories == {"photos.zip/photos/one.png": "reef", "photos.zip/photos/two.png": ""}
    known = attribution.set_index("photo").loc[lambda rows: rows["licence"] == "CC0-1.0"]
    assert known[["author", "origin"]].to_numpy().tolist() == [["Ada", "a book"]]


def test_an_attribution_table_as_spreadsheets_write_it(inbox: Path, raw: Path) -> None:
    (inbox / "ATTRIBUTION.csv").write_bytes("file,category,author\r\nd.png,reef,Ünal\r\n".encode("utf-8-sig"))
    photos, attribution = fetched([inbox], params(), 10, raw)
    assert photos.set_index("origin")["category"]["inbox/d.png"] == "reef"
    assert "Ünal" in attribution["author"].tolist()


def test_a_broken_attribution_table_is_named(inbox: Path, raw: Path) -> None:
    (inbox / "ATTRIBUTION.csv").write_text('file,category\nd.png,"' + "x" * 200_000)
    with pytest.raises(TintlabError, match=r"inbox holds a broken ATTRIBUTION\.csv \(field larger"):
        fetched([inbox], params(), 10, raw)


@pytest.mark.parametrize(
    "name", ["line\nbreak.png", "left\u202eright.png", "x" * 240 + ".png", b"caf\xe9.png"]
)
def test_odd_names_become_plain_ones(raw: Path, tmp_path: Path, name: str | bytes) -> None:
    folder = tmp_path / "odd"
    folder.mkdir()
    path = folder / (name if isinstance(name, str) else name.decode("utf-8", "surrogateescape"))
    path.write_bytes(picture(3))
    photos, _ = fetched([folder], params(), 10, raw)
    stored = photos["photo"].item()
    assert stored.isascii() and len(stored) < 80 and "\n" not in stored
    assert photos["origin"].item().isprintable()


@pytest.mark.parametrize("unreadable", [False, True])
def test_no_photograph_at_all_says_what_to_do(raw: Path, tmp_path: Path, unreadable: bool) -> None:
    folder = tmp_path / "empty"
    folder.mkdir()
    if unreadable:
        (folder / "a.jpg").write_bytes(b"text")
    count = r"\(1 files can't be read.*\)" if unreadable else ""
    with pytest.raises(TintlabError, match=f"no photographs.*{count}.*data/inbox.*fetch.starter"):
        fetched([folder], params(), 10, raw)


def test_the_limit_of_megapixels_is_kept(raw: Path, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    folder.mkdir()
    (folder / "small.png").write_bytes(picture(1))
    (folder / "large.png").write_bytes(picture(1, (1200, 900)))
    photos, _ = fetched([folder], params(), 1, raw)
    problem: Callable[[str], str] = photos.set_index("origin")["problem"].__getitem__
    assert "1.1 megapixels, more than photos.max_megapixels 1" in problem("large/large.png")
    assert problem("large/small.png") == ""
