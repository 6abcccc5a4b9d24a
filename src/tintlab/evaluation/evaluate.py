"""Judge a model on photographs at full size, beside baselines that need no model."""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from tintlab.evaluation import metrics
from tintlab.evaluation.judge import Judge, view
from tintlab.evaluation.methods import METHODS, PICTURE_SIDE, suffix
from tintlab.evaluation.summary import intervals, totals
from tintlab.imaging import color, grids
from tintlab.imaging.photos import Photo, PhotoError, read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.guided import GuidedColours, coloured
from tintlab.inference.working_size import reduced, working_shape
from tintlab.system import console, processes
from tintlab.system.errors import TintlabError
from tintlab.system.params import EvaluateParams

T = TypeVar("T")

Triptych = tuple[color.Byte, color.Byte, color.Byte]
"""A photo in grey, coloured and true."""

_TASKS_AHEAD = 4  # per process; bounds the tasks that wait in memory


@dataclass(frozen=True)
class Trial:
    """How photographs are read and measured.

    Attributes:
        raw: the folder of the photographs.
        max_megapixels: see `photos.read_photo`.
        median_ab: a* and b* of the baseline of that name, `(2,)`.
        side: None judges photographs at full size. A number is the published protocol (that of DDColor, Kang
            et al. 2023, arXiv 2212.11613, with 256): photographs are resampled to squares of this side,
            whatever their shape, and colourfulness is `metrics.unsigned_colourfulness`.
    """

    raw: Path
    max_megapixels: float
    median_ab: color.Float
    side: int | None = None

    def read(self, photo: str) -> Photo:
        """Read a photograph of the folder.

        Raises:
            TintlabError: the photograph is missing or broken although it was accepted.
        """
        try:
            found = read_photo(self.raw / photo, self.max_megapixels)
        except PhotoError as error:
            raise TintlabError(f"{self.raw / photo}: {error}: run `dvc repro` from the start") from error
        if self.side is None:
            return found
        square = Image.fromarray(found.rgb()).resize((self.side, self.side), Image.Resampling.BILINEAR)
        return replace(found, pixels=np.asarray(square))

    def colourfulness(self, rgb: color.Byte) -> float:
        """Colourfulness of a photo as this trial measures it."""
        return color.colourfulness(rgb) if self.side is None else metrics.unsigned_colourfulness(rgb)


@dataclass(frozen=True)
class Prediction:
    """The network's input L* `(h, w)` and output ab `(h, w, 2)` for a photo, at working size."""

    photo: str
    lightness: color.Float
    ab: color.Float


@dataclass(frozen=True)
class Measured:
    """The measurements of one photo.

    Attributes:
        figures: its row in the table, without its name and the judge's figures.
        views: the true photo, then those of `METHODS`, as the judge sees them: `(4, h, w, 3)`.
        triptych: reduced pictures, if wanted.
    """

    figures: dict[str, float]
    views: color.Byte
    triptych: Triptych | None


@dataclass(frozen=True)
class Evaluation:
    """The figures of a model and its baselines.

    Attributes:
        totals: by method, means over the photographs and the judge's distances of the sets.
        per_photo: rows sorted by photograph: `photo`, `cluster`, `category`, `colourfulness_true`, and figures:
            plain for the model, with the suffixes `_grey` and `_median_ab` for the baselines.
        intervals: see `summary.intervals`.
        triptychs: reduced pictures of the first photographs by name.
    """

    totals: dict[str, Any]
    per_photo: pd.DataFrame
    intervals: pd.DataFrame
    triptychs: dict[str, Triptych]


def evaluate(
    photos: pd.DataFrame,
    trial: Trial,
    colorizer: Colorizer,
    judge: Judge,
    params: EvaluateParams,
    keep_pictures: int = 0,
) -> Evaluation:
    """Judge a model and its baselines on photographs at full size.

    The networks run in this process; `params.threads` others read, colour and measure.

    Args:
        photos: columns `photo`, `cluster` and `category`.
        trial: how they are read and measured.
        colorizer: the model.
        judge: the network that compares coloured and true photos.
        params: working size and number of processes.
        keep_pictures: number of photographs whose reduced pictures are kept.

    Raises:
        TintlabError: there are no photographs, or one can't be read.
    """
    if photos.empty:
        raise TintlabError(
            "there are no test photographs: add photographs, or raise split.test in params.yaml"
        )
    known = photos.sort_values("photo", ignore_index=True)[["photo", "cluster", "category"]]
    predictions = (predict(photo, trial, colorizer, params.working_size) for photo in known["photo"])
    rows, features = [], []
    triptychs: dict[str, Triptych] = {}
    # A process that is forked after torch has run may hang.
    with processes.worker_pool(params.threads, spawned=True) as pool:
        tasks = (
            pool.submit(measure, prediction, trial, at < keep_pictures)
            for at, prediction in enumerate(predictions)
        )
        results = _in_turn(tasks, _TASKS_AHEAD * params.threads)
        for photo, measured in zip(
            known["photo"], console.progress(results, "photos", "judging", len(known)), strict=True
        ):
            seen, classes = judge.look(measured.views)
            if measured.triptych is not None:
                triptychs[photo] = measured.triptych
            rows.append(measured.figures | judge_figures(seen, classes))
            features.append(seen)
    per_photo = pd.concat([known, pd.DataFrame(rows)], axis=1)
    by_method = dict(zip(("true", *METHODS), np.stack(features, axis=1), strict=True))
    terms = {method: metrics.kernel_terms(by_method[method], by_method["true"]) for method in METHODS}
    return Evaluation(totals(per_photo, by_method, terms), per_photo, intervals(per_photo, terms), triptychs)


