"""The training loop of the conditional GAN: L1 first where wanted, then GAN + λ·L1, at last the noise."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tintlab.errors import TintlabError
from tintlab.gan import schedule
from tintlab.gan.averaging import moving_average
from tintlab.gan.checkpoints import Checkpoints
from tintlab.gan.data import Augmentation, Batches, Lab, Mixture, Squares, centre_crops, scaled
from tintlab.gan.discriminator import PatchDiscriminator
from tintlab.gan.distributed import launched_fabric, of_all_processes, with_global_batches
from tintlab.gan.initialization import init_norm
from tintlab.gan.losses import KL_METER, LATENT_METER, METERS, PERCEPTUAL_METER, Meters, gan_loss
from tintlab.gan.model_files import build_generator, generator_config, save_weights
from tintlab.gan.noise import LatentEncoder, drawn, kl_divergence, latent_error
from tintlab.gan.perceptual import PerceptualLoss
from tintlab.gan.validation import Validation, predict, sample_picks, variety
from tintlab.memory import keep_all_freed_memory
from tintlab.params import TrainParams
from tintlab.paths import LAST_WEIGHTS, WEIGHTS
from tintlab.process import be_loader_worker

SAMPLES = 8

_STEPS_BETWEEN_AGREEMENTS = 10
_DISCRIMINATOR_BESIDE_NOISE = 0.05

COLLAPSED_LOSS_D = 1e-4
"""A mean loss_D below this over a whole epoch: the discriminator tells all fakes from all photographs with
more than 99.99 % certainty, and the generator can't learn from it."""


class Listener(Protocol):
    """Told what happens in a training; it changes nothing in it."""

    def announced(self, text: str) -> None:
        """Something that people should read."""

    def stepped(self, iteration: int) -> None:
        """`iteration` steps are done."""

    def displayed(self, iteration: int, meters: dict[str, float]) -> None:
        """The running means of the six losses since the epoch's start."""

    def sampled(self, iteration: int, pictures: Lab, predicted: Tensor) -> None:
        """Validation pictures, and what the generator makes of their L now."""

    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None:
        """An epoch's figures on the validation squares."""


class Silent:
    """A listener that does nothing with what it hears: of processes that only help."""

    def announced(self, text: str) -> None:
        """As of `Listener`."""

    def stepped(self, iteration: int) -> None:
        """As of `Listener`."""

    def displayed(self, iteration: int, meters: dict[str, float]) -> None:
        """As of `Listener`."""

    def sampled(self, iteration: int, pictures: Lab, predicted: Tensor) -> None:
        """As of `Listener`."""

    def validated(self, epoch: int, iteration: int, figures: dict[str, float]) -> None:
        """As of `Listener`."""


@dataclass
class History:
    """What a training went through: rows of plain numbers."""

    losses: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)


