"""Every kind of grey sample, profile and container: L* within 0.5 of what the standards say, or a reason."""

from collections import Counter
from pathlib import Path

import pytest

from tests.imaging import matrix, other_formats

DOCUMENT = Path(__file__).parents[2] / "docs" / "scoring.md"


@pytest.fixture(scope="module")
def found() -> list[matrix.Cell]:
    return list(matrix.cells())


def test_no_cell_is_wrong(found: list[matrix.Cell]) -> None:
    assert [cell for cell in found if cell.outcome == "wrong"] == []


def test_refused_cells_have_one_line_of_reason(found: list[matrix.Cell]) -> None:
    for cell in found:
        if cell.outcome == "refused":
            assert 0 < len(cell.detail) <= 200
            assert cell.detail.isprintable()


def test_most_cells_are_read(found: list[matrix.Cell]) -> None:
    counts = Counter(cell.outcome for cell in found)
    assert len(found) == len(matrix.KINDS) * 2 * len(matrix.PROFILES) * len(matrix.CONTAINERS)
    assert counts["read"] >= 2212
    assert counts["refused"] == 0


def test_docs_have_the_table_that_the_matrix_finds(found: list[matrix.Cell]) -> None:
    assert matrix.table(found) in DOCUMENT.read_text()


def test_docs_have_the_table_of_other_formats() -> None:
    assert other_formats.table() in DOCUMENT.read_text()
