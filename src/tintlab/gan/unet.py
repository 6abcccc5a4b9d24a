"""The pix2pix U-Net generator (Isola et al. 2017, arXiv 1611.07004), from L to ab."""

import torch
from torch import Tensor, nn

MAX_DEPTH = 8


def depth_for(size: int) -> int:
    """How often a square of `size` pixels is halved: as long as the size is even, at most 8 times."""
    depth = 0
    while depth < MAX_DEPTH and size % 2 ** (depth + 1) == 0:
        depth += 1
    return depth


class UNet(nn.Module):
    """Encoder and decoder of equal depth, joined by skip connections, with dropout in the inner up-blocks.

    At 256 px and 64 channels it has depth 8 and 54 million parameters, as published. Dropout is the
    paper's noise; in evaluation mode the output is deterministic.

    Args:
        size: side of the training crops; sets the depth.
        channels: width of the outermost layer; inner layers have up to eight times as many.
        dropout: probability in the three up-blocks after the innermost.
    """

    def __init__(self, size: int, channels: int, dropout: float) -> None:
        super().__init__()
        depth = depth_for(size)
        self.multiple = 2**depth
        self.z_dim = 0
        widths = [channels * min(2**level, 8) for level in range(depth)]
        self.downs = nn.ModuleList()
        self.ups = nn.ModuleList()
        for level, width in enumerate(widths):
            outermost, innermost = level == 0, level == depth - 1
            # In place: this also changes the stored skip, but the ReLU that reads it gives the same for both.
            down: list[nn.Module] = [] if outermost else [nn.LeakyReLU(0.2, inplace=True)]
            down.append(
                nn.Conv2d(1 if outermost else widths[level - 1], width, 4, 2, 1, bias=outermost or innermost)
            )
            if not outermost and not innermost:
                down.append(nn.BatchNorm2d(width))
            self.downs.append(nn.Sequential(*down))

            inputs = width if innermost else 2 * width
            up: list[nn.Module] = [nn.ReLU(inplace=True)]
            if outermost:
                up += [nn.ConvTranspose2d(inputs, 2, 4, 2, 1), nn.Tanh()]
            else:
                up += [
                    nn.ConvTranspose2d(inputs, widths[level - 1], 4, 2, 1, bias=False),
                    nn.BatchNorm2d(widths[level - 1]),
                ]
                if depth - 4 <= level < depth - 1 and dropout > 0:
                    up.append(nn.Dropout(dropout))
            self.ups.append(nn.Sequential(*up))

    def freeze_encoder(self, frozen: bool) -> None:
        """Freeze the weights of the down-blocks, or let them train; their batch statistics still change."""
        self.downs.requires_grad_(not frozen)

    def forward(self, L: Tensor, z: Tensor | None = None) -> Tensor:
        """Predict colours.

        Args:
            L: `(n, 1, h, w)` in [-1, 1], sides multiples of `self.multiple`.
            z: must be None; this generator takes no noise vector.

        Returns:
            ab / 110, `(n, 2, h, w)` in [-1, 1].
        """
        if z is not None:
            raise ValueError("this generator takes no noise vector: its config says z_dim 0")
        skips = []
        x = L
        for down in self.downs:
            x = down(x)
            skips.append(x)
        for level in reversed(range(len(self.ups))):
            x = self.ups[level](x if level == len(self.ups) - 1 else torch.cat([x, skips[level]], dim=1))
        return x
