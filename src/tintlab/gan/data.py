"""Batches of training crops, each a pure function of the seed and its number.

So a resumed training sees what an undisturbed one would, and the number of loader workers changes nothing.
"""

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from tintlab.imaging.color import AB_SCALE

Squares = NDArray[np.uint8]
Places = NDArray[np.int64]
"""Numbers of squares."""


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
    tensor = _shared(packed).permute(0, 3, 1, 2)
    return Lab(tensor[:, :1].float().div_(127.5).sub_(1), tensor[:, 1:].float().sub_(128).div_(AB_SCALE))


@dataclass(frozen=True)
class Augmentation:
    """Random changes of a crop; mirroring half of them is always among these.

    Attributes:
        crop: smallest and largest side of the crops in pixels of the squares.
        contrast: L* is stretched about 50 by a factor in 1 ± this.
        brightness: L* is shifted by an amount in ± this.
    """

    crop: tuple[int, int]
    contrast: float = 0.0
    brightness: float = 0.0


@dataclass(frozen=True)
class Mixture:
    """Which squares the batches take.

    Attributes:
        focus: places of those to learn from, `(n,)`.
        others: places of those that are not to be forgotten, `(m,)`.
        rehearsed: how many of a batch are of `others`.
        categories: a number for the category of every square; None treats all squares alike.
        power: a category with n squares is drawn in proportion to n ** power, in [0, 1]. 1 draws every square
            equally often, 0 every category. Temperature sampling, as Arivazhagan et al. 2019, arXiv 1907.05019,
            use it for languages.
    """

    focus: Places
    others: Places
    rehearsed: int = 0
    categories: Places | None = None
    power: float = 1.0


class Pool:
    """An endless sequence of places in which every category has its share.

    Each pass takes a fixed quota of every category, in random order, and each category is itself an endless
    sequence of freshly shuffled passes through its places.

    Args:
        places: numbers of squares, `(n,)`.
        mixture: categories and power.
        seed: of the shuffling.
        stream: distinguishes the pools of one training.
    """

    def __init__(self, places: Places, mixture: Mixture, seed: int, stream: int) -> None:
        self.seed = [seed, stream]
        kinds = np.zeros(len(places), np.int64)
        if mixture.categories is not None and mixture.power < 1:
            kinds = mixture.categories[places]
        self.groups = [places[kinds == kind] for kind in np.unique(kinds)]
        sizes = np.array([len(group) for group in self.groups], np.int64)
        least = sizes.min() if len(sizes) else 1
        quotas = np.rint(least * (sizes / least) ** mixture.power).astype(int) if len(sizes) > 1 else sizes
        # Slot of a pass -> its category, and which of the category's places within the pass.
        self.kinds = np.repeat(np.arange(len(quotas)), quotas)
        self.within = np.concatenate([kinds[:0], *map(np.arange, quotas)])
        self.quotas = quotas

    def take(self, start: int, count: int) -> list[int]:
        """The places number `start` to `start + count` of the sequence."""
        turns = [divmod(position, len(self.kinds)) for position in range(start, start + count)]
        slots = [(turn, self._order(turn, (), len(self.kinds))[position]) for turn, position in turns]
        return [self._place(turn, slot) for turn, slot in slots]

    def _place(self, turn: int, slot: int) -> int:
        kind = self.kinds[slot]
        group = self.groups[kind]
        if len(self.groups) == 1:
            return int(group[slot])
        number = turn * self.quotas[kind] + self.within[slot]
        pass_, position = divmod(int(number), len(group))
        return int(group[self._order(pass_, (int(kind),), len(group))[position]])

    @functools.lru_cache(maxsize=256)  # noqa: B019 - a pool lives as long as its training
    def _order(self, turn: int, key: tuple[int, ...], length: int) -> Places:
        return np.random.default_rng([*self.seed, turn, *key]).permutation(length)


