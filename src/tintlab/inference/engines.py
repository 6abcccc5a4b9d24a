"""Choose and open the engine that runs a generator: torch, or OpenVINO where it is faster.

An engine runs the generator in two halves. The first encodes the photograph once. The second computes colours
from that encoding, once per variant. Arrays go in and come out, so no caller needs to know which
library runs.
"""

import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

from tintlab.imaging.color import Float
from tintlab.system import paths, processor
from tintlab.system.errors import TintlabError

EngineName = Literal["torch", "openvino"]
Precision = Literal["fp32", "bf16"]

ENGINES = ("auto", "torch", "openvino")
PRECISIONS = ("auto", "fp32", "bf16")

_MEASURED = "pretrained_unet"  # a mean ΔE00 of 0.1 to fp32, see docs/decisions.md


class Engine(Protocol):
    """Runs one generator; safe to use from several threads."""

    @property
    def multiple(self) -> int:
        """Sides of the pictures are multiples of this."""

    @property
    def z_dim(self) -> int:
        """Length of the noise vectors; 0 means that the generator takes none."""

    @property
    def inputs(self) -> tuple[str, ...]:
        """Further inputs of the second half: `z` (n, z_dim), `hints` (n, 3, h, w), `palette` (n, its length)."""

    def encode(self, scaled: Float) -> Any:
        """The first half for L* / 50 - 1 `(n, 1, h, w)`; the result is for `decode` alone."""

    def decode(self, encoded: Any, inputs: Mapping[str, Float]) -> Float:
        """The second half: ab / 110 `(n, 2, h, w)`, with those of `self.inputs` that are given."""


@dataclass(frozen=True)
class EngineChoice:
    """Which engine runs, and how it computes.

    Attributes:
        name: the library.
        precision: of its products; sums are fp32 in any case.
        note: why it is not the fastest, if the user can change that.
    """

    name: EngineName = "torch"
    precision: Precision = "fp32"
    note: str = ""

    def text(self) -> str:
        """As manifests and coloured files say it."""
        return f"{self.name} {self.precision}"


TORCH = EngineChoice()
"""The engine that needs nothing installed besides tintlab, and the reference for the others."""


def choose(engine: str = "auto", precision: str = "auto", generator: str = _MEASURED) -> EngineChoice:
    """The engine and the precision for this machine.

    Args:
        engine: one of `ENGINES`. `auto` is OpenVINO if it is installed.
        precision: one of `PRECISIONS`. `auto` is bf16 for OpenVINO on processors that multiply it in hardware,
            else fp32.
        generator: its kind; `auto` takes bf16 only for the kind whose colours were measured in it.

    Raises:
        TintlabError: an unknown name, or OpenVINO is asked for and not installed.
    """
    if engine not in ENGINES:
        raise TintlabError(f"--engine {engine[:40]}: choose {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise TintlabError(f"--precision {precision[:40]}: choose {', '.join(PRECISIONS)}")
    installed = is_installed("openvino")
    if engine == "openvino" and not installed:
        raise TintlabError("--engine openvino: it is not installed: pip install 'tintlab[fast]'")
    note, name = "", engine
    if engine == "auto":
        name = "openvino" if installed else "torch"
        if not installed:
            note = "engine: torch; OpenVINO is faster for many photographs: pip install 'tintlab[fast]'"
    fast = name == "openvino" and generator == _MEASURED and processor.multiplies_bf16()
    chosen = ("bf16" if fast else "fp32") if precision == "auto" else precision
    return EngineChoice(name, chosen, note)  # type: ignore[arg-type]  # checked above


def in_project() -> bool:
    """Whether converted models can be kept: there is a state folder, or a project that may have one."""
    return bool(os.environ.get("TINTLAB_STATE")) or Path(".tintlab").is_dir() or paths.PARAMS.exists()


def is_installed(name: str) -> bool:
    """Whether an engine's library is installed."""
    return importlib.util.find_spec(name) is not None


def open_engine(folder: Path, choice: EngineChoice, workers: int) -> Engine:
    """Load a model into an engine.

    Args:
        folder: see `Colorizer.load`.
        choice: see `choose`.
        workers: threads that will use it at the same time.

    Raises:
        TintlabError: no model there, or a damaged one.
    """
    if choice.name == "openvino":
        from tintlab.inference.openvino_engine import open_openvino

        return open_openvino(folder, choice.precision, workers)
    import torch

    from tintlab.gan.model_files import load_generator
    from tintlab.inference.torch_engine import TorchEngine

    generator, _ = load_generator(folder)
    # Channels last: what CPUs convolve fastest.
    generator.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # unknown to its stubs
    return TorchEngine(generator, precision=choice.precision)
