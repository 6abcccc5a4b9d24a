"""Colours that stay with things from frame to frame.

The network looks at key frames alone. A frame's colours are the mean of what it said of the key frames before
and after, moved along optical flow. Nearer key frames weigh more, and a place that the flow can't follow takes
nothing from beyond. Such a mean is steadier than any single frame, and nearer to the truth than single frames are
on average.

Frames are read ahead of the one that is coloured, to the end of the next block of `BLOCK` frames. Colours live at
the size at which the network sees a frame.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import color
from tintlab.inference.colorizer import Canvas, Colorizer
from tintlab.inference.hints import Hint
from tintlab.inference.palettes import Palette
from tintlab.inference.working_size import reduced, working_shape
from tintlab.scoring.film_motion import Motion, MotionFinder

KEY_FRAMES = 6
"""The network looks at a shot every so many frames at least."""
BLOCK = 24
"""Frames that are coloured at a time; as many after them are looked at."""

_FADING = np.float32(0.95)  # of a key frame's weight, a frame
_LOST = 0.06  # share of the picture without sure colours at which the network looks again
_SURE = 0.5
_ANOTHER = 0.7  # share at which it must be another shot
_ENOUGH = 0.3  # weight below which a place takes colours of its neighbours
_HINTED_WEIGHT = 4.0  # of a key frame with a person's hints
_HINT_STEP = 20  # pixels
_HINT_RADIUS = 0.008
_FILL = 12.0  # pixels


@dataclass(frozen=True)
class Guide:
    """A person's hints and palette for a shot.

    Attributes:
        hints: colours at places of its first frame.
        palette: of a reference picture.
    """

    hints: tuple[Hint, ...] = ()
    palette: Palette | None = None


@dataclass
class _Mean:
    """A weighted mean of colours.

    Attributes:
        ab: `(h, w, 2)`.
        weight: `(h, w)`.
    """

    ab: color.Float
    weight: color.Float

    @classmethod
    def nothing(cls, shape: tuple[int, ...]) -> "_Mean":
        return cls(np.zeros((*shape, 2), np.float32), np.zeros(shape, np.float32))

    def moved(self, motion: Motion) -> "_Mean":
        weight = motion.move(self.weight) * motion.trust * _FADING
        return _Mean(motion.move(self.ab), weight)

    def plus(self, ab: color.Float, weight: "color.Float | np.float32") -> "_Mean":
        total = self.weight + weight
        share = (weight / np.maximum(total, np.float32(1e-6)))[..., None]
        return _Mean(self.ab + share * (ab - self.ab), total)


@dataclass
class _Frame:
    """A frame that was looked at.

    Attributes:
        small: L* `(h, w)`.
        seen: the same as bytes.
        mean: of the key frames up to this one.
        sure: how sure each place's colours are without a look at later frames, `(h, w)`.
        counts: frames so far, frames since the last key frame, looks of the network, whether hints hold.
        carried: sum of the shares of the picture that kept their colours.
        said: what the network said of a key frame, and its weight.
        back: motion from the next frame to this one.
    """

    small: color.Float
    seen: color.Byte
    mean: _Mean
    sure: color.Float
    counts: tuple[int, int, int, bool]
    carried: float
    said: tuple[color.Float, np.float32] | None = None
    back: Motion | None = None


class Carrier:
    """Colours a shot's frames in turn.

    Args:
        colorizer: whose network colours.
        guide: what a person says of the shot.
        state: of another carrier of the same shot (see `state`), to go on where it was.
    """

    def __init__(
        self, colorizer: Colorizer, guide: Guide, state: Mapping[str, NDArray[np.generic]] | None = None
    ) -> None:
        self._colorizer, self._guide = colorizer, guide
        self._motions = MotionFinder()
        self._last = None if state is None else _restored(state)

    @property
    def runs(self) -> int:
        """How often the network looked, up to the last frame that was given."""
        return self._last.counts[2] if self._last else 0

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that the next frames depend on."""
        assert self._last is not None
        return {
            "seen": self._last.seen,
            "ab": self._last.mean.ab,
            "weight": self._last.mean.weight,
            "sure": self._last.sure,
            "counts": np.array(self._last.counts, np.int64),
            "carried": np.array(self._last.carried),
        }

    def colours(self, frames: Iterable[color.Float]) -> Iterator[tuple[color.Float, color.Float]]:
        """ab `(h, w, 2)` and L* at working size of each frame.

        Args:
            frames: L* at full size, from the shot's first frame on, or from the one after the state's.
        """
        done = self._last.counts[0] if self._last else 0
        newest, source, ahead = self._last, iter(frames), deque[_Frame]()
        shape: tuple[int, ...] = ()
        while True:
            end = (done // BLOCK + 1) * BLOCK
            while done + len(ahead) < end + BLOCK and (lightness := next(source, None)) is not None:
                newest = self._look(newest, lightness)
                ahead.append(newest)
                shape = lightness.shape
            if not ahead:
                return
            if done + len(ahead) < end + BLOCK and not ahead[-1].said:  # the shot's last frame
                self._run(ahead[-1], shape, self._hints_of(ahead[-1]))
            count = min(end - done, len(ahead))
            for after in _means_after(ahead)[:count]:
                self._last = ahead.popleft()
                done += 1
                yield _filled(self._last.mean.plus(after.ab, after.weight)), self._last.small

    def _look(self, before: _Frame | None, lightness: color.Float) -> _Frame:
        """Take in the next frame: carry the colours to it, and run the network where that is due."""
        size = self._colorizer.settings.working_size
        small = reduced(lightness, working_shape(lightness.shape, size))
        seen = np.rint(small * 2.55).astype(np.uint8)
        if before is None:
            frame = _Frame(
                small, seen, _Mean.nothing(small.shape), np.zeros_like(small), (1, 0, 0, True), 0.0
            )
            self._run(frame, lightness.shape, self._guide.hints)
            return frame
        forth, before.back = self._motions.find(before.seen, seen)
        sure = forth.move(before.sure) * forth.trust
        lost = float((sure < _SURE).mean())
        number, since, runs, is_hinted = before.counts
        counts = (number + 1, since + 1, runs, is_hinted and lost <= _ANOTHER)
        frame = _Frame(small, seen, before.mean.moved(forth), sure, counts, before.carried + 1 - lost)
        if lost > _LOST or since + 1 >= KEY_FRAMES:
            self._run(frame, lightness.shape, self._hints_of(frame))
        return frame

    def _hints_of(self, frame: _Frame) -> Sequence[Hint]:
        """What a person's hints have become, for a later key frame."""
        return _as_hints(frame) if self._guide.hints and frame.counts[3] else ()

    def _run(self, frame: _Frame, shape: tuple[int, ...], hints: Sequence[Hint]) -> None:
        canvas = Canvas(self._colorizer, frame.small, shape)
        ab = canvas.working_ab(hints=hints, palette=self._guide.palette)
        number, _, runs, is_hinted = frame.counts
        weight = np.float32(_HINTED_WEIGHT if hints and number == 1 else 1)
        frame.said = ab, weight
        frame.mean = frame.mean.plus(ab, weight)
        frame.sure = np.ones_like(frame.sure)
        frame.counts = number, 0, runs + 1, is_hinted


def _restored(state: Mapping[str, NDArray[np.generic]]) -> _Frame:
    seen = np.asarray(state["seen"], np.uint8)
    ab, weight, sure = (np.asarray(state[name], np.float32) for name in ("ab", "weight", "sure"))
    number, since, runs, is_hinted = (int(value) for value in state["counts"])
    counts = number, since, runs, bool(is_hinted)
    return _Frame(sure, seen, _Mean(ab, weight), sure, counts, float(state["carried"]))


def _means_after(frames: Sequence[_Frame]) -> list[_Mean]:
    """For each frame, the mean of the key frames after it."""
    mean = _Mean.nothing(frames[-1].small.shape)
    found = [mean]
    for before, frame in zip(reversed(list(frames)[:-1]), reversed(frames), strict=False):
        assert before.back is not None
        mean = (mean.plus(*frame.said) if frame.said else mean).moved(before.back)
        found.append(mean)
    return found[::-1]


def _as_hints(frame: _Frame) -> list[Hint]:
    """The carried colours on a grid, where they are sure."""
    height, width = frame.sure.shape
    ab = np.clip(frame.mean.ab, -128, 128)
    return [
        Hint(
            (column + 0.5) / width,
            (row + 0.5) / height,
            float(ab[row, column, 0]),
            float(ab[row, column, 1]),
            _HINT_RADIUS,
        )
        for row in range(_HINT_STEP // 2, height, _HINT_STEP)
        for column in range(_HINT_STEP // 2, width, _HINT_STEP)
        if frame.sure[row, column] >= _SURE
    ]


def _filled(mean: _Mean) -> color.Float:
    """The colours; places with little weight take those of their neighbours."""
    own = np.minimum(mean.weight / np.float32(_ENOUGH), 1)[..., None]
    if own.min() == 1:
        return mean.ab
    weight = own + np.float32(1e-4)
    around = (
        cv2.GaussianBlur(mean.ab * weight, (0, 0), _FILL) / cv2.GaussianBlur(weight, (0, 0), _FILL)[..., None]
    )
    return np.asarray(own * mean.ab + (1 - own) * around, np.float32)
