"""Layers that bring colour hints, and the palette of a reference picture, into the decoder.

Both are optional inputs, as in Zhang et al. 2017 (arXiv 1705.02999). Without them, the model's colours don't
change: the layers that carry hints have no bias, so an empty hint map adds 0 to every feature map. These
layers learn after the other layers of the colours, as the side network of ControlNet does (Zhang et al. 2023,
arXiv 2302.05543). The last of them start at 0.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tintlab.gan.hint_maps import PALETTE_LENGTH
from tintlab.gan.noise import Modulation, Modulations

STRIDES = (32, 16, 8, 4, 2)
"""Of the decoder's maps, deepest first."""

_WIDTHS = (96, 96, 64, 48, 32)
_GROUPS = 64
_ESTIMATE = 3  # a, b and confidence
_CELL = 4  # a cell's mean a, mean b, whether it has a hint, and how much of it has
_LITTLE = 1e-3


class HintPath(nn.Module):
    """Adds the information from hints to each of the decoder's maps.

    Hints spread in two ways. A pyramid of convolutions, coarse to fine, carries them to the neighbourhood.
    And the encoder's maps assign every place to soft groups of similar things. Each group takes the mean
    colour of the hints inside it and passes it to all its places. The decoder's own features gate each map,
    so a hint can stop at an object's edge.

    Args:
        channels: of the decoder's maps, deepest first.
        skip_channels: of the encoder's maps at strides 8, 16 and 32.
    """

    def __init__(self, channels: Sequence[int], skip_channels: Sequence[int]) -> None:
        super().__init__()
        self.groups = nn.ModuleList(nn.Conv2d(skip, _GROUPS, 1) for skip in skip_channels)
        above = (0, *_WIDTHS[:-1])
        self.carry = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(coarser + _CELL + _ESTIMATE, width, 3, padding=1, bias=False),
                nn.ReLU(inplace=True),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                nn.ReLU(inplace=True),
            )
            for coarser, width in zip(above, _WIDTHS, strict=True)
        )
        self.gates = nn.ModuleList(
            nn.Conv2d(own, width, 1) for own, width in zip(channels, _WIDTHS, strict=True)
        )
        self.additions = nn.ModuleList(
            _zeroed(nn.Conv2d(width, own, 3, padding=1, bias=False))
            for own, width in zip(channels, _WIDTHS, strict=True)
        )
        self.colours = _zeroed(nn.Conv2d(_WIDTHS[-1] + _CELL + _ESTIMATE, 2, 3, padding=1, bias=False))

    def carried(self, hints: Tensor, skips: Sequence[Tensor]) -> list[Tensor]:
        """The pyramid's feature maps at each of `STRIDES`, followed by the finest cells and estimates.

        Args:
            hints: `(n, 3, h, w)`, see `hint_maps`.
            skips: the encoder's maps at strides 8, 16 and 32.
        """
        estimate = self._estimate(hints, skips)
        known: list[Tensor] = []
        for stride, carry in zip(STRIDES, self.carry, strict=True):
            cells = torch.cat([_cells(hints, stride), _resized(estimate, stride)], dim=1)
            if known:
                cells = torch.cat([_doubled(known[-1]), cells], dim=1)
            known.append(carry(cells))
        finest = torch.cat([_cells(hints, STRIDES[-1]), _resized(estimate, STRIDES[-1])], dim=1)
        return [*known, finest]

    def add(self, x: Tensor, carried: Tensor, scale: int) -> Tensor:
        """Add the hints' features to the decoder's map number `scale`, counted from the deepest."""
        gated = carried * torch.sigmoid(self.gates[scale](x))
        return x + self.additions[scale](gated)  # type: ignore[no-any-return]

    def to_colours(self, carried: Tensor, finest: Tensor) -> Tensor:
        """The hints' addition to the colours at half size, before tanh: `(n, 2, h / 2, w / 2)`."""
        return self.colours(torch.cat([carried, finest], dim=1))  # type: ignore[no-any-return]

    def _estimate(self, hints: Tensor, skips: Sequence[Tensor]) -> Tensor:
        """The mean hint of each place's groups and its confidence: `(n, 3, h / 8, w / 8)`; 0 without hints."""
        height, width = skips[0].shape[2:]
        scores = [
            F.interpolate(layer(skip), (height, width), mode="bilinear", align_corners=False)
            for layer, skip in zip(self.groups, skips, strict=True)
        ]
        groups = torch.softmax(torch.stack(scores).sum(dim=0).float(), dim=1).flatten(2)
        # a* and b* of the hints, and their mask, by how much of each cell they cover
        mass = F.avg_pool2d(hints.float(), 8).flatten(2)
        of_groups = torch.einsum("ngp,ncp->ngc", groups, mass)
        amount = of_groups[:, :, 2:]
        means = of_groups[:, :, :2] / (amount + _LITTLE)
        sure = amount / (amount + _LITTLE)
        of_places = torch.einsum("ngp,ngc->ncp", groups, torch.cat([means, sure], dim=2))
        # Not len(hints): a converter that traces the code would treat the number as a constant.
        return of_places.reshape(hints.shape[0], _ESTIMATE, height, width)


class PalettePath(nn.Module):
    """Scales and shifts the decoder's deepest maps by a palette, as `Modulations` does by noise.

    Args:
        channels: of each map that is modulated.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.modulations = Modulations(PALETTE_LENGTH, channels)
        for head in self.modulations.heads:
            nn.init.zeros_(head.weight)  # type: ignore[arg-type]

    def forward(self, palette: Tensor) -> list[Modulation]:
        """Scale and shift for each map, of palettes `(n, PALETTE_LENGTH)`; a row of zeros changes nothing."""
        # The root gives rare colours more weight. The factor scales its values, a vector of length 1, to
        # about 1.
        return self.modulations(4 * palette.sqrt())  # type: ignore[no-any-return]


def _zeroed(layer: nn.Conv2d) -> nn.Conv2d:
    nn.init.zeros_(layer.weight)
    return layer


def _cells(hints: Tensor, stride: int) -> Tensor:
    """Mean colour, presence and coverage of the hints in each cell, `(n, 4, h / stride, w / stride)`."""
    mass = F.avg_pool2d(hints.float(), stride)
    covered = mass[:, 2:]
    presence = covered / (covered + _LITTLE / 10)
    return torch.cat([mass[:, :2] / (covered + _LITTLE / 10), presence, covered], dim=1)


def _resized(estimate: Tensor, stride: int) -> Tensor:
    """Resize a map from stride 8 to another stride."""
    if stride >= 8:
        return F.avg_pool2d(estimate, stride // 8)
    return F.interpolate(estimate, scale_factor=8 // stride, mode="bilinear", align_corners=False)


def _doubled(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
