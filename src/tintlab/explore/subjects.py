"""The photographs for exploring a model, at working size."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from PIL import Image

from tintlab.imaging.color import Byte, Float, rgb_to_lab
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.inference.guided import joined
from tintlab.inference.working_size import working_shape
from tintlab.scoring.settings import load_max_megapixels
from tintlab.system import console, paths
from tintlab.system.errors import TintlabError
from tintlab.system.tables import read_table


@dataclass(frozen=True)
class Subject:
    """A photograph with its true colours.

    Attributes:
        photo: its name.
        sha256: of its file.
        lightness: L* `(h, w)` in [0, 100].
        ab: the true a* and b*, `(h, w, 2)`.
    """

    photo: str
    sha256: str
    lightness: Float
    ab: Float

    def coloured(self, ab: Float) -> Byte:
        """8-bit sRGB `(h, w, 3)` with other colours."""
        return joined(self.lightness, ab)


def read_subjects(splits: Sequence[str], count: int, working_size: int) -> list[Subject]:
    """Read accepted photographs of some splits: the first by sha256, which is as good as random.

    Args:
        splits: of `train`, `val` and `test`.
        count: the most to read.
        working_size: see `colorizer.working_shape`.

    Raises:
        TintlabError: the pipeline's tables or photographs are missing, or no photograph is accepted.
    """
    for path in (paths.ACCEPTED, paths.PHOTOS):
        if not path.exists():
            raise TintlabError(f"{path} is missing: explore where `dvc repro` has run")
    accepted = read_table(paths.ACCEPTED)
    known = accepted[accepted["split"].isin(splits)].merge(read_table(paths.PHOTOS)[["photo", "sha256"]])
    chosen = known.sort_values("sha256").head(count)
    if chosen.empty:
        raise TintlabError(f"no photographs of {' or '.join(splits)} are accepted: add some to data/inbox/")
    return list(_read(chosen, working_size))


def _read(chosen: pd.DataFrame, working_size: int) -> Iterator[Subject]:
    rows = chosen[["photo", "sha256"]].itertuples(index=False)
    for photo, sha256 in console.progress(rows, "photos", "reading", len(chosen)):
        try:
            rgb = read_photo(paths.RAW / photo, load_max_megapixels()).rgb()
        except PhotoError as error:
            raise TintlabError(f"{paths.RAW / photo}: {error}: run `dvc repro` from the start") from error
        height, width = working_shape(rgb.shape[:2], working_size)
        small = Image.fromarray(rgb).resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0)
        lab = rgb_to_lab(np.asarray(small))
        yield Subject(photo, sha256, np.clip(lab[..., 0], 0, 100), lab[..., 1:])