class Batches(Dataset[Lab]):
    """The batches of a training, in order: random crops of shuffled squares.

    Args:
        squares: `(n, side, side, 3)` uint8, may be memory-mapped.
        size: side of the pictures in a batch; crops of another side are resampled.
        batch_size: pictures a batch.
        iterations: how many batches there are.
        seed: batch i depends on this and on i alone.
        augmentation: random changes of the crops.
        mixture: which squares are taken; all where it is None.
        share: `(rank, processes)`: of each batch, every so many-th picture from that one on.
    """

    def __init__(
        self,
        squares: Squares,
        size: int,
        batch_size: int,
        iterations: int,
        seed: int,
        augmentation: Augmentation,
        mixture: Mixture | None = None,
        share: tuple[int, int] = (0, 1),
    ) -> None:
        self.squares = squares
        self.size = size
        self.batch_size = batch_size
        self.iterations = iterations
        self.seed = seed
        self.augmentation = augmentation
        every = np.arange(len(squares))
        mixture = mixture or Mixture(focus=every, others=every[:0])
        self.rehearsed = mixture.rehearsed
        self.focus = Pool(mixture.focus, mixture, seed, stream=0)
        self.others = Pool(mixture.others, mixture, seed, stream=2)
        self.share = share

    def __len__(self) -> int:
        return self.iterations

    def __getitem__(self, iteration: int) -> Lab:
        if not 0 <= iteration < self.iterations:
            raise IndexError(f"batch {iteration} of {self.iterations}")
        rank, processes = self.share
        # A stream for each picture: its crop does not depend on the process that makes the others.
        chosen = [
            (place, np.random.default_rng([self.seed, 1, iteration, position]))
            for position, place in enumerate(self._places(iteration))
            if position % processes == rank
        ]
        batch = scaled(np.stack([self._crop(place, random) for place, random in chosen]))
        return Lab(self._relit(batch.L, [random for _, random in chosen]), batch.ab)

    def _places(self, iteration: int) -> list[int]:
        """Which squares batch `iteration` takes."""
        learned = self.batch_size - self.rehearsed
        places = self.focus.take(iteration * learned, learned)
        return places + self.others.take(iteration * self.rehearsed, self.rehearsed)

    def _crop(self, place: int, random: np.random.Generator) -> Squares:
        square = self.squares[place]
        side = int(random.integers(*self.augmentation.crop, endpoint=True))
        top, left = random.integers(0, len(square) - side, size=2, endpoint=True).tolist()
        crop: Squares = square[top : top + side, left : left + side]
        if side != self.size:
            resized = Image.fromarray(crop).resize((self.size, self.size), Image.Resampling.BILINEAR)
            crop = np.asarray(resized)
        return _mirrored(crop) if random.random() < 0.5 else crop

    def _relit(self, L: Tensor, randoms: list[np.random.Generator]) -> Tensor:
        def drawn(most: float) -> Tensor:
            values = np.array([random.uniform(-most, most) for random in randoms], np.float32)
            return torch.from_numpy(values)[:, None, None, None]

        factor = 1 + drawn(self.augmentation.contrast)
        # L is L* / 50 - 1: stretching about 0 is stretching about L* = 50.
        return (L * factor + drawn(self.augmentation.brightness / 50)).clamp(-1, 1)


def centre_crops(squares: Squares, size: int) -> Squares:
    """The middle `size`×`size` pixels of each square."""
    start = (squares.shape[1] - size) // 2
    return squares[:, start : start + size, start : start + size]


def _mirrored(square: Squares) -> Squares:
    """Left and right exchanged; torch copies a reversed axis in a tenth of NumPy's time."""
    mirrored: Squares = _shared(square).flip(1).numpy()
    return mirrored


def _shared(squares: Squares) -> Tensor:
    """The same as a tensor; a copy where they are a read-only memory map, which torch can't share."""
    return torch.from_numpy(np.require(squares, requirements="W"))
