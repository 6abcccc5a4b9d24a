"""evaluate: judge the generator on the test photographs at full size, beside what needs no model at all."""

from collections.abc import Sequence

import numpy as np
import pandas as pd
from PIL import Image

from tintlab.evaluation.evaluate import (
    METHODS,
    Trial,
    Triptych,
    evaluate,
    figure_names,
    median_ab,
    suffix,
    triptych,
)
from tintlab.evaluation.judge import Judge
from tintlab.imaging import grids
from tintlab.inference.colorizer import Colorizer
from tintlab.reports import evaluation as evaluation_page
from tintlab.system import entry_point, paths
from tintlab.system.files import atomic_path, write_json, write_text
from tintlab.system.params import load_params
from tintlab.system.tables import read_table, write_table
from tintlab.tracking import training_runs

PLOTTED = ("psnr", "ssim", "delta_e00", "colourfulness")
"""Figures whose distribution over the photographs is plotted."""

PLAIN_UNET = "plain_unet"
"""A baseline that takes long to make, so that its figures are read from a table: pix2pix's U-Net from scratch."""

SHEET_PHOTOS = 40
"""Photographs of the sheet: the first by name, not picked."""

KEPT_PICTURES = 200
"""So many photographs are kept as reduced pictures, about 1 MB each, for the sheet and the page; what is shown
of others is coloured once more."""

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


def sheet(triptychs: Sequence[Triptych]) -> Image.Image:
    """A contact sheet of photographs grey | coloured | true, four of them a row."""
    blank = np.full((1, 1, 3), 255, np.uint8)
    filled = [*triptychs, *[(blank, blank, blank)] * (-len(triptychs) % _SHEET_COLUMNS)]
    rows = [
        [picture for triple in filled[start : start + _SHEET_COLUMNS] for picture in triple]
        for start in range(0, len(filled), _SHEET_COLUMNS)
    ]
    return grids.grid(rows, _SHEET_SIDE, ["grey", "coloured", "true"] * _SHEET_COLUMNS)


def baseline(table: pd.DataFrame, per_photo: pd.DataFrame) -> dict[str, float]:
    """The means of another model's figures over the photographs of an evaluation.

    Args:
        table: columns `photo` and the figures, such as reports/per_photo.csv of that model's pipeline.
        per_photo: the evaluation's own.

    Returns:
        Figures by name; none where a photograph is missing, for means over other photographs can't be compared.
    """
    if not set(per_photo["photo"]) <= set(table["photo"]):
        return {}
    own = table.set_index("photo").loc[per_photo["photo"]]
    known = [name for name in figure_names(per_photo) if name in own]
    return {name: float(f"{own[name].mean():.6g}") for name in known}


def plain_unet(per_photo: pd.DataFrame) -> dict[str, dict[str, float]]:
    """The entry of `PLAIN_UNET` among the totals, where its committed table serves; else a word, and none."""
    if not paths.PLAIN_UNET.exists():
        return {}
    figures = baseline(pd.read_csv(paths.PLAIN_UNET), per_photo)
    if not figures:
        print(f"{paths.PLAIN_UNET} lacks photographs that are judged here: no column of that baseline")
    return {PLAIN_UNET: figures} if figures else {}


def main() -> None:
    """Run the stage on the files that dvc.yaml names."""
    import torch

    params = load_params()
    torch.set_num_threads(1)  # the other threads are busy measuring
    accepted = read_table(paths.ACCEPTED)
    reference = pd.read_csv(paths.REFERENCE) if paths.REFERENCE.exists() else None
    squares = np.load(paths.lab_squares("train"), mmap_mode="r")
    trial = Trial(paths.RAW, params.photos.max_megapixels, median_ab(squares))
    colorizer = Colorizer.load(paths.GENERATOR)
    photos = accepted[accepted["split"] == "test"]
    evaluation = evaluate(photos, trial, colorizer, Judge(), params.evaluate, KEPT_PICTURES)
    per_photo = evaluation.per_photo
    totals = evaluation.totals | plain_unet(per_photo)
    first = per_photo["photo"].tolist()[:SHEET_PHOTOS]
    showcase = [photo for chosen in evaluation_page.showcase(per_photo).values() for photo in chosen]
    shown = {
        photo: evaluation.triptychs.get(photo)
        or triptych(photo, trial, colorizer, params.evaluate.working_size)
        for photo in dict.fromkeys(first + showcase)
    }
    page = evaluation_page.evaluation_page(totals, per_photo, shown, reference, evaluation.intervals)
    with atomic_path(paths.SHEET) as temporary:
        sheet([shown[photo] for photo in first]).save(temporary, format="JPEG", quality=88, subsampling=0)
    write_json(paths.METRICS, totals)
    write_table(per_photo, paths.PER_PHOTO)
    write_table(evaluation.intervals, paths.INTERVALS)
    write_table(distributions(per_photo), paths.DISTRIBUTIONS)
    write_text(paths.REPORT_PAGE, page)
    training_runs.record_evaluation(totals)
    print(evaluation_page.metrics_text(totals))
    print(f"photo by photo: {paths.PER_PHOTO}; how sure: {paths.INTERVALS}; pictures: {paths.REPORT_PAGE}")


if __name__ == "__main__":
    entry_point.run_stage(main)
