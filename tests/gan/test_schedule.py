import math

import pytest

from tintlab.gan import schedule
from tintlab.system.params import TrainParams, load_params


@pytest.fixture
def params() -> TrainParams:
    """100 iterations of L1, then 100 with the GAN."""
    return load_params().train.model_copy(
        update={
            "epochs": 20,
            "iterations_per_epoch": 10,
            "l1_epochs": 10,
            "guidance_epochs": 0,
            "variety_epochs": 0,
            "gan_warmup": 20,
            "l1_learning_rate": 1.0,
            "learning_rate": 0.5,
            "decay": 0.5,
            "betas": (0.5, 0.999),
        }
    )


def test_the_rate_warms_up_falls_and_ends_at_zero(params: TrainParams) -> None:
    rate = [schedule.learning_rate(params, iteration) for iteration in range(200)]
    assert rate[0] == pytest.approx(1 / 50)
    assert rate[99] == pytest.approx((1 + math.cos(math.pi * 99 / 100)) / 2)
    assert rate[49:100] == sorted(rate[49:100], reverse=True)
    assert rate[100] == rate[149] == 0.5
    assert rate[175] == pytest.approx(0.25)
    assert 0 < rate[199] < 0.02


def test_the_encoder_is_frozen_for_its_epochs_or_left_as_built(params: TrainParams) -> None:
    assert schedule.encoder_is_frozen(params, 0) is None
    frozen = params.model_copy(update={"frozen_epochs": 3})
    assert [schedule.encoder_is_frozen(frozen, iteration) for iteration in (0, 29, 30, 199)] == [
        True, True, False, False,
    ]  # fmt: skip
    never = params.model_copy(update={"frozen_epochs": 0})
    assert schedule.encoder_is_frozen(never, 0) is False


def test_pix2pix_has_one_constant_rate(params: TrainParams) -> None:
    plain = params.model_copy(update={"l1_epochs": 0, "decay": 0.0, "gan_warmup": 0})
    assert {schedule.learning_rate(plain, iteration) for iteration in range(200)} == {0.5}
    assert {schedule.gan_weight(plain, iteration) for iteration in range(200)} == {1.0}
    assert schedule.betas(plain, 0) == (0.5, 0.999)


def test_the_gan_rests_then_warms_up(params: TrainParams) -> None:
    weight = [schedule.gan_weight(params, iteration) for iteration in range(200)]
    assert set(weight[:100]) == {0.0}
    assert weight[100] == pytest.approx(0.05)
    assert weight[109] == pytest.approx(0.5)
    assert set(weight[119:]) == {1.0}
    assert schedule.betas(params, 99)[0] > schedule.betas(params, 100)[0] == 0.5


def test_a_last_phase_is_the_noises_alone(params: TrainParams) -> None:
    """The GAN phase ends where it begins, its rate at zero; the noise's own falls to zero from there."""
    longer = params.model_copy(update={"epochs": 25, "variety_epochs": 5, "noise_learning_rate": 2.0})
    assert schedule.total_iterations(longer) == 250
    assert [schedule.in_variety_phase(longer, iteration) for iteration in (0, 199, 200, 249)] == [
        False, False, True, True,
    ]  # fmt: skip
    for iteration in range(200):
        assert schedule.learning_rate(longer, iteration) == schedule.learning_rate(params, iteration)
    assert schedule.noise_learning_rate(longer, 200) == 2.0
    assert schedule.noise_learning_rate(longer, 225) == pytest.approx(1.0)
    assert 0 < schedule.noise_learning_rate(longer, 249) < 0.01


def test_the_discriminator_rests_in_the_l1_phase_and_beside_hints(params: TrainParams) -> None:
    phases = params.model_copy(
        update={"epochs": 4, "l1_epochs": 1, "guidance_epochs": 1, "variety_epochs": 1}
    )
    takes_part = [schedule.has_discriminator(phases, iteration) for iteration in range(40)]
    assert takes_part == [False] * 10 + [True] * 10 + [False] * 10 + [True] * 10
