"""evaluate: judge the generator on the test photographs at full size, beside baselines that need no model."""

from dataclasses import dataclass
from typing import Any

import pandas as pd
from PIL import Image

from tintlab.evaluation.baselines import PLAIN_UNET, baseline_figures
from tintlab.evaluation.evaluate import Evaluation, Trial, draw_triptych, evaluate, median_ab
from tintlab.evaluation.judge import Judge
from tintlab.imaging.squares import open_squares
from tintlab.inference.colorizer import Colorizer
from tintlab.reports import plots
from tintlab.reports.evaluation import evaluation_page, metrics_text, showcase
from tintlab.system import entry_point, paths
from tintlab.system.files import atomic_path, write_json, write_text
from tintlab.system.params import EvaluateParams, load_params
from tintlab.system.tables import read_table, write_table
from tintlab.tracking import training_runs

SHEET_PHOTOS = 40
"""Photographs on the contact sheet: the first by name, not hand-picked."""

KEPT_PICTURES = 200
"""Photographs whose reduced pictures stay in memory, about 1 MB each. If the sheet or the page shows another
photograph, it is coloured a second time."""


@dataclass(frozen=True)
class Report:
    """The outputs of the stage, beside the tables of the evaluation.

    Attributes:
        totals: the content of metrics.json.
        distributions: curves for `dvc plots`.
        sheet: the contact sheet.
        page: reports/index.html.
    """

    totals: dict[str, Any]
    distributions: pd.DataFrame
    sheet: Image.Image
    page: str


def make_report(
    evaluation: Evaluation,
    trial: Trial,
    colorizer: Colorizer,
    params: EvaluateParams,
    plain_unet: dict[str, float],
    previous: pd.DataFrame | None,
) -> Report:
    """Draw pictures, curves and the page of an evaluation.

    Args:
        evaluation: of the test photographs.
        trial: the photographs' folder and limits.
        colorizer: the model, for photographs whose pictures were not kept.
        params: the working size.
        plain_unet: figures of that baseline; empty if there are none.
        previous: the table of the last committed report.
    """
    per_photo = evaluation.per_photo
    totals = evaluation.totals | ({PLAIN_UNET: plain_unet} if plain_unet else {})
    first = per_photo["photo"].tolist()[:SHEET_PHOTOS]
    ranked = [photo for photos in showcase(per_photo).values() for photo in photos]
    pictures = {
        photo: evaluation.triptychs.get(photo) or draw_triptych(photo, trial, colorizer, params.working_size)
        for photo in dict.fromkeys(first + ranked)
    }
    return Report(
        totals=totals,
        distributions=plots.distributions(per_photo),
        sheet=plots.contact_sheet([pictures[photo] for photo in first]),
        page=evaluation_page(totals, per_photo, pictures, previous, evaluation.intervals),
    )


def read_plain_unet(per_photo: pd.DataFrame) -> dict[str, float]:
    """Read the figures of the baseline `PLAIN_UNET`; empty if its table is missing or does not fit."""
    if not paths.PLAIN_UNET.exists():
        return {}
    figures = baseline_figures(pd.read_csv(paths.PLAIN_UNET), per_photo)
    if not figures:
        print(f"{paths.PLAIN_UNET} lacks photographs that are judged here: no column of that baseline")
    return figures


def write(evaluation: Evaluation, report: Report) -> None:
    """Write the outputs of the stage."""
    with atomic_path(paths.SHEET) as temporary:
        report.sheet.save(temporary, format="JPEG", quality=88, subsampling=0)
    write_json(paths.METRICS, report.totals)
    write_table(evaluation.per_photo, paths.PER_PHOTO)
    write_table(evaluation.intervals, paths.INTERVALS)
    write_table(report.distributions, paths.DISTRIBUTIONS)
    write_text(paths.REPORT_PAGE, report.page)


def main() -> None:
    """Run the stage on the files in dvc.yaml."""
    import torch

    params = load_params()
    torch.set_num_threads(1)  # the other threads are busy measuring
    accepted = read_table(paths.ACCEPTED)
    previous = pd.read_csv(paths.REFERENCE) if paths.REFERENCE.exists() else None
    squares = open_squares("train")
    trial = Trial(paths.RAW, params.photos.max_megapixels, median_ab(squares))
    colorizer = Colorizer.load(paths.GENERATOR)
    photos = accepted[accepted["split"] == "test"]
    evaluation = evaluate(photos, trial, colorizer, Judge(), params.evaluate, KEPT_PICTURES)
    plain_unet = read_plain_unet(evaluation.per_photo)
    report = make_report(evaluation, trial, colorizer, params.evaluate, plain_unet, previous)
    write(evaluation, report)
    training_runs.record_evaluation(report.totals)
    print(metrics_text(report.totals))
    print(f"photo by photo: {paths.PER_PHOTO}; intervals: {paths.INTERVALS}; pictures: {paths.REPORT_PAGE}")


if __name__ == "__main__":
    entry_point.run_stage(main)
