"""Save and load checkpoints of an unfinished training: atomic, the last two kept, without pickled code."""

import hashlib
import io
import pickle  # noqa: TID251 - for the name of its error
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from tintlab.system.files import atomic_path

KEPT = 2

_NAME = re.compile(r"(\d{8})-([0-9a-f]{16})\.pt")
"""Iteration, and the content's hash, which detects flipped bits: loading with torch may not notice them."""


class Checkpoints:
    """Numbered checkpoints in a folder of their own.

    Args:
        folder: one per training; see `lineage.fingerprint`.
        announce: called with a line about each unusable checkpoint.
    """

    def __init__(self, folder: Path, announce: Callable[[str], None]) -> None:
        self.folder = folder
        self.announce = announce

    def save(self, iteration: int, state: dict[str, Any]) -> None:
        """Write the state after `iteration` steps atomically, then drop all but the newest `KEPT`.

        Raises:
            OSError: such as a full disk; the earlier checkpoints stay.
        """
        content = io.BytesIO()
        torch.save(state, content)
        digest = hashlib.sha256(content.getbuffer()).hexdigest()[:16]
        path = self.folder / f"{iteration:08d}-{digest}.pt"
        with atomic_path(path) as temporary:
            temporary.write_bytes(content.getbuffer())
        others = [other for other in numbered(self.folder) if other != path]
        for other in others[KEPT - 1 :]:
            other.unlink()

    def latest(self) -> dict[str, Any] | None:
        """The newest state that is undamaged, or None."""
        for path in numbered(self.folder):
            try:
                return _read(path)
            except (OSError, ValueError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
                # Damaged after it was written, as by a failing disk: use the checkpoint before it.
                reason = str(error).split("\n")[0][:80]
                self.announce(f"checkpoint {path.name} is damaged ({reason}): not used")
        return None


def numbered(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first; empty if the folder does not exist."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if _NAME.fullmatch(path.name)), reverse=True)


def iteration_of(path: Path) -> int:
    """The number of steps that a checkpoint of `numbered` was saved after."""
    return int(path.name[:8])


def _read(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    name = _NAME.fullmatch(path.name)
    if name is None or hashlib.sha256(content).hexdigest()[:16] != name[2]:
        raise ValueError("its content is not what was written")
    # `weights_only`: a checkpoint may come from elsewhere, and must not run code.
    state: dict[str, Any] = torch.load(io.BytesIO(content), weights_only=True, map_location="cpu")  # noqa: TID251
    return state
