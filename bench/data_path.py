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
from PIL import Image

from baselines.dataset import Photographs
from measuring import Report, Row, command, conclude, interleaved, machine, parser
from recipes import BATCH, default_params, our_step, thesis_params
from sides import Build, sides
from tintlab.gan.data import Augmentation, Batches
from tintlab.imaging.photos import read_photo
from tintlab.stages.convert import squares_of
from tintlab.system import paths
from tintlab.system.memory import keep_all_freed_memory
from tintlab.system.params import ConvertParams, TrainParams

PHOTOGRAPHS = 96
ENLARGED = 16
"""So many of the photographs are enlarged to a camera's size."""
MEGAPIXELS = 12.0
PICTURES = 512
"""Of our side, a measurement: fewer would take no time."""

SIDES = {"default": 240, "thesis": 286}
"""Sides of the squares of each recipe, as `convert.image_size` has them."""


def starter() -> list[Path]:
    """Some of the pipeline's photographs."""
    return sorted(paths.RAW.iterdir())[::3][:PHOTOGRAPHS]


def enlarged(folder: Path) -> list[Path]:
    """Photographs of a camera's size, in `folder`."""
    for number, path in enumerate(starter()[:ENLARGED]):
        with Image.open(path) as photo:
            scale = (MEGAPIXELS * 1e6 / (photo.width * photo.height)) ** 0.5
            size = round(photo.width * scale), round(photo.height * scale)
            large = photo.convert("RGB").resize(size, Image.Resampling.BICUBIC)
        large.save(folder / f"{number:03}.jpg", quality=90)
    return sorted(folder.iterdir())


def our_batches(params: TrainParams, side: int, photographs: list[Path]) -> Batches:
    """tintlab's batches of these photographs, from a memory-mapped file as in training."""
    convert = ConvertParams(image_size=side, max_squares=1)
    cut = [squares_of(read_photo(path, 200).rgb(), convert)[0] for path in photographs]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "squares.npy"
        np.save(file, np.concatenate(cut))
        squares = np.load(file, mmap_mode="r")
    augmentation = Augmentation(params.crop, params.contrast, params.brightness)
    return Batches(squares, params.image_size, BATCH, 10**6, params.seed, augmentation)


def our_pass(params: TrainParams, side: int, photographs: list[Path]) -> Callable[[], object]:
    """`PICTURES` pictures, in batches."""
    torch.set_num_threads(1)
    keep_all_freed_memory()  # as a training does
    batches = our_batches(params, side, photographs)

    def work() -> None:
        for number in range(PICTURES // BATCH):
            batches[number]

    return work


def baseline_pass(size: int, photographs: list[Path]) -> Callable[[], object]:
    """Each photograph once."""
    torch.set_num_threads(1)
    dataset = Photographs(photographs, size)

    def work() -> None:
        for number in range(len(dataset)):
            dataset[number]

    return work


def picture_row(name: str, params: TrainParams, photographs: list[Path], what: str, repeats: int) -> Row:
    """What a picture costs both sides."""
    builds: dict[str, Build] = {
        "ours": functools.partial(our_pass, params, SIDES[name], photographs),
        "baseline": functools.partial(baseline_pass, params.image_size, photographs),
    }
    with sides(builds) as both:
        seconds = interleaved(both, repeats)
    return Row(
        f"a picture for training from {what}, {name} recipe, {params.image_size} px",
        "µs",
        [1e6 * taken / PICTURES for taken in seconds["ours"]],
        [1e6 * taken / len(photographs) for taken in seconds["baseline"]],
        "PIL + scikit-image",
        "baseline / ours",
        at_least=50,
    )


def waiting(params: TrainParams, side: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds a step that the default recipe's loop waits for its batch, and seconds of the steps."""
    step, batches = our_step(params, "L1"), our_batches(params, side, starter())
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
    with tempfile.TemporaryDirectory() as folder:
        sources = {
            "the starter's photographs": starter(),
            f"photographs of {MEGAPIXELS:g} megapixels": enlarged(Path(folder)),
        }
        for what, photographs in sources.items():
            for name, params in recipes.items():
                report.rows.append(picture_row(name, params, photographs, what, options.repeats))
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
