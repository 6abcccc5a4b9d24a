"""Layers that bring a noise vector z into the decoder, and the encoder that infers z from a true colouring.

z represents the colours that a grey photograph leaves open. It is learnt as in BicycleGAN (Zhu et al. 2017,
arXiv 1711.11586). An encoder infers z from a true colouring, and the generator must reproduce that colouring
with it. From a picture that was coloured with a random z, the encoder must recover that z.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

_HIDDEN = 64
_POOL = 4  # a picture of a quarter of the side still shows the palette and its layout

Modulation = tuple[Tensor, Tensor]
"""Scale and shift of a feature map, `(n, channels, 1, 1)` each."""


class Modulations(nn.Module):
    """Feature-wise scales and shifts from z (FiLM; Perez et al. 2018, arXiv 1709.07871).

    No layer has a bias and tanh(0) is 0, so z = 0 leaves features exactly as they are without noise.

    Args:
        z_dim: length of z.
        channels: of each map that is modulated.
    """

    def __init__(self, z_dim: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.hidden = nn.Linear(z_dim, _HIDDEN, bias=False)
        self.heads = nn.ModuleList(nn.Linear(_HIDDEN, 2 * width, bias=False) for width in channels)
        for head in self.heads:
            nn.init.normal_(head.weight, 0.0, 0.1)  # type: ignore[arg-type]

    def forward(self, z: Tensor) -> list[Modulation]:
        """Scale and shift for each map, of z `(n, z_dim)`."""
        hidden = torch.tanh(self.hidden(z))
        scales_and_shifts = (head(hidden)[:, :, None, None].chunk(2, dim=1) for head in self.heads)
        return [(scale, shift) for scale, shift in scales_and_shifts]


def modulated(x: Tensor, by: Modulation) -> Tensor:
    """A feature map `(n, channels, h, w)` under a modulation."""
    scale, shift = by
    return x * (1 + scale) + shift


class LatentEncoder(nn.Module):
    """Reads z off a coloured picture: mean and log-variance of a normal distribution.

    It has no normalisation layers: these would remove the mean colours, which z mainly describes.

    Args:
        z_dim: length of z.
    """

    def __init__(self, z_dim: int) -> None:
        super().__init__()
        widths = (3, 64, 128, 128)
        self.layers = nn.Sequential(
            nn.AvgPool2d(_POOL),
            *(
                nn.Sequential(nn.Conv2d(narrow, wide, 3, 2, 1), nn.LeakyReLU(0.2))
                for narrow, wide in pairwise(widths)
            ),
        )
        self.output = nn.Linear(widths[-1], 2 * z_dim)

    def forward(self, lab: Tensor) -> tuple[Tensor, Tensor]:
        """Mean and log-variance of z, `(n, z_dim)` each, of `(n, 3, h, w)` of L and ab in [-1, 1]."""
        mean, log_variance = self.output(self.layers(lab).mean(dim=(2, 3))).chunk(2, dim=1)
        return mean, log_variance


def drawn(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Draw z so that gradients reach mean and log-variance (Kingma & Welling 2014, arXiv 1312.6114)."""
    return mean + torch.exp(log_variance / 2) * torch.randn_like(mean)


def kl_divergence(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, variance) || N(0, 1)) in nats, summed over z, mean over the batch (ibid., appendix B)."""
    return (mean.square() + log_variance.exp() - 1 - log_variance).sum(dim=1).mean() / 2


def latent_error(mean: Tensor, z: Tensor) -> Tensor:
    """Mean absolute difference between the z that the encoder inferred and the z that was given."""
    return F.l1_loss(mean, z)
