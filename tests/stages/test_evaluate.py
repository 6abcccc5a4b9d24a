"""The figures of photographs under models whose colours are known, and the stage as a program."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from tintlab import color, paths, report
from tintlab.colorizer import Colorizer
from tintlab.errors import TintlabError
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.params import EvaluateParams
from tintlab.stages import evaluate
from tintlab.storage import read_json
from tintlab.tables import write_table

PARAMS = EvaluateParams(working_size=64, threads=2)
SIZES = [(96, 96), (130, 97), (101, 160)]


class Uniform(nn.Module):
    """A generator that paints everything in one colour."""

    multiple = 32

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.ab = torch.tensor([a, b]) / 110

    def forward(self, L: Tensor, z: Tensor | None = None) -> Tensor:
        return self.ab.view(1, 2, 1, 1).expand(len(L), 2, *L.shape[2:])


@pytest.fixture
def raw(tmp_path: Path, picture) -> Path:
    folder = tmp_path / "raw"
    folder.mkdir()
    for number, (width, height) in enumerate(SIZES):
        Image.fromarray(picture(width, height, seed=number)).save(folder / f"photo{number}.png")
    return folder


@pytest.fixture
def photos() -> pd.DataFrame:
    """The last two are near-duplicates, and the order is not the alphabet's."""
    names = ["photo2.png", "photo0.png", "photo1.png"]
    return pd.DataFrame(
        {"photo": names, "cluster": ["b", "a", "b"], "category": ["sea", "land", "sea"], "split": "test"}
    )


@pytest.fixture
def trial(raw: Path) -> evaluate.Trial:
    return evaluate.Trial(raw, max_megapixels=1, median_ab=np.array([3, 9], np.float32))


def test_figures_stand_beside_the_baselines(photos: pd.DataFrame, trial: evaluate.Trial) -> None:
    """A model that paints nothing is grey; what paints the median colour is `median_ab`."""
    _, colourless = evaluate.evaluate(photos, trial, Colorizer(Uniform(0, 0), 32), PARAMS)
    _, median = evaluate.evaluate(photos, trial, Colorizer(Uniform(3, 9), 32), PARAMS)
    assert colourless["photo"].tolist() == ["photo0.png", "photo1.png", "photo2.png"]
    assert colourless["cluster"].tolist() == ["a", "b", "b"]
    for name in ("psnr", "ssim", "delta_e00", "colourfulness", "colourfulness_difference", "colour_spill"):
        np.testing.assert_allclose(colourless[name], colourless[f"{name}_grey"], atol=1e-6)
        np.testing.assert_allclose(median[name], median[f"{name}_median_ab"], atol=0.02)
        assert (colourless[f"{name}_grey"] == median[f"{name}_grey"]).all()
    assert (colourless["colourfulness_grey"] == 0).all()
    assert (median["colourfulness_median_ab"] > 3).all()


def test_figures_are_those_of_the_photo_at_full_size(photos: pd.DataFrame, trial: evaluate.Trial) -> None:
    totals, per_photo = evaluate.evaluate(photos, trial, Colorizer(Uniform(20, -10), 32), PARAMS)
    for number, row in per_photo.iterrows():
        true = np.asarray(Image.open(trial.raw / row["photo"]))
        assert true.shape == (*SIZES[number][::-1], 3)
        lab = color.rgb_to_lab(true)
        lab[..., 1:] = [20, -10]
        rgb = color.to_bytes(color.lab_to_rgb_in_gamut(lab))
        error = np.square(rgb.astype(float) - true).mean()
        assert row["psnr"] == pytest.approx(10 * np.log10(255**2 / error), abs=1e-3)
        assert row["colourfulness"] == pytest.approx(color.colourfulness(rgb), abs=0.01)
        assert row["colourfulness_true"] == pytest.approx(color.colourfulness(true))
        gap = row["colourfulness"] - row["colourfulness_true"]
        assert row["colourfulness_difference"] == pytest.approx(gap)
    assert totals["photos"] == 3
    assert totals["clusters"] == 2
    assert totals["model"]["psnr"] == pytest.approx(per_photo["psnr"].mean(), rel=1e-5)
    assert totals["grey"]["delta_e00"] == pytest.approx(per_photo["delta_e00_grey"].mean(), rel=1e-5)
    assert totals["median_ab"].keys() == totals["model"].keys() == totals["grey"].keys()


