"""What a served model takes for the contents of a file: bytes alone, whatever the form of the request."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.exceptions import MlflowException

from tintlab.inference import pyfunc

WANTED = "send the photograph's own bytes, in JSON as base64 or in Parquet as binary, not its path or URL"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        ("/etc/passwd", "text"),
        ("file:///etc/passwd", "text"),
        (Path("/etc/passwd"), "PosixPath"),
        (bytearray(b"x"), "bytearray"),
        (memoryview(b"x"), "memoryview"),
        (["/etc/passwd"], "list"),
        (float("nan"), "float"),
        (None, "NoneType"),
        (3, "int"),
    ],
)
def test_a_value_that_is_not_bytes_is_refused(value: Any, kind: str) -> None:
    table = pd.DataFrame({"image": pd.Series([b"fine", value], dtype=object)})
    with pytest.raises(MlflowException) as refused:
        pyfunc._contents(table)
    assert refused.value.message == f"image 1 is {kind}, not bytes: {WANTED}"
    assert refused.value.get_http_status_code() == 400


@pytest.mark.parametrize("table", ["/etc/passwd", {"image": ["x"]}, pd.DataFrame({"file": [b"x"]}), None])
def test_what_is_no_table_of_images_is_refused(table: Any) -> None:
    with pytest.raises(MlflowException, match="send a table with the column image") as refused:
        pyfunc._contents(table)
    assert refused.value.get_http_status_code() == 400


def test_bytes_are_taken_as_they_are() -> None:
    assert pyfunc._contents(pd.DataFrame({"image": [b"/etc/passwd", b""]})) == [b"/etc/passwd", b""]
