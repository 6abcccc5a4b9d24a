"""train: train the conditional GAN on squares of L*a*b*, and write weights, history and sample pictures."""

import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from torch import Tensor

from tintlab.gan.data import Mixture, Places, Pool, Squares
from tintlab.gan.distributed import is_first_process
from tintlab.gan.listener import Listener, Silent
from tintlab.gan.loop import History, Training
from tintlab.gan.model_files import generator_config, parent_weights
from tintlab.gan.torchrun import process_count, run_torchrun
from tintlab.imaging.squares import open_squares
from tintlab.registry import parents
from tintlab.reports.training import Reporter
from tintlab.system import entry_point, paths, processes
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, write_json
from tintlab.system.locks import exclusive
from tintlab.system.params import Params, TrainParams, load_params
from tintlab.system.tables import read_table, write_table
from tintlab.tracking import interrupted, parent_lock, training_runs


@dataclass(frozen=True)
class Material:
    """The inputs of a training.

    Attributes:
        squares: training squares.
        val_squares: validation squares.
        mixture: the training squares that batches are drawn from.
        parent: weights to start from; None for the generator's own initial weights.
    """

    squares: Squares
    val_squares: Squares
    mixture: Mixture
    parent: Mapping[str, Tensor] | None


def load_material(params: TrainParams) -> Material:
    """Read the inputs of a training.

    Raises:
        TintlabError: see `load_parent_weights`, `select_squares`.
    """
    parent = load_parent_weights(params)
    squares, val_squares = (open_squares(split) for split in ("train", "val"))
    categories, val_categories = (
        read_table(paths.lab_index(split))["category"] for split in ("train", "val")
    )
    every = np.arange(len(squares))
    mixture = Mixture(every, every[:0])
    if (focus := params.focus) is not None:
        mixture = select_squares(categories, focus, params.rehearsed)
        val_squares = select_validation_squares(val_squares, val_categories, focus)
    elif params.max_val_squares is not None:
        val_squares = val_squares[draw_places(val_categories, params.category_power, params.max_val_squares)]
    mixture = replace(mixture, categories=number_categories(categories), power=params.category_power)
    return Material(squares, val_squares, mixture, parent)


def number_categories(categories: "pd.Series[str]") -> Places:
    """Give each square the number of its category."""
    return pd.factorize(categories, sort=True)[0].astype(np.int64)


def draw_places(categories: "pd.Series[str]", power: float, most: int) -> Places:
    """Draw up to `most` different squares, with the mixture's shares of the categories; ascending."""
    every = np.arange(len(categories))
    mixture = Mixture(every, every[:0], categories=number_categories(categories), power=power)
    return np.unique(Pool(every, mixture, seed=0, stream=0).take(0, most))


def load_parent_weights(params: TrainParams) -> Mapping[str, Tensor] | None:
    """Read the recorded weights of `train.init_from`; None if it is null.

    Raises:
        TintlabError: they are not recorded, have changed, are gone, or belong to another architecture.
    """
    if params.init_from is None or (known := parent_lock.read_parent(params.init_from)) is None:
        return None
    weights = parent_weights(parents.find_recorded(params.init_from, known), params)
    print(f"starting from {params.init_from}, weights {known['weights_sha256'][:16]}", flush=True)
    return weights


def select_squares(categories: "pd.Series[str]", focus: Sequence[str], rehearsed: int) -> Mixture:
    """Select the training squares that batches are drawn from.

    Args:
        categories: the category of each square.
        focus: categories to learn from.
        rehearsed: squares of other categories in each batch.

    Raises:
        TintlabError: no square has a category of `focus`, or there are no other squares to rehearse.
    """
    known = set(categories)
    if missing := [category for category in focus if category not in known]:
        there = ", ".join(sorted(category or "(none)" for category in known))
        raise TintlabError(f"train.focus: no training photographs of {missing[0]!r}; there are {there}")
    wanted = categories.isin(focus).to_numpy()
    mixture = Mixture(np.flatnonzero(wanted), np.flatnonzero(~wanted), rehearsed)
    if rehearsed and not len(mixture.others):
        raise TintlabError(
            "train.rehearsal: there are no training photographs outside train.focus: set it to 0"
        )
    return mixture


