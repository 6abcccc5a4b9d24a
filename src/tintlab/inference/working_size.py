"""The size at which the network sees a photo."""

import math

import numpy as np
from PIL import Image

from tintlab.imaging import color

WORKING_SIZE = 256
"""The network sees about this many pixels squared, where neither the caller nor the model says otherwise."""

MIN_SIDE = 32
"""Pixels of the short side that the network sees at least, if the photo has them."""

MAX_WORKING_SIZE = 2048
"""A model's config can't ask for more: the network's memory grows with its square."""

_LARGEST_AREA = 8  # times working_size²: MIN_SIDE must not blow up a photo that is a thin line


def working_shape(shape: tuple[int, ...], working_size: int) -> tuple[int, int]:
    """Height and width at which the network sees a photo `(h, w)`: about working_size² pixels, in proportion.

    The short side keeps `MIN_SIDE` pixels if the photo has as many. Small photos are enlarged, so that
    things in them have the size that they had in training.
    """
    height, width = shape
    # The network pads a thin line to `MIN_SIDE`: without an end to its length it would take all memory.
    most = _LARGEST_AREA * working_size**2 / (MIN_SIDE * max(height, width))
    least = min(MIN_SIDE / min(height, width), most, 1)
    scale = min(max(working_size / math.sqrt(height * width), least), max(most, 1 / max(height, width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


def reduced(lightness: color.Float, shape: tuple[int, int]) -> color.Float:
    """Resample L* `(h, w)` to `shape`, antialiased (Lanczos); the result stays in [0, 100]."""
    image = Image.fromarray(np.ascontiguousarray(lightness, dtype=np.float32))
    height, width = shape
    small: color.Float = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0))
    return np.clip(small, 0, 100)
