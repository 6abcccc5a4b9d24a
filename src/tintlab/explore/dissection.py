"""Dissect a model's units: rank them, show where they switch on, and colour with and without them."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image
from torch import nn

from tintlab.explore import units
from tintlab.explore.model import Explored
from tintlab.explore.section import Section, Table
from tintlab.explore.subjects import Subject
from tintlab.explore.units import Effect, Match
from tintlab.imaging import grids
from tintlab.imaging.color import Byte, lightness_to_grey, to_bytes
from tintlab.system import console

SETS = {"sky blue": "blue, top", "foliage green": "green, anywhere"}
"""Concepts that are shown with and without their strongest units."""

SET_SIZE = 20
"""Units that are changed together."""

_A_COLOUR = 4  # units of the ranked table
_CANDIDATES = 30  # a layer, for the strongest
_TABLE_PHOTOS = 10
_SHOWN_UNITS, _SHOWN_PHOTOS = 6, 4
_SIDE = 130


@dataclass(frozen=True)
class UnitSet:
    """Units of one layer that are changed together.

    Attributes:
        layer: name of the module.
        units: numbers of the channels.
        effects: by `off` and `forced on`.
        picture: photographs with and without them.
    """

    layer: str
    units: list[int]
    effects: dict[str, Effect]
    picture: Image.Image


@dataclass(frozen=True)
class Dissection:
    """The units of some layers.

    Attributes:
        photos: number of photographs.
        found: each unit with its best concept, the best fit first.
        rows: of the table of the best units.
        sets: the strongest units by the names of `SETS`; a concept without any is missing.
        lit: a picture of where the best units switch on.
    """

    photos: int
    found: list[Match]
    rows: list[list[str]]
    sets: dict[str, UnitSet]
    lit: Image.Image


def measure(model: Explored, photos: Sequence[Subject], layers: Sequence[str]) -> Dissection:
    """Dissect layers of a model.

    Args:
        model: with these layers.
        photos: of any split; half of them choose the units, the other half give the figures.
        layers: names of modules.

    Raises:
        TintlabError: the model has no such layer.
    """
    generator = model.colorizer.generator
    fitting = [units.crop(photo, model.colorizer.multiple) for photo in photos]
    chosen_on, tried_on = fitting[::2], fitting[1::2]
    every = [match for layer in layers for match in units.find_matches(generator, layer, fitting)]
    found = units.best_matches(every)
    ranked = _ranked(found)
    rows = [
        _row(generator, match, tried_on)
        for match in console.progress(ranked, "units", "switching off", len(ranked))
    ]
    sets = {}
    for name, concept in SETS.items():
        if chosen := _strongest(generator, every, layers, chosen_on, concept):
            sets[name] = _measure_set(generator, chosen, tried_on, concept)
    lit = _draw_lit(generator, _first_of_each_colour(ranked)[:_SHOWN_UNITS], tried_on)
    return Dissection(len(photos), found, rows, sets, lit)


def make_section(
    dissection: Dissection, layers: Sequence[str], command: str
) -> tuple[Section, list[Image.Image]]:
    """Write a dissection as a section, with its pictures.

    Args:
        dissection: see `measure`.
        layers: the same.
        command: that produces the section.
    """
    shown = {"Where the best units switch on, on photographs that did not choose them": "units.jpg"}
    for name, one in dissection.sets.items():
        title = f"{name}: grey, as it is, without its {len(one.units)} units, with them forced on"
        shown[title] = f"{name.replace(' ', '-')}.jpg"
    section = Section(
        title="Units",
        command=command,
        words=[
            f"{dissection.photos} photographs: half of them choose thresholds and concepts, and all figures "
            "come from the other half. Concepts are hues of the true colours, anywhere or in a third of the "
            "photo's height. IoU is the intersection over union of the pixels where a unit is on and where "
            f"the concept is. Effects of single units come from the {_TABLE_PHOTOS} photographs with the "
            "largest share of the concept."
        ],
        tables=[_unit_table(dissection), _by_layer(dissection.found, layers), _set_table(dissection)],
        pictures=shown,
        figures=_figures(dissection),
    )
    return section, [dissection.lit, *(one.picture for one in dissection.sets.values())]


def _measure_set(
    generator: nn.Module, chosen: Sequence[Match], photos: Sequence[Subject], concept: str
) -> UnitSet:
    layer, numbers = chosen[0].layer, [match.unit for match in chosen]
    off = units.measure_effect(generator, layer, numbers, [0.0] * len(chosen), photos, concept)
    on = units.measure_effect(generator, layer, numbers, [match.forced for match in chosen], photos, concept)
    picture = _draw_with_and_without(generator, layer, chosen, photos, concept)
    return UnitSet(layer, numbers, {"off": off, "forced on": on}, picture)


def _figures(dissection: Dissection) -> dict[str, float]:
    figures = {"units.best_iou": dissection.found[0].iou}
    for name, one in dissection.sets.items():
        for word, effect in one.effects.items():
            short = f"units.{name.replace(' ', '_')}.{word.replace(' ', '_')}"
            figures |= {f"{short}.inside": effect.inside, f"{short}.outside": effect.outside}
            figures |= {f"{short}.a": effect.a, f"{short}.b": effect.b}
    return figures


def _unit_table(dissection: Dissection) -> Table:
    effects = ["off: |Δab|", "elsewhere", "Δa*", "Δb*", "on: Δa*", "Δb*"]
    return Table(
        caption="The units that fit a colour and a place best, and the change of ab where that colour is and "
        "elsewhere: with the unit off, and forced on",
        columns=["layer", "unit", "fits", "IoU", *effects],
        rows=dissection.rows,
    )


def _set_table(dissection: Dissection) -> Table:
    rows = [
        [
            f"{name}, {one.layer}: {', '.join(map(str, one.units))}",
            word,
            f"{effect.inside:.2f}",
            f"{effect.outside:.2f}",
            f"{effect.a:+.2f}",
            f"{effect.b:+.2f}",
        ]
        for name, one in dissection.sets.items()
        for word, effect in one.effects.items()
    ]
    return Table(
        caption=f"The {SET_SIZE} strongest units, changed together",
        columns=["units", "", "|Δab| there", "elsewhere", "Δa* there", "Δb* there"],
        rows=rows,
    )


def _ranked(found: Sequence[Match]) -> list[Match]:
    """The best few units of each colour, the colour with the best of all first."""
    colours: dict[str, list[Match]] = {}
    for match in found:
        colours.setdefault(match.concept.split(",")[0], []).append(match)
    return [match for own in colours.values() for match in own[:_A_COLOUR]]


def _first_of_each_colour(ranked: Sequence[Match]) -> list[Match]:
    first: dict[str, Match] = {}
    for match in ranked:
        first.setdefault(match.concept.split(",")[0], match)
    return list(first.values())


def _row(generator: nn.Module, match: Match, tried_on: Sequence[Subject]) -> list[str]:
    photos = _with_most(tried_on, match.concept)[:_TABLE_PHOTOS]
    off = units.measure_effect(generator, match.layer, [match.unit], [0.0], photos, match.concept)
    on = units.measure_effect(generator, match.layer, [match.unit], [match.forced], photos, match.concept)
    return [
        match.layer,
        str(match.unit),
        match.concept,
        f"{match.iou:.2f}",
        f"{off.inside:.2f}",
        f"{off.outside:.2f}",
        *(f"{value:+.2f}" for value in (off.a, off.b, on.a, on.b)),
    ]


def _by_layer(found: Sequence[Match], layers: Sequence[str]) -> Table:
    rows = []
    for layer in layers:
        own = [match for match in found if match.layer == layer]
        colours = sorted({match.concept for match in own if match.iou >= 0.1})
        rows.append(
            [
                layer,
                str(len(own)),
                f"{np.mean([match.iou for match in own]):.3f}",
                str(sum(match.iou >= 0.1 for match in own)),
                str(len(colours)),
            ]
        )
    return Table(
        caption="By layer",
        columns=[
            "layer",
            "units that switch on",
            "mean IoU",
            "IoU of 0.1 or more",
            "different concepts among these",
        ],
        rows=rows,
    )


def _strongest(
    generator: nn.Module,
    found: Sequence[Match],
    layers: Sequence[str],
    photos: Sequence[Subject],
    concept: str,
) -> list[Match]:
    """Choose the units of one layer whose loss removes much colour from a concept and little from elsewhere.

    The units that fit the concept best are switched off one by one. Those with the largest change of ab at the
    concept, less the change elsewhere, are chosen; then the layer whose chosen units do best together.
    """
    most = _with_most(photos, concept)[:_SHOWN_PHOTOS]
    best: tuple[float, list[Match]] = (0.0, [])
    for layer in layers:
        fitting = [match for match in found if (match.layer, match.concept) == (layer, concept)]
        fitting.sort(key=lambda match: -match.chosen_iou)
        gains = {
            match: _specific(generator, [match], most, concept)
            for match in console.progress(fitting[:_CANDIDATES], "units", f"{concept} in {layer}")
        }
        chosen = [match for match in sorted(gains, key=lambda one: -gains[one]) if gains[match] > 0][
            :SET_SIZE
        ]
        if chosen and (gain := _specific(generator, chosen, most, concept)) > best[0]:
            best = gain, chosen
    return best[1]


def _specific(
    generator: nn.Module, chosen: Sequence[Match], photos: Sequence[Subject], concept: str
) -> float:
    numbers = [match.unit for match in chosen]
    off = units.measure_effect(generator, chosen[0].layer, numbers, [0.0] * len(chosen), photos, concept)
    return off.inside - off.outside


def _with_most(photos: Sequence[Subject], concept: str) -> list[Subject]:
    return sorted(photos, key=lambda one: -float(units.concepts(one)[concept].mean()))


def _draw_lit(generator: nn.Module, chosen: Sequence[Match], photos: Sequence[Subject]) -> Image.Image:
    """Draw one row per unit: the photographs that it fits best, dark where it is off."""
    rows = []
    for match in chosen:
        most = _with_most(photos, match.concept)[:_SHOWN_PHOTOS]
        rows.append([_light(generator, match, subject) for subject in most])
    sheets = [
        grids.draw_grid(
            [row],
            _SIDE,
            [
                f"{one.layer.split('.')[-1]}:{one.unit} {one.concept.removesuffix(', anywhere')}",
                *[""] * (len(row) - 1),
            ],
        )
        for row, one in zip(rows, chosen, strict=True)
    ]
    return _stack(sheets)


def _light(generator: nn.Module, match: Match, subject: Subject) -> Byte:
    values = units.record_maps(generator, match.layer, subject.lightness)[match.unit]
    height, width = subject.lightness.shape
    on = Image.fromarray(units.switched_on(values, match.threshold).numpy()).resize((width, height))
    rgb = subject.coloured(subject.ab)
    return np.where(np.asarray(on)[..., None], rgb, rgb // 5).astype(np.uint8)


def _draw_with_and_without(
    generator: nn.Module, layer: str, chosen: Sequence[Match], photos: Sequence[Subject], concept: str
) -> Image.Image:
    numbers = [match.unit for match in chosen]
    rows = []
    for subject in _with_most(photos, concept)[:_SHOWN_PHOTOS]:
        grey = np.repeat(to_bytes(lightness_to_grey(subject.lightness))[..., None], 3, axis=-1)
        row = [grey, subject.coloured(units.predict_ab(generator, subject.lightness))]
        for values in ([0.0] * len(chosen), [match.forced for match in chosen]):
            with units.force_units(generator, layer, numbers, values):
                row.append(subject.coloured(units.predict_ab(generator, subject.lightness)))
        rows.append(row)
    return grids.draw_grid(rows, _SIDE + 50, ["grey", "as it is", "without", "forced on"])


def _stack(sheets: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (max(one.width for one in sheets), sum(one.height for one in sheets)))
    top = 0
    for one in sheets:
        whole.paste(one, (0, top))
        top += one.height
    return whole
