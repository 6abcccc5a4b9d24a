"""Whose code runs: that of the folder in use, or of the checkout that it was copied from."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tintlab.system import checkout
from tintlab.system.errors import TintlabError


@pytest.fixture
def copied(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The source code, copied as `cp -r` copies a checkout; the working directory is the copy."""
    target = tmp_path / "src" / "tintlab"
    shutil.copytree(checkout.code_in_use(), target, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.chdir(tmp_path)
    return target


def test_the_same_code_elsewhere_is_no_fault(copied: Path) -> None:
    assert not checkout.has_other_code()
    checkout.refuse_other_code()


@pytest.mark.parametrize("change", ["edited", "added", "removed"])
def test_other_code_is_refused_with_both_places(copied: Path, change: str) -> None:
    file = copied / "gan" / "losses.py"
    if change == "edited":
        file.write_text(file.read_text() + "\n")
    elif change == "added":
        file.with_name("more.py").write_text("")
    else:
        file.unlink()
    with pytest.raises(TintlabError) as refused:
        checkout.refuse_other_code()
    assert str(copied.resolve()) in str(refused.value)
    assert str(checkout.code_in_use()) in str(refused.value)
    assert "run `make run`, or `pip install -e .` here" in str(refused.value)


def test_a_stage_says_it_in_one_line(copied: Path) -> None:
    (copied / "__init__.py").write_text("")
    done = subprocess.run(
        [sys.executable, "-m", "tintlab.stages.split"],
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: the code that runs is ")
    assert done.stderr.count("\n") == 1


def test_elsewhere_there_is_nothing_to_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert not checkout.has_other_code()
    assert checkout.origin_of_copy() is None


def test_a_temporary_copy_knows_its_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / ".dvc" / "tmp" / "exps" / "tmpabc"
    folder.mkdir(parents=True)
    monkeypatch.chdir(folder)
    assert checkout.origin_of_copy() == tmp_path
