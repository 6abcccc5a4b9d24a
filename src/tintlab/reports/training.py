"""Show the progress of a training: a progress bar, losses and sample pictures."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor
from tqdm import tqdm

from tintlab.gan import schedule
from tintlab.gan.data import Lab
from tintlab.gan.losses import GAN_METERS
from tintlab.imaging import color, grids
from tintlab.system.files import atomic_path
from tintlab.system.params import TrainParams
from tintlab.tracking.recorder import Recorder

RESTS = "–"
"""Printed in place of the GAN's losses while the GAN is not active."""

SAMPLE_SIDE = 128
"""Pixels of a sample picture's side."""


class Reporter:
    """A listener that prints above a progress bar, saves sample pictures, and records for MLflow.

    Args:
        params: the number and length of the epochs.
        samples: folder for the pictures.
        recorder: records of the MLflow run.
    """

    def __init__(self, params: TrainParams, samples: Path, recorder: Recorder) -> None:
        self.params = params
        self.samples = samples
        self.recorder = recorder
        self._said_when = False
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
        """Print the position in the training and the six losses; record the losses.

        While the discriminator is not active, its losses are printed as a dash.
        """
        epoch, within = divmod(iteration - 1, self.params.iterations_per_epoch)
        shown = {name: f"{value:.5f}" for name, value in meters.items()}
        if not schedule.has_discriminator(self.params, iteration - 1):
            shown |= dict.fromkeys(GAN_METERS, RESTS)
        losses = [f"{name}: {value}" for name, value in shown.items()]
        position = [
            f"\nEpoch {epoch + 1}/{self.params.epochs}",
            f"Iteration {within + 1}/{self.params.iterations_per_epoch}",
        ]
        if epoch < self.params.l1_epochs and not self._said_when:
            self._said_when = True
            self._print(when_gan_begins(self.params))
        self._print("\n".join(position + losses))
        self.recorder.metrics(meters, iteration)

    def sampled(self, iteration: int, pictures: Lab, predicted: Tensor) -> None:
        """Save a picture grid L | generated | real, and record it."""
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


def when_gan_begins(params: TrainParams) -> str:
    """Say in which epoch the discriminator joins a training that begins without it."""
    starts = range(0, schedule.total_iterations(params), params.iterations_per_epoch)
    with_gan = (epoch for epoch, start in enumerate(starts, 1) if schedule.has_discriminator(params, start))
    first = next(with_gan, None)
    begins = f"the GAN begins with epoch {first}" if first else "there is no GAN"
    return f"\nThe first epochs have no discriminator, so its losses are {RESTS}; {begins}."


def sample_grid(samples: Lab, predicted: Tensor) -> Image.Image:
    """Draw pictures as rows L | generated | real.

    Args:
        samples: L and true ab, `(n, 1 and 2, h, w)` in [-1, 1].
        predicted: ab from the generator, `(n, 2, h, w)` in [-1, 1].
    """
    lightness = (samples.L.numpy() + 1) * 50
    columns = []
    for ab in (np.zeros_like(predicted.numpy()), predicted.numpy(), samples.ab.numpy()):
        lab = np.concatenate([lightness, ab * color.AB_SCALE], axis=1).transpose(0, 2, 3, 1)
        columns.append(color.to_bytes(color.lab_to_rgb(lab.astype(np.float32))))
    rows = list(zip(*columns, strict=True))
    return grids.draw_grid(rows, side=SAMPLE_SIDE, titles=["L", "generated", "real"])