class Training:
    """Networks, optimisers and all else that changes while training.

    Args:
        params: the `train` section of params.yaml.
        folder: where best and last weights are written; checkpoints go to its subfolder.
        listener: told what happens.
        parent: the generator's weights to start from, see `model_files.parent_weights`; its own where it is None.
    """

    def __init__(
        self,
        params: TrainParams,
        folder: Path,
        listener: Listener,
        parent: Mapping[str, Tensor] | None = None,
    ) -> None:
        self.params = params
        self.folder = folder
        self.listener = listener
        self.iterations = schedule.total_iterations(params)
        self.iteration = 0
        self.best_score = math.inf
        self.history = History()
        self.meters = Meters()
        self.checkpoints = Checkpoints(folder / "checkpoints", listener.announced)

        torch.set_num_threads(params.threads)
        keep_all_freed_memory()
        self.fabric = launched_fabric(params.device)
        torch.manual_seed(params.seed)
        discriminator = PatchDiscriminator(params.discriminator_channels, params.discriminator_norm)
        generator = build_generator(generator_config(params))
        # A pretrained generator brings its own start, and so does a parent.
        fresh = params.generator == "unet" and parent is None
        for network in (discriminator, generator) if fresh else (discriminator,):
            init_norm(network)
            listener.announced("model initialized with norm initialization")
        if parent is not None:
            generator.load_state_dict(parent)
        # All that will ever train is known to the optimisers, and to other devices, from the start.
        generator.freeze_encoder(params.frozen_epochs is None and params.generator == "pretrained_unet")
        noise = list(generator.get_submodule("noise").parameters()) if params.z_dim else []
        known = {id(parameter) for parameter in noise}
        others = [each for each in generator.parameters() if each.requires_grad and id(each) not in known]
        self.generator, self.generator_optimizer = self._set_up(
            generator,
            torch.optim.AdamW(
                others,
                lr=params.learning_rate,
                betas=params.betas,
                weight_decay=params.weight_decay,
                fused=True,
            ),
        )
        self.discriminator, self.discriminator_optimizer = self._set_up(
            discriminator,
            torch.optim.Adam(
                discriminator.parameters(),
                lr=params.discriminator_learning_rate,
                betas=params.betas,
                fused=True,
            ),
        )
        self.latent_encoder: Any = None
        self.noise_optimizer: Any = None
        if noise:
            latent_encoder = LatentEncoder(params.z_dim)
            self.latent_encoder, self.noise_optimizer = self._set_up(
                latent_encoder,
                torch.optim.Adam(
                    [*noise, *latent_encoder.parameters()],
                    lr=params.noise_learning_rate,
                    betas=params.betas,
                    fused=True,
                ),
            )
        self.average = moving_average(self.generator.module, params.ema_decay) if params.ema_decay else None
        self.perceptual = PerceptualLoss().to(self.fabric.device)
        # Each process has dropout and noise of its own, on pictures of its own.
        torch.manual_seed(params.seed + self.fabric.global_rank)

    def _set_up(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
        if self.fabric.world_size > 1:
            with_global_batches(network)
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        module, wrapped_optimizer = self.fabric.setup(network, optimizer)
        return module, wrapped_optimizer

    @property
    def kept_generator(self) -> nn.Module:
        """The generator that is judged and saved: the moving average, where there is one."""
        module: nn.Module = self.average.module if self.average is not None else self.generator.module
        return module

    def run(
        self,
        squares: Squares,
        val_squares: Squares,
        asked_to_stop: Callable[[], bool] = lambda: False,
        mixture: Mixture | None = None,
    ) -> History:
        """Train to the end, from the latest checkpoint if there is one.

        Args:
            squares: training squares, `(n, side, side, 3)` packed L*a*b*.
            val_squares: validation squares, likewise.
            asked_to_stop: looked at after each step.
            mixture: which training squares the batches take; all where it is None.

        Raises:
            TintlabError: a loss is no longer finite, or the discriminator has collapsed.
            KeyboardInterrupt: asked to stop, and a checkpoint is saved.
        """
        params = self.params
        # As much of each square as the generator takes: nearer to use than crops of the training size.
        multiple = cast(int, self.kept_generator.multiple)
        val_squares = centre_crops(val_squares, val_squares.shape[1] // multiple * multiple)
        samples = scaled(sample_picks(val_squares, SAMPLES))
        validation = Validation(val_squares, self.perceptual, self.fabric.device)
        if (state := self.checkpoints.latest()) is not None:
            self.load_state_dict(state)
            self.listener.announced(f"continuing after iteration {self.iteration}")
        augmentation = Augmentation(params.crop, params.contrast, params.brightness)
        share = self.fabric.global_rank, self.fabric.world_size
        batches = Batches(
            squares,
            params.image_size,
            params.batch_size,
            self.iterations,
            params.seed,
            augmentation,
            mixture,
            share,
        )
        rest = range(self.iteration, self.iterations)
        loader = DataLoader(
            batches,
            batch_size=None,
            sampler=rest,
            num_workers=params.workers,
            worker_init_fn=be_loader_worker,
            # Its own generator: a loader draws a number when it starts, and a resumed training starts one more.
            generator=torch.Generator(),
        )
        for batch in loader:
            self.meters.update(self.step(batch.to(self.fabric.device)))
            self.iteration += 1
            self.listener.stepped(self.iteration)
            if self.iteration % params.display_every == 0:
                self._display(samples)
            if self.iteration % params.iterations_per_epoch == 0:
                self._end_epoch(validation)
            if self.iteration == self.iterations:
                break
            if self._agreed(asked_to_stop):
                self._save_checkpoint()
                self.listener.announced(f"stopped after iteration {self.iteration}: run again to go on")
                raise KeyboardInterrupt
            if self.iteration % params.checkpoint_every == 0:
                self._save_checkpoint()
        if not params.variety_epochs:
            self._save(LAST_WEIGHTS)
        return self.history

    def step(self, batch: Lab) -> dict[str, Tensor]:
        """One step of the discriminator, then one of the generator, on the same fakes; the losses.

        In the L1 phase the discriminator rests and its losses are 0.
        """
        if schedule.in_variety_phase(self.params, self.iteration):
            losses = self._variety_step(batch)
        else:
            losses = self._colour_step(batch)
        if self.average is not None:
            self.average.update_parameters(self.generator.module)
        return {name: torch.zeros((), device=batch.L.device) for name in METERS} | losses

    def _colour_step(self, batch: Lab) -> dict[str, Tensor]:
        """A step of the first two phases."""
        if self.average is not None and self.iteration == schedule.l1_iterations(self.params) > 0:
            # The GAN starts from the average: the calmest colours so far.
            self.generator.module.load_state_dict(self.average.module.state_dict())
        for group in self.generator_optimizer.param_groups:
            group["lr"] = schedule.learning_rate(self.params, self.iteration)
            group["betas"] = schedule.betas(self.params, self.iteration)
        if (frozen := schedule.encoder_is_frozen(self.params, self.iteration)) is not None:
            self.generator.module.freeze_encoder(frozen)
        fake_ab = self.generator(batch.L)
        gan_weight = schedule.gan_weight(self.params, self.iteration)
        losses = self._discriminator_step(batch, fake_ab.detach()) if gan_weight else {}
        losses |= self._generator_losses(batch.L, fake_ab, gan_weight, slice(None), batch.ab)
        total = losses["loss_G"]
        if self.params.lambda_perceptual:
            losses[PERCEPTUAL_METER] = self.params.lambda_perceptual * self.perceptual(
                batch.L, fake_ab, batch.ab
            )
            total = total + losses[PERCEPTUAL_METER]
        self.generator_optimizer.zero_grad()
        self.fabric.backward(total)
        self.generator_optimizer.step()
        return losses

    def _variety_step(self, batch: Lab) -> dict[str, Tensor]:
        """A step of the last phase: half of the batch with the z of its true colours, half with a random one."""
        if self.iteration == schedule.variety_begins(self.params):
            self._begin_variety()
        self._hold_colours()
        for group in self.noise_optimizer.param_groups:
            group["lr"] = schedule.noise_learning_rate(self.params, self.iteration)
        for group in self.discriminator_optimizer.param_groups:
            # The noise alone can't keep up with a discriminator that learns as fast as before.
            group["lr"] = self.params.discriminator_learning_rate * _DISCRIMINATOR_BESIDE_NOISE
        half = len(batch.L) // 2
        coded, free = slice(None, half), slice(half, None)
        mean, log_variance = self.latent_encoder(torch.cat([batch.L, batch.ab], dim=1)[coded])
        random = torch.randn_like(mean[:1].expand(len(batch.L) - half, -1))
        fake_ab = self.generator(batch.L, torch.cat([drawn(mean, log_variance), random]))
        losses = self._discriminator_step(batch, fake_ab.detach())
        losses |= self._generator_losses(batch.L, fake_ab, 1.0, coded, batch.ab)
        losses[KL_METER] = self.params.lambda_kl * kl_divergence(mean, log_variance)
        with self._only_passing_on(self.latent_encoder):
            found, _ = self.latent_encoder(torch.cat([batch.L, fake_ab], dim=1)[free])
        losses[LATENT_METER] = self.params.lambda_latent * latent_error(found, random)
        self.noise_optimizer.zero_grad()
        self.fabric.backward(losses["loss_G"] + losses[KL_METER] + losses[LATENT_METER])
        self.noise_optimizer.step()
        return losses

    def _begin_variety(self) -> None:
        """Go on from the best colours so far, which stay as they are: z = 0 loses nothing by what follows."""
        self._save(LAST_WEIGHTS)
        self.fabric.barrier()
        best = load_file(self.folder / WEIGHTS)
        for network in (self.generator.module, self.kept_generator):
            # The noise's own weights are still the first ones: those in the file may be of a run that was killed.
            begun = {name: value for name, value in network.state_dict().items() if name.startswith("noise.")}
            network.load_state_dict(best | begun)

    def _hold_colours(self) -> None:
        """All that makes the colours of z = 0 is as in use: no dropout, no batch statistics, no gradients."""
        self.generator.eval()
        self.generator.module.requires_grad_(False)
        self.generator.module.noise.requires_grad_(True)

    def _discriminator_step(self, batch: Lab, fake_ab: Tensor) -> dict[str, Tensor]:
        loss_D_fake = gan_loss(self.discriminator(torch.cat([batch.L, fake_ab], dim=1)), real=False)
        loss_D_real = gan_loss(self.discriminator(torch.cat([batch.L, batch.ab], dim=1)), real=True)
        loss_D = (loss_D_fake + loss_D_real) / 2
        self.discriminator_optimizer.zero_grad()
        self.fabric.backward(loss_D)
        self.discriminator_optimizer.step()
        return {"loss_D_fake": loss_D_fake, "loss_D_real": loss_D_real, "loss_D": loss_D}

    def _generator_losses(
        self, L: Tensor, fake_ab: Tensor, gan_weight: float, reconstructed: slice, true_ab: Tensor
    ) -> dict[str, Tensor]:
        """GAN + λ·L1; the L1 loss of those pictures of the batch that are to have their true colours."""
        error = F.l1_loss(fake_ab[reconstructed], true_ab[reconstructed])
        losses = {"loss_G_L1": self.params.lambda_l1 * error}
        if gan_weight:
            with self._only_passing_on(self.discriminator):
                logits = self.discriminator(torch.cat([L, fake_ab], dim=1))
            losses["loss_G_GAN"] = gan_weight * gan_loss(logits, real=True)
        losses["loss_G"] = torch.stack(list(losses.values())).sum()
        return losses

    @contextmanager
    def _only_passing_on(self, network: Any) -> Iterator[None]:
        """Within, a network passes gradients on to its input; its own would be thrown away."""
        network.requires_grad_(False)
        with self.fabric.no_backward_sync(network, enabled=self.fabric.world_size > 1):
            yield
        network.requires_grad_(True)

    def _agreed(self, asked_to_stop: Callable[[], bool]) -> bool:
        """Whether any process is asked to stop: all must stop after the same step."""
        if self.fabric.world_size == 1:
            return asked_to_stop()
        if self.iteration % _STEPS_BETWEEN_AGREEMENTS:
            return False
        asked = torch.tensor(float(asked_to_stop()), device=self.fabric.device)
        return bool(cast(Tensor, self.fabric.all_reduce(asked, reduce_op="sum")) > 0)

    def _means(self) -> dict[str, float]:
        """The running means of the losses, over all processes."""
        means = self.meters.means()
        if self.fabric.world_size == 1:
            return means
        own = torch.tensor(list(means.values()), dtype=torch.float64, device=self.fabric.device)
        return dict(zip(means, cast(Tensor, self.fabric.all_reduce(own)).tolist(), strict=True))

    def _save(self, name: str) -> None:
        if self.fabric.is_global_zero:
            save_weights(self.folder / name, self.kept_generator)

    def _save_checkpoint(self) -> None:
        # A training must not come back to what has diverged since it was last looked at.
        self._stop_if_diverged(self._means())
        state = self.state_dict()
        if self.fabric.is_global_zero:
            self.checkpoints.save(self.iteration, state)

    def _display(self, samples: Lab) -> None:
        means = self._means()
        self._stop_if_diverged(means)
        self.history.losses.append({"iteration": self.iteration} | means)
        if self.fabric.is_global_zero:
            self.listener.displayed(self.iteration, means)
            self.listener.sampled(
                self.iteration, samples, self._predict(samples.L, self._sample_noise(samples.L))
            )

    def _end_epoch(self, validation: Validation) -> None:
        means = self._means()
        self._stop_if_diverged(means)
        self._stop_if_collapsed(means)
        self.meters.reset()
        epoch = self.iteration // self.params.iterations_per_epoch
        if self.fabric.is_global_zero:
            figures = self._validate(validation)
            self.history.validation.append({"epoch": epoch, "iteration": self.iteration} | figures)
            self.listener.validated(epoch, self.iteration, figures)

    def _validate(self, validation: Validation) -> dict[str, float]:
        """An epoch's figures. The best weights are kept; in the last phase the latest: z = 0 stays as it is."""
        L = validation.L
        predicted = self._predict(L)
        figures = validation.figures(predicted)
        z = self._sample_noise(L)
        if z is not None or figures["val_score"] < self.best_score:
            self.best_score = figures["val_score"]
            self._save(WEIGHTS)
        if z is not None:
            figures["val_variety"] = variety(predicted, self._predict(L, z))
        return figures

    def _sample_noise(self, L: Tensor) -> Tensor | None:
        """Noise for pictures, always the same, if the last step was of the last phase; None before."""
        if not schedule.in_variety_phase(self.params, self.iteration - 1):
            return None
        return torch.randn(
            len(L), self.params.z_dim, generator=torch.Generator().manual_seed(self.params.seed)
        )

    def _predict(self, L: Tensor, z: Tensor | None = None) -> Tensor:
        training = self.generator.training
        self.generator.eval()
        predicted = predict(self.kept_generator, L, self.fabric.device, z)
        self.generator.train(training)
        return predicted

    def _stop_if_diverged(self, means: dict[str, float]) -> None:
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise TintlabError(
                f"training diverged: {broken[0]} is not finite by iteration {self.iteration}; "
                f"lower train.learning_rate or change train.seed, then run again{self._kept()}"
            )

    def _stop_if_collapsed(self, means: dict[str, float]) -> None:
        epoch_start = self.iteration - self.params.iterations_per_epoch
        in_gan_phase = epoch_start >= schedule.l1_iterations(self.params)
        if in_gan_phase and means["loss_D"] < COLLAPSED_LOSS_D:
            raise TintlabError(
                f"the discriminator collapsed: loss_D is {means['loss_D']:.1g} over the epoch that ended with "
                f"iteration {self.iteration}, so the generator learns nothing from it; "
                "lower train.discriminator_learning_rate or change train.seed, then run again" + self._kept()
            )

    def _kept(self) -> str:
        best = self.folder / WEIGHTS
        return f"; the best weights until then are {best}" if best.exists() else ""

    def state_dict(self) -> dict[str, Any]:
        """All that a continued training needs to give the same result as an undisturbed one."""
        return {
            "iteration": self.iteration,
            "best_score": self.best_score,
            "losses": self.history.losses,
            "validation": self.history.validation,
            "meters": self.meters.state_dict(),
            "generator": self.generator.module.state_dict(),
            "discriminator": self.discriminator.module.state_dict(),
            "generator_optimizer": self.generator_optimizer.state_dict(),
            "discriminator_optimizer": self.discriminator_optimizer.state_dict(),
            "latent_encoder": self.latent_encoder.module.state_dict() if self.latent_encoder else {},
            "noise_optimizer": self.noise_optimizer.state_dict() if self.noise_optimizer else {},
            "average": self.average.state_dict() if self.average is not None else {},
            "random": self._of_all_processes(torch.get_rng_state()),
            "gpu_random": self._of_all_processes(self._gpu.get_rng_state()) if self._gpu else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.iteration = state["iteration"]
        self.best_score = state["best_score"]
        self.history = History(state["losses"], state["validation"])
        self.meters.load_state_dict(state["meters"])
        self.generator.module.load_state_dict(state["generator"])
        self.discriminator.module.load_state_dict(state["discriminator"])
        self.generator_optimizer.load_state_dict(state["generator_optimizer"])
        self.discriminator_optimizer.load_state_dict(state["discriminator_optimizer"])
        if self.latent_encoder is not None:
            self.latent_encoder.module.load_state_dict(state["latent_encoder"])
            self.noise_optimizer.load_state_dict(state["noise_optimizer"])
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        # Continued with other processes than it was begun with, a training is no exact repetition.
        own = self.fabric.global_rank % len(state["random"])
        torch.set_rng_state(state["random"][own].clone())  # torch crashes at a view
        if self._gpu and state["gpu_random"] is not None:
            self._gpu.set_rng_state(state["gpu_random"][own].clone())

    def _of_all_processes(self, random: Tensor) -> Tensor:
        """The random states of all processes, `(processes, bytes)`."""
        return of_all_processes(random.to(self.fabric.device)).cpu()

    @property
    def _gpu(self) -> Any:
        """`torch.cuda` or `torch.mps`, where dropout draws its random numbers there; None on the CPU."""
        device = self.fabric.device
        return None if device.type == "cpu" else torch.get_device_module(device)
