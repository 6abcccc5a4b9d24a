"""A judge that no generator has learned from: how a classifier of photographs sees coloured photos.

EfficientNet-Lite1, where the generator's encoder and its losses know Lite0 only. Its figures are not the
published inception scores: another network, other features, another scale. They compare models that were
judged on the same photographs, no more. The network has seen few grey photos, so that any believable tint lies
a little nearer to the truth than grey does: read its figures beside ΔE00.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tintlab.imaging.color import Byte

NETWORK = "efficientnet_lite1"
"""Which of `efficientnet.VARIANTS` judges."""

SIDE = 240
"""Pixels of a view's short side: those of the pictures that the network was trained on."""

_LONGEST = 4  # times the short side


def view(rgb: Byte) -> Byte:
    """A photo `(h, w, 3)` as the judge sees it: whole, its short side at the network's own size.

    Nothing is cropped or squashed, for colour counts everywhere; only of a photo longer than four times its
    short side the ends are cut off.
    """
    height, width = rgb.shape[:2]
    short = min(height, width)
    top, left = (max(0, side - _LONGEST * short) // 2 for side in (height, width))
    middle = rgb[top : height - top, left : width - left]
    size = round(middle.shape[1] * SIDE / short), round(middle.shape[0] * SIDE / short)
    return np.asarray(Image.fromarray(middle).resize(size, Image.Resampling.BICUBIC))


class Judge:
    """The judge's network with its ImageNet weights.

    Raises:
        TintlabError: its weights are not installed, or damaged.
    """

    def __init__(self) -> None:
        from tintlab.gan.efficientnet import load_efficientnet

        self._network = load_efficientnet(NETWORK)

    def look(self, views: Byte) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Judge pictures of one size, as `view` makes them.

        Args:
            views: `(n, h, w, 3)` uint8.

        Returns:
            Pooled features `(n, 1280)`, each in [0, 6], and the most likely of ImageNet's classes, `(n,)`.
        """
        import torch

        from tintlab.gan.efficientnet import network_input

        with torch.inference_mode():
            pictures = torch.tensor(views).permute(0, 3, 1, 2).float() / 255
            features = self._network.pooled(network_input(pictures))
            classes = self._network.classify(features).argmax(dim=1)
        return features.numpy().astype(np.float64), classes.numpy()
