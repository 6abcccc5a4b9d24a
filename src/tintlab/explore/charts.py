"""Draw curves and tables as pictures."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from PIL import Image

from tintlab.evaluation.metrics import Numbers

Panel = tuple[str, str, Mapping[str, Numbers]]
"""Title, label of the horizontal axis, and values by legend: `(n,)`, or `(3, n)` with the ends of a band."""

_INCHES, _DPI = (3.6, 2.9), 100


def draw_curves(x: Sequence[Sequence[float]], panels: Sequence[Panel], y: str) -> Image.Image:
    """Draw panels side by side, each with curves over its own `x`; one label for all vertical axes."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_INCHES[0] * len(panels), _INCHES[1]), dpi=_DPI, layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for place, across, (title, label, lines) in zip(axes, x, panels, strict=True):
        for name, values in lines.items():
            middle = values if values.ndim == 1 else values[1]
            place.plot(across, middle, marker="o", markersize=3, linewidth=1.5, label=name)
            if values.ndim == 2:
                place.fill_between(across, values[0], values[2], alpha=0.18)
        place.set_title(title, fontsize=10)
        place.set_xlabel(label, fontsize=9)
        place.tick_params(labelsize=8)
        place.grid(alpha=0.3)
        place.legend(fontsize=8, frameon=False)
    axes[0].set_ylabel(y, fontsize=9)
    return _render(figure, FigureCanvasAgg)


def draw_matrix(values: Numbers, rows: Sequence[str], columns: Sequence[str], title: str) -> Image.Image:
    """Draw a table of numbers, coloured by sign and size."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.6, 3.6), dpi=_DPI, layout="constrained")
    place = figure.subplots()
    limit = max(float(np.nanmax(np.abs(values))), 1e-9)
    place.imshow(values, cmap="RdBu_r", vmin=-limit, vmax=limit)
    place.set_xticks(range(len(columns)), columns, fontsize=8)
    place.set_yticks(range(len(rows)), rows, fontsize=8)
    for (row, column), value in np.ndenumerate(values):
        ink = "white" if abs(value) > 0.6 * limit else "black"
        place.text(column, row, f"{value:+.2f}", ha="center", va="center", fontsize=8, color=ink)
    place.set_title(title, fontsize=10)
    return _render(figure, FigureCanvasAgg)


def _render(figure: "object", canvas: "object") -> Image.Image:
    file = io.BytesIO()
    canvas(figure).print_png(file)  # type: ignore[operator]
    return Image.open(file).convert("RGB")