def predict(photo: str, trial: Trial, colorizer: Colorizer, working_size: int | None) -> Prediction:
    """Run the network on one photo; without a working size, at the model's own."""
    lightness = trial.read(photo).lightness()
    shape = working_shape(lightness.shape, working_size or colorizer.settings.working_size)
    small = reduced(lightness, shape)
    return Prediction(photo, small, colorizer.predict_working_ab(small[None])[0])


def measure(prediction: Prediction, trial: Trial, pictured: bool) -> Measured:
    """Colour one photo by each of `METHODS` and compare the results with the true photo.

    Args:
        prediction: of the photo.
        trial: how it is read and measured.
        pictured: also make reduced pictures.
    """
    photo = trial.read(prediction.photo)
    true = photo.rgb()
    row = {"colourfulness_true": trial.colourfulness(true)}
    views = [view(true)]
    shown = render_all(photo, prediction, trial)
    for method, rgb in shown.items():
        found = measure_figures(rgb, true, trial.colourfulness(rgb), row["colourfulness_true"])
        row |= {name + suffix(method): value for name, value in found.items()}
        views.append(view(rgb))
    return Measured(row, np.stack(views), _reduced_triptych(shown, true) if pictured else None)


def render_all(photo: Photo, prediction: Prediction, trial: Trial) -> dict[str, color.Byte]:
    """Colour the photo by each of `METHODS`: 8-bit sRGB at full size."""
    lightness = photo.lightness()
    shape = (photo.height, photo.width)
    colours = {
        "model": GuidedColours(prediction.ab, prediction.lightness, shape),
        "grey": _uniform(np.zeros(2, np.float32), shape),
        "median_ab": _uniform(trial.median_ab, shape),
    }
    return {method: coloured(lightness, colours[method]) for method in METHODS}


def measure_figures(
    rgb: color.Byte, true: color.Byte, colourfulness: float, true_colourfulness: float
) -> dict[str, float]:
    """The figures of one coloured photo beside the true one; the colourfulness of both is given."""
    return {
        "psnr": metrics.psnr(rgb, true),
        "ssim": metrics.ssim(rgb, true),
        "delta_e00": metrics.delta_e00(rgb, true),
        "colourfulness": colourfulness,
        "colourfulness_difference": colourfulness - true_colourfulness,
        "colour_spill": metrics.colour_spill(rgb, true),
    }


def judge_figures(features: metrics.Numbers, classes: NDArray[np.int64]) -> dict[str, float]:
    """The judge's figures of one photo: features `(4, d)` and classes `(4,)`, true and then `METHODS`.

    `judge_similarity` is the cosine of coloured and true features. `judge_same_class` is 1 if the judge sees the
    class of the true photo.
    """
    true = np.broadcast_to(features[0], features[1:].shape)
    row: dict[str, float] = {}
    for at, (method, alike) in enumerate(
        zip(METHODS, metrics.similarity(features[1:], true), strict=True), start=1
    ):
        row[f"judge_similarity{suffix(method)}"] = float(alike)
        row[f"judge_same_class{suffix(method)}"] = float(classes[at] == classes[0])
    return row


def draw_triptych(photo: str, trial: Trial, colorizer: Colorizer, working_size: int | None) -> Triptych:
    """Colour a photo for a page: grey, coloured by the model and true, reduced."""
    original = trial.read(photo)
    shown = render_all(original, predict(photo, trial, colorizer, working_size), trial)
    return _reduced_triptych(shown, original.rgb())


def _reduced_triptych(shown: Mapping[str, color.Byte], true: color.Byte) -> Triptych:
    grey, ours, original = (
        grids.make_thumbnail(rgb, PICTURE_SIDE) for rgb in (shown["grey"], shown["model"], true)
    )
    return grey, ours, original


def median_ab(squares: color.Byte) -> color.Float:
    """The median a* and the median b* `(2,)` of packed L*a*b* squares `(n, h, w, 3)`, memory-mapped or not.

    Raises:
        TintlabError: there are no squares.
    """
    if len(squares) == 0:
        raise TintlabError(
            "there are no training squares: add photographs, or lower split.test and split.val"
        )
    counts = np.zeros((2, 256), np.int64)
    for square in squares:
        counts += [np.bincount(square[..., channel].ravel(), minlength=256) for channel in (1, 2)]
    cumulative = counts.cumsum(axis=1)
    middle: NDArray[np.int64] = (2 * cumulative >= cumulative[:, -1:]).argmax(axis=1)
    return middle.astype(np.float32) - 128


def _in_turn(tasks: Iterable[Future[T]], ahead: int) -> Iterator[T]:
    """The results of tasks in order; at most `ahead` tasks run or wait to be collected."""
    started: deque[Future[T]] = deque()
    for task in tasks:
        started.append(task)
        if len(started) >= ahead:
            yield started.popleft().result()
    while started:
        yield started.popleft().result()


def _uniform(ab: color.Float, shape: tuple[int, int]) -> GuidedColours:
    """One colour everywhere: the guided filter's output for a single pixel."""
    return GuidedColours(ab[None, None], np.zeros((1, 1), np.float32), shape)
