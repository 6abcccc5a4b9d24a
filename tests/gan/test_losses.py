import math

import pytest
import torch

from tintlab.gan.losses import METERS, Meters, gan_loss


def test_gan_loss_against_numbers_worked_out_by_hand() -> None:
    """-log sigmoid(0) = ln 2; -log sigmoid(2) = ln(1 + e^-2) = 0.126928; -log(1 - sigmoid(2)) = 2.126928."""
    logits = torch.zeros(1, 1, 2, 2)
    assert gan_loss(logits, real=True).item() == pytest.approx(math.log(2))
    assert gan_loss(logits, real=False).item() == pytest.approx(math.log(2))
    two = torch.full((1, 1, 3, 3), 2.0)
    assert gan_loss(two, real=True).item() == pytest.approx(0.126928, abs=1e-6)
    assert gan_loss(two, real=False).item() == pytest.approx(2.126928, abs=1e-6)
    mixed = torch.tensor([[[[2.0, 0.0]]]])
    assert gan_loss(mixed, real=True).item() == pytest.approx((0.126928 + math.log(2)) / 2, abs=1e-6)


def losses(value: float) -> dict[str, torch.Tensor]:
    return {name: torch.tensor(value + place) for place, name in enumerate(METERS)}


def test_meters_are_running_means_since_the_reset() -> None:
    meters = Meters()
    assert meters.means() == {}
    meters.update(losses(1.0))
    meters.update(losses(4.0))
    assert meters.means() == {name: 2.5 + place for place, name in enumerate(METERS)}
    meters.reset()
    meters.update(losses(7.0))
    assert meters.means()["loss_D_fake"] == 7.0


@pytest.mark.parametrize("name", ["loss_d", "loss_G_gan", "loss_GAN"])
def test_a_misspelt_loss_is_caught(name: str) -> None:
    wrong = losses(1.0)
    wrong[name] = wrong.pop("loss_G_GAN")
    with pytest.raises(ValueError, match=name):
        Meters().update(wrong)


def test_meters_continue_where_they_were() -> None:
    first = Meters()
    first.update(losses(0.1))
    second = Meters()
    second.load_state_dict(first.state_dict())
    for meters in (first, second):
        meters.update(losses(0.7))
    assert first.means() == second.means()
