"""How much colour hints help: PSNR over a folder of photographs by the number of random true-colour points.

    python bench/hints.py FOLDER [--model base] [--limit N]

Each photograph gets its points at random places, seeded by its name; a point has the photograph's mean ab in the
hint's disc. The points for a smaller number are the first of those for a larger one.
"""

import argparse
import math
import zlib
from pathlib import Path

import numpy as np
from PIL import Image

from photographs import files_of
from tintlab import load_colorizer
from tintlab.gan.hint_maps import disc
from tintlab.imaging import color
from tintlab.inference.colorizer import Colorizer
from tintlab.inference.guided import coloured
from tintlab.inference.hints import Hint

COUNTS = (0, 1, 3, 10, 50)
LONGEST = 512  # pixels: enough for PSNR, and quick


def true_points(lab: color.Float, count: int, seed: int) -> list[Hint]:
    """Random points of a photograph in L*a*b* `(h, w, 3)` with its own colours."""
    random = np.random.default_rng(seed)
    height, width = lab.shape[:2]
    hints = []
    for x, y in random.random((count, 2)).tolist():
        plain = Hint(x, y, 0, 0)
        radius = plain.radius * max(height, width)
        rows, columns, inside = disc((height, width), x * width, y * height, radius)
        a, b = lab[rows, columns, 1:][inside].mean(axis=0).tolist()
        hints.append(Hint(x, y, a, b))
    return hints


def psnr(one: color.Byte, other: color.Byte) -> float:
    """dB between 8-bit pictures of one size."""
    return 10 * math.log10(255**2 / max(float(np.square(one.astype(np.float64) - other).mean()), 1e-9))


def measure(colorizer: Colorizer, file: Path) -> list[float]:
    """PSNR of a photograph under each of `COUNTS`."""
    picture = Image.open(file).convert("RGB")
    picture.thumbnail((LONGEST, LONGEST), Image.Resampling.LANCZOS)
    rgb = np.asarray(picture)
    lab = color.rgb_to_lab(rgb)
    lightness = np.ascontiguousarray(lab[..., 0])
    canvas = colorizer.open(lightness)
    points = true_points(lab, max(COUNTS), zlib.crc32(file.name.encode()))
    return [psnr(coloured(lightness, canvas.colours(hints=points[:count])), rgb) for count in COUNTS]


def table(colorizer: Colorizer, files: list[Path]) -> str:
    """Mean PSNR, the gain over no hints, and its 95 % interval over the photographs, in Markdown."""
    figures = np.array([measure(colorizer, file) for file in files])
    lines = ["| points | PSNR, dB | gain, dB (95 %) |", "|---|---|---|"]
    for count, values in zip(COUNTS, figures.T, strict=True):
        gains = values - figures[:, 0]
        half = 1.96 * gains.std(ddof=1) / math.sqrt(len(gains)) if len(gains) > 1 else 0.0
        lines.append(f"| {count} | {values.mean():.2f} | {gains.mean():+.2f} ± {half:.2f} |")
    return "\n".join(lines)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--model", default="base", help="a folder, an alias or `models:/NAME/VERSION`")
    parser.add_argument("--limit", type=int, help="this many photographs, evenly chosen by name")
    arguments = parser.parse_args()
    files = files_of(arguments.folder, arguments.limit)
    print(f"{len(files)} photographs\n\n{table(load_colorizer(arguments.model), files)}")


if __name__ == "__main__":
    main()
