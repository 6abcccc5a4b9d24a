"""Which photographs of a folder a measurement takes."""

from pathlib import Path

import numpy as np

SUFFIXES = {".webp", ".jpg", ".jpeg", ".png"}


def files_of(folder: Path, limit: int | None = None) -> list[Path]:
    """The pictures of a folder by name; with a limit, so many of them, evenly spread."""
    files = sorted(file for file in folder.iterdir() if file.suffix in SUFFIXES)
    if limit and limit < len(files):
        files = [files[place] for place in np.linspace(0, len(files) - 1, limit).astype(int)]
    return files
