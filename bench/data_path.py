"""What a training's pictures cost: squares of L*a*b* that are cut in advance, against photographs opened anew.

Both sides give L and ab of the same size, mirrored at random, one process and one thread; ours crops, rescales
and relights besides.
"""

import functools
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from baselines.dataset import Photographs
from measuring import Report, Row, command, conclude, interleaved, machine, parser
from recipes import BATCH, default_params, our_step, thesis_params
from sides import sides
from tintlab import paths
from tintlab.gan.data import Augmentation, Batches
from tintlab.params import ConvertParams, TrainParams
from tintlab.photos import read_photo
from tintlab.stages.convert import squares_of

PHOTOGRAPHS = 96
ROUNDS = 6
"""Passes over the photographs a measurement, of our side: one takes a few milliseconds."""

SIDES = {"default": 240, "thesis": 286}
"""Sides of the squares of each recipe, as `convert.image_size` has them."""


def photographs() -> list[Path]:
    """Some of the pipeline's photographs."""
    return sorted(paths.RAW.iterdir())[::3][:PHOTOGRAPHS]


def our_batches(params: TrainParams, side: int) -> Batches:
    """tintlab's batches of these photographs, from a memory-mapped file as in training."""
    convert = ConvertParams(image_size=side, max_squares=1)
    cut = [squares_of(read_photo(path, 200).rgb(), convert)[0] for path in photographs()]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "squares.npy"
        np.save(file, np.concatenate(cut))
        squares = np.load(file, mmap_mode="r")
    augmentation = Augmentation(params.crop, params.contrast, params.brightness)
    return Batches(squares, params.image_size, BATCH, 10**6, params.seed, augmentation)


def our_pass(params: TrainParams, side: int) -> Callable[[], object]:
    """As many pictures as there are photographs, `ROUNDS` times."""
    torch.set_num_threads(1)
    batches = our_batches(params, side)
    return lambda: [batches[number] for number in range(ROUNDS * PHOTOGRAPHS // BATCH)]


def baseline_pass(size: int) -> Callable[[], object]:
    """Each photograph once."""
    torch.set_num_threads(1)
    dataset = Photographs(photographs(), size)
    return lambda: [dataset[number] for number in range(len(dataset))]


def waiting(params: TrainParams, side: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds a step that the default recipe's loop waits for its batch, and seconds of the steps."""
    step, batches = our_step(params), our_batches(params, side)
    waits, steps = [], []
    for number in range(8 * repeats):
        began = time.perf_counter()
        batches[number].to(torch.device("cpu"))
        waits.append(time.perf_counter() - began)
        began = time.perf_counter()
        step()
        steps.append(time.perf_counter() - began)
    return waits[4:], steps[4:]


def main() -> None:
    """Measure and write the report."""
    text = "Pictures for training: ours against opening, resizing and converting photographs anew."
    options = parser("data_path", text, 7).parse_args()
    report = Report(command("data_path"), machine())
    recipes = {"default": default_params(), "thesis": thesis_params()}
    for name, params in recipes.items():
        builds = {
            "ours": functools.partial(our_pass, params, SIDES[name]),
            "baseline": functools.partial(baseline_pass, params.image_size),
        }
        with sides(builds) as both:
            seconds = interleaved(both, options.repeats)
        ours = [1e6 * taken / (ROUNDS * PHOTOGRAPHS) for taken in seconds["ours"]]
        theirs = [1e6 * taken / PHOTOGRAPHS for taken in seconds["baseline"]]
        title = f"a picture for training, {name} recipe, {params.image_size} px"
        report.rows.append(
            Row(title, "µs", ours, theirs, "PIL + scikit-image", "baseline / ours", at_least=50)
        )
    waits, steps = waiting(recipes["default"], SIDES["default"], options.repeats)
    share = Row(
        "waiting for a batch, default recipe",
        "ms",
        [1e3 * wait for wait in waits],
        [1e3 * step for step in steps],
        "a step",
        "ours / baseline",
        at_most=0.02,
    )
    report.rows.append(share)
    conclude(report, options.json)


if __name__ == "__main__":
    main()
