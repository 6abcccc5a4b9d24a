"""fetch, with its tables in memory."""

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from tintlab.stages.fetch import fetch
from tintlab.system.params import FetchParams


def fetched(
    origins: Iterable[Path], params: FetchParams, max_megapixels: float, raw: Path
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The tables of photographs and of attributions."""
    photos: list[pd.DataFrame] = []
    attribution: list[pd.DataFrame] = []
    fetch(origins, params, max_megapixels, raw, photos.append, attribution.append)
    return pd.concat(photos, ignore_index=True), pd.concat(attribution, ignore_index=True)
