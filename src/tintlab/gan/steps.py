"""One step of training in each of the four phases: L1, GAN + λ·L1, hints and palettes, and the noise."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from tintlab.gan import schedule
from tintlab.gan.data import Lab
from tintlab.gan.hint_simulation import simulate_guidance
from tintlab.gan.losses import KERNEL_METER, KL_METER, LATENT_METER, METERS, PERCEPTUAL_METER, gan_loss
from tintlab.gan.networks import GUIDANCE, Networks
from tintlab.gan.noise import drawn, kl_divergence, latent_error
from tintlab.gan.rebalancing import weights_of
from tintlab.system.params import TrainParams

_DISCRIMINATOR_BESIDE_NOISE = 0.05
"""Factor on the discriminator's rate in the noise phase: the noise alone can't keep up with its full rate."""


class Steps:
    """Takes the training steps, one per batch.

    Args:
        params: the `train` section of params.yaml.
        networks: the networks that learn.
        colour_weights: see `rebalancing.colour_weights`; None weighs all colours alike.
    """

    def __init__(self, params: TrainParams, networks: Networks, colour_weights: Tensor | None = None) -> None:
        self.params = params
        self.networks = networks
        self.colour_weights = None if colour_weights is None else colour_weights.to(networks.fabric.device)

    def take(self, iteration: int, batch: Lab) -> dict[str, Tensor]:
        """Take step `iteration` of the discriminator, then of the generator, on the same fakes; returns losses.

        In the L1 phase the discriminator is not trained, and its losses are 0.
        """
        if schedule.in_variety_phase(self.params, iteration):
            losses = self._variety_step(iteration, batch)
        elif schedule.in_guidance_phase(self.params, iteration):
            losses = self._guidance_step(iteration, batch)
        else:
            losses = self._colour_step(iteration, batch)
        if self.networks.average is not None:
            self.networks.average.update_parameters(self.networks.generator.module)
        return {name: torch.zeros((), device=batch.L.device) for name in METERS} | losses

    def _colour_step(self, iteration: int, batch: Lab) -> dict[str, Tensor]:
        """A step of the first two phases."""
        networks = self.networks
        if networks.average is not None and iteration == schedule.l1_iterations(self.params) > 0:
            # The GAN starts from the average, whose colours are the steadiest so far.
            networks.generator.module.load_state_dict(networks.average.module.state_dict())
        for group in networks.generator_optimizer.param_groups:
            group["lr"] = schedule.learning_rate(self.params, iteration)
            group["betas"] = schedule.betas(self.params, iteration)
        if (frozen := schedule.encoder_is_frozen(self.params, iteration)) is not None:
            networks.generator.module.freeze_encoder(frozen)
        fake_ab = networks.generator(batch.L)
        gan_weight = schedule.gan_weight(self.params, iteration)
        losses = self._discriminator_step(batch, fake_ab.detach()) if gan_weight else {}
        losses |= self._generator_losses(batch.L, fake_ab, gan_weight, slice(None), batch.ab)
        seen = self._encoder_losses(batch, fake_ab)
        losses |= seen
        total = torch.stack([losses["loss_G"], *seen.values()]).sum()
        networks.generator_optimizer.zero_grad()
        networks.fabric.backward(total)
        networks.generator_optimizer.step()
        return losses

    def _guidance_step(self, iteration: int, batch: Lab) -> dict[str, Tensor]:
        """A step of the phase in which the layers for hints and palettes learn: L1 alone."""
        networks = self.networks
        self._hold_colours(*GUIDANCE)
        for group in networks.guidance_optimizer.param_groups:
            group["lr"] = schedule.guidance_learning_rate(self.params, iteration)
        seed = [self.params.seed, 3, iteration, networks.fabric.global_rank]
        ab, hints, palettes = simulate_guidance(batch.L, batch.ab, seed)
        fake_ab = networks.generator(batch.L, None, hints, palettes)
        loss = self.params.lambda_l1 * F.l1_loss(fake_ab, ab)
        networks.guidance_optimizer.zero_grad()
        networks.fabric.backward(loss)
        networks.guidance_optimizer.step()
        return {"loss_G_L1": loss, "loss_G": loss}

    def _variety_step(self, iteration: int, batch: Lab) -> dict[str, Tensor]:
        """A step of the last phase: half of the batch with the z of its true colours, half with a random one."""
        networks = self.networks
        self._hold_colours("noise")
        for group in networks.noise_optimizer.param_groups:
            group["lr"] = schedule.noise_learning_rate(self.params, iteration)
        for group in networks.discriminator_optimizer.param_groups:
            group["lr"] = self.params.discriminator_learning_rate * _DISCRIMINATOR_BESIDE_NOISE
        half = len(batch.L) // 2
        coded, free = slice(None, half), slice(half, None)
        mean, log_variance = networks.latent_encoder(torch.cat([batch.L, batch.ab], dim=1)[coded])
        random = torch.randn_like(mean[:1].expand(len(batch.L) - half, -1))
        fake_ab = networks.generator(batch.L, torch.cat([drawn(mean, log_variance), random]))
        losses = self._discriminator_step(batch, fake_ab.detach())
        losses |= self._generator_losses(batch.L, fake_ab, 1.0, coded, batch.ab)
        losses[KL_METER] = self.params.lambda_kl * kl_divergence(mean, log_variance)
        with self._only_passing_on(networks.latent_encoder):
            found, _ = networks.latent_encoder(torch.cat([batch.L, fake_ab], dim=1)[free])
        losses[LATENT_METER] = self.params.lambda_latent * latent_error(found, random)
        networks.noise_optimizer.zero_grad()
        networks.fabric.backward(losses["loss_G"] + losses[KL_METER] + losses[LATENT_METER])
        networks.noise_optimizer.step()
        return losses

    def _hold_colours(self, *learning: str) -> None:
        """Put the generator in evaluation mode, and give gradients only to the submodules named."""
        generator = self.networks.generator
        generator.eval()
        generator.module.requires_grad_(False)
        for name in learning:
            generator.module.get_submodule(name).requires_grad_(True)

    def _discriminator_step(self, batch: Lab, fake_ab: Tensor) -> dict[str, Tensor]:
        networks = self.networks
        loss_D_fake = gan_loss(networks.discriminator(torch.cat([batch.L, fake_ab], dim=1)), real=False)
        loss_D_real = gan_loss(networks.discriminator(torch.cat([batch.L, batch.ab], dim=1)), real=True)
        loss_D = (loss_D_fake + loss_D_real) / 2
        networks.discriminator_optimizer.zero_grad()
        networks.fabric.backward(loss_D)
        networks.discriminator_optimizer.step()
        return {"loss_D_fake": loss_D_fake, "loss_D_real": loss_D_real, "loss_D": loss_D}

    def _generator_losses(
        self, L: Tensor, fake_ab: Tensor, gan_weight: float, reconstructed: slice, true_ab: Tensor
    ) -> dict[str, Tensor]:
        """GAN + λ·L1; the L1 loss counts the `reconstructed` pictures, which are to get their true colours."""
        error = self._colour_error(fake_ab[reconstructed], true_ab[reconstructed])
        losses = {"loss_G_L1": self.params.lambda_l1 * error}
        if gan_weight:
            with self._only_passing_on(self.networks.discriminator):
                logits = self.networks.discriminator(torch.cat([L, fake_ab], dim=1))
            losses["loss_G_GAN"] = gan_weight * gan_loss(logits, real=True)
        losses["loss_G"] = torch.stack(list(losses.values())).sum()
        return losses

    def _encoder_losses(self, batch: Lab, fake_ab: Tensor) -> dict[str, Tensor]:
        """The losses on the encoder's features: of each picture, and of the pictures as a set."""
        params, networks = self.params, self.networks
        if not params.lambda_perceptual and not params.lambda_kernel:
            return {}
        compared = networks.perceptual.compare(batch.L, fake_ab, batch.ab)
        losses = {PERCEPTUAL_METER: params.lambda_perceptual * compared.loss}
        if params.lambda_kernel:
            losses[KERNEL_METER] = params.lambda_kernel * networks.kernel(compared.seen, compared.wanted)
            networks.kernel.remember(*networks.of_all_processes(compared.seen, compared.wanted))
        return losses

    def _colour_error(self, ab: Tensor, true_ab: Tensor) -> Tensor:
        """Mean absolute difference, weighted by the rarity of the true colours if the parameters ask for it."""
        if self.colour_weights is None:
            return F.l1_loss(ab, true_ab)
        return ((ab - true_ab).abs() * weights_of(self.colour_weights, true_ab)).mean()

    @contextmanager
    def _only_passing_on(self, network: Any) -> Iterator[None]:
        """Inside this context, a network passes gradients to its input but computes none for its weights."""
        network.requires_grad_(False)
        with self.networks.fabric.no_backward_sync(network, enabled=self.networks.fabric.world_size > 1):
            yield
        network.requires_grad_(True)
