"""train: the conditional GAN on squares of L*a*b*; its weights, its history, sample pictures."""

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from tintlab.gan.data import Lab, Mixture, Squares
from tintlab.gan.distributed import is_first_process
from tintlab.gan.listener import Listener, Silent
from tintlab.gan.loop import History, Training
from tintlab.gan.model_files import generator_config, parent_weights
from tintlab.imaging import color, grids
from tintlab.registry import parents
from tintlab.system import entry_point, paths
from tintlab.system import processes as process
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_folder, atomic_path, write_json
from tintlab.system.locks import exclusive
from tintlab.system.params import Params, TrainParams, load_params
from tintlab.system.tables import read_table, write_table
from tintlab.tracking import interrupted, parent_lock, training_runs
from tintlab.tracking.recorder import Recorder

SAMPLE_SIDE = 128


class Reporter:
    """Listens to a training: prints above a progress bar, keeps sample pictures, records for MLflow.

    Args:
        params: lengths of epochs and of the training.
        samples: folder for the pictures.
        recorder: the records of the MLflow run.
    """

    def __init__(self, params: TrainParams, samples: Path, recorder: Recorder) -> None:
        self.params = params
        self.samples = samples
        self.recorder = recorder
        self.bar = tqdm(
            total=params.epochs * params.iterations_per_epoch,
            desc="training",
            unit=" iterations",
            mininterval=0.2 if sys.stderr.isatty() else 10.0,
            dynamic_ncols=True,
        )

    def announced(self, text: str) -> None:
        """Print the text."""
        self._print(text)

    def stepped(self, iteration: int) -> None:
        """Move the bar."""
        self.bar.update(iteration - self.bar.n)

    def displayed(self, iteration: int, meters: dict[str, float]) -> None:
        """Print where the training is and the six losses; record them."""
        epoch, within = divmod(iteration - 1, self.params.iterations_per_epoch)
        losses = [f"{name}: {value:.5f}" for name, value in meters.items()]
        position = [
            f"\nEpoch {epoch + 1}/{self.params.epochs}",
            f"Iteration {within + 1}/{self.params.iterations_per_epoch}",
        ]
        self._print("\n".join(position + losses))
        self.recorder.metrics(meters, iteration)

    def sampled(self, iteration: int, pictures: Lab, predicted: Tensor) -> None:
        """Keep a picture grid L | generated | real."""
        path = self.samples / f"iteration_{iteration:06d}.png"
        with atomic_path(path) as temporary:
            sample_grid(pictures, predicted).save(temporary, format="PNG")
        self.recorder.artifact(path, "samples")

    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None:
        """Print and record an epoch's figures."""
        listed = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        self._print(f"\nafter epoch {epoch}/{self.params.epochs}: {listed}")
        self.recorder.metrics(figures, iteration)

    def _print(self, text: str) -> None:
        self.bar.write(text, file=sys.stdout)
        sys.stdout.flush()


def sample_grid(samples: Lab, predicted: Tensor) -> Image.Image:
    """Draw pictures as rows L | generated | real.

    Args:
        samples: L and true ab, `(n, 1 and 2, h, w)` in [-1, 1].
        predicted: ab of the generator, `(n, 2, h, w)` in [-1, 1].
    """
    lightness = (samples.L.numpy() + 1) * 50
    columns = []
    for ab in (np.zeros_like(predicted.numpy()), predicted.numpy(), samples.ab.numpy()):
        lab = np.concatenate([lightness, ab * color.AB_SCALE], axis=1).transpose(0, 2, 3, 1)
        columns.append(color.to_bytes(color.lab_to_rgb(lab.astype(np.float32))))
    rows = list(zip(*columns, strict=True))
    return grids.grid(rows, side=SAMPLE_SIDE, titles=["L", "generated", "real"])


def publish(working: Path, config: dict[str, object], history: History) -> None:
    """Move what a finished training left in its working folder to where DVC expects it."""
    with atomic_folder(paths.GENERATOR) as model:
        for name in (paths.WEIGHTS, paths.LAST_WEIGHTS):
            shutil.copyfile(working / name, model / name)
        write_json(model / paths.MODEL_CONFIG, config)
        shutil.copyfile(paths.lab_summary("train"), model / paths.TRAINING_SUMMARY)
    with atomic_folder(paths.SAMPLES) as samples:
        shutil.copytree(working / "samples", samples, dirs_exist_ok=True)
    write_table(pd.DataFrame(history.losses), paths.LOSSES)
    write_table(pd.DataFrame(history.validation), paths.VALIDATION_CURVES)


def described(params: TrainParams) -> dict[str, object]:
    """The content of config.json: how the generator is built and used, and its parent where it has one."""
    known = parent_lock.read_parent(params.init_from)
    return generator_config(params) | ({"parent": known} if known else {})


