"""The figures of the table are those of the reports."""

import json
import time
from pathlib import Path

import pytest

from measuring import Report, Row, interleaved, shown, spread
from sides import sides
from table import END, README, START, reports, with_tables

FASTER = Row("a step", "images/s", [8.0, 6.0, 7.0], [2.0, 4.0, 3.5], "them", "ours / baseline", at_least=2.5)


def test_a_row_divides_medians_and_says_whether_that_is_enough() -> None:
    assert FASTER.value == 7.0 / 3.5
    assert not FASTER.met
    slower = Row("a picture", "s", [2.0], [10.0], "them", "baseline / ours", at_least=5, at_most=6)
    assert slower.value == 5
    assert slower.met
    alone = Row("memory", "MB", [3.0, 1.0, 2.0], [], "", "ours", at_most=1.9)
    assert alone.value == 2
    assert not alone.met


def test_a_report_comes_back_as_it_was_written(tmp_path: Path) -> None:
    report = Report("python bench/x.py", {"cpu": "one", "cores": 2}, [FASTER], {"profile": {"all": 1.0}})
    report.write(tmp_path / "x.json")
    assert Report.read(tmp_path / "x.json") == report


def test_sides_take_turns_and_the_warm_up_is_not_counted() -> None:
    order: list[str] = []
    seconds = interleaved({name: lambda name=name: order.append(name) for name in "ab"}, repeats=3, warm_up=1)  # type: ignore[misc]
    assert "".join(order) == "abbaabba"
    assert {name: len(taken) for name, taken in seconds.items()} == {"a": 3, "b": 3}


def sleeping() -> object:
    """A side that sleeps."""
    return lambda: time.sleep(0.05)


def failing() -> object:
    """A side that can't be prepared."""
    raise ValueError("no")


def test_each_side_runs_in_its_own_process_which_ends() -> None:
    with sides({"sleeper": sleeping}) as started:  # type: ignore[dict-item]
        assert started["sleeper"]() >= 0.05
        assert started["sleeper"].peak_gigabytes() > 0.01
        process = started["sleeper"]._process
    assert not process.is_alive()
    with sides({"broken": failing}) as started, pytest.raises((EOFError, ConnectionError)):  # type: ignore[dict-item]
        started["broken"]()


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (1.2345, "1.23"), (1234.5, "1230"), (0.00012, "1.20e-04"), (2e5, "2.00e+05")],
)
def test_three_digits_are_shown(value: float, text: str) -> None:
    assert shown(value) == text


def test_the_spread_is_median_and_ends() -> None:
    assert spread([3.0, 1.0, 2.0], "s") == "2 s (1–3)"
    assert spread([3.0], "") == "3"


def test_the_table_in_the_readme_is_made_from_the_results() -> None:
    text = README.read_text("utf-8")
    assert text == with_tables(text, reports())


def test_a_changed_result_changes_the_table() -> None:
    text = README.read_text("utf-8")
    found = reports()
    found[0].rows[0] = Row(**vars(found[0].rows[0]) | {"ours": [123456.0]})
    changed = with_tables(text, found)
    assert changed != text
    assert "1.23e+05" in changed
    assert changed.split(START)[0] == text.split(START)[0]
    assert changed.split(END)[1] == text.split(END)[1]


def test_every_result_is_of_the_committed_form() -> None:
    for path in README.parent.glob("results/*.json"):
        content = json.loads(path.read_text("utf-8"))
        assert content["command"].startswith("python bench/")
        assert {"cpu", "cores", "torch"} <= set(content["machine"])
