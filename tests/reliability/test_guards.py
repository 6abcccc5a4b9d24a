"""The list of guards is of the present source; `without_guards` takes them out and runs their tests."""

from pathlib import Path

import pytest

from tests.reliability.source_tree import occurrences, replaced
from tests.reliability.without_guards import GUARDS, SRC, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_in_its_file_and_names_its_test(guard: Guard, repository: Path) -> None:
    source = (repository / SRC / guard.file).read_text()
    assert guard.count(source) == guard.times
    assert guard.taken_out(source) != source
    file, test = guard.test.split("::")
    assert f"\ndef {test.partition('[')[0]}(" in (repository / file).read_text()


def test_each_guard_has_a_name_of_its_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)


SOURCE = """
class Shop:
    def sell(self, price):  # a comment
        if (price >
                self.limit): raise ValueError('too dear')
        log(price, level = 2)

def sell(price):
    log(price)
"""


@pytest.mark.parametrize(
    ("function", "code", "instead", "expected"),
    [
        ("Shop.sell", "price > self.limit", "False", "if False:"),
        ("Shop.sell", "level=2", "level=3", "log(price, level=3)"),
        ("Shop.sell", "level=2", "", "log(price)\n\ndef"),
        ("sell", "log(price)", "", "def sell(price):\n    pass"),
        ("", 'raise ValueError("too dear")', "return", "return"),
    ],
)
def test_code_is_found_by_its_tree(function: str, code: str, instead: str, expected: str) -> None:
    assert occurrences(SOURCE, function, code) == 1
    assert expected in replaced(SOURCE, function, code, instead)


def test_code_elsewhere_is_not_found() -> None:
    assert occurrences(SOURCE, "sell", "level=2") == 0
    assert occurrences(SOURCE, "buy", "log(price)") == 0
    assert occurrences(SOURCE, "", "log(price)") == 1
