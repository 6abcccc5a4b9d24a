"""The losses of the conditional GAN, and their running means."""

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

METERS = ("loss_D_fake", "loss_D_real", "loss_D", "loss_G_GAN", "loss_G_L1", "loss_G")
"""The six losses, by their names in log lines, tables, checkpoints and MLflow."""

GAN_METERS = METERS[:4]
"""Those that need the discriminator."""

PERCEPTUAL_METER = "loss_G_perceptual"
KERNEL_METER = "loss_G_kernel"
KL_METER = "loss_G_KL"
LATENT_METER = "loss_G_latent"
_MORE = (PERCEPTUAL_METER, KERNEL_METER, KL_METER, LATENT_METER)
"""Those that a recipe may have besides; `loss_G` stays GAN + L1."""

_ORDER = (*METERS, *_MORE)


def gan_loss(logits: Tensor, real: bool) -> Tensor:
    """Binary cross-entropy of patch logits against "all real" or "all fake" (Goodfellow et al. 2014).

    The generator's non-saturating loss is that of its fakes against "real".
    """
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


class Meters:
    """Running means of the losses since the last `reset`."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything, as at an epoch's start."""
        self.count = 0
        self.sums: dict[str, Tensor] = {}

    def update(self, losses: Mapping[str, Tensor]) -> None:
        """Add one step's losses; they stay on their device until `means` asks.

        Raises:
            ValueError: a loss is missing, or has an unknown name.
        """
        if wrong := sorted((set(losses) - set(_MORE)) ^ set(METERS)):
            raise ValueError(f"losses must be named {', '.join(METERS)}: check {', '.join(wrong)}")
        for name, value in losses.items():
            known = value.detach().float()
            self.sums[name] = self.sums[name] + known if self.count else known
        self.count += 1

    def means(self) -> dict[str, float]:
        """The mean of each loss, in the order of `METERS`; before the first update, an empty dict."""
        return {name: float(self.sums[name]) / self.count for name in _ORDER if name in self.sums}

    def state_dict(self) -> dict[str, float | int]:
        """All that `load_state_dict` needs, as plain numbers."""
        return {"count": self.count} | {name: float(value) for name, value in self.sums.items()}

    def load_state_dict(self, state: Mapping[str, float | int]) -> None:
        """Continue from what `state_dict` gave."""
        self.count = int(state["count"])
        self.sums = {name: torch.tensor(state[name], dtype=torch.float32) for name in _ORDER if name in state}
