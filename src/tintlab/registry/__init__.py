"""Model versions in MLflow: register, judge, promote and roll back."""

from typing import Any

__all__ = ["load_colorizer"]


def __getattr__(name: str) -> Any:
    """Import the public name on first use: looking at the package loads nothing."""
    if name != "load_colorizer":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from tintlab.registry.models import load_colorizer

    return load_colorizer
