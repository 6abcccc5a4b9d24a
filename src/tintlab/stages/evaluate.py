"""evaluate: judge the generator on the test photographs at full size, beside what needs no model at all."""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tintlab import color, metrics, paths, pictures, program, report
from tintlab.colorizer import Colorizer, GuidedColours, coloured, reduced, working_shape
from tintlab.errors import TintlabError
from tintlab.params import EvaluateParams, load_params
from tintlab.photos import Photo, PhotoError, read_photo
from tintlab.storage import write_json, write_text
from tintlab.tables import read_table, write_table

T = TypeVar("T")

METHODS = ("model", "grey", "median_ab")
"""What is judged: the generator; no colours at all; the training set's median colour everywhere."""

PLOTTED = ("psnr", "ssim", "delta_e00", "colourfulness")
"""Figures whose distribution over the photographs is plotted."""

Triptych = tuple[color.Byte, color.Byte, color.Byte]
"""A photo grey, coloured and true."""

_QUANTILES = 21
_PICTURE_SIDE = 320
_TASKS_AHEAD = 4  # a process; bounds what waits in memory


@dataclass(frozen=True)
class Trial:
    """What photographs are judged with.

    Attributes:
        raw: the folder of the photographs.
        max_megapixels: see `photos.read_photo`.
        median_ab: a* and b* of the baseline of that name, `(2,)`.
    """

    raw: Path
    max_megapixels: float
    median_ab: color.Float

    def read(self, photo: str) -> Photo:
        """Read a photograph of the folder.

        Raises:
            TintlabError: it is missing or broken, though it was accepted.
        """
        try:
            return read_photo(self.raw / photo, self.max_megapixels)
        except PhotoError as error:
            raise TintlabError(f"{self.raw / photo}: {error}: run `dvc repro` from the start") from error


@dataclass(frozen=True)
class Prediction:
    """What the network said of a photo: L* `(h, w)` as it saw it, and ab `(h, w, 2)`, at working size."""

    photo: str
    lightness: color.Float
    ab: color.Float


def evaluate(
    photos: pd.DataFrame, trial: Trial, colorizer: Colorizer, params: EvaluateParams
) -> tuple[dict[str, Any], pd.DataFrame]:
    """Judge a model and its baselines on photographs at full size.

    The network runs in this process; `params.threads` others read, colour and measure.

    Args:
        photos: columns `photo`, `cluster` and `category`.
        trial: what they are judged with.
        colorizer: the model.
        params: working size and number of processes.

    Returns:
        The totals, and the table behind them: a row a photograph, sorted by name, with `photo`, `cluster`,
        `category`, `colourfulness_true`, and the figures of `figures`, plain for the model, with the suffixes
        `_grey` and `_median_ab` for the baselines.

    Raises:
        TintlabError: there are no photographs, or one can't be read.
    """
    if photos.empty:
        raise TintlabError(
            "there are no test photographs: add photographs, or raise split.test in params.yaml"
        )
    known = photos.sort_values("photo", ignore_index=True)[["photo", "cluster", "category"]]
    predictions = (predict(photo, trial, colorizer, params.working_size) for photo in known["photo"])
    # Forked after torch has run, a process may hang.
    with ProcessPoolExecutor(params.threads, mp_context=get_context("spawn")) as pool:
        tasks = (pool.submit(measure, prediction, trial) for prediction in predictions)
        results = _in_turn(tasks, _TASKS_AHEAD * params.threads)
        rows = list(program.progress(results, "photos", "judging", len(known)))
    per_photo = pd.concat([known, pd.DataFrame(rows)], axis=1)
    return totals(per_photo), per_photo


def predict(photo: str, trial: Trial, colorizer: Colorizer, working_size: int) -> Prediction:
    """Run the network on one photo."""
    lightness = trial.read(photo).lightness()
    small = reduced(lightness, working_shape(lightness.shape, working_size))
    return Prediction(photo, small, colorizer.predict_working_ab(small[None])[0])


def measure(prediction: Prediction, trial: Trial) -> dict[str, float]:
    """The figures of one photo under each of `METHODS`: its row in the table, but for its name."""
    photo = trial.read(prediction.photo)
    true = photo.rgb()
    row = {"colourfulness_true": color.colourfulness(true)}
    for method, rgb in renderings(photo, prediction, trial).items():
        found = figures(rgb, true, row["colourfulness_true"])
        row |= {name + suffix(method): value for name, value in found.items()}
    return row


