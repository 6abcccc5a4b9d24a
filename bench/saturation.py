"""How vivid a model should be: its figures on validation photographs, by saturation, mirrored or not.

    python bench/saturation.py [--model FOLDER] [--photos N] [--saturations 1 1.25]

Run it in a project whose photographs were converted. Every category has its share, as in training.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from tintlab.evaluation import metrics
from tintlab.evaluation.judge import Judge, view
from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.guided import GuidedColours, coloured
from tintlab.inference.working_size import reduced, working_shape
from tintlab.stages.train import draw_places
from tintlab.system import paths
from tintlab.system.params import load_params
from tintlab.system.tables import read_table

CATEGORY_POWER = 0.5


def colourings(model: Colorizer, path: Path, ways: list[tuple[bool, float]]) -> list[color.Byte]:
    """The true photograph, and its colourings by each of `ways`: mirrored or not, and saturation."""
    photo = read_photo(path, load_params().photos.max_megapixels)
    lightness = photo.lightness()
    size = model.settings.working_size
    small = reduced(lightness, working_shape(lightness.shape, size))
    found = {}
    for mirrored in {way[0] for way in ways}:
        settings = model.settings.model_copy(update={"flip_average": mirrored, "saturation": 1.0})
        found[mirrored] = model.with_settings(settings).predict_working_ab(small[None])[0]
    return [photo.rgb()] + [
        coloured(lightness, GuidedColours(found[mirrored] * np.float32(factor), small, lightness.shape))
        for mirrored, factor in ways
    ]


def main() -> None:
    """Print a row for each way."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--model", type=Path, default=paths.GENERATOR)
    parser.add_argument("--photos", type=int, default=200)
    parser.add_argument("--saturations", type=float, nargs="+", default=[1.0, 1.15, 1.25, 1.35, 1.45])
    parser.add_argument("--mirrored", choices=("yes", "no", "both"), default="both")
    arguments = parser.parse_args()
    mirrored = {"yes": [True], "no": [False], "both": [True, False]}[arguments.mirrored]
    ways = [(flip, factor) for flip in mirrored for factor in arguments.saturations]
    torch.set_num_threads(1)
    accepted = read_table(paths.ACCEPTED)
    table = accepted[accepted["split"] == "val"].reset_index(drop=True)
    names = table["photo"][draw_places(table["category"], CATEGORY_POWER, arguments.photos)]
    model, judge = Colorizer.load(arguments.model), Judge()
    rows, features = [], []
    for name in tqdm(names, "photographs"):
        true, *found = colourings(model, paths.RAW / name, ways)
        seen, classes = judge.look(np.stack([view(rgb) for rgb in (true, *found)]))
        alike = metrics.similarity(seen[1:], np.broadcast_to(seen[0], seen[1:].shape))
        own = color.colourfulness(true)
        rows.append(
            [
                [
                    metrics.psnr(rgb, true),
                    metrics.delta_e00(rgb, true),
                    color.colourfulness(rgb),
                    own,
                    alike[at],
                    classes[at + 1] == classes[0],
                ]
                for at, rgb in enumerate(found)
            ]
        )
        features.append(seen)
    means = np.asarray(rows, np.float64).mean(axis=0)
    judged = np.stack(features, axis=1)
    print(f"{len(names)} validation photographs of {arguments.model}\n")
    print(
        "| mirrored | saturation | PSNR, dB | ΔE00 | colourfulness, share | similarity | same thing | kernel |"
    )
    print("|---|---|---|---|---|---|---|---|")
    for at, (flip, factor) in enumerate(ways):
        psnr, delta, vivid, own, alike, same = means[at]
        distance = metrics.kernel_distance(metrics.kernel_terms(judged[at + 1], judged[0]))[0]
        figures = f"{psnr:.2f} | {delta:.2f} | {vivid / own:.3f} | {alike:.4f} | {same:.3f} | {distance:.5f}"
        print(f"| {'yes' if flip else 'no'} | {factor:g} | {figures} |")


if __name__ == "__main__":
    main()
