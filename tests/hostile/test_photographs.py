"""The hostile corpus through every way in; and a file for each guard."""

import os
import signal
import zlib
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import encode, make_picture
from tests.hostile import albums_and_raws, corpus, fuzz, odd_tiffs, picture_files
from tests.hostile.examine import (
    MEGAPIXELS,
    colorize,
    examine_files,
    files_in,
    find_failures,
    pyfunc,
    run_fetch,
    run_score,
    tiny_model,
)  # fmt: skip
from tests.imaging import making
from tintlab.imaging.photos import PhotoError, count_pages, read_photo
from tintlab.inference.working_size import working_shape
from tintlab.sources.archives import read_members
from tintlab.stages import fetch as fetch_stage


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model"))


def reason(data: bytes | Path) -> str:
    with pytest.raises(PhotoError) as caught:
        read_photo(data, MEGAPIXELS)
    return str(caught.value)


# --- all of them


def test_a_sample_of_the_corpus_is_used_or_refused(model: Path, tmp_path: Path) -> None:
    makers = (
        corpus.in_every_mode,
        corpus.flipped,
        corpus.gigapixels,
        corpus.with_broken_metadata,
        corpus.misnamed,
    )
    files = []
    for maker in makers:
        for number, (name, data) in enumerate(maker()):
            if number % 4 == 0:
                files.append(tmp_path / f"{maker.__name__}-{number}-{name.decode(errors='replace')}")
                files[-1].write_bytes(data)
    corpus.links(tmp_path / "links")
    files += files_in(tmp_path / "links")
    assert len(files) > 120
    assert find_failures(files, colorize(model)) == []


def count_readable(path: Path) -> int:
    """How many photographs `tintlab score` finds in a file that can be used."""
    pages = count_pages(path) if path.suffix.lower() in (".tif", ".tiff") else 1
    if pages == 1:
        return 1
    readable = 0
    for page in range(1, pages + 1):
        with suppress(PhotoError):
            readable += read_photo(path, MEGAPIXELS, page).height > 0
    return readable


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_whole_corpus_is_used_or_refused_everywhere(model: Path, tmp_path: Path) -> None:
    place, raw = tmp_path / "corpus", tmp_path / "raw"
    assert corpus.make(place, large=True) >= 500
    raw.mkdir()
    coloured = examine_files(files_in(place), colorize(model), batch=20)
    assert [str(finding) for finding in coloured if not finding.is_handled] == []
    # The same verdict everywhere, by content. A source with a linked folder is refused as a whole.
    verdicts = {
        finding.path.read_bytes(): finding.outcome == "used"
        for finding in coloured
        if finding.path.parent.name != "links"
    }
    (place / "links").rename(tmp_path / "links")
    problems = run_fetch(place, raw)
    (tmp_path / "links").rename(place / "links")
    hidden = len(verdicts) - len(problems)
    assert 0 <= hidden <= 3  # names that start with a dot
    assert sum(not problem for problem in problems.values()) == sum(verdicts.values()) - hidden
    # Writing the large ones takes most of the time; `python -m tests.hostile.examine` does.
    (place / "of_25_megapixels").rename(tmp_path / "large")
    used = sum(
        count_readable(finding.path)
        for finding in coloured
        if finding.outcome == "used" and finding.path.exists()
    )
    ended = run_score(place, tmp_path / "coloured", model)
    assert ended.returncode == 2, ended.stderr[-2000:]
    assert b"Traceback" not in ended.stderr
    assert abs(len(list((tmp_path / "coloured").rglob("*.png"))) - used) <= 3


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_corpus_is_used_or_refused_by_the_registered_model(model: Path, tmp_path: Path) -> None:
    corpus.make(tmp_path / "corpus")
    files = [path for path in files_in(tmp_path / "corpus") if path.parent.name != "links"]
    assert find_failures(files, pyfunc(model, tmp_path / "pyfunc")) == []


def test_fuzzing(model: Path, tmp_path: Path) -> None:
    outcome = fuzz.fuzz(colorize(model), tmp_path, seed=0, most=400)
    assert outcome.inputs == 400
    assert outcome.findings == []


def test_fuzzing_finds_what_crashes_hangs_and_takes_memory(tmp_path: Path) -> None:
    def use(path: Path) -> None:
        if path.read_bytes().startswith(b"\x89PNG"):
            os.kill(os.getpid(), signal.SIGKILL)
        np.ones(0)

    outcome = fuzz.fuzz(use, tmp_path, seed=0, most=60)
    assert 0 < len(outcome.findings) < 40
    assert all(finding.path.read_bytes().startswith(b"\x89PNG") for finding in outcome.findings)