def chosen(categories: "pd.Series[str]", focus: Sequence[str], rehearsed: int) -> Mixture:
    """Which training squares the batches take.

    Args:
        categories: of each square.
        focus: categories to learn from.
        rehearsed: how many of a batch are of others.

    Raises:
        TintlabError: no square is of a category of `focus`, or none of another is there to rehearse.
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


def validating(squares: Squares, categories: "pd.Series[str]", focus: Sequence[str]) -> Squares:
    """The validation squares that choose the best weights: those of `focus`, or all where it has none."""
    inside = np.flatnonzero(categories.isin(focus))
    if not len(inside):
        print("no validation photographs of train.focus: all of them choose the best weights", flush=True)
        return squares
    return squares[inside]


def starting_point(params: TrainParams) -> Mapping[str, Tensor] | None:
    """The weights of `train.init_from` as they were recorded; None where it is null.

    Raises:
        TintlabError: not recorded, changed since, gone, or of another architecture.
    """
    if params.init_from is None or (known := parent_lock.read_parent(params.init_from)) is None:
        return None
    weights = parent_weights(parents.find_recorded(params.init_from, known), params)
    print(f"starting from {params.init_from}, weights {known['weights_sha256'][:16]}", flush=True)
    return weights


@dataclass(frozen=True)
class Material:
    """What a training learns from.

    Attributes:
        squares: training squares.
        val_squares: validation squares.
        mixture: which of the training squares the batches take; None for all.
        parent: weights to start from; None for the generator's own.
    """

    squares: Squares
    val_squares: Squares
    mixture: Mixture | None
    parent: Mapping[str, Tensor] | None


def gathered(params: TrainParams) -> Material:
    """Read what a training learns from.

    Raises:
        TintlabError: see `starting_point`, `chosen`.
    """
    parent = starting_point(params)
    squares, val_squares = (np.load(paths.lab_squares(split), mmap_mode="r") for split in ("train", "val"))
    mixture = None
    if (focus := params.focus) is not None:
        mixture = chosen(read_table(paths.lab_index("train"))["category"], focus, params.rehearsed)
        val_squares = validating(val_squares, read_table(paths.lab_index("val"))["category"], focus)
    return Material(squares, val_squares, mixture, parent)


def trained(params: TrainParams, material: Material, folder: Path, listener: Listener) -> Training:
    """Train to the end in a folder, going on from its latest checkpoint."""
    training = Training(params, folder, listener, material.parent)
    with process.interrupts_deferred() as asked_to_stop:
        training.run(material.squares, material.val_squares, asked_to_stop, material.mixture)
    return training


def train(params: Params) -> None:
    """Train to the end, going on where a training with the same inputs was interrupted."""
    material = gathered(params.train)
    inputs = training_runs.training_inputs(params)
    working = interrupted.begin(inputs)
    (working / "samples").mkdir(exist_ok=True)
    if reason := interrupted.why_anew(working, inputs):
        print(reason, flush=True)
    fingerprint = working.name
    with training_runs.training_run(fingerprint, params, working) as recorder:
        reporter = Reporter(params.train, working / "samples", recorder)
        training = trained(params.train, material, working, reporter)
        publish(working, described(params.train) | {"fingerprint": fingerprint}, training.history)
        recorder.artifact(paths.GENERATOR, "model")
    interrupted.finish(working)
    print(f"trained {training.iterations} iterations; best validation score {training.best_score:.4f}")


def help_train(params: Params) -> None:
    """Take the same steps in another process of a training on several devices; nothing is written."""
    folder = interrupted.folder_of(training_runs.training_inputs(params))
    trained(params.train, gathered(params.train), folder, Silent())


def patience() -> float:
    """Seconds to wait for another training to end: `TINTLAB_WAIT`, else none.

    Raises:
        TintlabError: it is no number.
    """
    text = os.environ.get("TINTLAB_WAIT") or "0"
    try:
        return float(text)
    except ValueError:
        raise TintlabError(f"TINTLAB_WAIT must be a number of seconds, got {text!r}") from None


def processes() -> int:
    """On how many devices of this machine to train: `TINTLAB_TRAIN_PROCESSES`, else one.

    Raises:
        TintlabError: it is no such number.
    """
    text = os.environ.get("TINTLAB_TRAIN_PROCESSES") or "1"
    if not text.isdecimal() or int(text) < 1:
        raise TintlabError(f"TINTLAB_TRAIN_PROCESSES must be a number from 1 up, got {text!r}")
    return int(text)


def train_in(count: int) -> None:
    """Run this stage under `torchrun`, in so many processes, and end with it.

    Raises:
        TintlabError: it failed; its own words are on stderr.
    """
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    # torchrun gives each process a session of its own: they know by name who owns them.
    environment = {name: value for name, value in os.environ.items() if name != "DVC_STAGE"}
    with subprocess.Popen(
        [sys.executable, *launcher, "-m", "tintlab.stages.train"], env=environment | process.ownership()
    ) as torchrun:
        try:
            status = torchrun.wait()
        except BaseException:
            torchrun.terminate()
            raise
    if status:
        raise TintlabError(f"training in {count} processes failed with status {status}: see above")


def main() -> None:
    """Run the stage on the files that dvc.yaml names; under `torchrun`, in each of its processes."""
    if "RANK" not in os.environ and (wanted := processes()) > 1:
        train_in(wanted)
        return
    if not is_first_process():
        help_train(load_params())
        return
    with exclusive(paths.training_lock(), "another training", patience()):
        train(load_params())


if __name__ == "__main__":
    entry_point.run_stage(main)
