import codecs
from pathlib import Path

import pytest

from tintlab.scoring.lists import read_list
from tintlab.system.errors import TintlabError

NAMES = ["1/a.jpg", "2/Größe 5 µm.tif", "2/写真.png"]
ENCODINGS = {
    "UTF-8": ("utf-8", b""),
    "UTF-8 with a mark": ("utf-8", codecs.BOM_UTF8),
    "UTF-16 of Windows": ("utf-16-le", codecs.BOM_UTF16_LE),
    "UTF-16 of old Macs": ("utf-16-be", codecs.BOM_UTF16_BE),
    "UTF-16 without a mark": ("utf-16-le", b""),
    "UTF-16, the other one": ("utf-16-be", b""),
    "UTF-32": ("utf-32-le", codecs.BOM_UTF32_LE),
}


def written(path: Path, text: str, encoding: str = "utf-8", mark: bytes = b"") -> Path:
    path.write_bytes(mark + text.encode(encoding))
    return path


@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
@pytest.mark.parametrize("name", ENCODINGS)
def test_lists_in_any_unicode_encoding(name: str, line_end: str, tmp_path: Path) -> None:
    path = written(tmp_path / "which.txt", line_end.join([*NAMES, "", NAMES[0]]) + line_end, *ENCODINGS[name])
    assert read_list(path) == [tmp_path / name for name in NAMES]


@pytest.mark.parametrize("name", ENCODINGS)
def test_tables_in_any_unicode_encoding(name: str, tmp_path: Path) -> None:
    text = "id,Path,note\r\n" + "".join(f'{row},"{one}",old\r\n' for row, one in enumerate(NAMES)) + "9,,\r\n"
    path = written(tmp_path / "which.csv", text, *ENCODINGS[name])
    assert read_list(path) == [tmp_path / name for name in NAMES]


def test_other_delimiters_and_quoted_names(tmp_path: Path) -> None:
    table = written(tmp_path / "which.csv", 'path;note\n"a;b, c.jpg";x\n')
    assert read_list(table) == [tmp_path / "a;b, c.jpg"]
    table = written(tmp_path / "which.tsv", "note\tpath\nx\ta, b.jpg\n")
    assert read_list(table) == [tmp_path / "a, b.jpg"]
    assert read_list(written(tmp_path / "one.csv", "path\na.jpg\n")) == [tmp_path / "a.jpg"]


def test_names_that_are_no_utf8_stay_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "which.txt").write_bytes(b"caf\xe9.jpg\n")
    assert read_list(tmp_path / "which.txt") == [tmp_path / "caf\udce9.jpg"]
    (tmp_path / "which.csv").write_bytes(b"path\ncaf\xe9.jpg\n")
    assert read_list(tmp_path / "which.csv") == [tmp_path / "caf\udce9.jpg"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("which.csv", b"file,note\na.jpg,x\n", "has no column 'path' (its columns: file, note)"),
        ("which.csv", b"", "has no column 'path' (its columns: none)"),
        ("which.csv", b"path\n", "names no photographs"),
        ("which.txt", b"\n\n", "names no photographs"),
        ("which.txt", codecs.BOM_UTF8, "names no photographs"),
        ("which.txt", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x01", "is no text with a path a line"),
        ("which.txt", codecs.BOM_UTF16_LE + b"a", "is no text with a path a line"),
        ("which.csv", b"path\n" + b"x" * 200_000, "is no table that can be read"),
    ],
)
def test_what_is_no_list_is_one_line(name: str, content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(TintlabError) as fault:
        read_list(tmp_path / name)
    assert words in str(fault.value)
    assert "\n" not in str(fault.value).replace(str(tmp_path), "")
    assert len(str(fault.value).replace(str(tmp_path), "")) <= 200
