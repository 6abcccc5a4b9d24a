"""What people are shown of a verdict."""

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from tests.reports.test_evaluation import HOSTILE, Page, references
from tintlab.reports import verdict as verdict_page

MEANS = {"psnr": 22.0, "judge_similarity": 0.9, "judge_kernel_distance": 0.001}


def check(figure: str, against: str, passed: bool, interval: bool = True) -> dict[str, Any]:
    ends = (-0.002, 0.012) if interval else (None, None)
    return {
        "figure": figure, "against": against, "value": 0.005, "low": ends[0], "high": ends[1], "rule": "> 0",
        "passed": passed, "sentence": "so",
    }  # fmt: skip


def verdict(champion: bool = True, **changes: Any) -> dict[str, Any]:
    own = {"model": MEANS, "grey": MEANS, "median_ab": MEANS, "photos": 9}
    return {
        "version": 2,
        "model": "models:/tintlab/2",
        "champion": 1 if champion else None,
        "champion_model": "models:/tintlab/1" if champion else None,
        "champion_weights_sha256": "ab" if champion else None,
        "passed": False,
        "reasons": [f"a tie: {HOSTILE}"],
        "bound": {"weights_sha256": "cd", "working_size": None},
        "photos": 9,
        "clusters": 8,
        "smallest_difference": 0.0123 if champion else None,
        "checks": [
            check("judge_similarity", "champion", False),
            check("psnr", "champion", True),
            check("judge_kernel_distance", "grey", True, interval=False),
            check("colourfulness_share", "true", True, interval=False),
        ],
        "totals": {"challenger": own} | ({"champion": own} if champion else {}),
        "categories": [
            {
                "category": HOSTILE,
                "photos": 9,
                "differences": {"judge_similarity": {"mean": 0.01, "low": -0.02, "high": 0.04, "error": 1.0}},
            }
        ],
    } | changes


GAINS = pd.Series([0.03, 0.02, 0.0, -0.01, -0.04], index=["a", HOSTILE, "c", "d", "e"])


def test_photos_that_changed_most_are_shown_first() -> None:
    assert verdict_page.changed_most(GAINS) == {"gained": ["a", HOSTILE], "lost": ["e", "d"]}
    many = pd.Series(np.linspace(1, -1, 41), index=[f"photo{at:02d}" for at in range(41)])
    chosen = verdict_page.changed_most(many)
    assert chosen["gained"] == [f"photo{at:02d}" for at in range(verdict_page.SHOWN)]
    assert chosen["lost"] == [f"photo{40 - at}" for at in range(verdict_page.SHOWN)]


def names_of(champion: bool) -> list[str]:
    return ["grey", *(["champion"] if champion else []), "challenger", "true"]


def page_of(champion: bool = True) -> str:
    """The page of the verdict above."""
    grey = np.full((8, 12, 3), 90, np.uint8)
    pictures = {photo: dict.fromkeys(names_of(champion), grey) for photo in ("a", HOSTILE, "d", "e")}
    return verdict_page.verdict_page(verdict(champion), GAINS, verdict_page.changed_most(GAINS), pictures)


@pytest.mark.parametrize("champion", [True, False])
def test_the_page_escapes_names_and_loads_nothing(champion: bool) -> None:
    html = page_of(champion)
    page = Page(html)
    assert "script" not in page.tags
    assert page.text.count(HOSTILE) >= 4  # reason, category, bar, picture
    assert all(link.startswith("data:") for link in references(html))
    assert len(page.pictures()) == 4 * len(names_of(champion))
    assert page.tags.count("rect") == len(GAINS)
    conditions = page.tables[0]
    assert [row[0] for row in conditions[1:]] == ["✗", "✓", "✓", "✓"]
    assert conditions[1][3:5] == ["+0.0050", "−0.0020 to +0.0120"]
    assert conditions[3][4] == ""
    assert ("reveal a gain of 0.0123" in page.text) == champion
    assert page_of(champion) == html


def test_measures_have_plain_names_and_wide_tables_scroll_on_a_phone(tmp_path: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or pytest.skip("needs chromium")
    (tmp_path / "page.html").write_text(page_of(), encoding="utf-8")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.goto((tmp_path / "page.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") == 390
        table = page.locator(".table").first
        assert table.evaluate("box => box.scrollWidth > box.clientWidth")
        assert page.locator("td", has_text="Closeness").first.locator("small").inner_text() == "PSNR, dB"
        browser.close()


def test_the_table_fits_a_terminal_of_80_columns() -> None:
    file = io.StringIO()
    Console(file=file, width=80).print(verdict_page.verdict_table(verdict()))
    lines = [line.split() for line in file.getvalue().splitlines() if line.strip()]
    assert [line[:2] for line in lines[2:]] == [
        ["✗", "similarity"], ["✓", "PSNR,"], ["✓", "kernel"], ["✓", "colourfulness"],
    ]  # fmt: skip


def test_the_line_and_the_sensitivity() -> None:
    line = verdict_page.verdict_line(verdict())
    assert line == "models:/tintlab/2 against models:/tintlab/1: not promoted"
    assert "without a champion" in verdict_page.verdict_line(verdict(champion=False))
    told = verdict_page.sensitivity(verdict())
    assert told.startswith("9 photographs (8 clusters) reveal a gain of 0.0123 with a probability of 80%")
    assert verdict_page.sensitivity(verdict(champion=False)) == ""