# --- a guard, a file


def bomb(name: str) -> bytes:
    return next(data for found, data in corpus.bombs() if found == name.encode())


def test_guard_small_pieces_without_end() -> None:
    data = picture_files.png(8, 8, zlib.compress(bytes(200)), picture_files.chunk(b"aaAa", b"") * 1_050_000)
    assert "too many small pieces" in reason(data)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"qoif" + b"\0\0\x13\x88" * 2 + b"\3\0" + bytes(300_000), id="QOI"),
        pytest.param(picture_files.bmp(5000, 5000, 1, 8, b"\1\7" * 100_000, palette=bytes(1024)), id="BMP"),
        pytest.param(b"P3 5000 5000 255\n" + b"1 " * 100_000, id="plain PPM"),
        pytest.param(b"P6 5000 5000 254\n" + bytes(300_000), id="PPM"),
    ],
)
def test_guard_slow_decoders_are_refused_by_the_header(data: bytes) -> None:
    assert "25.0 megapixels of a kind of" in reason(data)


def test_slow_decoders_read_small_pictures() -> None:
    pixels = make_picture(64, 48)
    np.testing.assert_array_equal(read_photo(encode(pixels, "QOI"), MEGAPIXELS).pixels, pixels)
    # Fast ones of the same formats are read at any size.
    large = np.zeros((2100, 2000, 3), np.uint8)
    assert read_photo(encode(large, "PPM"), MEGAPIXELS).pixels.shape == large.shape
    assert read_photo(encode(large, "BMP"), MEGAPIXELS).pixels.shape == large.shape


def test_guard_scans_over_and_over() -> None:
    assert "3000 scans over 16.0 megapixels" in reason(picture_files.many_scans(4000, 4000, 3000 - 1))
    assert read_photo(picture_files.many_scans(400, 400, 99), MEGAPIXELS).pixels.shape == (400, 400)
    assert read_photo(encode(make_picture(900, 700), "JPEG", progressive=True), MEGAPIXELS).width == 900


@pytest.mark.parametrize("shape", [(1, 100_001), (100_001, 1)])
def test_guard_lines_are_no_photographs(shape: tuple[int, int]) -> None:
    assert "a line, no photograph" in reason(encode(np.zeros(shape, np.uint8)))


@pytest.mark.parametrize("shape", [(1, 100_000), (100_000, 1), (2, 65_000)])
def test_guard_a_line_does_not_grow_in_the_network(shape: tuple[int, int]) -> None:
    height, width = working_shape(shape, 224)
    padded = -(-height // 32) * 32 * -(-width // 32) * 32
    assert padded <= 8.1 * 224**2


def test_guard_pipes_and_devices_are_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "zero.jpg").symlink_to("/dev/zero")
    for name in ("pipe.jpg", "zero.jpg"):
        (finding,) = examine_files([tmp_path / name], lambda path: read_photo(path, MEGAPIXELS))
        assert finding.outcome == "refused: a device or pipe, no file"


def test_guard_deep_grey_is_converted_in_strips(tmp_path: Path) -> None:
    (tmp_path / "deep.tif").write_bytes(encode(np.full((5000, 5000), 60_000, np.int32), "TIFF"))
    (finding,) = examine_files([tmp_path / "deep.tif"], lambda path: read_photo(path, MEGAPIXELS))
    assert finding.outcome == "used"
    assert finding.megabytes < 450  # the file, its pixels, the result: 250


def tiff_bomb(name: str) -> bytes:
    return next(data for found, data in odd_tiffs.tiff_bombs() if found == name.encode())


@pytest.mark.parametrize("name", ["colours.tif", "channels.tif"])
def test_guard_a_huge_strip_of_samples_is_refused(name: str) -> None:
    assert reason(tiff_bomb(name)) == "TIFF of one huge strip or tile: save it with smaller ones"


def test_guard_a_pixel_a_tile_is_refused() -> None:
    assert "too many small pieces" in reason(tiff_bomb("small-tiles.tif"))


def test_guard_strips_that_share_their_data_are_refused() -> None:
    page = making.grey_page(np.zeros((100, 9), np.uint16), 16, compression="deflate", rows_per_strip=1)
    assert read_photo(making.tiff_of([page]), MEGAPIXELS).height == 100
    page.tags[279] = ("I", [2000] * 100)
    assert "claim more data than the file has" in reason(making.tiff_of([page]))


@pytest.mark.parametrize("name", ["many-pages.tif", "same-metadata.tif"])
def test_guard_pages_larger_than_their_file_are_refused(name: str) -> None:
    assert "its pages claim more data than the file has" in reason(tiff_bomb(name))


