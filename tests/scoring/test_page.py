"""OUTPUT/index.html: what it shows, that names do no harm, and what it leaves alone."""

import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from PIL import Image

from tests.conftest import make_picture
from tests.scoring.conftest import make_settings, saved
from tests.scoring.test_archive import run
from tintlab.scoring import archive, page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
NAMES = ["<script>alert(1)<", "a\"onload='x.png", "javascript:alert(1).png", "100% #1?.png", "zeile\n2.png"]


class Links(HTMLParser):
    """What a page refers to, and the tags that it has."""

    def __init__(self) -> None:
        super().__init__()
        self.hrefs: list[str] = []
        self.sources: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.hrefs += [value or "" for name, value in attrs if name == "href" and tag == "a"]
        self.sources += [value or "" for name, value in attrs if name == "src"]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    (folder / "1931").mkdir(parents=True)
    for number, name in enumerate(["harbour.jpg", "1931/boat.png", *NAMES]):
        (folder / name).write_bytes(saved(Image.fromarray(make_picture(90, 60, seed=number)), "PNG"))
    (folder / "1931/<b>torn.jpg").write_bytes(b"no picture")
    return folder


def parsed(output: Path) -> Links:
    found = Links()
    found.feed((output / page.PAGE).read_text())
    return found


def test_the_page_shows_pairs_and_links_to_files_whatever_their_names(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    settings = make_settings(model, tmp_path / "out")
    result = archive.score(scans, settings, lambda _: None)
    found = parsed(tmp_path / "out")
    assert not found.tags & {"script", "b2", "iframe"}
    assert len(found.sources) == result.coloured == 7
    assert all(source.startswith("data:image/jpeg;base64,") for source in found.sources)
    linked = {(tmp_path / "out" / unquote(href)).resolve() for href in found.hrefs}
    assert all(href.startswith("./") and "javascript:" not in href for href in found.hrefs)
    assert all(path.is_file() for path in linked)
    assert set((tmp_path / "out").rglob("*.png")) <= linked
    text = (tmp_path / "out" / page.PAGE).read_text()
    assert "1931/&lt;b&gt;torn.jpg" in text
    assert "zeile\\n2.png" in text
    assert "8 files found: 7 photographs coloured, 1 file can&#39;t be used" in text


def test_nothing_new_leaves_the_page_and_no_page_writes_none(
    scans: Path, model: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    command = ["score", scans, out, "--model", model, "--engine", "torch"]
    assert run(*command, "--no-page").exit_code == 2
    assert not (out / page.PAGE).exists()
    run(*command)
    before = (out / page.PAGE).stat().st_mtime_ns
    again = run(*command)
    assert (out / page.PAGE).stat().st_mtime_ns == before
    assert "8 files found: 7 photographs coloured" in again.output
    (out / "harbour.png").unlink()
    one = run("score", scans / "harbour.jpg", out, "--model", model, "--engine", "torch")
    assert one.exit_code == 0, (one.output, one.exception)
    assert (out / page.PAGE).stat().st_mtime_ns > before
    assert len(parsed(out).sources) == 1


def test_a_page_of_somebody_else_stays(scans: Path, model: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out/index.html").write_text("<h1>My harbour</h1>")
    result = archive.score(scans, make_settings(model, tmp_path / "out"), lambda _: None)
    assert (tmp_path / "out/index.html").read_text() == "<h1>My harbour</h1>"
    assert (
        result.words[-1]
        == f"{tmp_path}/out/index.html is not by tintlab: it stays, and there is no contact sheet"
    )


def test_large_archives_show_some_hundreds_evenly() -> None:
    shown = page._evenly(range(10_000), page.MOST_PAIRS)
    assert len(shown) == page.MOST_PAIRS == len(set(shown))
    assert (shown[0], shown[-1] > 9_900) == (0, True)
    assert page._evenly([1, 2], 240) == [1, 2]


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium: apt-get install chromium")
def test_the_page_fits_phones_and_desks(scans: Path, model: Path, tmp_path: Path) -> None:
    from playwright.sync_api import sync_playwright

    (scans / "1931/<b>torn.jpg").rename(scans / ("1931/" + "long" * 50 + ".jpg"))
    archive.score(scans, replace(make_settings(model, tmp_path / "out"), variants=0), lambda _: None)
    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        for width in (390, 1400):
            view = browser.new_page(viewport={"width": width, "height": 900}, offline=True)
            asked: list[str] = []
            view.on("request", lambda request, asked=asked: asked.append(request.url))
            view.goto((tmp_path / "out" / page.PAGE).as_uri())
            assert view.evaluate("document.documentElement.scrollWidth") <= width
            assert not [url for url in asked if re.match("https?:", url)]
            assert view.locator("figure").count() == 7
        browser.close()
