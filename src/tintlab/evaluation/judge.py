"""The judge: an image classifier that takes no part in training.

It is EfficientNet-Lite1; the generator's encoder and losses use Lite0. Its figures are not the published
inception scores: the network, the features and the scale differ. They only compare models that were judged
on the same photographs. The network has seen few grey photos, so it finds any plausible tint a
little nearer to the truth than grey: read its figures together with ΔE00.
"""

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tintlab.imaging.color import Byte

NETWORK = "efficientnet_lite1"
"""The judge among `efficientnet.VARIANTS`."""

SIDE = 240
"""Pixels of a view's short side, as in the network's training."""

_LONGEST = 4  # times the short side


def view(rgb: Byte) -> Byte:
    """Resize a photo `(h, w, 3)` for the judge: the short side has the network's own size.

    The proportions stay, and the whole photo counts, because colour matters everywhere. Only a photo longer
    than four times its short side loses its ends.
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
        """Run the judge on pictures of one size from `view`.

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
