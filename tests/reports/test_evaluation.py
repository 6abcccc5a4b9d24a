"""The pages as their readers get them: what the HTML says, shows and refers to."""

import base64
import io
import shutil
from collections.abc import Callable, Mapping
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from tintlab.imaging.color import Byte
from tintlab.reports import evaluation as evaluation_page
from tintlab.reports.headline import verdict_sentence
from tintlab.reports.validation import validation_page

Picture = Callable[..., Byte]
HOSTILE = """<script>alert("x")</script>' onerror='y' {{ 7 * 7 }}.jpg"""


class Page(HTMLParser):
    """A parsed page: its text, its tags, its tables' cells, its pictures, and all it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.text = ""
        self.tags: list[str] = []
        self.tables: list[list[list[str]]] = []
        self.classes: list[list[list[str]]] = []
        self.attributes: list[tuple[str, str]] = []
        self.in_cell = False
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag == "table":
            self.tables.append([])
            self.classes.append([])
        if tag == "tr":
            self.tables[-1].append([])
            self.classes[-1].append([])
        if tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.classes[-1][-1].append(dict(attrs).get("class") or "")
            self.in_cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.tables[-1][-1][-1] = " ".join(self.tables[-1][-1][-1].split())
            self.in_cell = False

    def handle_data(self, data: str) -> None:
        self.text += data
        if self.in_cell:
            self.tables[-1][-1][-1] += data

    def pictures(self) -> list[Byte]:
        uris = [value for name, value in self.attributes if name == "src"]
        return [np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",", 1)[1])))) for uri in uris]


def references(html: str) -> list[str]:
    """Everything that a browser would load."""
    loading = {"src", "href", "srcset", "data", "action", "poster", "background", "xlink:href"}
    return [value for name, value in Page(html).attributes if name in loading]


@pytest.fixture
def per_photo() -> pd.DataFrame:
    """Twenty photographs: nine cats, eight dogs, three birds; photo00 is the best by ΔE00."""
    number = np.arange(20)
    return pd.DataFrame(
        {
            "photo": [f"photo{at:02d}.webp" for at in number],
            "cluster": [f"photo{at:02d}.webp" for at in number],
            "category": ["cats"] * 9 + ["dogs"] * 8 + ["birds"] * 3,
            "psnr": 30.0 - number,
            "delta_e00": 5.0 + number,
            "colourfulness": 30.0,
            "colourfulness_true": 40.0,
            "psnr_grey": 25.0,
            "delta_e00_grey": 12.0,
            "colourfulness_grey": 0.0,
            "psnr_median_ab": 26.0,
            "delta_e00_median_ab": 11.5,
            "colourfulness_median_ab": 3.0,
        }
    )


@pytest.fixture
def metrics() -> dict[str, Any]:
    return {
        "model": {
            "psnr": 20.5,
            "delta_e00": 14.5,
            "colourfulness": 30.0,
            "colour_spill": 0.3,
            "novelty": 1.5,
        },
        "grey": {"psnr": 25.0, "delta_e00": 12.0, "colourfulness": 0.0, "colour_spill": 0.0, "novelty": 2.5},
        "median_ab": {"psnr": 26.0, "delta_e00": 11.5, "colourfulness": 75.0, "colour_spill": 0.0},
        "photos": 20,
    }


@pytest.fixture
def trios(per_photo: pd.DataFrame, picture: Picture) -> dict[str, tuple[Byte, Byte, Byte]]:
    return {
        photo: (picture(48, 32, 3 * at), picture(48, 32, 3 * at + 1), picture(48, 32, 3 * at + 2))
        for at, photo in enumerate(per_photo["photo"])
    }


@pytest.fixture
def evaluation(
    metrics: dict[str, Any], per_photo: pd.DataFrame, trios: Mapping[str, tuple[Byte, Byte, Byte]]
) -> str:
    return evaluation_page.evaluation_page(metrics, per_photo, trios, None)


FINDINGS = {
    "passed": True,
    "faults": [],
    "photographs": 5,
    "accepted": {"train": 3, "val": 1, "test": 0},
    "quarantined": 1,
    "photograph_expectations": [{"rule": "r", "says": "Big enough", "examined": 5, "unexpected": 1}],
    "set_expectations": [
        {"rule": "s", "says": "Enough", "passed": True, "observed": 3},
        {"rule": "t", "says": "Known", "passed": True, "examined": 4, "unexpected": 0},
        {"rule": "u", "says": "No cast", "passed": False, "observed": None},
    ],
}


def quarantine(*rows: tuple[str, str, str, str]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["photo", "origin", "split", "reason"])


def test_validation_page_shows_findings_quarantine_and_samples(picture: Picture) -> None:
    left_out, one, two = picture(60, 40, 1), picture(40, 60, 2), picture(50, 50, 3)
    html = validation_page(
        FINDINGS,
        quarantine(
            ("q.jpg", "box/q.jpg", "val", "near-grey: so grey"), ("", "box/r.jpg", "", "unreadable: cut")
        ),
        {"q.jpg": left_out, "one.jpg": one, "two.jpg": two},
        ["two.jpg", "one.jpg"],
    )
    page = Page(html)
    assert page.tables[0][1:] == [["Big enough", "5", "1"]]
    assert page.tables[1][1:] == [
        ["Enough", "3", "✓"],
        ["Known", "4 of 4", "✓"],
        ["No cast", "none", "✗ fails"],
    ]
    assert "passed" in page.text
    for words in ("near-grey: so grey", "box/q.jpg · val", "unreadable: cut", "box/r.jpg"):
        assert words in page.text
    for shown, expected in zip(page.pictures(), [left_out, two, one], strict=True):
        assert np.abs(shown.astype(int) - expected).mean() < 4


def test_validation_page_of_a_stop_says_so(picture: Picture) -> None:
    stopped = FINDINGS | {"passed": False, "faults": ["Too few: add some"]}
    page = Page(validation_page(stopped, quarantine(), {}, []))
    assert "stopped" in page.text
    assert "Too few: add some" in page.text
    assert "passed" not in page.text


def test_validation_page_is_readable_with_thousands_quarantined() -> None:
    many = quarantine(*((f"{at}.jpg", f"{at}.jpg", "val", "near-grey") for at in range(3000)))
    page = Page(validation_page(FINDINGS, many, {}, []))
    assert page.tags.count("figure") == 500
    assert "and 2500 more" in page.text


def test_file_names_cannot_inject_markup(
    metrics: dict[str, Any],
    per_photo: pd.DataFrame,
    trios: dict[str, tuple[Byte, Byte, Byte]],
    picture: Picture,
) -> None:
    validation = validation_page(
        FINDINGS | {"faults": [HOSTILE]},
        quarantine((HOSTILE, HOSTILE, HOSTILE, HOSTILE)),
        {HOSTILE: picture()},
        [HOSTILE],
    )
    per_photo.loc[0, ["photo", "category"]] = HOSTILE
    per_photo["category"] = HOSTILE
    trios[HOSTILE] = trios["photo00.webp"]
    previous = per_photo.assign(delta_e00=per_photo["delta_e00"] + 1).replace("photo01.webp", HOSTILE + "2")
    evaluation = evaluation_page.evaluation_page(
        metrics | {HOSTILE: {"psnr": 1.0}}, per_photo, trios, previous
    )
    for html, times in ((validation, 3), (evaluation, 5)):
        page = Page(html)
        assert page.text.count(HOSTILE) >= times
        assert "script" not in page.tags
        assert not [name for name, _ in page.attributes if name.startswith("on")]
        assert "<script" not in html


def test_pages_load_nothing_from_elsewhere(evaluation: str, picture: Picture) -> None:
    validation = validation_page(FINDINGS, quarantine(), {"one.jpg": picture()}, ["one.jpg"])
    for html in (evaluation, validation):
        assert len(references(html)) > 1
        assert all(reference.startswith("data:") for reference in references(html))
        for sign in ("http:", "https:", "url(", "@import", "<script"):
            assert sign not in html


def test_pages_are_the_same_bytes_twice(
    metrics: dict[str, Any], per_photo: pd.DataFrame, trios: dict[str, tuple[Byte, Byte, Byte]]
) -> None:
    previous = per_photo.assign(delta_e00=7.0)
    first = evaluation_page.evaluation_page(metrics, per_photo, trios, previous)
    backwards = dict(reversed(trios.items()))
    shuffled = per_photo.sample(frac=1, random_state=3, ignore_index=True)
    assert evaluation_page.evaluation_page(metrics, per_photo, trios, previous) == first
    assert evaluation_page.evaluation_page(metrics, shuffled, backwards, previous.iloc[::-1]) == first


def test_headline_puts_the_model_beside_the_baselines(evaluation: str) -> None:
    page = Page(evaluation)
    header, *rows = page.tables[0]
    assert header[1:-1] == ["this model", "grey", "median ab", "true photographs", "model against grey"]
    assert rows == [
        ["Closeness, pixel by pixelPSNR, dB", "20.50", "25.00", "26.00", "", "−4.50", "more is better"],
        ["Colour errorΔE00", "14.50", "12.00", "11.50", "", "+2.50", "less is better"],
        ["Colourfulness", "30.0", "0.0", "75.0", "40.0", "+30.0", "nearest the truth"],
        ["Colour spill across edges", "0.300", "0.000", "0.000", "", "", "less is better"],
        ["novelty", "1.500", "2.500", "", "", "−1.000", ""],
    ]
    marked = [["best" in cell for cell in row[1:4]] for row in page.classes[0][1:]]
    # Nearest to the truth's 40 is the model's 30, though 75 is more; grey can't win at spilling no colour.
    assert marked == [
        [False, False, True],
        [False, False, True],
        [True, False, False],
        [False] * 3,
        [False] * 3,
    ]
    verdicts = [row[5].split()[-1] for row in page.classes[0][1:]]
    assert verdicts == ["bad", "bad", "good", "n", "n"]


def test_metrics_text_says_the_same_in_a_terminal(metrics: dict[str, Any]) -> None:
    lines = [line.split("  ") for line in evaluation_page.metrics_text(metrics).splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[0] == ["this model", "grey", "median ab"]
    assert cells[1] == ["PSNR (dB)", "20.50", "25.00", "26.00", "more is better"]
    assert cells[-1] == ["novelty", "1.500", "2.500"]


def test_showcase_ranks_by_colour_difference(per_photo: pd.DataFrame) -> None:
    numbers = {
        title: [int(name[5:7]) for name in names]
        for title, names in evaluation_page.showcase(per_photo.sample(frac=1, random_state=0)).items()
    }
    assert numbers["worst"] == [19, 18, 17, 16, 15, 14]
    assert numbers["median"] == [12, 11, 10, 9, 8, 7]
    assert numbers["best"] == [5, 4, 3, 2, 1, 0]


@pytest.mark.parametrize("count", range(1, 24))
def test_showcase_shows_no_photograph_twice(count: int) -> None:
    table = pd.DataFrame({"photo": [f"{at:02d}" for at in range(count)], "delta_e00": 1.0})
    shown = [name for names in evaluation_page.showcase(table).values() for name in names]
    assert len(shown) == len(set(shown)) == min(count, max(3, 3 * min(6, count // 3)))


def test_pictures_are_grey_coloured_true_typical_ones_first(
    evaluation: str, per_photo: pd.DataFrame, trios: Mapping[str, tuple[Byte, Byte, Byte]]
) -> None:
    chosen = evaluation_page.showcase(per_photo)
    order = [*chosen["median"], *chosen["best"], *chosen["worst"]]
    expected = [pixels for photo in order for pixels in trios[photo]]
    for shown, pixels in zip(Page(evaluation).pictures(), expected, strict=True):
        assert np.abs(shown.astype(int) - pixels).mean() < 4
    assert "Colour error 24.00 (grey 12.00)" in evaluation, "the worst photograph's figures"
    assert "Colourfulness 30.0 (true 40.0)" in evaluation


def test_the_page_begins_with_a_sentence_and_pictures_that_enlarge(evaluation: str) -> None:
    text = " ".join(Page(evaluation).text.split())
    sentence = (
        "The colours are farther from the truth than grey (colour error 14.50 against 12.00); "
        "they are of fitting strength, with 75 % of the true photographs’ colourfulness."
    )
    assert text.index(sentence) < text.index("photo12.webp") < text.index("Mean of the test photographs")
    labels = [value for name, value in Page(evaluation).attributes if name == "aria-label"]
    assert next(label for label in labels if label.startswith("enlarge ")) == "enlarge photo12.webp"


@pytest.mark.parametrize(
    ("error", "low", "high", "words"),
    [
        (
            10.0,
            -3.0,
            -1.0,
            "nearer to the truth than grey (colour error 10.00 against 12.00, more than chance)",
        ),
        (
            14.0,
            1.0,
            3.0,
            "farther from the truth than grey (colour error 14.00 against 12.00, more than chance)",
        ),
        (11.9, -0.4, 0.2, "as far as these photographs can tell, no nearer to the truth than grey"),
    ],
)
def test_the_sentence_says_how_sure_it_is(error: float, low: float, high: float, words: str) -> None:
    row = {"category": "", "figure": "delta_e00", "method": "model_against_grey", "low": low, "high": high}
    model = {"delta_e00": error, "colourfulness": 12.0}
    said = verdict_sentence(model, {"delta_e00": 12.0}, 40.0, pd.DataFrame([row]))
    assert words in said
    assert said.endswith("too dull, with 30 % of the true photographs’ colourfulness.")


@pytest.mark.parametrize("width", [390, 1400])
def test_the_page_fits_its_window_and_enlarges_a_photograph(
    evaluation: str, width: int, tmp_path: Path
) -> None:
    """In a browser: no sideways scrolling of the page, tables scroll by themselves, a click fills the window."""
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("needs chromium")
    (tmp_path / "page.html").write_text(evaluation, encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto((tmp_path / "page.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == width
        scrolls = "getComputedStyle(document.querySelector('.table')).overflowX"
        assert page.evaluate(scrolls) == "auto"
        figure = page.locator(".trio").first
        before = figure.bounding_box()
        figure.locator("img").first.click()
        assert before and before["width"] < width
        assert figure.bounding_box() == {"x": 0, "y": 0, "width": width, "height": 800}
        figure.locator("img").first.click()
        assert figure.bounding_box() == before
        browser.close()


def test_categories_of_fewer_than_eight_have_no_figures(evaluation: str) -> None:
    header, *rows = Page(evaluation).tables[1]
    assert header[:4] == [
        "Category",
        "Photographs",
        "Closeness, pixel by pixelPSNR",
        "Closeness, pixel by pixel, greyPSNR",
    ]
    assert [row[:4] for row in rows] == [["cats", "9", "26.00", "25.00"], ["dogs", "8", "17.50", "25.00"]]


def test_curves_rise_from_the_smallest_to_the_largest_value(evaluation: str) -> None:
    polylines = [value for name, value in Page(evaluation).attributes if name == "points"]
    curves = [np.array([point.split(",") for point in line.split()], float) for line in polylines]
    assert len(curves) == 3 + 3 + 4, "PSNR, ΔE00, and colourfulness with the truth"
    for curve in curves:
        assert len(curve) == 20
        assert (np.diff(curve[:, 0]) > 0).all()
        assert (np.diff(curve[:, 1]) <= 0).all(), "SVG counts downwards"
    model_psnr = curves[2]
    np.testing.assert_allclose(model_psnr[[0, -1]], [[0, 120], [300, 0]])
    np.testing.assert_allclose(model_psnr[:, 1], np.linspace(120, 0, 20), atol=0.06)


def test_undefined_and_infinite_figures_do_not_break_the_page(
    metrics: dict[str, Any], per_photo: pd.DataFrame, trios: Mapping[str, tuple[Byte, Byte, Byte]]
) -> None:
    per_photo.loc[0, ["psnr", "psnr_grey"]] = [np.inf, np.nan]
    metrics["model"]["psnr"] = float("inf")
    metrics["grey"]["psnr"] = float("nan")
    html = evaluation_page.evaluation_page(metrics, per_photo, trios, per_photo)
    assert "∞" in Page(html).tables[0][1][1]
    assert "nan" not in Page(html).text.lower()
    for name, value in Page(html).attributes:
        assert name != "points" or ("nan" not in value and "inf" not in value)


def test_changes_are_told_photo_by_photo(
    metrics: dict[str, Any], per_photo: pd.DataFrame, trios: Mapping[str, tuple[Byte, Byte, Byte]]
) -> None:
    previous = per_photo.copy()
    previous.loc[4, "delta_e00"] = 11.0  # was 11, is 9: better
    previous.loc[7, "delta_e00"] = 11.5  # was 11.5, is 12: worse
    previous.loc[9, "colourfulness"] = 55.0  # was 15 above the truth, is 10 below: better, though less
    previous = previous.drop(index=2)
    gone = per_photo.loc[[0]].assign(photo="gone.webp")
    page = Page(evaluation_page.evaluation_page(metrics, per_photo, trios, pd.concat([previous, gone])))
    header, *rows = page.tables[2]
    assert header == [
        "Photograph",
        "Closeness, pixel by pixelPSNR, dB",
        "change",
        "Colour errorΔE00",
        "change",
        "Colourfulness",
        "change",
    ]
    assert rows == [
        ["photo04.webp", "26.00", "", "9.00", "−2.00", "30.0", ""],
        ["photo09.webp", "21.00", "", "14.00", "", "30.0", "−25.0"],
        ["photo07.webp", "23.00", "", "12.00", "+0.50", "30.0", ""],
    ]
    verdicts = [[cell.split()[-1] for cell in row[2::2]] for row in page.classes[2][1:]]
    assert verdicts == [["n", "good", "n"], ["n", "n", "good"], ["n", "bad", "n"]]
    text = " ".join(page.text.split())
    assert "1 better, 1 worse; 16 with the same figures. New: 1. No longer judged: 1." in text
    added, removed = text.split("New photographs")[1].split("No longer judged")
    assert (added.strip(), removed.strip()) == ("photo02.webp", "gone.webp")


def test_many_changes_show_the_ends_and_fold_the_rest(
    metrics: dict[str, Any], picture: Picture, per_photo: pd.DataFrame
) -> None:
    table = pd.concat([per_photo.assign(photo=per_photo["photo"] + str(copy)) for copy in range(3)])
    table["delta_e00"] = np.arange(60) + 5.0
    trios = {photo: (picture(),) * 3 for photo in table["photo"]}
    before = table.assign(delta_e00=2 * table["delta_e00"] - 30)  # the step grows with the figure
    page = Page(evaluation_page.evaluation_page(metrics, table, trios, before))
    first, middle, last = page.tables[2:5]
    assert [len(rows) - 1 for rows in (first, middle, last)] == [10, 39, 10]
    steps = [float(row[4].replace("−", "-")) for row in first[1:] + middle[1:] + last[1:]]
    assert steps == sorted(steps)
    assert "details" in page.tags
