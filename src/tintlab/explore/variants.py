"""Several colourings of one photograph, as files and as one sheet."""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from tintlab.explore import files
from tintlab.explore.dropout import predict_with_dropout
from tintlab.imaging import grids
from tintlab.imaging.color import Byte, lightness_to_grey, to_bytes
from tintlab.inference.guided import GuidedColours, coloured
from tintlab.inference.working_size import reduced, working_shape
from tintlab.scoring.chunk import load_colorizer, score_photo
from tintlab.scoring.plan import PlannedPhoto
from tintlab.scoring.settings import ScoreSettings
from tintlab.scoring.targets import files_of
from tintlab.system.errors import TintlabError

_SIDE = 320
_BACKGROUND = 24  # about the background of the sheets


def write_noise_variants(photo: Path, settings: ScoreSettings) -> list[Path]:
    """Colour a photograph by noise: the same files that `tintlab score` writes with this seed.

    Raises:
        TintlabError: the photograph can't be used.
    """
    planned = PlannedPhoto(photo, str(photo), Path(f"{photo.stem}.png"))
    record = score_photo(planned, load_colorizer(settings), settings)
    if record.outcome != "coloured":
        raise TintlabError(f"{photo}: {record.reason}")
    return [settings.output / file for file in files_of(planned.target, settings.variants)]


def write_dropout_variants(photo: Path, settings: ScoreSettings, count: int) -> list[Path]:
    """Colour a photograph by dropout instead of noise.

    Raises:
        TintlabError: the photograph can't be used, or the model has no dropout.
    """
    source = files.read_source(photo, settings.max_megapixels)
    small = reduced(source.lightness, working_shape(source.lightness.shape, settings.working_size))
    variants = predict_with_dropout(load_colorizer(settings), small, settings.seed, count)
    made = [settings.output / file for file in files_of(Path(f"{photo.stem}-dropout.png"), count)]
    for number, (ab, file) in enumerate(zip(variants, made, strict=True), 1):
        colours = GuidedColours(ab, small, source.lightness.shape)
        files.write(file, source, colours, settings, f"dropout {number}, seed {settings.seed}")
    return made


def draw_sheet(photo: Path, variants: Sequence[Path], settings: ScoreSettings) -> Image.Image:
    """Draw a contact sheet: the photograph in grey, without noise, and its variants."""
    lightness = files.read_source(photo, settings.max_megapixels).lightness
    grey = np.repeat(to_bytes(lightness_to_grey(lightness))[..., None], 3, axis=-1)
    plain = coloured(lightness, load_colorizer(settings).colours(lightness, settings.working_size))
    shown = [("grey", grey), ("without noise", plain)]
    for number, file in enumerate(variants, 1):
        with Image.open(file) as image:
            shown.append((f"v{number}", np.asarray(image)))
    small = [(title, grids.make_thumbnail(pixels, _SIDE)) for title, pixels in shown]
    return draw_labelled(small, _SIDE, math.ceil(math.sqrt(len(small))))


def draw_labelled(shown: Sequence[tuple[str, Byte]], side: int, columns: int) -> Image.Image:
    """Draw a sheet of pictures `(h, w, 3)`, each below its title."""
    rows = []
    for start in range(0, len(shown), columns):
        part = shown[start : start + columns]
        blank = np.full_like(part[0][1], _BACKGROUND)
        filled = [*part, *[("", blank)] * (min(columns, len(shown)) - len(part))]
        rows.append(grids.draw_grid([[pixels for _, pixels in filled]], side, [title for title, _ in filled]))
    whole = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)))
    top = 0
    for row in rows:
        whole.paste(row, (0, top))
        top += row.height
    return whole
