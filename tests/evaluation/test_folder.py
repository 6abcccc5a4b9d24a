"""`tintlab evaluate FOLDER`: intervals for the reader, and the published protocol."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tintlab.cli import app
from tintlab.evaluation import folder, metrics
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.imaging import color
from tintlab.system.errors import TintlabError

CONFIG = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.5, "z_dim": 0, "working_size": 48}


@pytest.fixture
def photos(tmp_path: Path, picture: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with three photographs in it, far from any project."""
    (tmp_path / "photos" / "inner").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "inner/c.png")):
        Image.fromarray(picture(96 + 32 * seed, 80, seed)).save(tmp_path / "photos" / name)
    save_generator(tmp_path / "model", build_generator(CONFIG), CONFIG)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return Path("photos")


def test_intervals_are_printed_outside_a_project(photos: Path) -> None:
    said = CliRunner().invoke(app, ["evaluate", str(photos), "--model", "model"])
    assert said.exit_code == 0, said.output
    found = folder.evaluate_folder(photos, Path("model"))
    row = found.intervals.set_index(["figure", "method"]).loc[("psnr", "model")]
    assert f"{row['value']:.2f} ({row['low']:.2f} to {row['high']:.2f})" in said.output
    assert "model (weights" in said.output
    assert "on 3 photographs, each at its own size" in said.output
    assert sorted(path.name for path in Path().iterdir()) == ["model", "photos"]


def test_the_published_protocol_judges_squares(photos: Path) -> None:
    found = folder.evaluate_folder(photos, Path("model"), side=64).per_photo.set_index("photo")
    square = np.asarray(Image.open(photos / "inner" / "c.png").resize((64, 64), Image.Resampling.BILINEAR))
    assert found.loc["inner/c.png", "colourfulness_true"] == metrics.unsigned_colourfulness(square)
    grey = color.to_bytes(np.repeat(color.lab_to_rgb(_without_colour(square))[..., :1], 3, axis=-1))
    assert found.loc["inner/c.png", "psnr_grey"] == pytest.approx(metrics.psnr(grey, square), abs=0.05)


def test_unsigned_colourfulness_by_hand() -> None:
    """Red, green: rg is 255 in both, so it spreads by 0 where signed values spread by 255; yb is 127.5."""
    rgb = np.array([[[255, 0, 0], [0, 255, 0]]], np.uint8)
    assert metrics.unsigned_colourfulness(rgb) == pytest.approx(0.3 * np.hypot(255, 127.5))
    assert color.colourfulness(rgb) == pytest.approx(255 + 0.3 * 127.5)


def test_a_folder_without_photographs_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(TintlabError, match="there are no photographs in"):
        folder.evaluate_folder(tmp_path, tmp_path)
    with pytest.raises(TintlabError, match="is not a folder"):
        folder.evaluate_folder(tmp_path / "nothing", tmp_path)


def _without_colour(rgb: np.ndarray[Any, Any]) -> color.Float:
    lab = color.rgb_to_lab(rgb)
    lab[..., 1:] = 0
    return lab
