"""Fine-tuning as a stage: which squares it takes, and which parent it starts from, with a real registry."""

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from ruamel.yaml import YAML
from safetensors.torch import load_file

from tintlab.gan.model_files import build_generator, generator_config, save_generator
from tintlab.registry import parents, register
from tintlab.stages import train
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json, write_json
from tintlab.system.params import load_params
from tintlab.system.tables import write_table
from tintlab.tracking import delivery, parent_lock, store

SMALL = {
    "generator": "unet", "channels": 4, "image_size": 32, "crop": [32, 32], "discriminator_channels": 4,
    "epochs": 2, "iterations_per_epoch": 2, "l1_epochs": 1, "gan_warmup": 1, "batch_size": 4, "display_every": 2,
    "lambda_perceptual": 0, "ema_decay": 0, "threads": 1, "device": "cpu",
    "z_dim": 0, "variety_epochs": 0, "hints": False, "guidance_epochs": 0, "init_from": None,
    "rebalancing": 0, "lambda_kernel": 0,
}  # fmt: skip
CATEGORIES = pd.Series(["reef", "cat", "reef", "", "dog"])


def test_a_focus_and_its_rehearsal_part_the_squares() -> None:
    mixture = train.select_squares(CATEGORIES, ["reef", "dog"], 2)
    assert mixture.focus.tolist() == [0, 2, 4]
    assert mixture.others.tolist() == [1, 3]
    assert mixture.rehearsed == 2
    with pytest.raises(TintlabError, match=r"'bird'; there are \(none\), cat, dog, reef"):
        train.select_squares(CATEGORIES, ["reef", "bird"], 0)
    with pytest.raises(TintlabError, match=r"train\.rehearsal"):
        train.select_squares(CATEGORIES, ["reef", "cat", "dog", ""], 1)


def test_the_focus_chooses_the_best_weights_where_it_can(capsys: pytest.CaptureFixture[str]) -> None:
    squares = np.arange(5, dtype=np.uint8).reshape(5, 1, 1, 1).repeat(3, axis=3)
    assert train.select_validation_squares(squares, CATEGORIES, ["reef"])[:, 0, 0, 0].tolist() == [0, 2]
    assert capsys.readouterr().out == ""
    assert len(train.select_validation_squares(squares, CATEGORIES, ["sea"])) == 5
    assert "no validation photographs" in capsys.readouterr().out


def set_params(**train: Any) -> None:
    yaml = YAML()
    params = yaml.load(Path("params.yaml"))
    params["train"].update(SMALL | train)
    yaml.dump(params, Path("params.yaml"))


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Iterator[Path]:
    """A folder with squares of two categories, and a model that is version 1 in its registry."""
    folder = tmp_path_factory.mktemp("workspace")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("TINTLAB_STATE", str(folder / "state"))
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)
        for name in ("params.yaml", "dvc.yaml"):
            shutil.copy(repository / name, folder)
        (folder / "src").symlink_to(repository / "src")
        set_params()
        paths.LAB.mkdir(parents=True)
        random = np.random.default_rng(0)
        for split, count in (("train", 8), ("val", 4)):
            np.save(paths.lab_squares(split), random.integers(90, 160, (count, 32, 32, 3), dtype=np.uint8))
            index = {"photo": "a.png", "cluster": "a", "category": ["reef", "cat"] * (count // 2), "left": 0}
            write_table(pd.DataFrame(index | {"top": 0}), paths.lab_index(split))
        shutil.copy(paths.LAB / "train.csv", paths.lab_summary("train"))
        write_json(paths.PARENT_LOCK, {})
        torch.manual_seed(3)
        config = generator_config(load_params().train)
        save_generator(Path("parent"), build_generator(config), config)
        assert register.register(Path("parent")).version == 1
        yield folder


def run_stage() -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tintlab.stages.train"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_fine_tuning_names_its_parent_in_its_files_and_its_run(workspace: Path) -> None:
    """The alias is recorded with what it stands for; the rates are so low that the parent's weights remain."""
    spec = "models:/tintlab@challenger"
    changes = {"focus": ["reef"], "rehearsal": 0.25, "frozen_epochs": 1}
    set_params(init_from=spec, l1_learning_rate=1e-9, learning_rate=1e-9, weight_decay=0, **changes)
    refused = run_stage()
    assert refused.returncode == 1
    expected = f"error: train.init_from {spec} is not in data/parent.lock.json: run `tintlab sources refresh`"
    assert refused.stderr.strip().splitlines()[-1] == expected

    write_json(paths.PARENT_LOCK, parents.lock_content(spec))
    done = run_stage()
    assert done.returncode == 0, done.stderr
    assert f"starting from {spec}" in done.stdout
    config = read_json(paths.GENERATOR / paths.MODEL_CONFIG)
    assert config["parent"]["version"] == 1
    before, after = (load_file(folder / paths.WEIGHTS) for folder in (Path("parent"), paths.GENERATOR))
    for name in before:
        if "running" not in name and "num_batches" not in name:
            torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)
    delivery.sync()
    with store.connect() as client:
        run = client.get_run(delivery.find_run(config["fingerprint"]))
    assert run.data.tags["parent"] == spec
    assert run.data.tags["parent.version"] == "1"
    assert run.data.tags["parent.weights_sha256"] == config["parent"]["weights_sha256"]


def test_a_moved_alias_changes_nothing_until_it_is_recorded(workspace: Path) -> None:
    spec = "models:/tintlab@challenger"
    write_json(paths.PARENT_LOCK, parents.lock_content(spec))
    known = parent_lock.read_parent(spec)
    assert known is not None
    torch.manual_seed(4)
    config = read_json(Path("parent") / paths.MODEL_CONFIG)
    save_generator(Path("other"), build_generator(config), config)
    assert register.register(Path("other")).version == 2
    for name, value in load_file(parents.find_recorded(spec, known)).items():
        assert torch.equal(value, load_file(Path("parent") / paths.WEIGHTS)[name])
    assert parents.lock_content(spec)[spec]["version"] == 2


def test_a_file_that_changed_is_refused(workspace: Path, tmp_path: Path) -> None:
    weights = tmp_path / "mine.safetensors"
    shutil.copy(Path("parent") / paths.WEIGHTS, weights)
    known = parents.lock_content(str(weights))[str(weights)]
    assert known["version"] is None
    assert parents.find_recorded(str(weights), known) == weights
    shutil.copy(Path("other") / paths.WEIGHTS, weights)
    with pytest.raises(TintlabError, match=r"other weights than were recorded.*`tintlab sources refresh`"):
        parents.find_recorded(str(weights), known)
    weights.unlink()
    with pytest.raises(TintlabError, match=r"there is no .*mine\.safetensors"):
        parents.find_recorded(str(weights), known)


def test_nothing_named_is_nothing_recorded(workspace: Path) -> None:
    assert parents.lock_content(None) == {}
    assert parent_lock.read_parent(None) is None
    assert parent_lock.parent_tags(None) == {}


def test_the_command_records_what_is_named(workspace: Path) -> None:
    set_params(init_from=None)
    command = [sys.executable, "-m", "tintlab.cli", "sources", "refresh", "--parent", "models:/tintlab/1"]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    assert read_json(paths.PARENT_LOCK)["models:/tintlab/1"]["version"] == 1
