"""The two sides of the training benchmarks: tintlab's recipes and the tutorials' loop, on the same pictures."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from ruamel.yaml import YAML

from baselines.pix2pix import Pix2Pix, patch_discriminator, unet
from tintlab import paths
from tintlab.gan import schedule
from tintlab.gan.data import Lab
from tintlab.gan.loop import Training
from tintlab.params import TrainParams, load_params

THREADS = 2
BATCH = 16


class Silence:
    """Listens to a training and says nothing."""

    def announced(self, text: str) -> None:
        """See `tintlab.gan.loop.Listener`."""

    def stepped(self, iteration: int) -> None:
        """See `tintlab.gan.loop.Listener`."""

    def displayed(self, iteration: int, meters: dict[str, float]) -> None:
        """See `tintlab.gan.loop.Listener`."""

    def sampled(self, iteration: int, pictures: Lab, predicted: torch.Tensor) -> None:
        """See `tintlab.gan.loop.Listener`."""

    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None:
        """See `tintlab.gan.loop.Listener`."""


def default_params() -> TrainParams:
    """The `train` section of params.yaml."""
    return load_params().train


def thesis_params() -> TrainParams:
    """The same with what presets/thesis.yaml changes."""
    changes = YAML(typ="safe", pure=True).load(paths.PRESETS / "thesis.yaml")["train"]
    return TrainParams.model_validate(default_params().model_dump() | changes)


def pictures(size: int, batch: int = BATCH) -> Lab:
    """Random pictures; a step takes as long for any."""
    random = torch.Generator().manual_seed(0)
    L, ab = (torch.rand(batch, channels, size, size, generator=random) for channels in (1, 2))
    return Lab(L * 2 - 1, ab - 0.5)


def our_step(params: TrainParams, phase: str = "") -> Callable[[], object]:
    """A step of tintlab's loop.

    Args:
        params: the recipe.
        phase: `L1` or `GAN`, of a recipe that has both; its first phase where it is empty.
    """
    with tempfile.TemporaryDirectory() as folder:
        training = Training(params.model_copy(update={"threads": THREADS}), Path(folder), Silence())
    training.iteration = schedule.l1_iterations(params) + 1 if phase == "GAN" else 0
    batch = pictures(params.image_size).to(torch.device("cpu"))
    return lambda: training.step(batch)


def gan_share(params: TrainParams) -> float:
    """The share of a recipe's steps in which the GAN takes part."""
    return 1 - schedule.l1_iterations(params) / schedule.total_iterations(params)


def baseline_step(size: int = 256) -> Callable[[], object]:
    """A step of the tutorials' loop at a size; the U-Net has as many levels as that can be halved."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = Pix2Pix(unet(depth=min(8, size.bit_length() - 1)), patch_discriminator())
    batch = pictures(size)
    return lambda: model.step(batch.L, batch.ab)
