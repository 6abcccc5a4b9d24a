from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn
from typer.testing import CliRunner

from tintlab.cli import app
from tintlab.errors import TintlabError
from tintlab.gan.model_files import save_generator
from tintlab.gan.unet import UNet
from tintlab.scoring import plan_files, plan_tree


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny generator with random weights, as a trained one lies on disk."""
    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    generator: nn.Module = UNet(32, 4, 0.0)
    config = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.0, "z_dim": 0, "working_size": 64}
    save_generator(folder, generator, config)
    return folder


@pytest.fixture
def archive(tmp_path: Path, picture: Callable[..., np.ndarray]) -> Path:
    folder = tmp_path / "scans"
    for place in ("a.jpg", "a.png", "1920/b.jpg", ".hidden/c.jpg"):
        path = folder / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture(70, 50, seed=len(place))).save(path)
    (folder / "1920/broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:300])
    return folder


def test_score_keeps_the_tree_and_names_what_it_could_not_use(
    archive: Path, model: Path, tmp_path: Path
) -> None:
    target = tmp_path / "coloured"
    result = CliRunner().invoke(app, ["score", str(archive), str(target), "--model", str(model)])
    assert result.exit_code == 2
    assert "3 photographs coloured, 1 files can't be used" in result.output
    assert "broken.jpg: the picture's data is cut short" in result.output
    written = {path.relative_to(target).as_posix() for path in target.rglob("*") if path.is_file()}
    assert written == {"a.jpg.png", "a.png.png", "1920/b.png"}
    with Image.open(target / "1920/b.png") as coloured:
        assert coloured.size == (70, 50)
        assert np.asarray(coloured).std(axis=-1).max() > 0


def test_colorize_writes_beside_or_where_told(archive: Path, model: Path, tmp_path: Path) -> None:
    arguments = ["colorize", str(archive / "a.jpg"), "--model", str(model), "-o", str(tmp_path / "out")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    first = (tmp_path / "out/a-coloured.png").read_bytes()
    CliRunner().invoke(app, arguments)
    assert (tmp_path / "out/a-coloured.png").read_bytes() == first


def test_nothing_usable_is_a_failure(tmp_path: Path, model: Path) -> None:
    (tmp_path / "scans").mkdir()
    (tmp_path / "scans/a.jpg").write_bytes(b"")
    result = CliRunner().invoke(
        app, ["score", str(tmp_path / "scans"), str(tmp_path / "out"), "--model", str(model)]
    )
    assert result.exit_code == 1
    assert "a.jpg: the file is empty" in result.output


def test_plans_refuse_what_would_lose_files(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match="lies inside"):
        plan_tree(tmp_path, tmp_path / "coloured")
    with pytest.raises(TintlabError, match="not a folder"):
        plan_tree(tmp_path / "nowhere", tmp_path / "coloured")
    with pytest.raises(TintlabError, match="both become"):
        plan_files([Path("x/a.jpg"), Path("y/a.jpg")], tmp_path)


def test_a_missing_model_says_how_to_get_one(archive: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["score", str(archive), str(tmp_path / "out"), "--model", str(tmp_path)])
    assert isinstance(result.exception, TintlabError)
    assert "make run" in str(result.exception)


def test_no_two_files_of_a_tree_become_one(tmp_path: Path) -> None:
    names = ["a.jpg", "a.png", "a.jpg.jpg", "a.jpg.jpg.tif", "b", "b.png", "c.d.jpg", "sub/c.jpg"]
    for name in names:
        (tmp_path / "scans" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "scans" / name).touch()
    plan = dict(plan_tree(tmp_path / "scans", tmp_path / "out"))
    assert len(plan) == len(set(plan.values())) == len(names)
    assert plan[tmp_path / "scans/c.d.jpg"] == tmp_path / "out/c.d.png"
    assert plan[tmp_path / "scans/sub/c.jpg"] == tmp_path / "out/sub/c.png"


@pytest.mark.parametrize("size", ["0", "-5", "31"])
def test_an_impossible_working_size_is_refused(size: str, archive: Path, model: Path, tmp_path: Path) -> None:
    arguments = ["score", str(archive), str(tmp_path / "out"), "--model", str(model), "--working-size", size]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "working-size" in result.output
    assert not (tmp_path / "out").exists()
