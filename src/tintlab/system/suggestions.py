"""Suggest names: the known name closest to a misspelt one, and the completions that a shell offers on Tab."""

import difflib
from collections.abc import Iterable, Sequence

from tintlab.system import paths
from tintlab.system.console import printable

MODEL_NAMES = ("champion", "challenger", "base")
"""Names of a model besides `models:/tintlab/3` and folders."""

_SHOWN = 60  # characters of a name in a message


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name closest to `name`, ignoring case; None if none is close."""
    by_lower = {one.lower(): one for one in known}
    near = difflib.get_close_matches(name.lower(), by_lower, 1)
    return by_lower[near[0]] if near else None


def advise(name: str, known: Sequence[str]) -> str:
    """`did you mean smoke?`, or a list of the known names."""
    near = closest(name, known)
    return f"did you mean {near}?" if near else f"there are {', '.join(known) or 'none'}"


def shown(name: str) -> str:
    """A name as a message quotes it: printable, and shortened if it is long."""
    text = printable(name)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def preset_names() -> list[str]:
    """The presets of this project, sorted."""
    return sorted(path.stem for path in paths.PRESETS.glob("*.yaml"))


def complete_model(incomplete: str) -> list[str]:
    """The completions of `--model` on Tab; the shell itself offers folders."""
    return [name for name in MODEL_NAMES if name.startswith(incomplete)]


def complete_preset(incomplete: str) -> list[str]:
    """The completions of `--preset` on Tab."""
    return [name for name in preset_names() if name.startswith(incomplete)]
