"""Judge a model on a folder of colour photographs that need not belong to the pipeline."""

from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from tintlab.evaluation.evaluate import Evaluation, Trial, evaluate, median_ab
from tintlab.evaluation.judge import Judge
from tintlab.imaging import color
from tintlab.imaging.squares import open_squares, shard_files
from tintlab.inference.colorizer import Colorizer
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.params import EvaluateParams, load_params

PUBLISHED_SIDE = 256
"""Side of the squares of the published protocol, in pixels; see `evaluate.Trial.side`."""

_MAX_MEGAPIXELS, _THREADS = 200.0, 2  # outside a project


def evaluate_folder(folder: Path, model: Path, side: int | None = None) -> Evaluation:
    """Judge a model on the colour photographs in a folder.

    Args:
        folder: with photographs, in subfolders too.
        model: folder of a trained model.
        side: see `evaluate.Trial.side`.

    Raises:
        TintlabError: no folder, no photographs in it, or one that can't be read; no model.
    """
    if not folder.is_dir():
        raise TintlabError(f"{folder} is not a folder: give one with colour photographs")
    known = Image.registered_extensions()
    inside = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in known)
    if not inside:
        raise TintlabError(f"there are no photographs in {folder}: give a folder with colour photographs")
    photos = pd.DataFrame({"photo": [path.as_posix() for path in inside]}, dtype="str")
    photos = photos.assign(cluster=photos["photo"], category="")
    limit, how = _MAX_MEGAPIXELS, EvaluateParams(working_size=None, threads=_THREADS)
    if paths.PARAMS.exists():
        params = load_params()
        limit, how = params.photos.max_megapixels, params.evaluate
    trial = Trial(folder, limit, _training_median(), side)
    return evaluate(photos, trial, Colorizer.load(model), Judge(), how)


def _training_median() -> color.Float:
    """The training set's median colour; grey outside a project, or before any photographs were converted."""
    known = all(file.exists() for file in shard_files("train"))
    return median_ab(open_squares("train")) if known else np.zeros(2, np.float32)
