"""How fast archives are coloured: beside the bare network, beside the tutorials' inference, and the conversions.

In turns, several times, on the same scans: the network alone, photograph by photograph, with all threads at one
and with a thread a photograph; all of `score_chunk`, decoding, colouring, PNG with metadata, hashes, manifest;
and the tutorials' inference: their network at 256 px, the merge at full size and the conversions by scikit-image,
PNG by Pillow. Then L*a*b* to sRGB and back beside scikit-image and beside plain copying.
"""

import argparse
import statistics
import tempfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import cycle, islice
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from skimage.color import lab2rgb, rgb2lab

from baselines.inference import full_picture
from baselines.pix2pix import unet
from measuring import Report, Row, command, conclude, interleaved, machine, parser, rates
from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.working_size import reduced, working_shape
from tintlab.scoring.chunk import score_chunk
from tintlab.scoring.plan import plan
from tintlab.scoring.settings import ScoreSettings
from tintlab.scoring.threads import cpus, one_thread_each
from tintlab.system import paths
from tintlab.system.memory import keep_freed_memory

LIMIT = 200.0

MEGAPIXELS = {0.5: 24, 12.0: 4}
"""Sizes of the scans, and how many of each."""

FASTER = {0.5: None, 12.0: 10.0}
"""How many times as fast as the tutorials' inference we want to be, by size."""

CONVERTED = 2_000_000
"""Pixels of the conversions."""


def make_scans(sources: list[Path], folder: Path, megapixels: float, count: int) -> list[Path]:
    """Grey JPEG scans with film grain of a given size."""
    folder.mkdir()
    random = np.random.default_rng(0)
    for number, source in enumerate(islice(cycle(sources), count)):
        with Image.open(source) as image:
            scale = (megapixels * 1e6 / (image.width * image.height)) ** 0.5
            size = round(image.width * scale), round(image.height * scale)
            grey = np.asarray(image.convert("L").resize(size, Image.Resampling.BICUBIC), np.float32)
        grain = random.normal(0, 3, grey.shape).astype(np.float32)
        scan = Image.fromarray(np.clip(np.rint(grey + grain), 0, 255).astype(np.uint8))
        scan.save(folder / f"{number:04}.jpg", quality=92)
    return sorted(folder.iterdir())


def ways(model: Path, scans: list[Path], folder: Path) -> dict[str, Callable[[], object]]:
    """What is timed on these scans; coloured files go into `folder`."""
    colorizer = Colorizer.load(model)
    used = colorizer.settings
    lightness = [read_photo(scan, LIMIT).lightness() for scan in scans]
    tensors = [reduced(one, working_shape(one.shape, used.working_size))[None] for one in lightness]
    tutorial = unet().eval()

    def scored() -> None:
        with tempfile.TemporaryDirectory(dir=folder) as output:
            settings = ScoreSettings(
                output=Path(output),
                model_folder=model,
                model="local",
                model_version=None,
                weights_sha256="bench",
                training="",
                run_id=None,
                working_size=used.working_size,
                saturation=used.saturation,
                flip_average=used.flip_average,
            )
            score_chunk(plan(scans[0].parent, Path(output), ".png").photos, settings, "bench")

    def all_threads() -> None:
        torch.set_num_threads(cpus())
        for tensor in tensors:
            colorizer.predict_working_ab(tensor)

    def thread_a_photo() -> None:
        with one_thread_each(), ThreadPoolExecutor(cpus()) as pool:
            list(pool.map(colorizer.predict_working_ab, tensors))

    def by_tutorial() -> None:
        torch.set_num_threads(cpus())
        for scan in scans:
            with Image.open(scan) as photo:
                Image.fromarray(full_picture(photo, tutorial)).save(folder / "coloured.png")

    return {
        "network, all threads at one photograph": all_threads,
        "network, a thread a photograph": thread_a_photo,
        "score": scored,
        "tutorial": by_tutorial,
    }


