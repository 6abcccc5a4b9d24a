"""Colours that a person sets at points of a photograph. Nothing here needs torch."""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tintlab.gan.hint_maps import Array, disc, draw_hint, empty_map
from tintlab.imaging import color
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path

DEFAULT_RADIUS = 0.02
LARGEST_RADIUS = 0.5
MOST_HINTS = 10_000
_LIKENESS = 40.0  # units of L*a*b* at which colours are no longer alike
_EVERYWHERE = 0.25  # share of a hint's change that all of the picture takes
_LARGEST_FILE = 8 << 20  # bytes
LARGEST_AB = 128.0
_SAID = 500  # hints, in a file's XMP: a JPEG file's holds 65 kB
_HEX = re.compile(r"#[0-9a-fA-F]{6}")
_KEYS = {"x", "y", "px", "py", "ab", "rgb", "radius"}


@dataclass(frozen=True)
class Hint:
    """A colour at a point.

    Attributes:
        x: share of the width from the left edge, in [0, 1].
        y: share of the height from the top edge, in [0, 1].
        a: CIE a*.
        b: CIE b*.
        radius: of the disc that has this colour, as a share of the longer side.
    """

    x: float
    y: float
    a: float
    b: float
    radius: float = DEFAULT_RADIUS

    def __post_init__(self) -> None:
        """Refuse values out of range.

        Raises:
            TintlabError: with the value and its range.
        """
        for name, low, high in (
            ("x", 0.0, 1.0),
            ("y", 0.0, 1.0),
            ("a", -LARGEST_AB, LARGEST_AB),
            ("b", -LARGEST_AB, LARGEST_AB),
            ("radius", 0.0, LARGEST_RADIUS),
        ):
            value = getattr(self, name)
            # A comparison with NaN is false.
            if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
                raise TintlabError(
                    f"a hint's {name} is {str(value)[:40]!r}: give a number from {low:g} to {high:g}"
                )


def hint_map(hints: Sequence[Hint], shape: tuple[int, int]) -> Array:
    """Draw hints into a map `(3, height, width)`, see `gan.hint_maps`; later hints lie over earlier ones."""
    height, width = shape
    drawn = empty_map(height, width)
    for hint in hints:
        draw_hint(drawn, hint.x * width, hint.y * height, hint.radius * max(shape), (hint.a, hint.b))
    return drawn


def spread(
    hints: Sequence[Hint], lightness: color.Float, plain: color.Float, hinted: color.Float
) -> color.Float:
    """Let hints change what is like the places that they were given for, and the rest of the picture less.

    A generator lets a hint spread too far: red of a car to the wall beside it. A pixel takes the whole change
    where its lightness and its colour without hints are those of a hint's place, and at least a quarter of it.

    Args:
        hints: at least one.
        lightness: L* `(h, w)`.
        plain: ab `(h, w, 2)` without hints.
        hinted: ab `(h, w, 2)` with them.
    """
    height, width = lightness.shape
    near = np.zeros((height, width), np.float32)
    for hint in hints:
        rows, columns, inside = disc(
            (height, width), hint.x * width, hint.y * height, hint.radius * max(height, width)
        )
        tone = lightness[rows, columns][inside].mean()
        tint = plain[rows, columns][inside].mean(axis=0)
        far = (lightness - tone) ** 2 + ((plain - tint) ** 2).sum(axis=-1)
        np.maximum(near, np.exp(far / np.float32(-2 * _LIKENESS**2)), out=near)
        near[rows, columns][inside] = 1
    share = (_EVERYWHERE + (1 - _EVERYWHERE) * near)[..., None].astype(np.float32)
    return np.asarray(plain + share * (hinted - plain), np.float32)


def read_hints(path: Path, shape: tuple[int, ...]) -> tuple[Hint, ...]:
    """Read hints from a JSON file: a list, or an object with the list under "hints".

    A hint has a place, as shares (`x`, `y`) or as pixels (`px`, `py`), and a colour, as `ab` [a*, b*] or as `rgb`
    "#rrggbb" in sRGB; its `radius` may be left out.

    Args:
        path: of the file.
        shape: height and width of the photograph in pixels.

    Raises:
        TintlabError: with the file, the hint and the fault.
    """
    return parse_hints(read_list(path, "hints"), shape, str(path))


