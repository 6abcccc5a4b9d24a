"""Split a generator into two networks that converters to other formats can trace.

Tensors go in and out one by one. Every input of the generator is required; zeros mean that it is not used.
`Halves` has everything that a converter needs to know.
"""

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn

from tintlab.gan.hint_maps import PALETTE_LENGTH

_EXAMPLE_SIDES = 2, 3  # times the generator's multiple: not square, so that no axis is taken for the other


class FirstHalf(nn.Module):
    """L* / 50 - 1 `(n, 1, h, w)` to what the encoder finds, or to itself where a generator has no such half."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, lightness: Tensor) -> tuple[Tensor, ...]:
        """Maps from the finest to the coarsest, then pooled features."""
        encoded = cast(Any, self.generator).encode(lightness)
        return (*encoded.skips, encoded.deepest, encoded.pooled)


class SecondHalf(nn.Module):
    """From the first half's output and named inputs to ab / 110 `(n, 2, h, w)`.

    Args:
        generator: whose second half it is.
        names: of the inputs that follow the first half's tensors.
    """

    def __init__(self, generator: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.generator = generator
        self.names = names

    def forward(self, *tensors: Tensor) -> Tensor:
        """The tensors of the first half, then those of the names."""
        from tintlab.gan.pretrained_unet import Encoded

        generator = cast(Any, self.generator)
        maps = len(generator.encoder.feature_channels)
        encoded = Encoded(tuple(tensors[: maps - 1]), tensors[maps - 1], tensors[maps])
        ab: Tensor = generator.decode(encoded, **dict(zip(self.names, tensors[maps + 1 :], strict=True)))
        return ab


class BothHalves(nn.Module):
    """The whole generator, with named inputs after L* / 50 - 1 `(n, 1, h, w)`.

    Args:
        generator: all of it.
        names: of these inputs.
    """

    def __init__(self, generator: nn.Module, names: tuple[str, ...]) -> None:
        super().__init__()
        self.generator = generator
        self.names = names

    def forward(self, lightness: Tensor, *tensors: Tensor) -> Tensor:
        """ab / 110 `(n, 2, h, w)`."""
        generator = cast(Any, self.generator)
        encoded = generator.encode(lightness)
        ab: Tensor = generator.decode(encoded, **dict(zip(self.names, tensors, strict=True)))
        return ab


@dataclass(frozen=True)
class Halves:
    """A generator, cut in two.

    Attributes:
        lightness: an example of the first half's input.
        first: None where the generator can't be cut: the second half is all of it.
        maps: names and examples of what the first half gives.
        inputs: names and examples of what else the second half takes.
    """

    generator: nn.Module
    lightness: Tensor
    first: nn.Module | None
    maps: dict[str, Tensor]
    inputs: dict[str, Tensor]

    def second(self, *names: str) -> tuple[nn.Module, dict[str, Tensor]]:
        """The second half with some of `inputs`, and an example of each tensor that it takes."""
        if self.first is None:
            return self.generator, self.maps
        return SecondHalf(self.generator, names), self.maps | {name: self.inputs[name] for name in names}


def cut(generator: nn.Module) -> Halves:
    """Cut a generator in evaluation mode into its halves."""
    multiple = cast(int, generator.multiple)
    lightness = torch.zeros(2, 1, *(side * multiple for side in _EXAMPLE_SIDES))
    if not hasattr(generator, "encode"):
        return Halves(generator, lightness, None, {"L": lightness}, {})
    first = FirstHalf(generator)
    with torch.no_grad():
        found = first(lightness)
    maps = {f"map{2 ** (scale + 1)}": each for scale, each in enumerate(found[:-1])} | {"pooled": found[-1]}
    inputs = {}
    if z_dim := cast(int, getattr(generator, "z_dim", 0)):
        inputs["z"] = torch.zeros(len(lightness), z_dim)
    if getattr(generator, "takes_hints", False):
        inputs["hints"] = torch.zeros(len(lightness), 3, *lightness.shape[2:])
        inputs["palette"] = torch.zeros(len(lightness), PALETTE_LENGTH)
    return Halves(generator, lightness, first, maps, inputs)


def join(halves: Halves) -> tuple[nn.Module, dict[str, Tensor]]:
    """The whole generator as one network, and an example of each of its inputs by name."""
    examples = {"L": halves.lightness, **halves.inputs}
    if halves.first is None:
        return halves.generator.eval(), examples
    return BothHalves(halves.generator, tuple(halves.inputs)).eval(), examples


def dynamic_shape(example: Tensor) -> list[int]:
    """The shape of an input with -1 for what varies: the number of pictures, their height and width."""
    return [-1, example.shape[1], *([-1, -1] if example.ndim == 4 else [])]
