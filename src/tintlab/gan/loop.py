"""The training loop of the conditional GAN: L1 first if wanted, then GAN + λ·L1, hints, and last the noise."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.utils.data import DataLoader

from tintlab.gan import schedule
from tintlab.gan.checkpoints import Checkpoints
from tintlab.gan.data import Augmentation, Batches, Lab, Mixture, Squares, centre_crops, scaled
from tintlab.gan.hint_simulation import simulate_guidance
from tintlab.gan.listener import Listener
from tintlab.gan.losses import Meters
from tintlab.gan.model_files import save_weights
from tintlab.gan.networks import GUIDANCE, Networks
from tintlab.gan.rebalancing import colour_weights
from tintlab.gan.steps import Steps
from tintlab.gan.validation import Validation, predict, sample_picks, variety
from tintlab.system.errors import TintlabError
from tintlab.system.memory import keep_all_freed_memory
from tintlab.system.params import TrainParams
from tintlab.system.paths import LAST_WEIGHTS, WEIGHTS
from tintlab.system.processes import be_loader_worker

SAMPLES = 8

_STEPS_BETWEEN_AGREEMENTS = 10

COLLAPSED_LOSS_D = 1e-4
"""Least mean loss_D of an epoch. Below it, the discriminator separates fakes from photographs with more than
99.99 % certainty, and the generator can't learn from it."""


@dataclass
class History:
    """The figures of a training: rows of plain numbers."""

    losses: list[dict[str, float]] = field(default_factory=list)
    validation: list[dict[str, float]] = field(default_factory=list)


class Training:
    """A training from its start, or from a checkpoint, to its end.

    Args:
        params: the `train` section of params.yaml.
        folder: where best and last weights are written; checkpoints go to its subfolder.
        listener: receives the events.
        parent: weights to start from, see `model_files.parent_weights`; None for its initial ones.
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
        self.networks = Networks(params, listener.announced, parent)
        self.fabric = self.networks.fabric
        self.steps = Steps(params, self.networks)

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
            val_squares: validation squares, of the same form.
            asked_to_stop: called after each step; True ends the training.
            mixture: which training squares the batches take; None for all.

        Raises:
            TintlabError: a loss is no longer finite, or the discriminator has collapsed.
            KeyboardInterrupt: asked to stop, and a checkpoint is saved.
        """
        params = self.params
        # Validate on as much of each square as the generator takes: this is closer to use than training
        # crops.
        multiple = cast(int, self.networks.kept_generator.multiple)
        val_squares = centre_crops(val_squares, val_squares.shape[1] // multiple * multiple)
        samples = scaled(sample_picks(val_squares, SAMPLES))
        validation = Validation(
            val_squares, self.networks.perceptual, self.fabric.device, bool(params.lambda_kernel)
        )
        self.steps = Steps(params, self.networks, colour_weights(squares, params.rebalancing))
        if (state := self.checkpoints.latest()) is not None:
            self.load_state_dict(state)
            self.listener.announced(f"continuing after iteration {self.iteration}")
        for batch in self._batches(squares, mixture):
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
        if not schedule.colours_are_held(params, self.iterations - 1):
            self._save(LAST_WEIGHTS)
        return self.history

    def _batches(self, squares: Squares, mixture: Mixture | None) -> "DataLoader[Lab]":
        """The batches of the iterations that are left."""
        params = self.params
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
        return DataLoader(
            batches,
            batch_size=None,
            sampler=rest,
            num_workers=params.workers,
            worker_init_fn=be_loader_worker,
            # A random generator of its own: each loader draws a number when it starts, and a resumed training
            # starts one more loader.
            generator=torch.Generator(),
        )

    def step(self, batch: Lab) -> dict[str, Tensor]:
        """The next step, see `Steps.take`; the losses."""
        if self.iteration == schedule.guidance_begins(self.params):
            self._hold_best()
        return self.steps.take(self.iteration, batch)

    def _hold_best(self) -> None:
        """Load the best plain colours so far; the later phases don't change them."""
        self._save(LAST_WEIGHTS)
        self.fabric.barrier()
        best = load_file(self.folder / WEIGHTS)
        held = ("noise.", *(f"{name}." for name in GUIDANCE))
        for network in (self.networks.generator.module, self.networks.kept_generator):
            # Noise and hint layers are still untrained here; those in the file may be of a run that was
            # killed.
            begun = {name: value for name, value in network.state_dict().items() if name.startswith(held)}
            network.load_state_dict(best | begun)

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
            save_weights(self.folder / name, self.networks.kept_generator)

    def _save_checkpoint(self) -> None:
        # A training must not resume from weights that have diverged since the last check.
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
        """Compute an epoch's figures. Keep the best weights, or the latest if the plain colours are fixed."""
        L = validation.L
        predicted = self._predict(L)
        figures = validation.figures(predicted)
        z = self._sample_noise(L)
        held = schedule.colours_are_held(self.params, self.iteration - 1)
        if held or figures["val_score"] < self.best_score:
            self.best_score = figures["val_score"]
            self._save(WEIGHTS)
        if schedule.in_guidance_phase(self.params, self.iteration - 1):
            guided = simulate_guidance(L, validation.ab, [self.params.seed, 4])
            hinted = self._predict(L, None, guided.hints, guided.palettes)
            figures["val_guided_L1"] = float((hinted - guided.ab).abs().mean())
        if z is not None:
            figures["val_variety"] = variety(predicted, self._predict(L, z))
        return figures

    def _sample_noise(self, L: Tensor) -> Tensor | None:
        """The same noise for the sample pictures each time in the noise phase; None before that phase."""
        if not schedule.in_variety_phase(self.params, self.iteration - 1):
            return None
        return torch.randn(
            len(L), self.params.z_dim, generator=torch.Generator().manual_seed(self.params.seed)
        )

    def _predict(self, L: Tensor, *inputs: Tensor | None) -> Tensor:
        training = self.networks.generator.training
        self.networks.generator.eval()
        predicted = predict(self.networks.kept_generator, L, self.fabric.device, *inputs)
        self.networks.generator.train(training)
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
        with_discriminator = schedule.has_discriminator(self.params, epoch_start)
        if with_discriminator and means["loss_D"] < COLLAPSED_LOSS_D:
            raise TintlabError(
                f"the discriminator collapsed: loss_D is {means['loss_D']:.1g} in the epoch until "
                f"iteration {self.iteration}; lower train.discriminator_learning_rate "
                "or change train.seed, then run again" + self._kept()
            )

    def _kept(self) -> str:
        best = self.folder / WEIGHTS
        return f"; best weights: {best}" if best.exists() else ""

    def state_dict(self) -> dict[str, Any]:
        """The state with which a resumed training gives the same result as an uninterrupted one."""
        return {
            "iteration": self.iteration,
            "best_score": self.best_score,
            "losses": self.history.losses,
            "validation": self.history.validation,
            "meters": self.meters.state_dict(),
        } | self.networks.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from what `state_dict` gave."""
        self.iteration = state["iteration"]
        self.best_score = state["best_score"]
        self.history = History(state["losses"], state["validation"])
        self.meters.load_state_dict(state["meters"])
        self.networks.load_state_dict(state)