def score_rows(
    model: Path, sources: list[Path], megapixels: float, count: int, repeats: int
) -> tuple[list[Row], dict[str, list[float]]]:
    """Two rows for scans of one size, and photographs a second of every way."""
    with tempfile.TemporaryDirectory() as temporary:
        scans = make_scans(sources, Path(temporary) / "scans", megapixels, count)
        seconds = interleaved(ways(model, scans, Path(temporary)), repeats)
    found = {name: rates(count, taken) for name, taken in seconds.items()}
    best = max(
        (name for name in found if name.startswith("network")), key=lambda at: statistics.median(found[at])
    )
    title = f"scoring, {megapixels:g} megapixels"
    rows = [
        Row(
            f"{title}, file to file",
            "photos/s",
            found["score"],
            found["tutorial"],
            "tutorial inference, merged by scikit-image",
            "ours / baseline",
            at_least=FASTER[megapixels],
        ),
        Row(
            f"{title}, share of the bare network's rate",
            "photos/s",
            found["score"],
            found[best],
            best,
            "ours / baseline",
        ),
    ]
    return rows, found


def conversion_rows(repeats: int) -> list[Row]:
    """L*a*b* to sRGB and back, against scikit-image and against copying as many bytes; one thread."""
    torch.set_num_threads(1)
    side = int(CONVERTED**0.5)
    random = np.random.default_rng(0)
    rgb = random.integers(0, 256, (side, side, 3), np.uint8)
    lab = color.rgb_to_lab(rgb)
    planes = [np.ascontiguousarray(lab[..., channel]) for channel in range(3)]
    skimage_lab = rgb2lab(rgb).astype(np.float32)

    def to_lab() -> None:
        for rows in color.strips(rgb.shape):
            color.rgb_to_lab(rgb[rows])

    def to_rgb() -> None:
        for rows in color.strips(rgb.shape, 1 << 16):
            color.lab_to_pixels(planes[0][rows], planes[1][rows], planes[2][rows], np.uint8)

    source, target = np.zeros(64 << 20, np.uint8), np.empty(64 << 20, np.uint8)
    seconds = interleaved(
        {
            "to L*a*b*": to_lab,
            "to L*a*b* by scikit-image": lambda: rgb2lab(rgb),
            "to sRGB": to_rgb,
            "to sRGB by scikit-image": lambda: lab2rgb(skimage_lab),
            "copy": lambda: np.copyto(target, source),
        },
        repeats,
    )
    megapixels = side * side / 1e6
    # A conversion reads three bytes a pixel and writes three floats, or the other way round.
    copied = [2 * source.nbytes / taken / 1e6 / 15 for taken in seconds["copy"]]
    rows = []
    for name in ("to L*a*b*", "to sRGB"):
        ours = rates(megapixels, seconds[name])
        theirs = rates(megapixels, seconds[f"{name} by scikit-image"])
        title = f"{'sRGB' if name == 'to L*a*b*' else 'L*a*b*'} {name}, one core"
        rows += [
            Row(title, "megapixels/s", ours, theirs, "scikit-image", "ours / baseline"),
            Row(
                f"{title}, share of memory's rate", "megapixels/s", ours, copied, "a copy", "ours / baseline"
            ),
        ]
    return rows


def options() -> argparse.Namespace:
    """The command line."""
    made = parser("score_rate", "How fast archives are coloured, and what the conversions cost.", 5)
    made.add_argument("--model", type=Path, default=paths.GENERATOR, help="folder of a trained model")
    made.add_argument("--photos", type=Path, default=paths.RAW, help="folder of photographs")
    return made.parse_args()


def main() -> None:
    """Measure and write the report."""
    chosen = options()
    report = Report(command("score_rate"), machine())
    keep_freed_memory()  # as scoring does: the network alone gains by it as well
    sources = sorted(path for path in chosen.photos.iterdir() if path.is_file())[::7]
    for megapixels, count in MEGAPIXELS.items():
        rows, found = score_rows(chosen.model, sources, megapixels, count, chosen.repeats)
        report.rows += rows
        report.details[f"photos/s, {megapixels:g} megapixels"] = found
    report.rows += conversion_rows(chosen.repeats)
    conclude(report, chosen.json)


if __name__ == "__main__":
    main()
