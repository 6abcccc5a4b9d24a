"""The effect of a step along each direction on every attribute."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image

from tintlab.evaluation.metrics import Numbers
from tintlab.explore import charts
from tintlab.explore.attributes import ATTRIBUTES, scores
from tintlab.explore.directions import Directions, sample_codes
from tintlab.explore.model import Explored
from tintlab.explore.section import Section, Table
from tintlab.explore.steering import STEPS, draw_strip, walk
from tintlab.explore.subjects import Subject
from tintlab.inference.colorizer import Colorizer
from tintlab.system import console

_CODES = 16  # a photograph, for the spread
_SHOWN_PHOTOS = 4


@dataclass(frozen=True)
class Steps:
    """The effect of steps along directions of one kind.

    Attributes:
        names: the attributes of the directions.
        table: see `effects`.
        moved: the effect of each direction on its own attribute.
        held: its largest effect on an attribute that it should leave alone.
        shares: see `monotone_share`.
    """

    names: list[str]
    table: Numbers
    moved: list[float]
    held: list[float]
    shares: Numbers


@dataclass(frozen=True)
class Measured:
    """The effects of a model's directions.

    Attributes:
        names: of all attributes that have a direction.
        unit: the spread of each, `(names,)`.
        kinds: by `plain` and `conditional`.
        photos: number of photographs.
        strips: photographs along each plain direction.
    """

    names: list[str]
    unit: Numbers
    kinds: dict[str, Steps]
    photos: int
    strips: dict[str, Image.Image]


def measure_curves(
    colorizer: Colorizer,
    photos: Sequence[Subject],
    directions: Directions,
    names: Sequence[str],
    conditional: bool,
) -> Numbers:
    """Measure attributes along directions: `(names, photos, 7, attributes)`, NaN if a photo lacks one."""
    shown = console.progress(photos, "photos", "steering", len(photos))
    by_photo = [
        [scores(subject, walk(colorizer, subject, directions, name, conditional)) for name in names]
        for subject in shown
    ]
    return np.asarray(by_photo).swapaxes(0, 1)


def effects(along: Numbers, spread: Numbers) -> Numbers:
    """The effect of a step, in spreads among random codes `(directions, attributes)`.

    Args:
        along: see `measure_curves`.
        spread: standard deviation of each attribute among the random colourings of one photo, `(attributes,)`.
    """
    # The slope of the least-squares line through the seven points.
    weights = STEPS / (STEPS @ STEPS)
    slopes = np.einsum("dpsa,s->dpa", along, weights)
    return np.asarray(np.nanmean(slopes, axis=1) / spread)


def monotone_share(along: Numbers, own: Sequence[int]) -> Numbers:
    """How often each direction raises its own attribute, `(directions, 2)`.

    The first figure is the share of photos in which all six steps go up, the second that of single steps.

    Args:
        along: see `measure_curves`.
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


def measure(
    model: Explored, directions: Directions, found_on: Sequence[Subject], tried_on: Sequence[Subject]
) -> Measured:
    """Measure the effect of steps along plain and conditional directions.

    Args:
        model: with noise.
        directions: of this model.
        found_on: photographs whose random colourings give the unit of the effects.
        tried_on: other photographs, for the steps.
    """
    fast, names = model.fast(), list(directions.directions)
    columns = [list(ATTRIBUTES).index(name) for name in names]
    _, values = sample_codes(fast, found_on, _CODES, directions.seed + 1)
    unit = spread(values)[columns]
    kinds = {}
    for kind, walked in (("plain", names), ("conditional", directions.separable())):
        if walked:
            along = measure_curves(fast, tried_on, directions, walked, kind == "conditional")[..., columns]
            own = [names.index(name) for name in walked]
            table = effects(along, unit)
            held = [_largest_held(row, names, name) for row, name in zip(table, walked, strict=True)]
            moved = [float(row[index]) for row, index in zip(table, own, strict=True)]
            kinds[kind] = Steps(walked, table, moved, held, monotone_share(along, own))
    strips = {
        name: draw_strip(model.colorizer, _with_most(tried_on, name)[:_SHOWN_PHOTOS], directions, name, False)
        for name in names
    }
    return Measured(names, unit, kinds, len(tried_on), strips)


def make_section(
    measured: Measured, directions: Directions, command: str
) -> tuple[Section, list[Image.Image]]:
    """Write directions and their effects as a section, with its pictures.

    Args:
        measured: see `measure`.
        directions: the same.
        command: that produces the section.
    """
    names = measured.names
    tables = [_boundaries(directions, measured.unit)]
    images, shown = list[Image.Image](), dict[str, str]()
    for kind, steps in measured.kinds.items():
        tables.append(_steps(f"{kind} directions, {measured.photos} test photographs", steps))
        images.append(
            charts.draw_matrix(steps.table, steps.names, names, f"effect of a step, {kind} directions")
        )
        caption = f"Effect of a step along each {kind} direction (row) on each attribute (column), in spreads"
        shown[caption] = f"effects-{kind}.png"
    for name, picture in measured.strips.items():
        images.append(picture)
        shown[f"{name}: from −3 to +3"] = f"steer-{name}.jpg"
    holds = "; ".join(f"{name} holds {' and '.join(ATTRIBUTES[name].held)}" for name in names)
    section = Section(
        title="Directions",
        command=command,
        words=[
            f"Directions come from {directions.photos} photographs with {directions.codes_a_photo} codes "
            "each. A step has length 1 in the noise, whose numbers are standard normal. A conditional "
            "direction is the normal less its projection onto the normals of the attributes that it holds: "
            f"{holds}."
        ],
        tables=tables,
        pictures=shown,
        figures=_figures(measured, directions),
    )
    return section, images


def _figures(measured: Measured, directions: Directions) -> dict[str, float]:
    figures = {f"directions.{name}.accuracy": one.accuracy for name, one in directions.directions.items()}
    for kind, steps in measured.kinds.items():
        for i, name in enumerate(steps.names):
            figures |= {
                f"directions.{name}.{kind}.effect": steps.moved[i],
                f"directions.{name}.{kind}.largest_held": abs(steps.held[i]),
                f"directions.{name}.{kind}.monotone_photos": float(steps.shares[i, 0]),
            }
    return figures


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


def _steps(where: str, steps: Steps) -> Table:
    return Table(
        caption=f"Steps from −3 to +3 along {where}",
        columns=["attribute", "own effect", "largest on a held one", "all six steps up", "steps up"],
        rows=[
            [name, f"{moved:+.2f}", f"{held:+.2f}", f"{share[0]:.0%}", f"{share[1]:.0%}"]
            for name, moved, held, share in zip(
                steps.names, steps.moved, steps.held, steps.shares, strict=True
            )
        ],
    )


def _with_most(photos: Sequence[Subject], attribute: str) -> list[Subject]:
    """Photographs by the size of the region that an attribute is about, the largest first."""
    return sorted(photos, key=lambda photo: -float(ATTRIBUTES[attribute].where(photo).mean()))


def _largest_held(effects_of_one: Numbers, names: Sequence[str], name: str) -> float:
    """The largest effect on the attributes that a direction should leave alone."""
    held = [effects_of_one[names.index(other)] for other in ATTRIBUTES[name].held if other in names]
    return float(max(held, key=abs, default=0.0))
