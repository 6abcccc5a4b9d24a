"""The list of guards is of the present source; `without_guards` takes them out and runs their tests."""

from pathlib import Path

import pytest

from tests.reliability.without_guards import GUARDS, SRC, Guard


@pytest.mark.parametrize("guard", GUARDS, ids=lambda guard: guard.name)
def test_a_guard_stands_in_its_file_and_names_its_test(guard: Guard, repository: Path) -> None:
    assert (repository / SRC / guard.file).read_text().count(guard.text) == guard.times
    file, test = guard.test.split("::")
    assert f"\ndef {test.partition('[')[0]}(" in (repository / file).read_text()


def test_each_guard_has_a_name_of_its_own() -> None:
    assert len({guard.name for guard in GUARDS}) == len(GUARDS)
