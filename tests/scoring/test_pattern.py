import glob
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tintlab.scoring.pattern import matches, may_lead_to_match, split_pattern

PATTERNS = [
    "*",
    "**",
    "**/*.tif",
    "*/*.tif",
    "1*/**/a.*",
    "**/x/**",
    "[12]/?.jpg",
    "**/.h/*",
    "1/**",
    "**/**/b*",
]
FILES = [
    *("a.tif", "1/a.tif", "1/x/a.tif", "1/x/y/b.tif", "2/b.jpg", "12/a.jpg", "12/x/a.jpg"),
    *(".h/a.jpg", "1/.h/b.jpg", "1/.hidden.tif"),
]


@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_same_files_as_the_standard_library_s(pattern: str, tmp_path: Path) -> None:
    for name in FILES:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    expected = set(glob.glob(pattern, root_dir=tmp_path, recursive=True)) & set(FILES)  # noqa: PTH207
    parts = Path(pattern).parts
    assert {name for name in FILES if matches(Path(name).parts, parts)} == expected


names = st.lists(st.sampled_from(["a", "b", "ab", ".a"]), min_size=1, max_size=5)
patterns = st.lists(st.sampled_from(["a", "*", "**", "?b", ".*"]), min_size=1, max_size=5)


@given(names, patterns)
def test_the_way_to_a_match_is_always_open(name: list[str], pattern: list[str]) -> None:
    if matches(name, pattern):
        assert all(may_lead_to_match(name[:length], pattern) for length in range(len(name)))


def test_the_part_before_the_first_wildcard(tmp_path: Path) -> None:
    assert split_pattern(Path("/disk/1*/a.jpg")) == (Path("/disk"), ("1*", "a.jpg"))
    assert split_pattern(Path("scans/1931/*.jpg")) == (Path("scans/1931"), ("*.jpg",))
    assert split_pattern(Path("*.jpg")) == (Path(), ("*.jpg",))
