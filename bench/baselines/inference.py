"""The tutorials' inference: the photograph at the training's size, through the network, back by scikit-image."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from skimage.color import lab2rgb, rgb2lab
from skimage.transform import resize
from torch import nn


def predicted(photo: Image.Image, generator: nn.Module, size: int = 256) -> NDArray[np.float32]:
    """L*a*b* `(size, size, 3)` of a photograph with the network's ab."""
    small = photo.convert("RGB").resize((size, size), Image.Resampling.BICUBIC)
    lightness = rgb2lab(np.array(small)).astype("float32")[..., :1]
    with torch.no_grad():
        ab = generator(torch.from_numpy(lightness).permute(2, 0, 1)[None] / 50 - 1)[0] * 110
    return np.concatenate([lightness, ab.permute(1, 2, 0).numpy()], axis=2)


def small_picture(photo: Image.Image, generator: nn.Module, size: int = 256) -> NDArray[np.uint8]:
    """The coloured photograph at the network's size, 8-bit sRGB `(size, size, 3)`."""
    return _bytes(lab2rgb(predicted(photo, generator, size)))


def full_picture(photo: Image.Image, generator: nn.Module, size: int = 256) -> NDArray[np.uint8]:
    """The coloured photograph at its own size: the network's ab are resized to it and merged with its L*."""
    lightness = rgb2lab(np.array(photo.convert("RGB"))).astype("float32")[..., :1]
    ab = predicted(photo, generator, size)[..., 1:]
    large = resize(ab, lightness.shape[:2], order=1, preserve_range=True).astype("float32")
    return _bytes(lab2rgb(np.concatenate([lightness, large], axis=2)))


def _bytes(rgb: NDArray[np.floating]) -> NDArray[np.uint8]:
    return (rgb * 255).round().astype(np.uint8)
