"""What the stage adds to an evaluation: curves, a baseline from a table, and the files."""

import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from tests.evaluation.test_evaluate import photos, raw
from tintlab.evaluation.baselines import baseline_figures
from tintlab.evaluation.methods import METHODS, suffix
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.reports import evaluation as evaluation_page
from tintlab.reports import plots
from tintlab.stages import evaluate
from tintlab.system import paths
from tintlab.system.files import read_json
from tintlab.system.tables import write_table

__all__ = ["photos", "raw"]  # fixtures


@pytest.fixture
def per_photo() -> pd.DataFrame:
    """Thirty photographs with random figures."""
    random = np.random.default_rng(0)
    columns = [name + suffix(method) for name in plots.PLOTTED for method in METHODS]
    table = pd.DataFrame(random.normal(20, 5, (30, len(columns))), columns=columns)
    return table.assign(photo=[f"photo{at:02d}.png" for at in range(30)])


def test_distributions_are_quantiles_by_method(per_photo: pd.DataFrame) -> None:
    curves = plots.distributions(per_photo)
    assert list(curves.columns) == ["quantile", "method", *plots.PLOTTED]
    for method in METHODS:
        curve = curves[curves["method"] == method].set_index("quantile")
        assert len(curve) == 21
        column = per_photo["psnr" + suffix(method)]
        assert curve.loc[0, "psnr"] == column.min()
        assert curve.loc[0.5, "psnr"] == pytest.approx(column.median())
        assert curve.loc[1, "psnr"] == column.max()


def test_a_baseline_table_must_cover_all_photographs(
    per_photo: pd.DataFrame,
) -> None:
    """Means over these photographs alone, whatever the order; without one of them, no figure at all."""
    other = per_photo.assign(psnr=np.arange(30.0), ssim=0.5).drop(columns="colourfulness")
    more = pd.DataFrame({"photo": ["else.png"], "psnr": [1e6], "ssim": [0.5], "delta_e00": [1e6]})
    table = pd.concat([more, other.sample(frac=1, random_state=1)], ignore_index=True)
    figures = baseline_figures(table, per_photo.iloc[:10])
    assert figures == {
        "psnr": 4.5,
        "ssim": 0.5,
        "delta_e00": pytest.approx(other["delta_e00"][:10].mean(), rel=1e-5),
    }
    assert baseline_figures(table[table["photo"] != "photo03.png"], per_photo.iloc[:10]) == {}


def run_stage(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tintlab.stages.evaluate"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)


def test_the_program_makes_the_same_files_twice(
    tmp_path: Path,
    raw: Path,
    photos: pd.DataFrame,
    repository: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    params = (repository / "params.yaml").read_text()
    paths.PARAMS.write_text(params.replace("threads: 2", "threads: 1"))
    write_table(photos.assign(width=100, height=100), paths.ACCEPTED)
    paths.REFERENCE.parent.mkdir()
    shutil.copytree(raw, paths.RAW)
    paths.LAB.mkdir(parents=True)
    np.save(paths.lab_squares("train"), np.full((4, 8, 8, 3), 131, np.uint8))

    before = pd.DataFrame(
        {"photo": ["photo1.png", "gone.png"], "psnr": [1.0, 1.0], "delta_e00": [99.0, 99.0]}
    )
    before.to_csv(paths.REFERENCE, index=False)

    failed = run_stage(tmp_path)
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("error: no model in models/generator")
    assert "Traceback" not in failed.stderr

    config = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.5, "z_dim": 0}
    config["fingerprint"] = "0123abcd"
    torch.manual_seed(0)
    save_generator(paths.GENERATOR, build_generator(config), config)
    tables = [paths.METRICS, paths.PER_PHOTO, paths.INTERVALS, paths.DISTRIBUTIONS]
    outputs = [*tables, paths.SHEET, paths.REPORT_PAGE]
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
    assert evaluation_page.metrics_text(totals) in done.stdout
    assert str(paths.REPORT_PAGE) in done.stdout
    table = pd.read_csv(paths.PER_PHOTO)
    assert table["photo"].tolist() == ["photo0.png", "photo1.png", "photo2.png"]
    assert table["psnr_median_ab"].mean() == pytest.approx(totals["median_ab"]["psnr"], rel=1e-4)
    page = paths.REPORT_PAGE.read_text()
    assert "photo1.png" in page
    assert "How sure" in page
    assert "1 better" in page  # than in the reference
    assert "gone.png" in page
    assert "data:image/" in page
    assert "plain U-Net" not in page

    plain = table.drop(columns=[name for name in table if name.startswith("judge")]).assign(psnr=12.5)
    plain.to_csv(paths.PLAIN_UNET, index=False)
    done = run_stage(tmp_path)
    assert "plain U-Net" in done.stdout
    with_baseline = read_json(paths.METRICS)
    assert with_baseline.pop("plain_unet").keys() & {"psnr", "judge_similarity"} == {"psnr"}
    assert with_baseline == totals
    assert "12.50" in paths.REPORT_PAGE.read_text()
    plain[1:].to_csv(paths.PLAIN_UNET, index=False)
    assert evaluate.read_plain_unet(table) == {}
    assert "reports/plain_unet.csv lacks photographs" in capsys.readouterr().out
