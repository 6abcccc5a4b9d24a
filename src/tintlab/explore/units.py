"""Single units of the decoder: where they switch on, and the colours without them.

As in GAN dissection (Bau et al. 2019, arXiv 1811.10597). There a segmenter names the objects that a unit's map
overlaps. Here the photo's own colours and places do: "blue, top" is mostly sky. Then units are forced off or on
and the change of ab is measured, because an overlap does not prove a cause.
"""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from tintlab.explore.attributes import Mask, chroma, hue
from tintlab.explore.subjects import Subject
from tintlab.imaging.color import AB_SCALE, Float
from tintlab.system import console
from tintlab.system.errors import TintlabError

LAYERS = ("up_blocks.0", "up_blocks.1", "up_blocks.2")
"""The maps of the default generator's decoder at strides 16, 8 and 4."""

HUES = {
    "red": (345, 50),
    "orange": (50, 80),
    "yellow": (80, 105),
    "green": (105, 165),
    "cyan": (165, 230),
    "blue": (230, 300),
    "purple": (300, 345),
}
"""Ranges of CIE Lab hue, in degrees."""

PLACES = ("anywhere", "top", "middle", "bottom")

_LEAST_CHROMA, _MOST_GREY = 10.0, 5.0
_LEAST_SHARE = 0.01  # of all pixels, for a concept to be considered
_QUANTILES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.98)
_FORCED = 0.99  # quantile of a unit's values to which it is forced
_STRIDE = 4  # maps and masks are compared at a quarter of the working size


@dataclass(frozen=True)
class Match:
    """A unit and a concept, with the fit between them.

    Attributes:
        layer: name of the module.
        unit: number of the channel.
        concept: a hue and a place.
        chosen_iou: intersection over union on the photographs that chose the threshold.
        iou: the same on the other photographs.
        threshold: the smallest value that counts as switched on.
        forced: the value to which the unit is forced.
    """

    layer: str
    unit: int
    concept: str
    chosen_iou: float
    iou: float
    threshold: float
    forced: float


@dataclass(frozen=True)
class Effect:
    """The change of ab when units are forced to values.

    Attributes:
        inside: mean |Δab| where the concept is.
        outside: elsewhere.
        a: mean Δa* where the concept is.
        b: mean Δb*.
    """

    inside: float
    outside: float
    a: float
    b: float


