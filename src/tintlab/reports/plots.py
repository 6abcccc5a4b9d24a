"""Make the plots of an evaluation for `dvc plots`: curves of the figures, and a contact sheet."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from tintlab.evaluation.methods import METHODS, suffix
from tintlab.imaging import grids
from tintlab.imaging.color import Byte

PLOTTED = ("psnr", "ssim", "delta_e00", "colourfulness")
"""Figures whose distribution over the photographs is plotted."""

_SHEET_COLUMNS, _SHEET_SIDE = 4, 112
_QUANTILES = 21


def distributions(per_photo: pd.DataFrame) -> pd.DataFrame:
    """Quantiles over the photographs: columns `quantile`, `method`, and the figures of `PLOTTED`."""
    quantiles = np.linspace(0, 1, _QUANTILES)
    curves = [
        {"quantile": quantiles, "method": method}
        | {name: np.quantile(per_photo[name + suffix(method)], quantiles) for name in PLOTTED}
        for method in METHODS
    ]
    return pd.concat([pd.DataFrame(curve) for curve in curves], ignore_index=True)


def contact_sheet(triptychs: Sequence[tuple[Byte, Byte, Byte]]) -> Image.Image:
    """Draw photographs as grey | coloured | true, four in a row."""
    blank = np.full((1, 1, 3), 255, np.uint8)
    filled = [*triptychs, *[(blank, blank, blank)] * (-len(triptychs) % _SHEET_COLUMNS)]
    rows = [
        [picture for triple in filled[start : start + _SHEET_COLUMNS] for picture in triple]
        for start in range(0, len(filled), _SHEET_COLUMNS)
    ]
    return grids.draw_grid(rows, _SHEET_SIDE, ["grey", "coloured", "true"] * _SHEET_COLUMNS)
