"""Find `base`, the model that ships with the package."""

from pathlib import Path

from tintlab.system import paths
from tintlab.system.errors import TintlabError

BASE = "base"
"""Its name, wherever a model is asked for."""

FOLDER = Path(__file__).with_name("base")
"""Weights, config, directions, checksums and card; `pack_base` makes it."""


def base_folder() -> Path:
    """The folder of the shipped model.

    Raises:
        TintlabError: this installation lacks it.
    """
    for name in (paths.WEIGHTS, paths.MODEL_CONFIG):
        if not (FOLDER / name).is_file():
            raise TintlabError(
                f"the model {BASE} is incomplete ({FOLDER / name} is missing): reinstall tintlab"
            )
    return FOLDER
