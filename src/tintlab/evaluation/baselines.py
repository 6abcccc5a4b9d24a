"""Another model's figures as a baseline, read from a table instead of computed."""

import pandas as pd

from tintlab.evaluation.methods import figure_names

PLAIN_UNET = "plain_unet"
"""pix2pix's U-Net from scratch. It takes long to train, so its table is committed."""


def baseline_figures(table: pd.DataFrame, per_photo: pd.DataFrame) -> dict[str, float]:
    """Another model's mean figures over the photographs of an evaluation.

    Args:
        table: columns `photo` and the figures, as in reports/per_photo.csv of the other model's pipeline.
        per_photo: this evaluation's table.

    Returns:
        Figures by name. Empty if the table lacks a photograph: means over other photographs can't be compared.
    """
    if not set(per_photo["photo"]) <= set(table["photo"]):
        return {}
    own = table.set_index("photo").loc[per_photo["photo"]]
    known = [name for name in figure_names(per_photo) if name in own]
    return {name: float(f"{own[name].mean():.6g}") for name in known}
