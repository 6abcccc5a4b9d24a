"""Checkpoints of an unfinished training: whole or absent, the last two kept, loaded without pickled code."""

import re
from pathlib import Path
from typing import Any

import torch

from tintlab.storage import atomic_path

KEPT = 2


class Checkpoints:
    """Numbered checkpoints in a folder of their own.

    Args:
        folder: one per training; see `lineage.fingerprint`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def save(self, iteration: int, state: dict[str, Any]) -> None:
        """Write the state after `iteration` steps atomically, then drop all but the newest `KEPT`."""
        with atomic_path(self.folder / f"{iteration:08d}.pt") as temporary:
            torch.save(state, temporary)
        for old in self._newest_first()[KEPT:]:
            old.unlink()

    def latest(self) -> dict[str, Any] | None:
        """The newest state that can be read, or None."""
        for path in self._newest_first():
            try:
                state: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
            except (OSError, RuntimeError, EOFError, ValueError):
                # Damaged after it was written (a failing disk): the one before serves.
                continue
            return state
        return None

    def _newest_first(self) -> list[Path]:
        if not self.folder.is_dir():
            return []
        numbered = [path for path in self.folder.iterdir() if re.fullmatch(r"\d{8}\.pt", path.name)]
        return sorted(numbered, reverse=True)
