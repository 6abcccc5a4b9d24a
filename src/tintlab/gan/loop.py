"""The training loop of the conditional GAN: L1 first where wanted, then GAN + λ·L1."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tintlab.errors import TintlabError
from tintlab.gan import schedule
from tintlab.gan.averaging import moving_average
from tintlab.gan.checkpoints import Checkpoints
from tintlab.gan.data import Augmentation, Batches, Lab, Mixture, Squares, centre_crops, scaled
from tintlab.gan.discriminator import PatchDiscriminator
from tintlab.gan.initialization import init_norm
from tintlab.gan.losses import METERS, PERCEPTUAL_METER, Meters, gan_loss
from tintlab.gan.model_files import build_generator, generator_config, save_weights
from tintlab.gan.perceptual import PerceptualLoss
from tintlab.gan.validation import predict, sample_picks, validate
from tintlab.params import TrainParams
from tintlab.paths import LAST_WEIGHTS, WEIGHTS
from tintlab.process import be_loader_worker

SAMPLES = 8

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
        torch.manual_seed(params.seed)
        self.fabric = _fabric(params.device)
        generator = build_generator(generator_config(params))
        discriminator = PatchDiscriminator(params.discriminator_channels, params.discriminator_norm)
        # A pretrained generator brings its own start, and so does a parent.
        fresh = params.generator == "unet" and parent is None
        for network in (generator, discriminator) if fresh else (discriminator,):
            init_norm(network)
            listener.announced("model initialized with norm initialization")
        if parent is not None:
            generator.load_state_dict(parent)
        if params.frozen_epochs is not None:
            # All that will ever train is the optimizer's from the start, so that its state is the same all along.
            generator.freeze_encoder(False)
        trainable = [parameter for parameter in generator.parameters() if parameter.requires_grad]
        self.generator, self.generator_optimizer = self._set_up(
            generator,
            torch.optim.AdamW(
                trainable, lr=params.learning_rate, betas=params.betas, weight_decay=params.weight_decay
            ),
        )
        self.discriminator, self.discriminator_optimizer = self._set_up(
            discriminator,
            torch.optim.Adam(
                discriminator.parameters(), lr=params.discriminator_learning_rate, betas=params.betas
            ),
        )
        self.average = moving_average(self.generator.module, params.ema_decay) if params.ema_decay else None
        self.perceptual = PerceptualLoss().to(self.fabric.device) if params.lambda_perceptual else None

    def _set_up(self, network: nn.Module, optimizer: torch.optim.Optimizer) -> tuple[Any, Any]:
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
        if (state := self.checkpoints.latest()) is not None:
            self.load_state_dict(state)
            self.listener.announced(f"continuing after iteration {self.iteration}")
        augmentation = Augmentation(params.crop, params.contrast, params.brightness)
        batches = Batches(
            squares, params.image_size, params.batch_size, self.iterations, params.seed, augmentation, mixture
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
                self._end_epoch(val_squares)
            if self.iteration == self.iterations:
                break
            if asked_to_stop():
                self._save_checkpoint()
                self.listener.announced(f"stopped after iteration {self.iteration}: run again to go on")
                raise KeyboardInterrupt
            if self.iteration % params.checkpoint_every == 0:
                self._save_checkpoint()
        save_weights(self.folder / LAST_WEIGHTS, self.kept_generator)
        return self.history

    def step(self, batch: Lab) -> dict[str, Tensor]:
        """One step of the discriminator, then one of the generator, on the same fakes; the losses.

        In the L1 phase the discriminator rests and its losses are 0.
        """
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
        losses |= self._generator_step(batch, fake_ab, gan_weight)
        if self.average is not None:
            self.average.update_parameters(self.generator.module)
        return {name: torch.zeros((), device=fake_ab.device) for name in METERS} | losses

    def _discriminator_step(self, batch: Lab, fake_ab: Tensor) -> dict[str, Tensor]:
        loss_D_fake = gan_loss(self.discriminator(torch.cat([batch.L, fake_ab], dim=1)), real=False)
        loss_D_real = gan_loss(self.discriminator(torch.cat([batch.L, batch.ab], dim=1)), real=True)
        loss_D = (loss_D_fake + loss_D_real) / 2
        self.discriminator_optimizer.zero_grad()
        self.fabric.backward(loss_D)
        self.discriminator_optimizer.step()
        return {"loss_D_fake": loss_D_fake, "loss_D_real": loss_D_real, "loss_D": loss_D}

    def _generator_step(self, batch: Lab, fake_ab: Tensor, gan_weight: float) -> dict[str, Tensor]:
        losses = {"loss_G_L1": self.params.lambda_l1 * F.l1_loss(fake_ab, batch.ab)}
        # The discriminator only passes the gradient on here; its own would be thrown away.
        self.discriminator.requires_grad_(False)
        if gan_weight:
            logits = self.discriminator(torch.cat([batch.L, fake_ab], dim=1))
            losses["loss_G_GAN"] = gan_weight * gan_loss(logits, real=True)
        losses["loss_G"] = torch.stack(list(losses.values())).sum()
        total = losses["loss_G"]
        if self.perceptual is not None:
            losses[PERCEPTUAL_METER] = self.params.lambda_perceptual * self.perceptual(
                batch.L, fake_ab, batch.ab
            )
            total = total + losses[PERCEPTUAL_METER]
        self.generator_optimizer.zero_grad()
        self.fabric.backward(total)
        self.generator_optimizer.step()
        self.discriminator.requires_grad_(True)
        return losses

    def _save_checkpoint(self) -> None:
        # A training must not come back to what has diverged since it was last looked at.
        self._stop_if_diverged(self.meters.means())
        self.checkpoints.save(self.iteration, self.state_dict())

    def _display(self, samples: Lab) -> None:
        means = self.meters.means()
        self._stop_if_diverged(means)
        self.history.losses.append({"iteration": self.iteration} | means)
        self.listener.displayed(self.iteration, means)
        self.listener.sampled(self.iteration, samples, self._predict(samples.L))

    def _end_epoch(self, val_squares: Squares) -> None:
        means = self.meters.means()
        self._stop_if_diverged(means)
        self._stop_if_collapsed(means)
        epoch = self.iteration // self.params.iterations_per_epoch
        figures = validate(val_squares, self._predict(scaled(val_squares).L))
        self.history.validation.append({"epoch": epoch, "iteration": self.iteration} | figures)
        if figures["val_score"] < self.best_score:
            self.best_score = figures["val_score"]
            save_weights(self.folder / WEIGHTS, self.kept_generator)
        self.meters.reset()
        self.listener.validated(epoch, self.iteration, figures)

    def _predict(self, L: Tensor) -> Tensor:
        self.generator.eval()
        predicted = predict(self.kept_generator, L, self.fabric.device)
        self.generator.train()
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
            "average": self.average.state_dict() if self.average is not None else {},
            "random": torch.get_rng_state(),
            "gpu_random": self._gpu.get_rng_state() if self._gpu else None,
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
        if self.average is not None:
            self.average.load_state_dict(state["average"])
        torch.set_rng_state(state["random"])
        if self._gpu and state["gpu_random"] is not None:
            self._gpu.set_rng_state(state["gpu_random"])

    @property
    def _gpu(self) -> Any:
        """`torch.cuda` or `torch.mps`, where dropout draws its random numbers there; None on the CPU."""
        device = self.fabric.device
        return None if device.type == "cpu" else torch.get_device_module(device)


def _fabric(device: str) -> Fabric:
    cuda = device == "cuda" or (device == "auto" and torch.cuda.is_available())
    try:
        return Fabric(accelerator=device, devices=1, precision="bf16-mixed" if cuda else "32-true")
    except RuntimeError as error:
        raise TintlabError(
            f"train.device is {device!r}, and torch finds no such device here: set it to auto or cpu"
        ) from error
