"""The training loop of the conditional GAN: L1 first where wanted, then GAN + λ·L1."""

import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tintlab.errors import TintlabError
from tintlab.gan.checkpoints import Checkpoints
from tintlab.gan.data import Batches, Lab, Squares, centre_crops, scaled
from tintlab.gan.discriminator import PatchDiscriminator
from tintlab.gan.initialization import init_norm
from tintlab.gan.losses import Meters, gan_loss
from tintlab.gan.model_files import LAST_WEIGHTS, WEIGHTS, build_generator, generator_config, save_weights
from tintlab.gan.validation import predict, sample_picks, validate
from tintlab.params import TrainParams

SAMPLES = 8


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
    """

    def __init__(self, params: TrainParams, folder: Path, listener: Listener) -> None:
        self.params = params
        self.folder = folder
        self.listener = listener
        self.iterations = params.epochs * params.iterations_per_epoch
        self.iteration = 0
        self.best_score = math.inf
        self.history = History()
        self.meters = Meters()
        self.checkpoints = Checkpoints(folder / "checkpoints")

        torch.set_num_threads(params.threads)
        torch.manual_seed(params.seed)
        cuda = params.device == "cuda" or (params.device == "auto" and torch.cuda.is_available())
        self.fabric = Fabric(
            accelerator=params.device, devices=1, precision="bf16-mixed" if cuda else "32-true"
        )
        generator = build_generator(generator_config(params))
        discriminator = PatchDiscriminator(params.discriminator_channels)
        for network in (generator, discriminator):
            init_norm(network)
            listener.announced("model initialized with norm initialization")
        self.generator, self.generator_optimizer = self._set_up(generator)
        self.discriminator, self.discriminator_optimizer = self._set_up(discriminator)

    def _set_up(self, network: nn.Module) -> tuple[Any, Any]:
        network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        optimizer = torch.optim.Adam(
            network.parameters(), lr=self.params.learning_rate, betas=self.params.betas
        )
        module, wrapped_optimizer = self.fabric.setup(network, optimizer)
        return module, wrapped_optimizer

    def run(self, squares: Squares, val_squares: Squares) -> History:
        """Train to the end, from the latest checkpoint if there is one.

        Args:
            squares: training squares, `(n, side, side, 3)` packed L*a*b*.
            val_squares: validation squares, likewise.

        Raises:
            TintlabError: a loss is no longer finite.
        """
        params = self.params
        val_squares = centre_crops(val_squares, params.size)
        samples = scaled(sample_picks(val_squares, SAMPLES))
        if (state := self.checkpoints.latest()) is not None:
            self.load_state_dict(state)
            self.listener.announced(f"continuing after iteration {self.iteration}")
        batches = Batches(squares, params.size, params.batch_size, self.iterations, params.seed)
        rest = range(self.iteration, self.iterations)
        loader = DataLoader(
            batches,
            batch_size=None,
            sampler=rest,
            num_workers=params.workers,
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
            if self.iteration % params.checkpoint_every == 0 and self.iteration < self.iterations:
                self.checkpoints.save(self.iteration, self.state_dict())
        save_weights(self.folder / LAST_WEIGHTS, self.generator.module)
        return self.history

    def step(self, batch: Lab) -> dict[str, Tensor]:
        """One step of the discriminator, then one of the generator, on the same fakes; the six losses."""
        L, real_ab = batch.L, batch.ab
        fake_ab = self.generator(L)
        real, fake = torch.cat([L, real_ab], dim=1), torch.cat([L, fake_ab], dim=1)

        loss_D_fake = gan_loss(self.discriminator(fake.detach()), real=False)
        loss_D_real = gan_loss(self.discriminator(real), real=True)
        loss_D = (loss_D_fake + loss_D_real) / 2
        self.discriminator_optimizer.zero_grad()
        self.fabric.backward(loss_D)
        self.discriminator_optimizer.step()

        # The discriminator only passes the gradient on here; its own would be thrown away.
        self.discriminator.requires_grad_(False)
        loss_G_GAN = gan_loss(self.discriminator(fake), real=True)
        loss_G_L1 = self.params.lambda_l1 * F.l1_loss(fake_ab, real_ab)
        loss_G = loss_G_GAN + loss_G_L1
        self.generator_optimizer.zero_grad()
        self.fabric.backward(loss_G)
        self.generator_optimizer.step()
        self.discriminator.requires_grad_(True)
        return {
            "loss_D_fake": loss_D_fake,
            "loss_D_real": loss_D_real,
            "loss_D": loss_D,
            "loss_G_GAN": loss_G_GAN,
            "loss_G_L1": loss_G_L1,
            "loss_G": loss_G,
        }

    def _display(self, samples: Lab) -> None:
        means = self.meters.means()
        self._stop_if_diverged(means)
        self.history.losses.append({"iteration": self.iteration} | means)
        self.listener.displayed(self.iteration, means)
        self.listener.sampled(self.iteration, samples, self._predict(samples.L))

    def _end_epoch(self, val_squares: Squares) -> None:
        self._stop_if_diverged(self.meters.means())
        epoch = self.iteration // self.params.iterations_per_epoch
        figures = validate(val_squares, self._predict(scaled(val_squares).L))
        self.history.validation.append({"epoch": epoch, "iteration": self.iteration} | figures)
        if figures["val_score"] < self.best_score:
            self.best_score = figures["val_score"]
            save_weights(self.folder / WEIGHTS, self.generator.module)
        self.meters.reset()
        self.listener.validated(epoch, self.iteration, figures)

    def _predict(self, L: Tensor) -> Tensor:
        self.generator.eval()
        predicted = predict(self.generator, L, self.fabric.device)
        self.generator.train()
        return predicted

    def _stop_if_diverged(self, means: dict[str, float]) -> None:
        broken = [name for name, value in means.items() if not math.isfinite(value)]
        if broken:
            raise TintlabError(
                f"training diverged: {broken[0]} is not finite by iteration {self.iteration}; "
                "lower train.learning_rate or change train.seed, then run again"
            )

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
            "random": torch.get_rng_state(),
            "cuda_random": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
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
        torch.set_rng_state(state["random"])
        if state["cuda_random"]:
            torch.cuda.set_rng_state_all(state["cuda_random"])