def describe_hints(hints: Sequence[Hint]) -> str:
    """How many hints, then each: place, colour, radius; of many, the first. Empty without any."""
    if not hints:
        return ""
    each = [
        f"{hint.x:.4g},{hint.y:.4g}: {hint.a:.4g},{hint.b:.4g} r {hint.radius:.3g}" for hint in hints[:_SAID]
    ]
    more = len(hints) - len(each)
    return f"{len(hints)} (x,y: a,b): {'; '.join(each)}{f'; and {more} more' if more else ''}"


def read_list(path: Path, of: str) -> Any:
    """Read a JSON file that a person wrote.

    Args:
        path: of the file.
        of: what it should list, for the messages.

    Raises:
        TintlabError: it can't be read, is too large, or is not JSON.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise TintlabError(f"{path} is larger than {_LARGEST_FILE >> 20} MB: that is no list of {of}")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise TintlabError(f"can't read {path}: {error.strerror}") from None
    except (ValueError, RecursionError):
        raise TintlabError(f"{path} is not JSON: give a list of {of}") from None


def parse_hints(content: Any, shape: tuple[int, ...], where: str) -> tuple[Hint, ...]:
    """As `read_hints`, from what the JSON holds; `where` it came from is part of a fault's message.

    Raises:
        TintlabError: with the hint and the fault.
    """
    entries = content.get("hints") if isinstance(content, dict) else content
    if not isinstance(entries, list) or len(entries) > MOST_HINTS:
        raise TintlabError(f"{where} holds no list of at most {MOST_HINTS} hints")
    hints = []
    for number, entry in enumerate(entries, start=1):
        try:
            hints.append(_parse_hint(entry, shape))
        except TintlabError as error:
            raise TintlabError(f"{where}, hint {number}: {error}") from None
    return tuple(hints)


def write_hints(path: Path, hints: Sequence[Hint]) -> None:
    """Write hints so that `read_hints` reads the same ones for a photograph of any size."""
    entries = [{"x": hint.x, "y": hint.y, "ab": [hint.a, hint.b], "radius": hint.radius} for hint in hints]
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"hints": entries}, indent=1) + "\n", encoding="utf-8")


def _parse_hint(entry: Any, shape: tuple[int, ...]) -> Hint:
    if not isinstance(entry, dict):
        raise TintlabError("give an object with a place and a colour")
    if unknown := sorted(set(entry) - _KEYS):
        raise TintlabError(f"unknown key {unknown[0][:40]!r}: there are {', '.join(sorted(_KEYS))}")
    x, y = _parse_place(entry, shape)
    a, b = _parse_colour(entry)
    return Hint(x, y, a, b, entry.get("radius", DEFAULT_RADIUS))


def _parse_place(entry: dict[str, Any], shape: tuple[int, ...]) -> tuple[Any, Any]:
    match ("x" in entry, "y" in entry, "px" in entry, "py" in entry):
        case (True, True, False, False):
            return entry["x"], entry["y"]
        case (False, False, True, True):
            height, width = shape[:2]
            return _share(entry["px"], width, "px"), _share(entry["py"], height, "py")
        case _:
            raise TintlabError("give its place as x and y, or as px and py")


def _share(pixel: Any, length: int, name: str) -> float:
    """The middle of a pixel as a share of the side."""
    if isinstance(pixel, bool) or not isinstance(pixel, int | float) or not 0 <= pixel < length:
        raise TintlabError(f"{name} is {str(pixel)[:40]!r}: the photograph has pixels 0 to {length - 1}")
    return min((pixel + 0.5) / length, 1.0)


def _parse_colour(entry: dict[str, Any]) -> tuple[Any, Any]:
    if ("ab" in entry) == ("rgb" in entry):
        raise TintlabError('give its colour as ab [a*, b*], or as rgb "#rrggbb"')
    if "ab" in entry:
        ab = entry["ab"]
        if not isinstance(ab, list) or len(ab) != 2:
            raise TintlabError("ab is not a list of two numbers")
        return ab[0], ab[1]
    text = entry["rgb"]
    if not isinstance(text, str) or not _HEX.fullmatch(text):
        raise TintlabError(f'rgb is {str(text)[:40]!r}: write "#rrggbb"')
    pixel = np.array([[[int(text[at : at + 2], 16) for at in (1, 3, 5)]]], np.uint8)
    _, a, b = color.rgb_to_lab(pixel)[0, 0].tolist()
    return a, b
