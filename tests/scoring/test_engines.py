"""Which engine coloured: files, manifest and resumed archives say it, and never mix two silently."""

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.inference.test_engines import CONFIG, saved_model
from tintlab.cli import app
from tintlab.imaging.provenance import read_provenance
from tintlab.inference import engines
from tintlab.system import processor

pytest.importorskip("openvino")


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TINTLAB_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(processor, "multiplies_bf16", lambda: True)
    (tmp_path / "scans").mkdir()
    rng = np.random.default_rng(0)
    for name in "ab":
        Image.fromarray(rng.integers(0, 255, (40, 60), np.uint8)).save(tmp_path / "scans" / f"{name}.png")
    return saved_model(tmp_path / "model", CONFIG | {"z_dim": 0})


def score(model: Path, *options: str) -> str:
    result = CliRunner().invoke(app, ["score", "scans", "out", "--model", str(model), *options])
    assert result.exit_code == 0, result.output
    return result.output


def engines_of(output: Path) -> set[str]:
    said = {read_provenance(path.read_bytes()).engine for path in output.glob("*.png")}
    assert said == set(pq.read_table(output / "manifest.parquet")["engine"].to_pylist())
    return said


def test_files_and_manifest_say_the_engine(model):
    score(model)
    assert engines_of(Path("out")) == {"openvino bf16"}
    again = score(model, "--engine", "torch")
    assert "starting over, because engine was openvino bf16 and is torch fp32" in again
    assert engines_of(Path("out")) == {"torch fp32"}
    assert b"engine" not in Path("out/a.png").read_bytes()  # as files of before there was a choice


def test_auto_keeps_the_engine_of_an_earlier_run(model):
    score(model, "--engine", "torch")
    Path("out/a.png").unlink()
    assert "starting over" not in score(model)
    assert engines_of(Path("out")) == {"torch fp32"}


def test_another_machine_does_not_mix_engines_silently(model, monkeypatch):
    score(model)
    Path("out/a.png").unlink()
    monkeypatch.setattr(engines, "is_installed", lambda name: False)
    monkeypatch.setattr("tintlab.scoring.settings.is_installed", lambda name: False)
    output = score(model)
    assert "starting over, because engine was openvino bf16 and is torch fp32" in output
    assert "tintlab[fast]" in output
    assert engines_of(Path("out")) == {"torch fp32"}


def test_colorize_takes_an_engine(model):
    result = CliRunner().invoke(
        app, ["colorize", "scans/a.png", "--model", str(model), "--engine", "openvino"]
    )
    assert result.exit_code == 0, result.output
    assert read_provenance(Path("a-coloured.png").read_bytes()).engine == "openvino bf16"
