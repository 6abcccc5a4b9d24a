"""Run a generator by torch, which works on all supported machines and is the reference for other engines."""

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast

from tintlab.imaging.color import Float

if TYPE_CHECKING:
    from torch import nn


class TorchEngine:
    """Runs a generator by torch; see `engines.Engine`.

    Args:
        generator: maps L* / 50 - 1 `(n, 1, h, w)` to ab / 110 `(n, 2, h, w)`; in evaluation mode.
        multiple: sides of the pictures are multiples of this; None is the generator's own.
        precision: `bf16` multiplies in bfloat16.
    """

    def __init__(self, generator: "nn.Module", multiple: int | None = None, precision: str = "fp32") -> None:
        self.generator = generator
        self._multiple = cast(int, generator.multiple) if multiple is None else multiple
        self._halves = hasattr(generator, "encode")
        self._bf16 = precision == "bf16"

    @property
    def multiple(self) -> int:
        """Sides of the pictures are multiples of this."""
        return self._multiple

    @property
    def z_dim(self) -> int:
        """Length of the noise vectors; 0 means that the generator takes none."""
        return cast(int, getattr(self.generator, "z_dim", 0))

    @property
    def inputs(self) -> tuple[str, ...]:
        """See `engines.Engine`."""
        noise = ("z",) if self.z_dim else ()
        return (*noise, "hints", "palette") if getattr(self.generator, "takes_hints", False) else noise

    def encode(self, scaled: Float) -> Any:
        """See `engines.Engine`."""
        import torch

        with torch.inference_mode(), self._precision():
            pictures = torch.from_numpy(scaled)
            return cast(Any, self.generator).encode(pictures) if self._halves else pictures

    def decode(self, encoded: Any, inputs: Mapping[str, Float]) -> Float:
        """See `engines.Engine`."""
        import torch

        with torch.inference_mode(), self._precision():
            if self._halves:
                given = {name: torch.from_numpy(each) for name, each in inputs.items()}
                ab = cast(Any, self.generator).decode(encoded, **given)
            else:
                ab = self.generator(encoded)
            return cast(Float, ab.float().numpy())

    def _precision(self) -> contextlib.AbstractContextManager[object]:
        import torch

        return torch.autocast("cpu", torch.bfloat16) if self._bf16 else contextlib.nullcontext()
