"""`tintlab explore …` from end to end, on a tiny model with random weights."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from tests.scoring.conftest import make_model
from tintlab.cli import app
from tintlab.explore import directions
from tintlab.imaging.provenance import read_provenance
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.tracking import delivery, sender, store

PHOTO = paths.RAW / "0.png"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["explore", *(str(argument) for argument in arguments)])


def refused(*arguments: object) -> str:
    """The one line that a command ends with."""
    result = run(*arguments)
    assert isinstance(result.exception, TintlabError), result.output
    assert "\n" not in str(result.exception)
    return str(result.exception)


def pixels(path: Path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_variants_are_those_of_score_and_the_same_each_time(pipeline_data: Path, model: Path) -> None:
    result = run("variants", PHOTO, "-n", 3, "--seed", 5, "--model", model, "-o", "out")
    assert result.exit_code == 0, result.output
    names = [f"0-v{number}.png" for number in (1, 2, 3)]
    CliRunner().invoke(
        app, ["score", str(PHOTO), "scored", "--variants", "3", "--seed", "5", "--model", str(model)]
    )
    for name in names:
        assert (pixels(Path("out") / name) == pixels(Path("scored") / name)).all()
    assert len({pixels(Path("out") / name).tobytes() for name in names}) == 3
    assert pixels(Path("out/0-variants.jpg")).shape[1] > 3 * 320


def test_dropout_variants_differ_too(pipeline_data: Path, model: Path) -> None:
    for folder in ("one", "two"):
        result = run("variants", PHOTO, "-n", 2, "--dropout", "--model", model, "-o", folder)
        assert result.exit_code == 0, result.output
    first, second = (pixels(Path("one") / f"0-dropout-v{number}.png") for number in (1, 2))
    assert (first != second).any()
    assert (pixels(Path("two/0-dropout-v1.png")) == first).all()
    origin = read_provenance(Path("one/0-dropout-v2.png").read_bytes())
    assert origin is not None
    assert origin.variant == "dropout 2, seed 0"


def test_directions_are_kept_with_the_model_and_steer(pipeline_data: Path, model: Path) -> None:
    result = run("directions", "--codes", 10, "--model", model)
    assert result.exit_code == 0, result.output
    assert "not logged: MLflow has no run" in result.output
    known = json.loads((model / directions.FILE).read_text())
    assert set(known["directions"]) >= {"warm", "saturation", "green"}
    for name, arguments in {"more": ("--warm", 2), "same": ("--warm", 0)}.items():
        steered = run("steer", PHOTO, *arguments, "--saturation", 0, "--model", model, "-o", name)
        assert steered.exit_code == 0, steered.output
    CliRunner().invoke(app, ["score", str(PHOTO), "scored", "--model", str(model), "--engine", "torch"])
    assert (pixels(Path("same/0-steered.png")) == pixels(Path("scored/0.png"))).all()
    assert (pixels(Path("more/0-steered.png")) != pixels(Path("scored/0.png"))).any()
    origin = read_provenance(Path("more/0-steered.png").read_bytes())
    assert origin is not None
    assert origin.variant == "steered: warm +2, saturation +0"
    assert "no direction for 'moody': this model has warm" in refused(
        "steer", PHOTO, "--moody", 1, "--model", model
    )
    assert "say which way" in refused("steer", PHOTO, "--model", model)


def test_directions_of_another_model_are_refused(pipeline_data: Path, model: Path, tmp_path: Path) -> None:
    run("directions", "--codes", 10, "--model", model)
    other = tmp_path / "other"
    other.mkdir()
    for file in model.iterdir():
        (other / file.name).write_bytes(file.read_bytes())
    from safetensors.torch import load_file, save_file

    weights = load_file(other / paths.WEIGHTS)
    weights["output.bias"] += torch.ones(2)
    save_file(weights, other / paths.WEIGHTS)
    assert "belongs to another model" in refused("steer", PHOTO, "--warm", 1, "--model", other)


def test_a_model_without_noise_is_refused_by_what_needs_it(pipeline_data: Path, tmp_path: Path) -> None:
    plain = make_model(tmp_path / "plain")
    assert "takes no noise vector" in refused("variants", PHOTO, "--model", plain)
    assert "takes no noise vector" in refused("directions", "--model", plain)
    assert "no dropout" in refused("variants", PHOTO, "--dropout", "--model", plain)
    assert "no dropout" in refused("measure", "--model", plain)
    assert "no layer up_blocks.0: it has" in refused("units", "--model", plain)


def test_without_the_pipelines_tables_a_line_says_so(
    tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert "explore where `dvc repro` has run" in refused("contrast", "--model", model)


@pytest.mark.slow  # half a minute: hundreds of pictures are judged
def test_the_page_has_all_sections_and_is_logged_to_the_run(pipeline_data: Path, model: Path) -> None:
    fingerprint = json.loads((model / paths.MODEL_CONFIG).read_text())["fingerprint"]
    with sender.start_recording(fingerprint) as recorder:
        recorder.start("train-012345", {}, {})
        recorder.finish()
    delivery.sync()
    result = run("report", "--model", model, "--pictures", "pictures")
    assert result.exit_code == 0, result.output
    page = Path(result.stdout.strip().splitlines()[-1].split(";")[0]).read_text()
    for title in ("Variety, usefulness, realism", "Directions", "Units", "Contrast and brightness"):
        assert f"<h2>{title}</h2>" in page
    assert "http" not in page
    assert page.count('src="data:image/') >= 10
    assert len(list(Path("pictures").iterdir())) == page.count("<figure")
    delivery.sync()
    with store.connect() as client:
        run_id = delivery.find_run(fingerprint)
        assert run_id
        figures = client.get_run(run_id).data.metrics
        assert figures["explore.samples.noise.pairwise_ab"] > 0
        assert figures["explore.contrast.contrast_0.8.delta_e00"] > 0
        stored = {file.path for file in client.list_artifacts(run_id, "explore")}
    assert stored == {"explore/index.html", "explore/directions.json"}
