"""Colour photographs some steps along directions."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tintlab.explore import files
from tintlab.explore.attributes import ATTRIBUTES
from tintlab.explore.directions import Directions
from tintlab.explore.subjects import Subject
from tintlab.imaging import grids
from tintlab.imaging.color import Byte, Float
from tintlab.inference.colorizer import Colorizer
from tintlab.scoring.settings import ScoreSettings

STEPS = np.arange(-3.0, 3.5)

_SIDE = 112


def walk(
    colorizer: Colorizer, subject: Subject, directions: Directions, attribute: str, conditional: bool
) -> Float:
    """Predict the ab `(7, h, w, 2)` of a photo at each of `STEPS` along an attribute."""
    z = np.stack([directions.code({attribute: float(step)}, conditional) for step in STEPS])
    return colorizer.predict_variants(subject.lightness, z)


def draw_strip(
    colorizer: Colorizer, photos: Sequence[Subject], directions: Directions, attribute: str, conditional: bool
) -> Image.Image:
    """Draw one row per photo, and one column per step from -3 to +3 along an attribute."""
    rows: list[list[Byte]] = [
        [subject.coloured(ab) for ab in walk(colorizer, subject, directions, attribute, conditional)]
        for subject in photos
    ]
    words = ATTRIBUTES[attribute]
    titles = [f"{step:+.0f}" for step in STEPS]
    titles[0], titles[3], titles[-1] = f"-3 {words.low}", "0", f"+3 {words.high}"
    return grids.draw_grid(rows, _SIDE, titles)


def write_steered(
    photo: Path,
    settings: ScoreSettings,
    colorizer: Colorizer,
    directions: Directions,
    steps: Mapping[str, float],
    conditional: bool,
) -> Path:
    """Colour a photograph some steps along attributes, at its full size, as NAME-steered.png.

    Raises:
        TintlabError: the photograph can't be used, or an attribute is unknown.
    """
    z = directions.code(steps, conditional)
    words = ", ".join(f"{name} {step:+g}" for name, step in steps.items())
    file = settings.output / f"{photo.stem}-steered.png"
    source = files.read_source(photo, settings.max_megapixels)
    (colours,) = colorizer.colourings(source.lightness, settings.working_size, z[None])
    files.write(file, source, colours, settings, f"steered: {words}{', conditional' if conditional else ''}")
    return file
