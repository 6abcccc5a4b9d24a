"""tintlab: from a folder of colour photographs to a judged, tracked photo-colorization model.

The public interface is what `__all__` lists. Everything else is internal and may change without notice.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tintlab.inference.colorizer import Colorizer
    from tintlab.registry.models import load_colorizer

__all__ = ["Colorizer", "load_colorizer"]

_HOMES = {"Colorizer": "tintlab.inference.colorizer", "load_colorizer": "tintlab.registry.models"}

_FORMER_MODULES = {"codes"}  # the first import of models that were registered before the package had rooms


def __getattr__(name: str) -> Any:
    """Import a public name on first use: `import tintlab` alone loads neither torch nor MLflow."""
    if name in _FORMER_MODULES:
        raise ImportError(
            f"tintlab.{name} is gone: this model's code is of an earlier tintlab and can't be used beside the "
            "present one; register it again: `tintlab register --model models:/NAME/VERSION`"
        )
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
