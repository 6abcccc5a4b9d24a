"""The tutorials' data set: every photograph is opened, resized, mirrored and converted anew in every epoch."""

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.color import rgb2lab
from torch import Tensor
from torch.utils.data import Dataset


class Photographs(Dataset[tuple[Tensor, Tensor]]):
    """L `(1, size, size)` and ab `(2, size, size)` of photographs, both in [-1, 1].

    Args:
        paths: of the photographs.
        size: side in pixels that they are resized to, whatever their proportions.
    """

    def __init__(self, paths: Sequence[Path], size: int = 256) -> None:
        self.paths, self.size = paths, size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        photo = Image.open(self.paths[index]).convert("RGB")
        photo = photo.resize((self.size, self.size), Image.Resampling.BICUBIC)
        if random.random() < 0.5:
            photo = photo.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        lab = torch.from_numpy(rgb2lab(np.array(photo)).astype("float32")).permute(2, 0, 1).contiguous()
        return lab[:1] / 50 - 1, lab[1:] / 110