def renderings(photo: Photo, prediction: Prediction, trial: Trial) -> dict[str, color.Byte]:
    """The photo coloured by each of `METHODS`, 8-bit sRGB at full size."""
    lightness = photo.lightness()
    shape = (photo.height, photo.width)
    colours = {
        "model": GuidedColours(prediction.ab, prediction.lightness, shape),
        "grey": _uniform(np.zeros(2, np.float32), shape),
        "median_ab": _uniform(trial.median_ab, shape),
    }
    return {method: coloured(lightness, colours[method]) for method in METHODS}


def figures(rgb: color.Byte, true: color.Byte, true_colourfulness: float) -> dict[str, float]:
    """The figures of one coloured photo beside the true one."""
    colourfulness = color.colourfulness(rgb)
    return {
        "psnr": metrics.psnr(rgb, true),
        "ssim": metrics.ssim(rgb, true),
        "delta_e00": metrics.delta_e00(rgb, true),
        "colourfulness": colourfulness,
        "colourfulness_difference": colourfulness - true_colourfulness,
        "colour_spill": metrics.colour_spill(rgb, true),
    }


def totals(per_photo: pd.DataFrame) -> dict[str, Any]:
    """Means over the photographs, by method; and how many photographs and clusters of near-duplicates."""
    columns: list[str] = per_photo.columns.tolist()
    names = [column.removesuffix("_grey") for column in columns if column.endswith("_grey")]
    means: dict[str, Any] = {}
    for method in METHODS:
        means[method] = {name: _rounded(per_photo[name + suffix(method)].mean()) for name in names}
    return means | {"photos": len(per_photo), "clusters": int(per_photo["cluster"].nunique())}


def distributions(per_photo: pd.DataFrame) -> pd.DataFrame:
    """Quantiles over the photographs: columns `quantile`, `method`, and the figures of `PLOTTED`."""
    quantiles = np.linspace(0, 1, _QUANTILES)
    curves = [
        {"quantile": quantiles, "method": method}
        | {name: np.quantile(per_photo[name + suffix(method)], quantiles) for name in PLOTTED}
        for method in METHODS
    ]
    return pd.concat([pd.DataFrame(curve) for curve in curves], ignore_index=True)


def triptych(photo: str, trial: Trial, colorizer: Colorizer, working_size: int) -> Triptych:
    """A photo grey, coloured by the model and true, reduced for a page."""
    original = trial.read(photo)
    shown = renderings(original, predict(photo, trial, colorizer, working_size), test)
    grey, ours, true = (
        pictures.thumbnail(rgb, _PICTURE_SIDE) for rgb in (shown["grey"], shown["model"], original.rgb())
    )
    return grey, ours, true


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


def suffix(method: str) -> str:
    """What a method's columns end in."""
    return "" if method == "model" else f"_{method}"


def main() -> None:
    """Run the stage on the files that dvc.yaml names."""
    import torch

    params = load_params()
    torch.set_num_threads(1)  # the other threads are busy measuring
    accepted = read_table(paths.ACCEPTED)
    squares = np.load(paths.lab_squares("train"), mmap_mode="r")
    trial = Trial(paths.RAW, params.photos.max_megapixels, median_ab(squares))
    colorizer = Colorizer.load(paths.GENERATOR)
    totals_, per_photo = evaluate(accepted[accepted["split"] == "test"], trial, colorizer, params.evaluate)
    shown = {
        photo: triptych(photo, trial, colorizer, params.evaluate.working_size)
        for photos in report.showcase(per_photo).values()
        for photo in photos
    }
    write_json(paths.METRICS, totals_)
    write_table(per_photo, paths.PER_PHOTO)
    write_table(distributions(per_photo), paths.DISTRIBUTIONS)
    write_text(paths.REPORT_PAGE, report.evaluation_page(totals_, per_photo, shown, previous=None))
    print(report.metrics_text(totals_))
    print(f"photo by photo: {paths.PER_PHOTO}; pictures: {paths.REPORT_PAGE}")


def _in_turn(tasks: Iterable[Future[T]], ahead: int) -> Iterator[T]:
    """The results of tasks in their order, with no more than `ahead` of them begun and not taken."""
    begun: deque[Future[T]] = deque()
    for task in tasks:
        begun.append(task)
        if len(begun) >= ahead:
            yield begun.popleft().result()
    while begun:
        yield begun.popleft().result()


def _uniform(ab: color.Float, shape: tuple[int, int]) -> GuidedColours:
    """One colour everywhere: what the guided filter makes of a single pixel."""
    return GuidedColours(ab[None, None], np.zeros((1, 1), np.float32), shape)


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


if __name__ == "__main__":
    program.run(main)
