"""How fast archives are coloured, beside the bare network on the same tensors.

In turns, several times: the network alone, photo by photo, with all threads at one photo and with a thread a
photo; and all of `score_chunk`: decoding, colouring, PNG with metadata, hashes, the manifest. Other work on the
machine slows all of them alike, so ratios of medians are what counts; CPU seconds a photo hardly feel it.

    python bench/score_rate.py models/generator data/raw > rate.json
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path

import numpy as np
from PIL import Image

from tintlab import lineage
from tintlab.colorizer import Colorizer, reduced, working_shape
from tintlab.photos import read_photo
from tintlab.scoring import ScoreSettings, score_chunk
from tintlab.scoring_plan import plan
from tintlab.workers import cpus, keep_freed_memory, one_thread_each

LIMIT = 200.0


def make_scans(sources: list[Path], folder: Path, megapixels: float, count: int) -> None:
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


@contextmanager
def timed(figures: dict[str, list[float]], name: str, count: int) -> Iterator[None]:
    """Note the rate and the CPU seconds a photo of what happens within."""
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    figures.setdefault(f"{name}_photos_a_second", []).append(count / (time.perf_counter() - wall))
    figures.setdefault(f"{name}_cpu_seconds_a_photo", []).append((time.process_time() - cpu) / count)


def measure(
    model: Path, sources: list[Path], megapixels: float, count: int, repeats: int
) -> dict[str, float]:
    """Medians over the repeats, for photographs of one size."""
    import torch

    colorizer = Colorizer.load(model)
    keep_freed_memory()  # as scoring does: the network alone gains by it as well
    used = colorizer.settings
    figures: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        make_scans(sources, folder / "scans", megapixels, count)
        scans = sorted((folder / "scans").iterdir())
        lightness = [read_photo(scan, LIMIT).lightness() for scan in scans]
        tensors = [reduced(one, working_shape(one.shape, used.working_size))[None] for one in lightness]
        del lightness

        def scored(number: int) -> None:
            output = folder / f"out{number}"
            photos = plan(folder / "scans", output, ".png").photos
            settings = ScoreSettings(
                output,
                model,
                "local",
                None,
                "bench",
                "",
                None,
                used.working_size,
                used.saturation,
                used.flip_average,
            )
            score_chunk(photos, settings, "bench")

        def all_threads() -> None:
            torch.set_num_threads(cpus())
            for tensor in tensors:
                colorizer.predict_working_ab(tensor)

        def thread_a_photo() -> None:
            with one_thread_each(), ThreadPoolExecutor(cpus()) as pool:
                list(pool.map(colorizer.predict_working_ab, tensors))

        ways: dict[str, Callable[[int], None]] = {
            "network_all_threads": lambda _: all_threads(),
            "network_thread_a_photo": lambda _: thread_a_photo(),
            "score": scored,
        }
        for number in range(repeats + 1):
            for name, run in ways.items():
                with timed(figures if number else {}, name, count):  # the first time is to warm up
                    run(number)
    medians = {name: round(statistics.median(values), 4) for name, values in figures.items()}
    rates = {name: medians[f"{name}_photos_a_second"] for name in ways}
    best = max(rates["network_all_threads"], rates["network_thread_a_photo"])
    cost = medians["network_thread_a_photo_cpu_seconds_a_photo"] / medians["score_cpu_seconds_a_photo"]
    return medians | {
        "ratio_to_all_threads": round(rates["score"] / rates["network_all_threads"], 3),
        "ratio_to_best": round(rates["score"] / best, 3),
        "ratio_of_cpu_seconds": round(cost, 3),
    }


def main() -> None:
    """Print the figures as JSON."""
    parser = argparse.ArgumentParser(description="How fast archives are coloured, beside the bare network.")
    parser.add_argument("model", type=Path, help="folder of a trained model")
    parser.add_argument("photos", type=Path, help="folder of photographs")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--count", type=int, default=24, help="photographs of 0.5 megapixels a repeat")
    arguments = parser.parse_args()
    sources = sorted(path for path in arguments.photos.iterdir() if path.is_file())[::7]
    sizes = {"0.5": arguments.count, "12": max(2, arguments.count // 6)}
    result = {
        "cpu": lineage.cpu_model(),
        "cpus": cpus(),
        "load": os.getloadavg()[0],
        "repeats": arguments.repeats,
        "megapixels": {
            size: measure(arguments.model, sources, float(size), count, arguments.repeats)
            for size, count in sizes.items()
        },
    }
    json.dump(result, sys.stdout, indent=2)
    print()


if __name__ == "__main__":
    main()
