"""All figures of docs/base-model.md, and the pictures that it speaks of.

    python bench/base_model.py --judging DIR --elsewhere DIR [--model NAME ...] [--pictures DIR [--beside FOLDER]]

Models are judged as `tintlab evaluate` does; the starter set's test photographs join where `make run` has been.
The column "before" is the recipe before there was a base (docs/base-model/before.csv). `tintlab repro --preset
scratch` is that recipe, so `--beside models/generator` shows its pictures after it.
"""

import argparse
import shutil
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

import hints
from photographs import files_of
from tintlab.evaluation.evaluate import Evaluation
from tintlab.evaluation.folder import evaluate_folder
from tintlab.imaging import grids
from tintlab.imaging.photos import read_photo
from tintlab.inference.colorizer import Colorizer
from tintlab.registry.models import locate
from tintlab.system import paths
from tintlab.system.params import load_params
from tintlab.system.tables import read_table

BEFORE = Path("docs/base-model/before.csv")
FIGURES = {
    "psnr": ("PSNR, dB", 2),
    "delta_e00": ("ΔE00", 2),
    "colourfulness_share": ("colourfulness, share of the true", 2),
    "judge_similarity": ("similarity", 3),
    "judge_same_class": ("same thing", 3),
    "judge_kernel_distance": ("kernel distance", 4),
}
SIDE, SHOWN = 240, 10


def values(evaluation: Evaluation, figure: str) -> tuple[float, float, float]:
    """A figure of a model, and its 95 % interval."""
    own = evaluation.intervals[
        (evaluation.intervals["category"] == "") & (evaluation.intervals["method"] == "model")
    ].set_index("figure")
    if figure == "colourfulness_share":
        true = float(evaluation.per_photo["colourfulness_true"].mean())
        return tuple(own.loc["colourfulness", ["value", "low", "high"]] / true)
    return tuple(own.loc[figure, ["value", "low", "high"]])


def table(name: str, found: dict[str, Evaluation]) -> str:
    """The figures of models on one set of photographs, in Markdown."""
    before = pd.read_csv(BEFORE).set_index(["set", "figure"])["value"]
    lines = [f"| {name} | before | " + " | ".join(found) + " |", "|---" * (2 + len(found)) + "|"]
    for figure, (title, places) in FIGURES.items():
        cells = []
        for evaluation in found.values():
            value, low, high = values(evaluation, figure)
            cells.append(f"{value:.{places}f} ({low:.{places}f}–{high:.{places}f})")
        lines.append(f"| {title} | {before[name, figure]:.{places}f} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(folder: Path, names: list[str], models: list[Path], output: Path) -> None:
    """A row for each photograph: grey, coloured by each of the models, true."""
    colorizers = [Colorizer.load(model) for model in models]
    rows = []
    for name in names:
        photo = read_photo(folder / name, load_params().photos.max_megapixels)
        true = photo.rgb()
        grey = np.repeat(np.asarray(Image.fromarray(true).convert("L"))[..., None], 3, axis=-1)
        pictures = [grey, *(colorizer.colorize(photo) for colorizer in colorizers), true]
        row = [grids.make_thumbnail(each, SIDE) for each in pictures]
        rows.append(np.concatenate(row, axis=1))
    width = max(row.shape[1] for row in rows)
    padded = [np.pad(row, ((0, 4), (0, width - row.shape[1]), (0, 0)), constant_values=255) for row in rows]
    output.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.concatenate(padded)).save(output, quality=88)
    print(f"{output}: {', '.join(names)}")


def starter_photos() -> Path | None:
    """A folder of links to the starter set's test photographs; None before `make run`."""
    if not paths.ACCEPTED.exists():
        return None
    accepted = read_table(paths.ACCEPTED)
    folder = Path(tempfile.mkdtemp())
    for name in accepted.loc[accepted["split"] == "test", "photo"]:
        (folder / name).symlink_to((paths.RAW / name).resolve())
    return folder


def main() -> None:
    """Print the tables; write the pictures."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--judging", type=Path, required=True)
    parser.add_argument("--elsewhere", type=Path, required=True)
    parser.add_argument(
        "--model", nargs="+", default=["base"], help="as `tintlab evaluate --model` takes them"
    )
    parser.add_argument("--pictures", type=Path, help="a folder for sheets: ten photographs, and failures")
    parser.add_argument("--beside", type=Path, help="another model's folder, for the sheets")
    parser.add_argument("--no-hints", action="store_true")
    arguments = parser.parse_args()
    models = {name: locate(name).folder for name in arguments.model}
    starter = starter_photos()
    sets = {"judging": arguments.judging, "elsewhere": arguments.elsewhere}
    sets |= {"starter": starter} if starter else {}
    judged: dict[str, dict[str, Evaluation]] = {}
    for name, folder in sets.items():
        judged[name] = {model: evaluate_folder(folder, path) for model, path in models.items()}
        print(f"\n{table(name, judged[name])}", flush=True)
    if starter:
        shutil.rmtree(starter)
    first = next(iter(models))
    if not arguments.no_hints:
        print(f"\n{hints.table(Colorizer.load(models[first]), files_of(arguments.judging))}")
    if arguments.pictures:
        shown = ([arguments.beside] if arguments.beside else []) + list(models.values())
        photos = judged["judging"][first].per_photo
        places = np.linspace(0, len(photos) - 1, SHOWN).astype(int)
        worst = photos.nsmallest(SHOWN, "judge_similarity")
        draw(arguments.judging, photos["photo"].iloc[places].tolist(), shown, arguments.pictures / "ten.jpg")
        draw(arguments.judging, worst["photo"].tolist(), shown, arguments.pictures / "failures.jpg")


if __name__ == "__main__":
    main()
