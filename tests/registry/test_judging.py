"""Two models judged in a workspace of tiny photographs, with a real registry."""

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grimp
import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

from tests.pipeline.test_dvc_yaml import NO_RESULT
from tests.reports.test_evaluation import Page, references
from tintlab.gan.model_files import build_generator, save_generator
from tintlab.registry import judging, register, verdicts
from tintlab.registry import models as registry
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.params import load_params
from tintlab.system.tables import write_table

CONFIG = {"generator": "unet", "size": 32, "channels": 4, "dropout": 0.5, "z_dim": 0, "working_size": 48}
PHOTOS = 6


def make_model(folder: Path, seed: int, **config: Any) -> Path:
    torch.manual_seed(seed)
    wanted = CONFIG | config
    save_generator(folder, build_generator(wanted), wanted)
    return folder


@pytest.fixture(scope="module")
def workspace(
    tmp_path_factory: pytest.TempPathFactory, picture: Callable[..., Any], repository: Path
) -> Iterator[Path]:
    """A folder with test photographs, two versions in its registry and one model besides."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TINTLAB_STATE", str(folder / "state"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        params = (repository / "params.yaml").read_text()
        Path("params.yaml").write_text(re.sub("threads: 2", "threads: 1", params))
        paths.RAW.mkdir(parents=True)
        names = [f"photo{number}.png" for number in range(PHOTOS)]
        for number, name in enumerate(names):
            Image.fromarray(picture(96 + 8 * number, 96, seed=number)).save(paths.RAW / name)
        photos = pd.DataFrame({"photo": names, "split": "test", "cluster": names, "category": "<b>sea"})
        write_table(photos.assign(width=96, height=96), paths.ACCEPTED)
        paths.LAB.mkdir(parents=True)
        np.save(paths.lab_squares("train"), np.full((4, 8, 8, 3), 131, np.uint8))
        for seed in (1, 2, 3):
            make_model(Path("models") / str(seed), seed)
        for seed in (1, 2):
            assert register.register(Path("models") / str(seed)).version == seed
        yield folder


@pytest.fixture
def looks(capsys: pytest.CaptureFixture[str]) -> Callable[[], list[str]]:
    """A function that tells which models were judged since it was asked last, and not only looked up."""

    def judged() -> list[str]:
        lines = capsys.readouterr().out.splitlines()
        return [line.split()[1] for line in lines if line.startswith("judging ")]

    return judged


def test_the_first_model_is_judged_by_the_baselines(workspace: Path, looks: Callable[[], list[str]]) -> None:
    outcome = judging.judge("models:/tintlab/1")
    assert looks() == ["models:/tintlab/1"]
    assert outcome.stored
    assert not outcome.verdict.passed  # random colours
    kept = verdicts.read_verdict(1)
    assert kept == json.loads(json.dumps(outcome.record))
    assert kept is not None
    assert (kept["version"], kept["champion"], kept["champion_weights_sha256"]) == (1, None, None)
    assert kept["weights_sha256"] == registry.locate("models:/tintlab/1").weights_sha256
    assert kept["photos"] == PHOTOS
    assert kept["reasons"]
    assert set(kept["totals"]) == {"challenger"}


def test_a_challenger_meets_the_champion_and_each_is_judged_once(
    workspace: Path, looks: Callable[[], list[str]]
) -> None:
    judging.judge("models:/tintlab/1")
    looks()
    outcome = judging.judge("challenger", against="models:/tintlab/1")
    assert looks() == ["models:/tintlab/2"]
    record = outcome.record
    assert (record["version"], record["champion"]) == (2, 1)
    assert record["bound"]["champion_weights_sha256"] == registry.locate("models:/tintlab/1").weights_sha256
    gains = {check["figure"]: check for check in record["checks"] if check["against"] == "champion"}
    for figure, check in gains.items():
        means = [record["totals"][side]["model"][figure] for side in ("challenger", "champion")]
        assert check["value"] == pytest.approx(means[0] - means[1], abs=2e-4)
        assert check["low"] <= check["value"] <= check["high"]
    again = judging.judge("models:/tintlab/2", against="models:/tintlab/1")
    assert looks() == []
    assert again.record == record


def test_the_page_shows_what_changed_most_and_needs_nothing_else(workspace: Path) -> None:
    html = judging.judge("models:/tintlab/2", against="models:/tintlab/1").page.read_text()
    page = Page(html)
    assert all(link.startswith("data:") for link in references(html))
    assert "not promoted" in page.text
    assert "b" not in page.tags or "<b>sea" not in html
    pictures = page.pictures()
    assert len(pictures) == 4 * PHOTOS  # grey, champion, challenger and true, of all that are there
    for photo in range(PHOTOS):
        assert html.count(f"photo{photo}.png") == 2  # below its pictures and on its bar
    for grey, true in zip(pictures[::4], pictures[3::4], strict=True):
        assert np.abs(grey.astype(int) - grey.mean(axis=-1, keepdims=True)).max() < 6
        assert grey.shape == true.shape


def test_a_model_is_judged_again_when_an_input_changes(
    workspace: Path, picture: Callable[..., Any], tmp_path: Path
) -> None:
    model, params = registry.locate("models/3"), load_params()
    known = {judging.scores_path(model, judging.load_exam(params))}

    def is_new(model: registry.LocatedModel, **evaluate: Any) -> bool:
        changed = params.model_copy(update={"evaluate": params.evaluate.model_copy(update=evaluate)})
        path = judging.scores_path(model, judging.load_exam(changed))
        new = path not in known
        known.add(path)
        return new

    assert not is_new(model)
    assert not is_new(model, threads=7)
    assert is_new(model, working_size=64)
    brighter = registry.locate(str(make_model(tmp_path, 3, saturation=2.0)))
    assert brighter.weights_sha256 == model.weights_sha256
    assert is_new(brighter)
    assert is_new(registry.locate("models/2"))

    photo, accepted = paths.RAW / "photo3.png", paths.ACCEPTED.read_text()
    before = photo.read_bytes()
    Image.fromarray(picture(96, 96, seed=99)).save(photo)
    assert is_new(model)
    photo.write_bytes(before)
    paths.ACCEPTED.write_text(accepted.replace("photo4.png,test,photo4.png", "photo4.png,test,photo3.png"))
    assert is_new(model)
    paths.ACCEPTED.write_text(accepted)
    assert not is_new(model)


def test_other_code_judges_anew(tmp_path: Path, repository: Path) -> None:
    """A copy of the package gives the same hash, and another one with a word changed in any of the modules."""
    copy = shutil.copytree(repository / "src/tintlab", tmp_path / "tintlab")
    known = {judging.evaluator_hash()}
    assert judging.evaluator_hash(copy) in known
    for name in judging.EVALUATOR:
        with (copy / name).open("a") as file:
            file.write("# changed\n")
        known.add(judging.evaluator_hash(copy))
    assert len(known) == len(judging.EVALUATOR) + 1


def test_what_is_kept_and_damaged_is_judged_again(workspace: Path, looks: Callable[[], list[str]]) -> None:
    model, exam = registry.locate("models/3"), judging.load_exam(load_params())
    first = judging.score_model(model, exam)
    looks()
    for path in paths.judged().iterdir():
        path.write_bytes(path.read_bytes()[:-40])
    again = judging.score_model(model, exam)
    assert looks() == ["models/3"]
    assert again.totals == first.totals
    pd.testing.assert_frame_equal(again.per_photo, first.per_photo)


def test_a_model_against_itself_is_a_tie_and_keeps_its_verdict(workspace: Path) -> None:
    judging.judge("models:/tintlab/1")
    outcome = judging.judge("models:/tintlab/1", against="models:/tintlab/1")
    assert outcome.verdict.reasons[0].startswith("a tie: ")
    assert not outcome.verdict.passed
    assert not outcome.stored
    kept = verdicts.read_verdict(1)
    assert kept is not None
    assert kept["champion"] is None


def test_the_evaluator_is_all_that_the_evaluation_imports() -> None:
    """But for what checks, names, watches and draws."""
    graph = grimp.build_graph("tintlab", cache_dir=None)
    for module in NO_RESULT:
        graph.remove_module(module)
    found = {"tintlab.evaluation.evaluate", *graph.find_upstream_modules("tintlab.evaluation.evaluate")}
    packages = {module for module in found if graph.find_children(module)}
    drawn = {"tintlab.imaging.grids", "tintlab.system.files"}
    files = {module.removeprefix("tintlab.").replace(".", "/") + ".py" for module in found - packages - drawn}
    assert files == set(judging.EVALUATOR)


def tintlab(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tintlab.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_says_what_it_decided_and_why(workspace: Path) -> None:
    done = tintlab("judge", "models/3", "--against", "models:/tintlab/1")
    assert done.returncode == 0, done.stderr
    assert "models/3 against models:/tintlab/1: not promoted" in done.stdout
    assert "similarity" in done.stdout
    assert "with a probability of 80%" in done.stdout.replace("\n", " ")
    failed = tintlab("judge", "models:/tintlab/9")
    assert failed.returncode == 1
    assert failed.stderr.startswith("error: ")
    assert "no version 9" in failed.stderr
    assert failed.stderr.count("\n") == 1


def test_faults_are_one_line(workspace: Path) -> None:
    with pytest.raises(TintlabError, match="models/none"):
        judging.judge("models/none")
    kept = paths.ACCEPTED.read_bytes()
    write_table(pd.read_csv(paths.ACCEPTED).assign(split="train"), paths.ACCEPTED)
    with pytest.raises(TintlabError, match="there are no test photographs"):
        judging.judge("models/3")
    paths.ACCEPTED.unlink()
    with pytest.raises(TintlabError, match=r"data/accepted\.csv is missing"):
        judging.judge("models/3")
    paths.ACCEPTED.write_bytes(kept)
    paths.RAW.joinpath("photo0.png").rename("moved.png")
    with pytest.raises(TintlabError, match=r"data/raw/photo0\.png is missing"):
        judging.judge("models/3")
    Path("moved.png").rename(paths.RAW / "photo0.png")
