from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tintlab.system import tables
from tintlab.system.errors import TintlabError
from tintlab.system.tables import SCHEMAS, read_table, write_table

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
awkward = st.sampled_from(
    ["", "NA", "nan", "None", "null", "1", "1.0", "True", ' "', ",", "a\rb", "\r\n", "\\", "#"]
)
values = {
    tables.TEXT: texts | awkward,
    tables.INT: st.integers(-(2**62), 2**62),
    tables.FLOAT: st.floats(-1e6, 1e6) | st.just(float("nan")),
}


def rows_of(schema: dict[str, str]) -> st.SearchStrategy[list[dict[str, object]]]:
    return st.lists(
        st.fixed_dictionaries({name: values[dtype] for name, dtype in schema.items()}), max_size=5
    )


@pytest.mark.parametrize("name", SCHEMAS)
@settings(max_examples=25)
@given(data=st.data())
def test_what_is_written_is_read_again(
    name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory
) -> None:
    schema = SCHEMAS[name]
    path = tmp_path_factory.getbasetemp() / name
    table = pd.DataFrame(data.draw(rows_of(schema)), columns=list(schema)).astype(schema)
    write_table(table, path)
    back = read_table(path)
    assert back.dtypes.astype(str).to_dict() == schema
    for column, dtype in schema.items():
        if dtype == tables.FLOAT:
            np.testing.assert_allclose(back[column], table[column], rtol=1e-5)
        elif dtype == tables.TEXT:
            expected = [text.replace("\r\n", "\n").replace("\r", "\n") for text in table[column]]
            assert back[column].tolist() == expected
        else:
            assert back[column].tolist() == table[column].tolist()


def test_columns_are_put_in_order_and_others_dropped(tmp_path: Path) -> None:
    table = pd.DataFrame(
        {"excluded": [""], "scratch": [1], "split": ["val"], "photo": ["a.jpg"], "cluster": ["a.jpg"]}
    )
    write_table(table, tmp_path / "splits.csv")
    assert (tmp_path / "splits.csv").read_bytes() == b"photo,split,cluster,excluded\na.jpg,val,a.jpg,\n"


def test_the_same_table_gives_the_same_bytes(tmp_path: Path) -> None:
    table = pd.DataFrame({"photo": ["a"], "value": [0.1 + 0.2], "other": [1e-7]})
    write_table(table, tmp_path / "free.csv")
    assert (tmp_path / "free.csv").read_bytes() == b"photo,value,other\na,0.3,1e-07\n"


def test_numbers_and_names_in_texts_stay_texts(tmp_path: Path) -> None:
    (tmp_path / "splits.csv").write_text("photo,split,cluster,excluded\n007,NA,1.50,\n")
    row = read_table(tmp_path / "splits.csv").iloc[0]
    assert row.tolist() == ["007", "NA", "1.50", ""]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"photo,split,cluster\na,val,a\n", "lacks the column 'excluded': delete it and run `dvc repro`"),
        (b"", "can't be read"),
        (b"photo,split,cluster,excluded\na,val\nb,c,d,e,f,g\n", "can't be read"),
        (b"photo,split,cluster,excluded\n\xff\xfe,a,b,c\n", "can't be read"),
    ],
)
def test_mangled_tables(content: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "splits.csv"
    path.write_bytes(content)
    with pytest.raises(TintlabError) as caught:
        read_table(path)
    assert str(caught.value).startswith(f"{path} ")
    assert message in str(caught.value)


@pytest.mark.parametrize("cell", ["", "ten", "1.5"])
def test_a_whole_number_that_is_none(cell: str, tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text(f"photo,cluster,category,left,top\na,a,,{cell},0\n")
    with pytest.raises(TintlabError, match="can't be read"):
        read_table(tmp_path / "train.csv")


def test_a_missing_table(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match=r"splits\.csv is missing: run `dvc repro` to make it"):
        read_table(tmp_path / "splits.csv")


def test_a_table_that_can_t_be_written_leaves_the_old_one(tmp_path: Path) -> None:
    good = pd.DataFrame({"photo": ["a"], "cluster": ["a"], "left": [1], "top": [2]})
    write_table(good, tmp_path / "train.csv")
    before = (tmp_path / "train.csv").read_bytes()
    with pytest.raises(ValueError, match=r"convert|integer"):
        write_table(good.assign(left=[float("nan")]), tmp_path / "train.csv")
    assert (tmp_path / "train.csv").read_bytes() == before
