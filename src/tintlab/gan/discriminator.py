"""The PatchGAN discriminator (Isola et al. 2017, arXiv 1611.07004) on L+ab."""

from typing import Literal, cast

from torch import Tensor, nn


class PatchDiscriminator(nn.Module):
    """Judges overlapping patches of 70×70 pixels, each real or not, by logits.

    Args:
        channels: width of the first layer.
        norm: `batch` as published; `instance` lets no picture's logits depend on its neighbours in the batch.
    """

    def __init__(self, channels: int, norm: Literal["batch", "instance"] = "batch") -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.Conv2d(3, channels, 4, 2, 1), nn.LeakyReLU(0.2, inplace=True)]
        for inputs, stride in ((channels, 2), (2 * channels, 2), (4 * channels, 1)):
            layers += [
                nn.Conv2d(inputs, 2 * inputs, 4, stride, 1, bias=False),
                nn.BatchNorm2d(2 * inputs) if norm == "batch" else _instance_norm(2 * inputs),
                nn.LeakyReLU(0.2, inplace=True),
            ]
        layers.append(nn.Conv2d(8 * channels, 1, 4, 1, 1))
        self.layers = nn.Sequential(*layers)

    def forward(self, lab: Tensor) -> Tensor:
        """Map `(n, 3, h, w)` of L and ab in [-1, 1] to logits `(n, 1, h/8 - 2, w/8 - 2)`."""
        return cast(Tensor, self.layers(lab))


def _instance_norm(channels: int) -> nn.Module:
    # Group norm with one channel per group is instance norm. torch computes it in channels-last format,
    # whereas its own instance norm would convert the format twice.
    return nn.GroupNorm(channels, channels)
