"""The sheet of test photographs: the same ones before the pipeline has run and after, whatever the model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from PIL import Image

from tintlab.gan.model_files import build_generator, save_generator
from tintlab.operations.sheet import make_sheet
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.tables import write_table

CONFIG = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.5, "z_dim": 0, "working_size": 48}


@pytest.fixture
def project(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project in which nothing was built."""
    (tmp_path / "data").mkdir()
    for path in (paths.PARAMS, paths.STARTER):
        (tmp_path / path).symlink_to(repository / path)
    save_generator(tmp_path / "model", build_generator(CONFIG), CONFIG)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_before_the_pipeline_ran_starter_photographs_are_shown(project: Path) -> None:
    said = make_sheet(project / "sheet.jpg", "model", 2)
    assert said.endswith("the first 2 test photographs by name, coloured by local")
    assert min(Image.open("sheet.jpg").size) > 50


def test_afterwards_the_accepted_test_photographs_are(project: Path, picture: Callable[..., Any]) -> None:
    columns = {"cluster": "", "category": "", "width": 96, "height": 64}
    rows = [
        {"photo": f"{name}.png", "split": split} | columns for name, split in (("b", "test"), ("a", "train"))
    ]
    write_table(pd.DataFrame(rows), paths.ACCEPTED)
    with pytest.raises(TintlabError, match=r"b\.png"):
        paths.RAW.mkdir()
        make_sheet(project / "sheet.jpg", "model", 9)
    Image.fromarray(picture(96, 64, 1)).save(paths.RAW / "b.png")
    assert "the first 1 test photographs" in make_sheet(project / "sheet.jpg", "model", 9)
