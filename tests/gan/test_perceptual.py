from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tintlab.gan.efficientnet import load_efficientnet
from tintlab.gan.perceptual import PerceptualLoss
from tintlab.imaging import color


@pytest.fixture(scope="module")
def loss() -> PerceptualLoss:
    return PerceptualLoss()


@pytest.fixture(scope="module")
def lab(picture: Callable[..., np.ndarray]) -> tuple[Tensor, Tensor]:
    """L and ab of three colourful pictures."""
    pictures = np.stack([picture(64, 64, seed) for seed in range(3)])
    tensor = torch.from_numpy(color.rgb_to_lab(pictures)).permute(0, 3, 1, 2)
    return tensor[:, :1] / 50 - 1, tensor[:, 1:] / 110


def test_the_true_colours_cost_nothing_and_grey_most(
    loss: PerceptualLoss, lab: tuple[Tensor, Tensor]
) -> None:
    L, ab = lab
    costs = [loss(L, share * ab, ab).item() for share in (1.0, 0.9, 0.6, 0.3, 0.0)]
    assert costs[0] == pytest.approx(0, abs=1e-5)
    assert costs == sorted(costs)
    assert costs[-1] > 0.1
    assert loss(L, ab.flip(1), ab).item() > 0.1  # red for yellow, green for blue


def test_only_the_predicted_colours_learn(loss: PerceptualLoss, lab: tuple[Tensor, Tensor]) -> None:
    L, true_ab = lab
    ab = (0.5 * true_ab).requires_grad_()
    wanted = true_ab.clone().requires_grad_()
    loss.train()
    loss(L, ab, wanted).backward()
    assert ab.grad is not None
    assert torch.isfinite(ab.grad).all()
    assert (ab.grad.abs().amax(dim=(1, 2, 3)) > 0).all()
    assert wanted.grad is None
    assert all(weight.grad is None and not weight.requires_grad for weight in loss.parameters())


def test_following_its_gradient_brings_the_colours_nearer(
    loss: PerceptualLoss, lab: tuple[Tensor, Tensor]
) -> None:
    L, true_ab = lab
    ab = (0.3 * true_ab).requires_grad_()
    before = loss(L, ab, true_ab)
    before.backward()
    assert ab.grad is not None
    after = loss(L, ab.detach() - 0.002 * ab.grad / ab.grad.abs().max(), true_ab)
    assert after < before


def test_the_encoder_stays_as_imagenet_left_it(loss: PerceptualLoss, lab: tuple[Tensor, Tensor]) -> None:
    L, ab = lab
    loss.train()
    before = {name: value.clone() for name, value in loss.encoder.state_dict().items()}
    first = loss(L, 0.5 * ab, ab)
    assert torch.equal(loss(L, 0.5 * ab, ab), first)
    assert all(torch.equal(value, before[name]) for name, value in loss.encoder.state_dict().items())


def test_the_formula_against_one_written_out(loss: PerceptualLoss, lab: tuple[Tensor, Tensor]) -> None:
    """Pictures by the colour module, features by hooks on another instance, cosines by numpy."""
    L, true_ab = lab
    ab = 0.5 * true_ab
    encoder = load_efficientnet("efficientnet_lite0")
    seen: list[np.ndarray] = []
    blocks = encoder.get_submodule("_blocks")
    for number in (4, 10, 15):  # the last blocks at strides 8, 16 and 32
        blocks[number].register_forward_hook(lambda _, __, output: seen.append(output.numpy()))
    encoder.get_submodule("_fc").register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy()))

    def features(colours: Tensor) -> list[np.ndarray]:
        seen.clear()
        scaled = torch.cat([(L + 1) * 50, colours * 110], dim=1).permute(0, 2, 3, 1).numpy()
        rgb = np.clip(color.lab_to_rgb(scaled), 0, 1)
        with torch.inference_mode():
            encoder(torch.from_numpy((rgb * 255 - 127) / 128).permute(0, 3, 1, 2))
        return [one.astype(np.float64) for one in seen]

    expected = 0.0
    for one, other in zip(features(ab), features(true_ab), strict=True):
        cosine = (one * other).sum(axis=1) / np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
        expected += float(np.mean(1 - cosine))
    assert one.shape == (3, 1280)
    assert loss(L, ab, true_ab).item() == pytest.approx(expected, rel=1e-3)
