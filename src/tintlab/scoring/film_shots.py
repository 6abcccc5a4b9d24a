"""The shots of a film: where it cuts from one picture to another.

A cut is where the brightness of the picture's parts changes at once and far more than it did just before. A flash
of light is no cut: the frames after it look like those before.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tintlab.scoring.film_file import Frame

_SMALL = (64, 48)
_PARTS = 4  # across and down
_LEVELS = 16
_LEAST = 0.30
_TIMES = 3.0
_MEMORY = 12
_FLASH = 3  # frames

Look = NDArray[np.float32]


@dataclass(frozen=True)
class Shot:
    """Frames between two cuts.

    Attributes:
        number: from 1.
        first: its first frame's number, from 0.
        frames: how many.
        start: its first frame's time in ticks.
        end: its last frame's time in ticks.
    """

    number: int
    first: int
    frames: int
    start: int
    end: int


def find_shots(frames: Iterable[Frame]) -> Iterator[Shot]:
    """Cut a film into its shots; a few frames are in memory at a time."""
    cuts = _Cuts()
    number, first, start, last, index = 1, 0, 0, 0, -1
    times: deque[int] = deque(maxlen=_FLASH + 1)
    for index, frame in enumerate(frames):
        if index == 0:
            start = frame.pts
        times.append(frame.pts)
        if (back := cuts.add(look_of(frame.lightness))) is not None:
            cut = index - back
            yield Shot(number, first, cut - first, start, times[-2 - back])
            number, first, start = number + 1, cut, times[-1 - back]
        last = frame.pts
    if index >= 0:
        yield Shot(number, first, index + 1 - first, start, last)


def look_of(lightness: NDArray[np.float32]) -> Look:
    """The features that are compared: the histogram of L* in each of the picture's parts, `(parts, levels)`."""
    small = cv2.resize(lightness, _SMALL, interpolation=cv2.INTER_AREA)
    place = np.clip(small * ((_LEVELS - 1) / 100), 0, _LEVELS - 1.001)
    low = place.astype(np.int64)
    share = place - low
    rows, columns = np.indices(small.shape)
    part = rows * _PARTS // small.shape[0] * _PARTS + columns * _PARTS // small.shape[1]
    bins = (part * _LEVELS + low).ravel()
    size = _PARTS**2 * _LEVELS
    counts = (
        np.bincount(bins, (1 - share).ravel(), size) + np.bincount(bins + 1, share.ravel(), size + 1)[:size]
    )
    look = counts.reshape(_PARTS**2, _LEVELS) / (small.size / _PARTS**2)
    result: Look = look.astype(np.float32)
    return result


def distance(one: Look, other: Look) -> float:
    """How different two pictures look, in [0, 1]."""
    return float(np.abs(one - other).sum(axis=1).mean() / 2)


class _Cuts:
    """Decides of each frame, a few frames later, whether a shot begins with it."""

    def __init__(self) -> None:
        self._before: deque[float] = deque(maxlen=_MEMORY)
        self._old: Look | None = None  # the last frame before a change that may be a cut
        self._waited = 0
        self._last: Look | None = None

    def add(self, look: Look) -> int | None:
        """How many frames ago a shot began, as is known now; None where it is not or there was no cut."""
        if self._last is None:
            self._last = look
            return None
        change = distance(self._last, look)
        usual = float(np.median(self._before)) if self._before else 0.0
        is_sudden = change > max(_LEAST, _TIMES * usual)
        self._last, before = look, self._last
        if self._old is not None:
            self._waited += 1
            if distance(self._old, look) < _LEAST:  # a flash is over
                self._old = None
                return None
            if self._waited >= _FLASH - 1:
                back, self._old = self._waited, None
                self._before.clear()
                return back
            return None
        if is_sudden:
            self._old, self._waited = before, 0
        else:
            self._before.append(change)
        return None
