"""What a step along each direction does to every attribute."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from tintlab.evaluation.metrics import Numbers
from tintlab.explore import charts
from tintlab.explore.attributes import ATTRIBUTES, scores
from tintlab.explore.directions import Directions, sampled
from tintlab.explore.model import Explored
from tintlab.explore.section import Section, Table
from tintlab.explore.steering import STEPS, strip, walked
from tintlab.explore.subjects import Subject
from tintlab.inference.colorizer import Colorizer
from tintlab.system import console

_CODES = 16  # a photograph, for the spread
_SHOWN_PHOTOS = 4


def curves(
    colorizer: Colorizer,
    photos: Sequence[Subject],
    directions: Directions,
    names: Sequence[str],
    conditional: bool,
) -> Numbers:
    """Attributes along some directions, `(names, photos, 7, attributes)`; NaN where a photo lacks one."""
    shown = console.progress(photos, "photos", "steering", len(photos))
    by_photo = [
        [scores(subject, walked(colorizer, subject, directions, name, conditional)) for name in names]
        for subject in shown
    ]
    return np.asarray(by_photo).swapaxes(0, 1)


def effects(along: Numbers, spread: Numbers) -> Numbers:
    """What a step does: `(directions, attributes)`, in standard deviations of each attribute among random codes.

    Args:
        along: see `curves`.
        spread: standard deviation of each attribute among the random colourings of one photo, `(attributes,)`.
    """
    # The slope of the least-squares line through the seven points.
    weights = STEPS / (STEPS @ STEPS)
    slopes = np.einsum("dpsa,s->dpa", along, weights)
    return np.asarray(np.nanmean(slopes, axis=1) / spread)


def monotone_share(along: Numbers, own: Sequence[int]) -> Numbers:
    """How often each direction moves its own attribute up, `(directions, 2)`.

    The first figure is the share of photos in which all six steps go up, the second that of single steps.

    Args:
        along: see `curves`.
        own: the attribute of each direction, by its place on the last axis.
    """
    shares = []
    for values, index in zip(along, own, strict=True):
        curve = values[:, :, index]
        rises = np.diff(curve[np.isfinite(curve).all(axis=1)], axis=1) > 0
        shares.append((rises.all(axis=1).mean(), rises.mean()))
    return np.asarray(shares)


def spread(values: Numbers) -> Numbers:
    """Standard deviation among codes, mean over photos: `(attributes,)` of `(photos, codes, attributes)`."""
    known = np.asarray(np.isfinite(values).all(axis=1))
    return np.asarray([values[known[:, i]][:, :, i].std(axis=1).mean() for i in range(values.shape[2])])


def section(
    model: Explored,
    directions: Directions,
    found_on: Sequence[Subject],
    tried_on: Sequence[Subject],
    command: str,
) -> tuple[Section, list[Image.Image]]:
    """Boundaries and what steps do.

    Args:
        model: with noise.
        directions: its own.
        found_on: photographs whose random colourings give the unit of the effects.
        tried_on: other photographs, on which steps are tried.
        command: that made it.
    """
    fast, names = model.fast(), list(directions.directions)
    columns = [list(ATTRIBUTES).index(name) for name in names]
    _, values = sampled(fast, found_on, _CODES, directions.seed + 1)
    unit = spread(values)[columns]
    tables, images, shown = [_boundaries(directions, unit)], [], {}
    figures = {f"directions.{name}.accuracy": one.accuracy for name, one in directions.directions.items()}
    for kind in ("plain", "conditional"):
        walked_along = names if kind == "plain" else directions.separable()
        if not walked_along:
            continue
        along = curves(fast, tried_on, directions, walked_along, kind == "conditional")[..., columns]
        own = [names.index(name) for name in walked_along]
        table, shares = effects(along, unit), monotone_share(along, own)
        held = [_largest_held(row, names, name) for row, name in zip(table, walked_along, strict=True)]
        moved = [float(row[index]) for row, index in zip(table, own, strict=True)]
        where = f"{kind} directions, {len(tried_on)} test photographs"
        tables.append(_steps(where, walked_along, moved, held, shares))
        images.append(charts.matrix(table, walked_along, names, f"effect of a step, {kind} directions"))
        caption = f"What a step along each {kind} direction (row) does to each attribute (column), in spreads"
        shown[caption] = f"effects-{kind}.png"
        for i, name in enumerate(walked_along):
            figures |= {
                f"directions.{name}.{kind}.effect": moved[i],
                f"directions.{name}.{kind}.largest_held": abs(held[i]),
                f"directions.{name}.{kind}.monotone_photos": float(shares[i, 0]),
            }
    for name in names:
        most = _with_most(tried_on, name)[:_SHOWN_PHOTOS]
        images.append(strip(model.colorizer, most, directions, name, False))
        shown[f"{name}: from −3 to +3"] = f"steer-{name}.jpg"
    words = [
        f"Directions from {directions.photos} photographs with {directions.codes_a_photo} codes each; steps are "
        "of length 1 in the noise, whose numbers are standard normal. A conditional direction is the normal "
        "less its projection onto the normals of those that it holds: "
        + "; ".join(f"{name} holds {' and '.join(ATTRIBUTES[name].held)}" for name in names)
        + ".",
    ]
    title = "Directions"
    return Section(
        title=title, command=command, words=words, tables=tables, pictures=shown, figures=figures
    ), images


def _boundaries(directions: Directions, unit: Numbers) -> Table:
    return Table(
        caption="Boundaries: accuracy on photographs that were held out; spread among random colourings of a "
        "photo, in ab units",
        columns=["attribute", "accuracy", "codes fitted to", "held out", "spread"],
        rows=[
            [name, f"{one.accuracy:.1%}", str(one.fitted), str(one.held_out), f"{size:.2f}"]
            for (name, one), size in zip(directions.directions.items(), unit, strict=True)
        ],
    )


def _steps(
    where: str, names: Sequence[str], moved: Sequence[float], held: Sequence[float], shares: Numbers
) -> Table:
    return Table(
        caption=f"Steps from −3 to +3 along {where}",
        columns=["attribute", "own effect", "largest on a held one", "all six steps up", "steps up"],
        rows=[
            [name, f"{moved[i]:+.2f}", f"{held[i]:+.2f}", f"{shares[i, 0]:.0%}", f"{shares[i, 1]:.0%}"]
            for i, name in enumerate(names)
        ],
    )


def _with_most(photos: Sequence[Subject], attribute: str) -> list[Subject]:
    """Photographs by how much they have of what an attribute is about."""
    return sorted(photos, key=lambda photo: -float(ATTRIBUTES[attribute].where(photo).mean()))


def _largest_held(effects_of_one: Numbers, names: Sequence[str], name: str) -> float:
    """The largest effect on the attributes that a direction is meant to leave alone."""
    held = [effects_of_one[names.index(other)] for other in ATTRIBUTES[name].held if other in names]
    return float(max(held, key=abs, default=0.0))
