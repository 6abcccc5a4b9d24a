"""What of a GPU can be tested without one: mixed precision on the CPU, tensors that only know their device."""

from pathlib import Path
from typing import Any

import lightning_fabric
import numpy as np
import pytest
import torch
from torch import Tensor

from tests.gan.test_loop import THREE_PHASES, TWO_PHASES, Recorded, tiny
from tintlab.gan import distributed
from tintlab.gan.data import Lab, scaled
from tintlab.gan.loop import Training
from tintlab.gan.losses import METERS
from tintlab.gan.pretrained_unet import PretrainedUNet
from tintlab.system.errors import TintlabError

META = torch.device("meta")
RECIPES: list[dict[str, Any]] = [{}, TWO_PHASES | {"l1_epochs": 0, "gan_warmup": 0, "dropout": 0.0}]


@pytest.fixture
def batch() -> Lab:
    random = np.random.default_rng(0)
    coarse = random.integers(40, 220, (4, 8, 8)).repeat(4, axis=1).repeat(4, axis=2)
    return scaled(np.stack([coarse, 60 + coarse / 2, 220 - coarse / 2], axis=-1).astype(np.uint8))


def mixed(**arguments: Any) -> lightning_fabric.Fabric:
    """As on CUDA."""
    return lightning_fabric.Fabric(**arguments | {"precision": "bf16-mixed"})


@pytest.mark.parametrize("recipe", RECIPES)
def test_mixed_precision_trains_as_full_precision_does(
    recipe: dict[str, Any], batch: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    params = tiny(**{"dropout": 0.0} | recipe)
    full = Training(params, tmp_path / "full", Recorded())
    monkeypatch.setattr(distributed, "Fabric", mixed)
    half = Training(params, tmp_path / "half", Recorded())
    layers = half.networks.discriminator.module.layers
    seen: list[Tensor] = []
    layers[0].register_forward_hook(lambda _, __, output: seen.append(output))
    for _ in range(2):
        expected, losses = full.step(batch), half.step(batch)
        for name, loss in losses.items():
            assert loss.dtype == torch.float32
            assert loss.item() == pytest.approx(expected[name].item(), rel=0.05), name
    assert {output.dtype for output in seen} == {torch.bfloat16}
    for network in (
        half.networks.kept_generator,
        half.networks.generator.module,
        half.networks.discriminator.module,
    ):
        assert {weight.dtype for weight in network.parameters()} == {torch.float32}


def test_mixed_precision_validates_in_full_precision(
    batch: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in use, where the model runs in full precision: the chosen weights are those that are used."""
    monkeypatch.setattr(distributed, "Fabric", mixed)
    training = Training(tiny(), tmp_path, Recorded())
    predicted = training._predict(batch.L)
    with torch.inference_mode():
        assert torch.equal(predicted, training.networks.kept_generator.eval()(batch.L))


@pytest.mark.parametrize("recipe", [*RECIPES, TWO_PHASES, THREE_PHASES])
def test_a_step_stays_on_the_device_of_its_batch(recipe: dict[str, Any], batch: Lab, tmp_path: Path) -> None:
    training = Training(tiny(**recipe), tmp_path, Recorded())
    for network in (
        training.networks.generator.module,
        training.networks.discriminator.module,
        training.networks.kept_generator,
    ):
        network.to(META)
    if training.networks.perceptual is not None:
        training.networks.perceptual.to(META)
    losses = training.step(batch.to(META))
    assert set(METERS) <= set(losses)
    assert {loss.device for loss in losses.values()} == {META}
    learning = [weight for weight in training.networks.generator.module.parameters() if weight.requires_grad]
    assert {weight.grad.device for weight in learning if weight.grad is not None} == {META}


def test_tensors_on_two_devices_would_be_noticed(batch: Lab) -> None:
    with pytest.raises(RuntimeError, match="device"):
        PretrainedUNet(8, pretrained=False).to(META)(batch.L) + batch.ab


def test_a_batch_moves_channels_last(batch: Lab) -> None:
    moved = batch.to(torch.device("cpu"))
    assert torch.equal(moved.ab, batch.ab)
    assert torch.cat([moved.L, moved.ab], dim=1).is_contiguous(memory_format=torch.channels_last)
    assert moved.ab.is_contiguous(memory_format=torch.channels_last)
    elsewhere = batch.to(META)
    assert elsewhere.L.device == elsewhere.ab.device == META
    assert elsewhere.ab.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("device", ["cuda", "mps"])
def test_a_device_that_is_not_there_is_one_clear_line(device: str, tmp_path: Path) -> None:
    if (torch.cuda if device == "cuda" else torch.mps).is_available():
        pytest.skip(f"this machine has {device}")
    with pytest.raises(TintlabError, match=f"train.device is '{device}'.*auto or cpu") as caught:
        Training(tiny(device=device), tmp_path, Recorded())
    assert str(caught.value).isprintable()
