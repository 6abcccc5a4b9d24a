"""What use does to a model's colours: the file format to lightness, the working size to everything.

On the starter set's test photographs, coloured by the trained model. Nothing is timed.
"""

import argparse
import io
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from tqdm import tqdm

from tintlab.evaluation.evaluate import Trial, evaluate, median_ab
from tintlab.evaluation.judge import Judge
from tintlab.imaging import color
from tintlab.imaging.photos import read_photo
from tintlab.imaging.squares import open_squares
from tintlab.inference.colorizer import Colorizer
from tintlab.system import paths
from tintlab.system.params import load_params
from tintlab.system.tables import read_table

FORMATS: dict[str, dict[str, Any]] = {
    "PNG": {"format": "PNG"},
    "JPEG, 4:4:4, quality 95": {"format": "JPEG", "quality": 95, "subsampling": 0},
    "JPEG, 4:4:4, quality 92": {"format": "JPEG", "quality": 92, "subsampling": 0},
    "WebP, quality 92": {"format": "WEBP", "quality": 92},
}
SIZES = (128, 176, 224, 320)
FIGURES = ("psnr", "delta_e00", "colourfulness", "judge_similarity", "judge_same_class")


def lightness_kept(colorizer: Colorizer, photos: list[Path]) -> list[list[str]]:
    """Rows: format, and how far L* of the coloured file is from the photograph's."""
    differences: dict[str, list[np.ndarray]] = {name: [] for name in FORMATS}
    for path in tqdm(photos, "formats"):
        photo = read_photo(path, load_params().photos.max_megapixels)
        rgb, lightness = colorizer.colorize(photo), photo.lightness()
        for name, options in FORMATS.items():
            file = io.BytesIO()
            Image.fromarray(rgb).save(file, **options)
            with Image.open(file) as image:
                seen = color.lightness(np.asarray(image.convert("RGB")))
            differences[name].append(np.abs(seen - lightness).ravel())
    rows = []
    for name, parts in differences.items():
        every = np.concatenate(parts)
        rows.append([name, f"{every.mean():.2f}", f"{np.percentile(every, 99.9):.2f}"])
    return rows


def by_working_size(colorizer: Colorizer, photos: list[str]) -> list[list[str]]:
    """Rows: working size and the model's figures with it."""
    params = load_params()
    table = read_table(paths.ACCEPTED)
    table = table[table["photo"].isin(photos)].reset_index(drop=True)
    trial = Trial(paths.RAW, params.photos.max_megapixels, median_ab(open_squares("train")))
    judge = Judge()
    rows = []
    for size in SIZES:
        wanted = params.evaluate.model_copy(update={"working_size": size})
        figures = evaluate(table, trial, colorizer, judge, wanted).totals["model"]
        rows.append([str(size), *(f"{figures[name]:.3f}" for name in FIGURES)])
    return rows


def shown(header: list[str], rows: list[list[str]]) -> str:
    """A table in Markdown."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    """Print both tables."""
    argparse.ArgumentParser(description=__doc__).parse_args()
    colorizer = Colorizer.load(paths.GENERATOR)
    accepted = read_table(paths.ACCEPTED)
    photos = accepted.loc[accepted["split"] == "test", "photo"].tolist()
    formats = lightness_kept(colorizer, [paths.RAW / photo for photo in photos])
    sizes = by_working_size(colorizer, photos)
    print(shown(["format", "mean |ΔL*|", "99.9th percentile"], formats))
    print(shown(["working size", *FIGURES], sizes))


if __name__ == "__main__":
    main()
