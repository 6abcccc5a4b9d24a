import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from tests.scoring.conftest import make_settings
from tests.scoring.film_files import grey_frames, write_clip
from tintlab.cli import app
from tintlab.imaging import color
from tintlab.imaging.statistics import Reference, summarize
from tintlab.registry import register
from tintlab.scoring.trace import trace
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256, write_json
from tintlab.tracking import delivery, store
from tintlab.tracking.recorder import Recorder


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Path]:
    """A state folder whose MLflow store has the tiny model's run, with lineage, and version 1 of it."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TINTLAB_STATE", str(folder))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with Recorder("0123456789abcdef") as recorder:
            tags = {"git.commit": "c0ffee", "input.data/lab": "d41d8cd9.dir"}
            recorder.start("train-012345", {"train.seed": 7}, tags)
            recorder.finish()
        delivery.sync()
        register.register(model)
        yield folder


@pytest.fixture
def scan(tmp_path: Path) -> Path:
    Image.linear_gradient("L").resize((64, 48)).save(tmp_path / "harbour.jpg")
    return tmp_path / "harbour.jpg"


def test_from_the_file_to_the_commit(state: Path, scan: Path, tmp_path: Path) -> None:
    scored = CliRunner().invoke(app, ["score", str(scan), str(tmp_path / "out"), "--model", "challenger"])
    assert scored.exit_code == 0, scored.output
    traced = trace(tmp_path / "out/harbour.png")
    assert traced.file.model == "models:/tintlab/1"
    assert traced.file.model_version == "1"
    assert traced.file.training == "0123456789abcdef"
    assert traced.manifest["source"] == "harbour.jpg"
    assert traced.manifest["bytes"] == "as they were written"
    assert traced.run["run"].startswith("train-012345 (")
    assert traced.run["git.commit"] == "c0ffee"
    assert traced.run["input.data/lab"] == "d41d8cd9.dir"
    assert traced.run["params.train.seed"] == "7"
    assert traced.run["registered_as"] == "1"
    assert traced.words == ()
    told = CliRunner().invoke(app, ["trace", str(tmp_path / "out/harbour.png")])
    assert "c0ffee" in told.output
    assert traced.file.weights_sha256 in told.output


def test_a_local_model_is_found_by_its_training(state: Path, model: Path, scan: Path, tmp_path: Path) -> None:
    CliRunner().invoke(app, ["score", str(scan), str(tmp_path / "out"), "--model", str(model)])
    moved = (tmp_path / "out/harbour.png").rename(tmp_path / "elsewhere.png")
    traced = trace(moved)
    assert traced.file.model == "local"
    assert traced.run["git.commit"] == "c0ffee"
    assert traced.words == ("there is no manifest above it that knows it",)


def test_without_mlflow_the_file_speaks(
    model: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    scored = CliRunner().invoke(app, ["score", str(scan), str(tmp_path / "out"), "--model", str(model)])
    assert scored.exit_code == 0, scored.output
    told = CliRunner().invoke(app, ["trace", str(tmp_path / "out/harbour.png")])
    assert told.exit_code == 0
    assert "0123456789abcdef" in told.output
    assert "127.0.0.1:9 can't be reached" in told.output


def test_it_goes_on_while_mlflow_is_away(
    state: Path, scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The alias was resolved when the scoring began; only a new one needs MLflow."""
    arguments = ["score", str(tmp_path), str(tmp_path / "out"), "--model", "models:/tintlab/1"]
    assert CliRunner().invoke(app, arguments).exit_code == 0
    Image.linear_gradient("L").save(scan.with_name("pier.jpg"))
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    again = CliRunner().invoke(app, arguments)
    assert again.exit_code == 0, again.output
    assert "going on: 1 of 2 photographs are done" in again.output
    assert trace(tmp_path / "out/pier.png").file.model_version == "1"
    new = CliRunner().invoke(app, [*arguments[:2], str(tmp_path / "new"), *arguments[3:]])
    assert isinstance(new.exception, store.TrackingUnavailableError)


def test_a_changed_file_is_told(model: Path, scan: Path, tmp_path: Path) -> None:
    settings = make_settings(model, tmp_path / "out")
    CliRunner().invoke(app, ["score", str(scan), str(settings.output), "--model", str(model)])
    with (settings.output / "harbour.png").open("ab") as file:
        file.write(b"\0")
    assert trace(settings.output / "harbour.png").manifest["bytes"].startswith("CHANGED")


def test_files_of_others(scan: Path, tmp_path: Path, model: Path) -> None:
    with pytest.raises(TintlabError, match="does not say that tintlab coloured it"):
        trace(scan)
    with pytest.raises(TintlabError, match="can't be opened: No such file"):
        trace(tmp_path / "nowhere.png")
    (tmp_path / "text").write_text("no picture")
    with pytest.raises(TintlabError, match="not a picture that can be read"):
        trace(tmp_path / "text")


def test_what_was_seen_is_compared_and_recorded(state: Path, model: Path, tmp_path: Path) -> None:
    """Dark scans, and a model that was trained on bright photographs; MLflow gets the manifest."""
    random = np.random.default_rng(0)
    bright = [random.integers(100, 256, (40, 60), np.uint8) for _ in range(40)]
    reference = Reference.of(summarize(color.grey_to_lightness(pixels)) for pixels in bright)
    trained = shutil.copytree(model, tmp_path / "trained")
    write_json(trained / paths.TRAINING_SUMMARY, reference.model_dump(mode="json"))
    (tmp_path / "scans").mkdir()
    for number, pixels in enumerate(bright[:32]):
        Image.fromarray(pixels // 6).save(tmp_path / f"scans/{number}.png")
    scored = CliRunner().invoke(
        app, ["score", str(tmp_path / "scans"), str(tmp_path / "out"), "--model", str(trained)]
    )
    assert scored.exit_code == 0, scored.output
    assert "warning: drift: these 32 photographs are unlike the 40" in scored.output
    with store.connect() as client:
        experiment = client.get_experiment_by_name("scoring").experiment_id
        [run] = client.search_runs([experiment], "tags.drift = 'drift'")
        files = {file.path for file in client.list_artifacts(run.info.run_id)}
        assert files == {"drift.json", "manifest.parquet"}
        assert run.data.tags["photos.coloured"] == "32"


def test_a_film_from_its_container_to_the_commit(state: Path, tmp_path: Path) -> None:
    reel = write_clip(tmp_path / "reel.mp4", grey_frames(30))
    output = tmp_path / "out.mkv"
    done = CliRunner().invoke(
        app, ["film", str(reel), str(output), "--model", "challenger", "--working-size", "48"]
    )
    assert done.exit_code == 0, done.output
    traced = trace(output)
    assert traced.file.model == "models:/tintlab/1"
    assert traced.file.source_sha256 == traced.manifest["source_sha256"] == file_sha256(reel)
    assert traced.coding == {"codec": "h264", "quality": "17"}
    assert traced.manifest["bytes"] == "as they were written"
    assert traced.run["git.commit"] == "c0ffee"
    assert [line.partition(";")[0] for line in traced.shots] == [
        "1: frames 0 to 14, 0.000 to 0.560 s",
        "2: frames 15 to 29, 0.600 to 1.160 s",
    ]
    assert traced.words == ()
    told = CliRunner().invoke(app, ["trace", str(output)])
    assert "params.train.seed" in told.output
    assert "its shots:" in told.output
    (tmp_path / "out.mkv.shots.csv").unlink()
    assert trace(output).words == ("there is no manifest by shots beside it",)
    with pytest.raises(TintlabError, match="does not say that tintlab coloured it"):
        trace(reel)