def crop(subject: Subject, multiple: int) -> Subject:
    """Crop the middle of a photo to sides that the network accepts unchanged.

    Raises:
        TintlabError: the photo is too small.
    """
    height, width = (side // multiple * multiple for side in subject.lightness.shape)
    if not height or not width:
        raise TintlabError(f"{subject.photo} is narrower than {multiple} pixels at working size")
    top, left = (
        (side - kept) // 2 for side, kept in zip(subject.lightness.shape, (height, width), strict=True)
    )
    rows, columns = slice(top, top + height), slice(left, left + width)
    return Subject(subject.photo, subject.sha256, subject.lightness[rows, columns], subject.ab[rows, columns])


def concepts(subject: Subject) -> dict[str, Mask]:
    """Masks `(h, w)` of a photo by true colour and place: `blue, top`, `grey, anywhere`, and so on."""
    angle, vivid = hue(subject.ab), chroma(subject.ab)
    colours = {"grey": vivid < _MOST_GREY}
    for name, (low, high) in HUES.items():
        inside = (angle >= low) & (angle < high) if low < high else (angle >= low) | (angle < high)
        colours[name] = inside & (vivid > _LEAST_CHROMA)
    third = np.minimum(np.arange(len(angle)) * 3 // len(angle), 2)[:, None]
    return {
        f"{colour}, {place}": mask if place == "anywhere" else mask & (third == PLACES.index(place) - 1)
        for colour, mask in colours.items()
        for place in PLACES
    }


@contextmanager
def force_units(
    generator: nn.Module, layer: str, units: Sequence[int], values: Sequence[float]
) -> Iterator[None]:
    """Within, units of a layer have these values everywhere, for any input; 0 is off."""
    module, places, forced = _layer(generator, layer), list(units), torch.tensor(values, dtype=torch.float32)

    def change(_: nn.Module, __: object, output: Tensor) -> Tensor:
        output = output.clone()
        output[:, places] = forced[:, None, None]
        return output

    handle = module.register_forward_hook(change)
    try:
        yield
    finally:
        handle.remove()


def predict_ab(generator: nn.Module, lightness: Float) -> Float:
    """Predict the ab `(h, w, 2)` of L* `(h, w)` whose sides the generator accepts."""
    with torch.inference_mode():
        scaled = torch.from_numpy(lightness / np.float32(50) - 1)[None, None]
        ab: Float = generator(scaled)[0].permute(1, 2, 0).numpy() * np.float32(AB_SCALE)
    return ab


def record_maps(generator: nn.Module, layer: str, lightness: Float) -> Tensor:
    """Record the values of a layer's units for a photo, `(units, h / 4, w / 4)`."""
    kept: list[Tensor] = []
    handle = _layer(generator, layer).register_forward_hook(lambda _, __, output: kept.append(output))
    try:
        predict_ab(generator, lightness)
    finally:
        handle.remove()
    size = (lightness.shape[0] // _STRIDE, lightness.shape[1] // _STRIDE)
    return F.interpolate(kept[0].clone(), size, mode="bilinear", align_corners=False)[0]


def find_matches(generator: nn.Module, layer: str, photos: Sequence[Subject]) -> list[Match]:
    """Measure how each unit of a layer fits each concept, at the best threshold for the pair.

    Every other photograph, starting with the first, chooses the thresholds; the others test them. Units that
    never switch on and concepts that hardly occur are left out.

    Args:
        generator: in evaluation mode.
        layer: name of a module whose output is maps.
        photos: with sides that the generator accepts; see `crop`.
    """
    values, masks, names = [], [], list[str]()
    for subject in console.progress(photos, "photos", f"dissecting {layer}", len(photos)):
        values.append(record_maps(generator, layer, subject.lightness).flatten(1))
        known = concepts(subject)
        names = list(known)
        masks.append(_reduced(np.stack(list(known.values()))))
    (chosen_on, chosen), (tried_on, tried) = (
        (torch.cat(values[start::2], dim=1), torch.cat(masks[start::2], dim=1)) for start in (0, 1)
    )
    common = (chosen.mean(dim=1) >= _LEAST_SHARE) & (tried.mean(dim=1) >= _LEAST_SHARE)
    ordered = chosen_on.sort(dim=1).values
    places = [round(quantile * (ordered.shape[1] - 1)) for quantile in (*_QUANTILES, _FORCED)]
    *levels, forced = ordered[:, places].unbind(dim=1)
    overlaps = torch.stack([_iou(switched_on(chosen_on, level[:, None]), chosen) for level in levels])
    best, chosen_level = overlaps.max(dim=0)
    again = torch.stack([_iou(switched_on(tried_on, level[:, None]), tried) for level in levels])
    confirmed = again.gather(0, chosen_level[None])[0]
    return [
        Match(
            layer,
            unit,
            names[concept],
            float(best[unit, concept]),
            float(confirmed[unit, concept]),
            float(levels[int(chosen_level[unit, concept])][unit]),
            float(forced[unit]),
        )
        for unit in range(len(best))
        for concept in range(len(names))
        if common[concept] and float(forced[unit]) > 0
    ]


def best_matches(found: Iterable[Match]) -> list[Match]:
    """Each unit with its best concept according to the photographs that chose the thresholds.

    Sorted by the fit on the other photographs, the best first.
    """
    best: dict[tuple[str, int], Match] = {}
    for match in found:
        key = match.layer, match.unit
        if key not in best or match.chosen_iou > best[key].chosen_iou:
            best[key] = match
    return sorted(best.values(), key=lambda match: (-match.iou, match.layer, match.unit))


def switched_on(values: Tensor, threshold: Tensor | float) -> Tensor:
    """Where a unit's values reach a threshold. A value of 0 is always off."""
    return (values >= threshold) & (values > 0)


def measure_effect(
    generator: nn.Module,
    layer: str,
    units: Sequence[int],
    values: Sequence[float],
    photos: Sequence[Subject],
    concept: str,
) -> Effect:
    """Measure the change of ab when units are forced to values, inside and outside a concept.

    Raises:
        TintlabError: no photo has the concept.
    """
    steps, inside = [], []
    for subject in photos:
        mask = concepts(subject)[concept]
        if mask.any():
            before = predict_ab(generator, subject.lightness)
            with force_units(generator, layer, units, values):
                steps.append((predict_ab(generator, subject.lightness) - before).reshape(-1, 2))
            inside.append(mask.ravel())
    if not steps:
        raise TintlabError(f"none of the photographs shows anything that is {concept}")
    step, where = np.concatenate(steps), np.concatenate(inside)
    size = np.hypot(step[:, 0], step[:, 1])
    a, b = step[where].mean(axis=0)
    return Effect(float(size[where].mean()), float(size[~where].mean()), float(a), float(b))


def _layer(generator: nn.Module, name: str) -> nn.Module:
    try:
        return generator.get_submodule(name)
    except AttributeError:
        known = [known for known, _ in generator.named_modules() if known.startswith("up") and "." in known]
        few = ", ".join(name for name in known if name.count(".") == 1)
        raise TintlabError(f"this generator has no layer {name}: it has {few}") from None


def _reduced(masks: NDArray[np.bool]) -> Tensor:
    """Masks `(concepts, h, w)` at a quarter of the size, by majority, as 0 and 1: `(concepts, pixels)`."""
    share = F.avg_pool2d(torch.from_numpy(masks.astype(np.float32))[None], _STRIDE)[0]
    return (share >= 0.5).float().flatten(1)


def _iou(on: Tensor, masks: Tensor) -> Tensor:
    """Intersection over union of units `(units, pixels)` and masks `(concepts, pixels)`: `(units, concepts)`."""
    common = on.float() @ masks.T
    union = on.sum(dim=1, keepdim=True) + masks.sum(dim=1) - common
    return common / union.clamp(min=1)