def test_the_order_of_photographs_changes_nothing(photos: pd.DataFrame, trial: evaluate.Trial) -> None:
    model = Colorizer(Uniform(20, -10), 32)
    totals, per_photo = evaluate.evaluate(photos, trial, model, PARAMS)
    one_process = PARAMS.model_copy(update={"threads": 1})
    again, per_photo_again = evaluate.evaluate(
        photos.sample(frac=1, random_state=1), trial, model, one_process
    )
    assert again == totals
    pd.testing.assert_frame_equal(per_photo_again, per_photo)


def test_faults_are_one_line(photos: pd.DataFrame, trial: evaluate.Trial) -> None:
    model = Colorizer(Uniform(0, 0), 32)
    with pytest.raises(TintlabError, match="no test photographs"):
        evaluate.evaluate(photos.iloc[:0], trial, model, PARAMS)
    (trial.raw / "photo1.png").write_bytes(b"")
    with pytest.raises(TintlabError, match=r"photo1\.png: the file is empty"):
        evaluate.evaluate(photos, trial, model, PARAMS)
    with pytest.raises(TintlabError, match="no training squares"):
        evaluate.median_ab(np.zeros((0, 8, 8, 3), np.uint8))


def test_median_ab_is_that_of_all_pixels() -> None:
    squares = np.random.default_rng(0).normal(140, 20, (7, 5, 5, 3)).astype(np.uint8)
    median = evaluate.median_ab(squares)
    assert median.dtype == np.float32
    for channel in (0, 1):
        assert median[channel] == np.sort(squares[..., channel + 1], axis=None)[(7 * 25 - 1) // 2] - 128.0


def test_distributions_are_quantiles_by_method(photos: pd.DataFrame, trial: evaluate.Trial) -> None:
    _, per_photo = evaluate.evaluate(photos, trial, Colorizer(Uniform(20, -10), 32), PARAMS)
    curves = evaluate.distributions(per_photo)
    assert list(curves.columns) == ["quantile", "method", *evaluate.PLOTTED]
    for method in evaluate.METHODS:
        curve = curves[curves["method"] == method].set_index("quantile")
        assert len(curve) == 21
        column = per_photo["psnr" + evaluate.suffix(method)]
        assert curve.loc[0, "psnr"] == column.min()
        assert curve.loc[0.5, "psnr"] == pytest.approx(column.median())
        assert curve.loc[1, "psnr"] == column.max()


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tintlab.stages.evaluate"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_program_makes_the_same_files_twice(
    tmp_path: Path, raw: Path, photos: pd.DataFrame, repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copy(repository / "params.yaml", tmp_path)
    write_table(photos.assign(width=100, height=100), paths.ACCEPTED)
    shutil.copytree(raw, paths.RAW)
    paths.LAB.mkdir(parents=True)
    np.save(paths.lab_squares("train"), np.full((4, 8, 8, 3), 131, np.uint8))

    failed = run_stage(tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: no model in models/generator")
    assert "Traceback" not in failed.stderr

    config = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.5, "z_dim": 0}
    torch.manual_seed(0)
    save_generator(paths.GENERATOR, build_generator(config), config)
    outputs = [paths.METRICS, paths.PER_PHOTO, paths.DISTRIBUTIONS, paths.REPORT_PAGE]
    contents = []
    for _ in range(2):
        done = run_stage(tmp_path)
        assert done.returncode == 0, done.stderr
        contents.append([path.read_bytes() for path in outputs])
        for path in outputs:
            path.unlink()
    assert contents[0] == contents[1]
    for path, content in zip(outputs, contents[0], strict=True):
        path.write_bytes(content)
    totals = read_json(paths.METRICS)
    assert totals["photos"] == 3
    assert report.metrics_text(totals) in done.stdout
    assert str(paths.REPORT_PAGE) in done.stdout
    table = pd.read_csv(paths.PER_PHOTO)
    assert table["photo"].tolist() == ["photo0.png", "photo1.png", "photo2.png"]
    assert table["psnr_median_ab"].mean() == pytest.approx(totals["median_ab"]["psnr"], rel=1e-4)
    page = paths.REPORT_PAGE.read_text()
    assert "photo1.png" in page
    assert "data:image/" in page