def select_validation_squares(
    squares: Squares, categories: "pd.Series[str]", focus: Sequence[str]
) -> Squares:
    """Select the validation squares that choose the best weights: those of `focus`, or all if it has none."""
    inside = np.flatnonzero(categories.isin(focus))
    if not len(inside):
        print("no validation photographs of train.focus: all of them choose the best weights", flush=True)
        return squares
    return squares[inside]


def run_training(params: TrainParams, material: Material, folder: Path, listener: Listener) -> Training:
    """Train to the end in a folder, resuming from its latest checkpoint."""
    training = Training(params, folder, listener, material.parent)
    with processes.defer_interrupts() as asked_to_stop:
        training.run(material.squares, material.val_squares, asked_to_stop, material.mixture)
    return training


def train(params: Params) -> None:
    """Train to the end and publish the result. Resume an interrupted training that has the same inputs."""
    material = load_material(params.train)
    inputs = training_runs.training_inputs(params)
    working = interrupted.begin(inputs)
    (working / "samples").mkdir(exist_ok=True)
    if reason := interrupted.explain_restart(working, inputs):
        print(reason, flush=True)
    fingerprint = working.name
    with training_runs.track_training(fingerprint, params, working) as recorder:
        reporter = Reporter(params.train, working / "samples", recorder)
        training = run_training(params.train, material, working, reporter)
        publish(working, describe_model(params.train) | {"fingerprint": fingerprint}, training.history)
        recorder.artifact(paths.GENERATOR, "model")
    interrupted.finish(working)
    print(f"trained {training.iterations} iterations; best validation score {training.best_score:.4f}")


def publish(working: Path, config: dict[str, object], history: History) -> None:
    """Copy a finished training's results from its working folder to the stage's outputs."""
    with atomic_folder(paths.GENERATOR) as model:
        for name in (paths.WEIGHTS, paths.LAST_WEIGHTS):
            shutil.copyfile(working / name, model / name)
        write_json(model / paths.MODEL_CONFIG, config)
        shutil.copyfile(paths.lab_summary("train"), model / paths.TRAINING_SUMMARY)
    with atomic_folder(paths.SAMPLES) as samples:
        shutil.copytree(working / "samples", samples, dirs_exist_ok=True)
    write_table(pd.DataFrame(history.losses), paths.LOSSES)
    write_table(pd.DataFrame(history.validation), paths.VALIDATION_CURVES)


def describe_model(params: TrainParams) -> dict[str, object]:
    """The content of config.json: the generator's architecture and settings, and its parent if it has one."""
    known = parent_lock.read_parent(params.init_from)
    return generator_config(params) | ({"parent": known} if known else {})


def help_train(params: Params) -> None:
    """Take the same steps in a second process of a training on several devices; write nothing."""
    folder = interrupted.folder_of(training_runs.training_inputs(params))
    run_training(params.train, load_material(params.train), folder, Silent())


def seconds_to_wait() -> float:
    """Seconds to wait for another training to end: `TINTLAB_WAIT`, by default 0.

    Raises:
        TintlabError: the variable is not a number.
    """
    text = os.environ.get("TINTLAB_WAIT") or "0"
    try:
        return float(text)
    except ValueError:
        raise TintlabError(f"TINTLAB_WAIT must be a number of seconds, got {text!r}") from None


def main() -> None:
    """Run the stage on the files in dvc.yaml; under `torchrun`, in each of its processes."""
    if "RANK" not in os.environ and (count := process_count()) > 1:
        run_torchrun("tintlab.stages.train", count)
    elif is_first_process():
        with exclusive(paths.training_lock(), "another training", seconds_to_wait()):
            train(load_params())
    else:
        help_train(load_params())


if __name__ == "__main__":
    entry_point.run_stage(main)
