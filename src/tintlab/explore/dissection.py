"""The units of a model as a finding: a ranked table, where they switch on, pictures with and without them."""

from collections.abc import Sequence

import numpy as np
from PIL import Image
from torch import nn

from tintlab.explore import units
from tintlab.explore.model import Explored
from tintlab.explore.section import Section, Table
from tintlab.explore.subjects import Subject
from tintlab.explore.units import Match
from tintlab.imaging import grids
from tintlab.imaging.color import Byte, lightness_to_grey, to_bytes
from tintlab.system import console

SETS = {"sky blue": "blue, top", "foliage green": "green, anywhere"}
"""What is shown with and without its strongest units, by concept."""

SET_SIZE = 20
"""Units that are changed together."""

_A_COLOUR = 4  # units of the ranked table
_CANDIDATES = 30  # a layer, for the strongest
_TABLE_PHOTOS = 10
_SHOWN_UNITS, _SHOWN_PHOTOS = 6, 4
_SIDE = 130


def section(
    model: Explored, photos: Sequence[Subject], layers: Sequence[str], command: str
) -> tuple[Section, list[Image.Image]]:
    """Dissect layers.

    Args:
        model: with these layers.
        photos: of any split, half to choose by and half to try on.
        layers: names of modules.
        command: that made it.

    Raises:
        TintlabError: the model has no such layer.
    """
    generator = model.colorizer.generator
    fitting = [units.cropped(photo, model.colorizer.multiple) for photo in photos]
    every = [match for layer in layers for match in units.fits(generator, layer, fitting)]
    found = units.best_fits(every)
    chosen_on, tried_on = fitting[::2], fitting[1::2]
    ranked = _ranked(found)
    shown = console.progress(ranked, "units", "switching off", len(ranked))
    rows = [_row(generator, match, tried_on) for match in shown]
    tables = [
        Table(
            caption="The units that fit a colour and a place best; what switching one off does to ab where that "
            "colour is, and elsewhere; what forcing it on does",
            columns=[
                "layer",
                "unit",
                "fits",
                "IoU",
                "off: |Δab|",
                "elsewhere",
                "Δa*",
                "Δb*",
                "on: Δa*",
                "Δb*",
            ],
            rows=rows,
        ),
        _by_layer(found, layers),
    ]
    images = [_where(generator, _first_of_each_colour(ranked)[:_SHOWN_UNITS], tried_on)]
    named = {"Where the best units switch on, on photographs that were not used to choose them": "units.jpg"}
    figures = {"units.best_iou": found[0].iou}
    effects = []
    for name, concept in SETS.items():
        chosen = _strongest(generator, every, layers, chosen_on, concept)
        if not chosen:
            continue
        layer = chosen[0].layer
        numbers = [match.unit for match in chosen]
        off = units.effect(generator, layer, numbers, [0.0] * len(chosen), tried_on, concept)
        on = units.effect(generator, layer, numbers, [match.forced for match in chosen], tried_on, concept)
        for word, one in (("off", off), ("forced on", on)):
            effects.append(
                [
                    f"{name}, {layer}: {', '.join(map(str, numbers))}",
                    word,
                    *(f"{value:.2f}" for value in (one.inside, one.outside)),
                    *(f"{value:+.2f}" for value in (one.a, one.b)),
                ]
            )
            short = f"units.{name.replace(' ', '_')}.{word.replace(' ', '_')}"
            figures |= {f"{short}.inside": one.inside, f"{short}.outside": one.outside}
            figures |= {f"{short}.a": one.a, f"{short}.b": one.b}
        images.append(_with_and_without(generator, layer, chosen, tried_on, concept))
        named[f"{name}: grey, as it is, without its {len(chosen)} units, with them forced on"] = (
            f"{name.replace(' ', '-')}.jpg"
        )
    tables.append(
        Table(
            caption=f"The {SET_SIZE} strongest units, changed together",
            columns=["units", "", "|Δab| there", "elsewhere", "Δa* there", "Δb* there"],
            rows=effects,
        )
    )
    words = [
        f"{len(photos)} photographs; thresholds and concepts are chosen on half of them, all figures are of the "
        "other half. Concepts are hues of the true colours, anywhere or in a third of the photo's height. IoU "
        f"is intersection over union of where a unit is on and where the concept is. Effects of single units are "
        f"of the {_TABLE_PHOTOS} photographs with most of it."
    ]
    return Section(
        title="Units", command=command, words=words, tables=tables, pictures=named, figures=figures
    ), images


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
    off = units.effect(generator, match.layer, [match.unit], [0.0], photos, match.concept)
    on = units.effect(generator, match.layer, [match.unit], [match.forced], photos, match.concept)
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
    """The units of one layer without which a concept loses most colour, and the rest of a photo little.

    Of the units that fit it best those are taken that, switched off one by one, change ab most where the concept
    is beyond what they change elsewhere; and of the layers the one whose units do so together.
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
    off = units.effect(generator, chosen[0].layer, numbers, [0.0] * len(chosen), photos, concept)
    return off.inside - off.outside


def _with_most(photos: Sequence[Subject], concept: str) -> list[Subject]:
    return sorted(photos, key=lambda one: -float(units.concepts(one)[concept].mean()))


def _where(generator: nn.Module, chosen: Sequence[Match], photos: Sequence[Subject]) -> Image.Image:
    """A row a unit: the photographs that it fits best, dark where it is off."""
    rows = []
    for match in chosen:
        most = _with_most(photos, match.concept)[:_SHOWN_PHOTOS]
        rows.append([_lit(generator, match, subject) for subject in most])
    sheets = [
        grids.grid(
            [row],
            _SIDE,
            [
                f"{one.layer.split('.')[-1]}:{one.unit} {one.concept.removesuffix(', anywhere')}",
                *[""] * (len(row) - 1),
            ],
        )
        for row, one in zip(rows, chosen, strict=True)
    ]
    return _below(sheets)


def _lit(generator: nn.Module, match: Match, subject: Subject) -> Byte:
    values = units.maps(generator, match.layer, subject.lightness)[match.unit]
    height, width = subject.lightness.shape
    on = Image.fromarray(units.switched_on(values, match.threshold).numpy()).resize((width, height))
    rgb = subject.coloured(subject.ab)
    return np.where(np.asarray(on)[..., None], rgb, rgb // 5).astype(np.uint8)


def _with_and_without(
    generator: nn.Module, layer: str, chosen: Sequence[Match], photos: Sequence[Subject], concept: str
) -> Image.Image:
    numbers = [match.unit for match in chosen]
    rows = []
    for subject in _with_most(photos, concept)[:_SHOWN_PHOTOS]:
        grey = np.repeat(to_bytes(lightness_to_grey(subject.lightness))[..., None], 3, axis=-1)
        row = [grey, subject.coloured(units.coloured(generator, subject.lightness))]
        for values in ([0.0] * len(chosen), [match.forced for match in chosen]):
            with units.changed(generator, layer, numbers, values):
                row.append(subject.coloured(units.coloured(generator, subject.lightness)))
        rows.append(row)
    return grids.grid(rows, _SIDE + 50, ["grey", "as it is", "without", "forced on"])


def _below(sheets: Sequence[Image.Image]) -> Image.Image:
    whole = Image.new("RGB", (max(one.width for one in sheets), sum(one.height for one in sheets)))
    top = 0
    for one in sheets:
        whole.paste(one, (0, top))
        top += one.height
    return whole
