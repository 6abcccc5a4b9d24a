"""The two sides of the training benchmarks: tintlab's recipes and the tutorials' loop, on the same pictures."""

import itertools
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch
from ruamel.yaml import YAML

from baselines.pix2pix import Pix2Pix, patch_discriminator, unet
from tintlab.gan import schedule
from tintlab.gan.data import Lab
from tintlab.gan.listener import Silent
from tintlab.gan.loop import Training
from tintlab.system import paths
from tintlab.system.params import TrainParams, load_params

THREADS = 2
BATCH = 16


def default_params() -> TrainParams:
    """The recipe that trains from nothing: the `train` section of params.yaml with presets/scratch.yaml."""
    return _with_preset("scratch")


def thesis_params() -> TrainParams:
    """The `train` section of params.yaml with presets/thesis.yaml."""
    return _with_preset("thesis")


def _with_preset(name: str) -> TrainParams:
    changes = YAML(typ="safe", pure=True).load(paths.PRESETS / f"{name}.yaml")["train"]
    return TrainParams.model_validate(load_params().train.model_dump() | changes)


def pictures(size: int, batch: int = BATCH) -> Lab:
    """Random pictures; a step takes as long for any."""
    random = torch.Generator().manual_seed(0)
    L, ab = (torch.rand(batch, channels, size, size, generator=random) for channels in (1, 2))
    return Lab(L * 2 - 1, ab - 0.5)


def phases(params: TrainParams) -> dict[str, tuple[int, int]]:
    """A recipe's phases: the first iteration of each, and how many it has."""
    starts = {
        "L1": 0,
        "GAN": schedule.l1_iterations(params),
        "noise": schedule.variety_begins(params),
        "": schedule.total_iterations(params),
    }
    spans = itertools.pairwise(starts.items())
    return {name: (first, last - first) for (name, first), (_, last) in spans if last > first}


def our_step(params: TrainParams, phase: str) -> Callable[[], object]:
    """A step of tintlab's loop in one of `phases`."""
    with tempfile.TemporaryDirectory() as folder:
        training = Training(params.model_copy(update={"threads": THREADS}), Path(folder), Silent())
    training.iteration = phases(params)[phase][0] + 1  # the very first one prepares the phase
    batch = pictures(params.image_size).to(torch.device("cpu"))
    return lambda: training.step(batch)


def baseline_step(size: int = 256) -> Callable[[], object]:
    """A step of the tutorials' loop at a size; the U-Net has as many levels as that can be halved."""
    torch.set_num_threads(THREADS)
    torch.manual_seed(0)
    model = Pix2Pix(unet(depth=min(8, size.bit_length() - 1)), patch_discriminator())
    batch = pictures(size)
    return lambda: model.step(batch.L, batch.ab)
