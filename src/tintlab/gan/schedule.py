"""Phases, learning rates and weights as pure functions of the iteration, so that resuming needs no state."""

import math

from tintlab.system.params import TrainParams

_WARMUP = 50
"""Iterations of rising learning rate at the start of the L1 phase: Adam's statistics are not settled before."""
_L1_BETA1 = 0.9
"""Adam's first decay rate without a GAN. With a GAN, a lower value follows the moving target better."""


def total_iterations(params: TrainParams) -> int:
    """Generator steps in all."""
    return params.epochs * params.iterations_per_epoch


def l1_iterations(params: TrainParams) -> int:
    """Generator steps of the first phase, in which the L1 loss works without the GAN."""
    return params.l1_epochs * params.iterations_per_epoch


def variety_begins(params: TrainParams) -> int:
    """Generator steps before the last phase, in which the noise learns what a photograph leaves open."""
    return (params.epochs - params.variety_epochs) * params.iterations_per_epoch


def guidance_begins(params: TrainParams) -> int:
    """Generator steps before the phase in which the layers for hints and palettes learn."""
    return variety_begins(params) - params.guidance_epochs * params.iterations_per_epoch


def in_guidance_phase(params: TrainParams, iteration: int) -> bool:
    """Whether a step belongs to that phase."""
    return guidance_begins(params) <= iteration < variety_begins(params)


def has_discriminator(params: TrainParams, iteration: int) -> bool:
    """Whether the discriminator takes part in a step: not in the L1 phase, nor in that of hints and palettes."""
    return iteration >= l1_iterations(params) and not in_guidance_phase(params, iteration)


def colours_are_held(params: TrainParams, iteration: int) -> bool:
    """Whether a step changes no weight that the plain colours depend on."""
    return iteration >= guidance_begins(params)


def guidance_learning_rate(params: TrainParams, iteration: int) -> float:
    """The rate of the hint and palette layers: a cosine from the L1 phase's highest rate to 0."""
    first, total = guidance_begins(params), variety_begins(params)
    warm = min(1.0, (iteration - first + 1) / _WARMUP)
    return (
        params.l1_learning_rate * warm * (1 + math.cos(math.pi * (iteration - first) / (total - first))) / 2
    )


def in_variety_phase(params: TrainParams, iteration: int) -> bool:
    """Whether a step belongs to that phase."""
    return iteration >= variety_begins(params)


def learning_rate(params: TrainParams, iteration: int) -> float:
    """The generator's rate at a step: warm-up and cosine in the L1 phase; then constant, falling at the end."""
    first, total = l1_iterations(params), guidance_begins(params)
    if iteration < first:
        warm = min(1.0, (iteration + 1) / _WARMUP)
        return params.l1_learning_rate * warm * (1 + math.cos(math.pi * iteration / first)) / 2
    left = (total - iteration) / (total - first)
    return params.learning_rate * (min(1.0, left / params.decay) if params.decay else 1.0)


def betas(params: TrainParams, iteration: int) -> tuple[float, float]:
    """Adam's decay rates for the generator at a step."""
    return (_L1_BETA1, params.betas[1]) if iteration < l1_iterations(params) else params.betas


def encoder_is_frozen(params: TrainParams, iteration: int) -> bool | None:
    """Whether the encoder's weights are frozen at a step; None: leave the generator as it was built."""
    if params.frozen_epochs is None:
        return None
    return iteration < params.frozen_epochs * params.iterations_per_epoch


def gan_weight(params: TrainParams, iteration: int) -> float:
    """The GAN loss's weight at a step: 0 in the L1 phase, then rising to 1 over `gan_warmup` steps."""
    since = iteration - l1_iterations(params)
    if since < 0:
        return 0.0
    return min(1.0, (since + 1) / params.gan_warmup) if params.gan_warmup else 1.0


def noise_learning_rate(params: TrainParams, iteration: int) -> float:
    """The rate of the noise's layers at a step of the last phase: a cosine to 0."""
    first, total = variety_begins(params), total_iterations(params)
    return params.noise_learning_rate * (1 + math.cos(math.pi * (iteration - first) / (total - first))) / 2
