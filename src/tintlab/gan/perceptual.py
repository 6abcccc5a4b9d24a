"""A perceptual loss on the features of an ImageNet classifier (Johnson et al. 2016, arXiv 1603.08155)."""

import contextlib
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tintlab.gan.efficientnet import load_efficientnet, network_input
from tintlab.gan.srgb import lab_srgb

ENCODER = "efficientnet_lite0"
"""The generator's own encoder. It must not be the judge's, or training would learn to deceive the judge."""

_FIRST_MAP = 2  # the maps at strides 8, 16 and 32: finer maps show texture, which L determines anyway


class Compared(NamedTuple):
    """Coloured and true pictures as the encoder sees them.

    Attributes:
        loss: the perceptual loss, a scalar.
        seen: pooled features of the coloured pictures `(n, 1280)`.
        wanted: those of the true ones.
    """

    loss: Tensor
    seen: Tensor
    wanted: Tensor


class PerceptualLoss(nn.Module):
    """Compares coloured and true pictures by the frozen encoder's features.

    The loss is the sum of 1 - cosine similarity over the maps at strides 8, 16 and 32 (mean over places) and the
    pooled features: 0 for the same colours, about 1 for grey.

    Args:
        mixed: calculate in bfloat16 if gradients are wanted; figures are calculated in float32.
    """

    def __init__(self, mixed: bool = False) -> None:
        super().__init__()
        self.mixed = mixed
        self.encoder = load_efficientnet(ENCODER)
        self.encoder.fold_batch_norms()
        self.encoder.requires_grad_(False).to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, L: Tensor, ab: Tensor, true_ab: Tensor) -> Tensor:
        """The loss, a scalar, of ab against true_ab `(n, 2, h, w)` over L `(n, 1, h, w)`, all in [-1, 1]."""
        return self.compare(L, ab, true_ab).loss

    def compare(self, L: Tensor, ab: Tensor, true_ab: Tensor) -> Compared:
        """Like `forward`, but also returns the pooled features."""
        # The colours themselves stay in float32: bfloat16 would round them to a hundredth.
        pictures = network_input(lab_srgb(L, ab))
        true_pictures = network_input(lab_srgb(L, true_ab))
        mixed = torch.autocast(L.device.type, torch.bfloat16) if self.mixed else contextlib.nullcontext()
        with mixed:
            with torch.no_grad():
                wanted = self._seen(true_pictures)
            seen = self._seen(pictures)
        seen, wanted = [each.float() for each in seen], [each.float() for each in wanted]
        return Compared(self.distance(seen, wanted), seen[-1], wanted[-1])

    @staticmethod
    def distance(seen: list[Tensor], wanted: list[Tensor]) -> Tensor:
        """The loss, a scalar, between the `features` of two colourings."""
        pairs = zip(seen, wanted, strict=True)
        return torch.stack(
            [(1 - F.cosine_similarity(one, other, dim=1)).mean() for one, other in pairs]
        ).sum()

    def train(self, mode: bool = True) -> "PerceptualLoss":
        """Like `nn.Module.train`, but the encoder stays in evaluation mode, with ImageNet's batch statistics."""
        super().train(mode)
        self.encoder.eval()
        return self

    def features(self, L: Tensor, ab: Tensor) -> list[Tensor]:
        """The encoder's features of pictures: its maps, and the pooled features `(n, 1280)`."""
        return self._seen(network_input(lab_srgb(L, ab)))

    def _seen(self, pictures: Tensor) -> list[Tensor]:
        maps = self.encoder.features(pictures)
        return [*maps[_FIRST_MAP:], self.encoder.pool(maps[-1])]
