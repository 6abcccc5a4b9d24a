"""What the benchmark of the training step compares computes the same on both sides."""

from pathlib import Path

import pytest
import torch
from torch import nn

from baselines.pix2pix import Pix2Pix, UNetBlock, patch_discriminator, unet
from recipes import pictures, thesis_params
from tintlab.gan.listener import Silent
from tintlab.gan.loop import Training
from tintlab.gan.unet import UNet

SIZE, DEPTH, CHANNELS, BATCH = 64, 6, 8, 4


def paired_blocks(network: UNet, block: nn.Module) -> list[tuple[nn.Module, nn.Module]]:
    """The parts of tintlab's U-Net beside those of the one that is built from the inside out."""
    pairs = []
    for down, up in zip(network.downs, network.ups, strict=True):
        assert isinstance(block, UNetBlock)
        pairs += [(down, block.down), (up, block.up)]
        block = block.inner or nn.Identity()
    return pairs


@pytest.fixture
def both(tmp_path: Path) -> tuple[Training, Pix2Pix]:
    """The two loops, with the same weights and without dropout."""
    params = thesis_params().model_copy(
        update={
            "image_size": SIZE,
            "channels": CHANNELS,
            "discriminator_channels": CHANNELS,
            "dropout": 0.0,
            "threads": 1,
        }
    )
    training = Training(params, tmp_path, Silent())
    baseline = Pix2Pix(unet(DEPTH, CHANNELS, dropout=0.0), patch_discriminator(CHANNELS))
    for ours, theirs in paired_blocks(training.networks.generator.module, baseline.generator):
        ours.load_state_dict(theirs.state_dict())
    training.networks.discriminator.module.layers.load_state_dict(baseline.discriminator.state_dict())
    return training, baseline


def test_ten_steps_have_the_same_losses(both: tuple[Training, Pix2Pix]) -> None:
    training, baseline = both
    batch = pictures(SIZE, BATCH)
    for _ in range(10):
        ours, theirs = training.step(batch.to(torch.device("cpu"))), baseline.step(batch.L, batch.ab)
        assert {name: value.item() for name, value in ours.items()} == pytest.approx(theirs, rel=1e-3)
        training.iteration += 1


def test_the_first_step_has_the_same_gradients(both: tuple[Training, Pix2Pix]) -> None:
    training, baseline = both
    batch = pictures(SIZE, BATCH)
    training.step(batch.to(torch.device("cpu")))
    baseline.step(batch.L, batch.ab)
    pairs = paired_blocks(training.networks.generator.module, baseline.generator)
    pairs.append((training.networks.discriminator.module.layers, baseline.discriminator))
    compared = 0
    for ours, theirs in pairs:
        for (name, got), expected in zip(ours.named_parameters(), theirs.parameters(), strict=True):
            assert got.grad is not None, name
            assert expected.grad is not None, name
            size = float(expected.grad.abs().max())
            torch.testing.assert_close(got.grad, expected.grad, rtol=1e-3, atol=1e-4 * size)
            compared += got.numel()
    assert compared == sum(weight.numel() for weight in training.networks.generator.parameters()) + sum(
        weight.numel() for weight in training.networks.discriminator.parameters()
    )


def test_the_baseline_has_the_published_size() -> None:
    with torch.device("meta"):
        assert sum(weight.numel() for weight in unet().parameters()) == pytest.approx(54.4e6, rel=0.01)
        assert sum(weight.numel() for weight in patch_discriminator().parameters()) == pytest.approx(
            2.77e6, rel=0.01
        )
