"""Batches of training crops, each a pure function of the seed and its number.

So a resumed training sees what an undisturbed one would, and the number of loader workers changes nothing.
"""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from tintlab.color import AB_SCALE

Squares = NDArray[np.uint8]


@dataclass(frozen=True)
class Lab:
    """Pictures as the networks see them: `L` `(n, 1, h, w)` and `ab` `(n, 2, h, w)`, both in [-1, 1]."""

    L: Tensor
    ab: Tensor

    def to(self, device: torch.device) -> "Lab":
        """The same pictures on another device, channels last."""

        def move(tensor: Tensor) -> Tensor:
            return tensor.to(device, non_blocking=True, memory_format=torch.channels_last)

        return Lab(move(self.L), move(self.ab))


def scaled(packed: Squares) -> Lab:
    """Scale packed L*a*b* `(n, h, w, 3)` uint8 (see `color.quantise`) for the networks."""
    # A copy: a memory map is read-only, and torch shares what it is given.
    tensor = torch.from_numpy(np.array(packed)).permute(0, 3, 1, 2).float()
    return Lab(tensor[:, :1] / 127.5 - 1, (tensor[:, 1:] - 128) / AB_SCALE)


class Batches(Dataset[Lab]):
    """The batches of a training, in order: random crops, half of them mirrored, of shuffled squares.

    Args:
        squares: `(n, side, side, 3)` uint8, may be memory-mapped.
        size: side of the crops, at most `side`.
        batch_size: crops a batch.
        iterations: how many batches there are.
        seed: batch i depends on this and on i alone.
    """

    def __init__(self, squares: Squares, size: int, batch_size: int, iterations: int, seed: int) -> None:
        self.squares = squares
        self.size = size
        self.batch_size = batch_size
        self.iterations = iterations
        self.seed = seed

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, iteration: int) -> Lab:
        if not 0 <= iteration < self.iterations:
            raise IndexError(f"batch {iteration} of {self.iterations}")
        random = np.random.default_rng([self.seed, 1, iteration])
        return scaled(np.stack([self._crop(position, random) for position in self._positions(iteration)]))

    def _positions(self, iteration: int) -> NDArray[np.int64]:
        """Which squares batch `iteration` takes from the endless sequence of freshly shuffled passes."""
        count = len(self.squares)
        wanted = np.arange(iteration * self.batch_size, (iteration + 1) * self.batch_size)
        passes, places = np.divmod(wanted, count)
        orders = {
            turn: np.random.default_rng([self.seed, 0, turn]).permutation(count)
            for turn in set(passes.tolist())
        }
        return np.array([orders[turn][place] for turn, place in zip(passes.tolist(), places, strict=True)])

    def _crop(self, position: int, random: np.random.Generator) -> Squares:
        square = self.squares[position]
        top, left = random.integers(0, square.shape[0] - self.size, size=2, endpoint=True)
        crop: Squares = square[top : top + self.size, left : left + self.size]
        return crop[:, ::-1] if random.random() < 0.5 else crop


def centre_crops(squares: Squares, size: int) -> Squares:
    """The middle `size`×`size` pixels of each square."""
    start = (squares.shape[1] - size) // 2
    return squares[:, start : start + size, start : start + size]
