import threading
from pathlib import Path

import pytest

from tintlab.imaging.statistics import HISTOGRAM, SCALARS
from tintlab.scoring import manifest
from tintlab.scoring.manifest import SCHEMA, Record, merge_parts, open_part, parts_folder, read_records
from tintlab.system.locks import HeldError

FIGURES = dict.fromkeys((*HISTOGRAM, *SCALARS), 0.5)


def record(name: str, **changes: object) -> Record:
    return Record(name, "coloured", output=f"{name}.png", input_bytes=3, figures=FIGURES, **changes)  # type: ignore[arg-type]


def test_rows_survive_a_writer_that_never_closes(tmp_path: Path) -> None:
    parts_folder(tmp_path).mkdir(parents=True)
    writer = manifest.PartWriter(parts_folder(tmp_path), "a")
    writer.add(record("1"))
    writer.add(record("2"))
    assert list(read_records(tmp_path)["input"]) == ["1", "2"]
    journal = parts_folder(tmp_path) / "a.jsonl"
    journal.write_bytes(journal.read_bytes()[:-5])  # cut amid the second line
    assert list(read_records(tmp_path)["input"]) == ["1"]


def test_a_torn_journal_becomes_a_part_and_is_gone_on_with(tmp_path: Path) -> None:
    with open_part(tmp_path, "a") as writer:
        writer.add(record("1"))
    whole = '{"input": "2", "outcome": "coloured", "finished": 5.0}'
    (parts_folder(tmp_path) / "a.jsonl").write_text(f'{whole}\n{{"inp')
    with open_part(tmp_path, "a") as writer:
        writer.add(record("3"))
    assert list(read_records(tmp_path)["input"]) == ["1", "2", "3"]
    assert len(list(parts_folder(tmp_path).glob("a.*.parquet"))) == 3
    assert not list(parts_folder(tmp_path).glob("*.jsonl"))


def test_the_last_row_of_a_photograph_counts(tmp_path: Path) -> None:
    with open_part(tmp_path, "b") as writer:
        writer.add(Record("1", "quarantined", "cut short"))
    with open_part(tmp_path, "a") as writer:
        writer.add(record("1", seconds=2.5))
    merged = merge_parts(tmp_path)
    assert merged["outcome"].tolist() == ["coloured"]
    assert (tmp_path / manifest.QUARANTINE).read_text() == "input,reason\n"
    assert merged.columns.tolist() == SCHEMA.names


def test_large_numbers_stay_exact_beside_missing_ones(tmp_path: Path) -> None:
    with open_part(tmp_path, "a") as writer:
        writer.add(record("1", input_mtime_ns=1_795_362_035_540_164_693))
        writer.add(Record("2", "quarantined"))
    rows = read_records(tmp_path).set_index("input")
    assert rows.loc["1", "input_mtime_ns"] == 1_795_362_035_540_164_693


def test_the_same_parts_give_the_same_bytes(tmp_path: Path) -> None:
    with open_part(tmp_path, "a") as writer:
        writer.add(record("1"))
    merge_parts(tmp_path)
    first = (tmp_path / manifest.MANIFEST).read_bytes()
    merge_parts(tmp_path)
    assert (tmp_path / manifest.MANIFEST).read_bytes() == first


def test_parts_roll_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(manifest, "_ROWS_A_PART", 4)
    with open_part(tmp_path, "a") as writer:
        threads = [
            threading.Thread(target=lambda at=at: [writer.add(record(f"{at}-{n}")) for n in range(5)])
            for at in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(list(parts_folder(tmp_path).glob("a.*.parquet"))) == 4
    assert len(read_records(tmp_path)) == 15


def test_one_writer_a_name(tmp_path: Path) -> None:
    with (
        open_part(tmp_path, "a"),
        pytest.raises(HeldError, match="another scoring of the part a"),
        open_part(tmp_path, "a"),
    ):
        pass


def test_formulas_and_newlines_stay_in_their_cell(tmp_path: Path) -> None:
    with open_part(tmp_path, "a") as writer:
        writer.add(Record("new\nline,.jpg", "quarantined", 'a "reason"'))
    merge_parts(tmp_path)
    assert (tmp_path / manifest.QUARANTINE).read_text().splitlines() == [
        "input,reason",
        '"new\\nline,.jpg","a ""reason"""',
    ]