def test_files_of_pages_and_camera_raw_are_used_or_refused(tmp_path: Path) -> None:
    for maker in (albums_and_raws.of_pages, albums_and_raws.of_camera_raw):
        for name, data in maker():
            (tmp_path / os.fsdecode(name)).write_bytes(data)

    def use(path: Path) -> None:
        faults = []
        for page in range(1, count_pages(path) + 1) if count_pages(path) > 1 else [0]:
            try:
                read_photo(path, MEGAPIXELS, page)
            except PhotoError as error:
                faults.append(f"{page}: {error}")
        if faults:
            raise PhotoError(" · ".join(faults))

    found = {finding.path.name: finding for finding in examine_files(files_in(tmp_path), use, batch=20)}
    assert [str(finding) for finding in found.values() if not finding.is_handled] == []
    outcomes = {name: finding.outcome for name, finding in found.items()}
    assert all(
        len(part) < 200 and part.isprintable() for one in outcomes.values() for part in one.split(" · ")
    )
    expected = {
        "page-beyond-the-end.tif": "refused: 5: it is not where the file says: the file is cut short or damaged",
        "circle.tif": "used",
        "a-page-of-3-gigapixels.tif": ("refused: 2: 3600.0 megapixels, more than photos.max_megapixels 200"),
        "25-megapixels-each.tif": "used",
        "1001-pages.tif": "refused: 0: 1001 pages, more than 1000: split the file",
        "preview.nef": "used",
        "mosaic.dng": "used",
        "preview-60000x60000.nef": "refused: 0: 3600.0 megapixels, more than photos.max_megapixels 200",
        "mosaic-60000.dng": "refused: 0: 3600.0 megapixels, more than photos.max_megapixels 200",
    }
    assert {name: outcomes[name] for name in expected} == expected
    assert outcomes["a-page-of-nothing.tif"].startswith("refused: 2: ")
    assert "scans over 16.0 megapixels, as bombs have" in outcomes["scans.nef"]


def test_guard_long_lists_in_tags_are_refused() -> None:
    page = making.grey_page(np.zeros((8, 8), np.uint16), 16)
    page.segments *= 1_100_000
    assert "too many small pieces" in reason(making.tiff_of([page]))


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    for number in range(30):
        (folder / f"{number}.png").write_bytes(encode(make_picture(40, 30, seed=number)))
    return folder


def test_guard_a_crashing_photograph_costs_itself_alone(
    scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fatal = {(scans / name).read_bytes() for name in ("7.png", "21.png")}

    def crash(path: Path, limit: float) -> object:
        if path.read_bytes() in fatal:
            os.kill(os.getpid(), signal.SIGKILL)
        return read_photo(path, limit)

    monkeypatch.setattr(fetch_stage, "read_photo", crash)  # the workers are copies of this process
    (tmp_path / "raw").mkdir()
    problems = run_fetch(scans, tmp_path / "raw")
    assert sorted(problems.values()) == [""] * 28 + ["its decoder crashes"] * 2
    assert len(list((tmp_path / "raw").iterdir())) == 28


def test_names_are_printable_wherever_they_are_shown(model: Path, tmp_path: Path) -> None:
    place = tmp_path / "names"
    for name, data in corpus.with_odd_names():
        path = os.path.join(os.fsencode(place), name)  # noqa: PTH118
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(data if name != b"photo" else b"no picture")
    (place / "line\nbreak.jpg").write_bytes(b"no picture")
    (place / os.fsdecode(b"\x1b[31m\xff.jpg")).write_bytes(b"no picture")
    (tmp_path / "raw").mkdir()
    assert sum(map(bool, run_fetch(place, tmp_path / "raw").values())) == 1  # the same bytes thrice
    ended = run_score(place, tmp_path / "coloured", model)
    assert ended.returncode == 2, ended.stderr[-2000:]
    assert b"line\\nbreak.jpg" in ended.stderr
    assert b"\x1b[31m" not in ended.stderr.replace(b"\x1b[A", b"")
    seen = sum(1 for member in read_members(place))
    assert len(list((tmp_path / "coloured").rglob("*.png"))) == seen - 3


def test_the_corpus_is_the_same_each_time() -> None:
    def first(maker: Callable[[], Iterator[tuple[bytes, bytes]]]) -> list[tuple[bytes, bytes]]:
        return [file for _, file in zip(range(30), maker(), strict=False)]

    for maker in (corpus.flipped, corpus.with_broken_metadata):
        assert first(maker) == first(maker)
