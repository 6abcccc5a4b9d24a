"""Colours that stay with things from frame to frame.

Colours are kept at the size at which the network sees a frame. From one frame to the next they move along optical
flow (DIS, Kroeger et al. 2016, arXiv 1603.03590). Each place has a confidence: 1 where the network coloured it,
less where forward and backward flow disagree, where the picture changed, or where something new came into view.
The network runs on key frames, and on frames where too much of the picture has lost its colours. It gets the
carried colours as hints. Its output replaces them where their confidence is low; elsewhere a shot's colours move
slowly towards the mean of its outputs for all key frames.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import color
from tintlab.inference.colorizer import Canvas, Colorizer
from tintlab.inference.guided import joined
from tintlab.inference.hints import Hint
from tintlab.inference.palettes import Palette
from tintlab.inference.working_size import reduced, working_shape

KEY_FRAMES = 24
"""The network looks at a shot every so many frames at least."""

_LOST = 0.06  # share of the picture without sure colours at which the network runs
_SURE = 0.5
_ANOTHER = 0.7  # share at which it must be another shot
_FLOW_ERROR = 0.75  # pixels
_CHANGE = 8.0  # units of L*
_LEAST_GAIN = 1 / 8
_HINT_STEP = 20  # pixels
_HINT_RADIUS = 0.008
_HINT_SURE = 0.8
_FILL = 12.0  # pixels


@dataclass(frozen=True)
class Guide:
    """A person's hints and palette for a shot.

    Attributes:
        hints: colours at places of its first frame.
        palette: of a reference picture; None takes the shot's own first colours.
    """

    hints: tuple[Hint, ...] = ()
    palette: Palette | None = None


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
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
        self._seen: color.Byte | None = None
        self._ab = self._aim = self._sure = np.zeros(0, np.float32)
        self._palette: Palette | None = guide.palette
        self._since = self._keys = self.runs = 0
        self.carried = 0.0
        if state is not None:
            self._seen = np.asarray(state["seen"], np.uint8)
            self._ab, self._aim, self._sure = (
                np.asarray(state[n], np.float32) for n in ("ab", "aim", "sure")
            )
            self._since, self._keys, self.runs = (int(number) for number in state["counts"])
            self.carried = float(state["carried"])
            if len(state["palette"]):
                self._palette = Palette(np.asarray(state["palette"], np.float32))

    def state(self) -> dict[str, NDArray[np.generic]]:
        """All that the next frame depends on."""
        assert self._seen is not None
        return {
            "seen": self._seen,
            "ab": self._ab,
            "aim": self._aim,
            "sure": self._sure,
            "counts": np.array([self._since, self._keys, self.runs]),
            "carried": np.array(self.carried),
            "palette": np.zeros(0, np.float32) if self._palette is None else self._palette.vector,
        }

    def colour(self, lightness: color.Float) -> tuple[color.Float, color.Float]:
        """The next frame's ab `(h, w, 2)` and L* at working size, from its L* at full size."""
        size = self._colorizer.settings.working_size
        small = reduced(lightness, working_shape(lightness.shape, size))
        seen = np.rint(small * 2.55).astype(np.uint8)
        before, self._seen = self._seen, seen
        if before is None:
            self._begin(small, lightness.shape)
        else:
            self._carry(before, seen)
            lost = float((self._sure < _SURE).mean())
            self.carried += 1 - lost
            if lost > _ANOTHER:
                self._palette, self._guide = self._guide.palette, Guide((), self._guide.palette)
                self._begin(small, lightness.shape)
            elif lost > _LOST or self._since >= KEY_FRAMES:
                self._look_again(small, lightness.shape)
            else:
                self._fill()
            left = max(1, KEY_FRAMES - self._since)
            self._ab = self._ab + (self._aim - self._ab) / np.float32(left)
        return self._ab, small

    def _begin(self, small: color.Float, shape: tuple[int, ...]) -> None:
        self._ab = self._run(small, shape, self._guide.hints)
        self._aim, self._sure = self._ab, np.ones(small.shape, np.float32)
        self._since, self._keys = 0, 1
        if self._palette is None and self._colorizer.takes_hints:
            self._palette = Palette.of(joined(small, self._ab))

    def _look_again(self, small: color.Float, shape: tuple[int, ...]) -> None:
        """Run the network: its colours where those that were carried are not sure, and into the mean."""
        new = self._run(small, shape, self._as_hints())
        sure = self._sure[..., None]
        if self._since >= KEY_FRAMES:
            self._since, self._keys = 0, self._keys + 1
            gain = np.float32(max(1 / self._keys, _LEAST_GAIN))
            self._aim = self._aim + gain * (new - self._aim)
        self._ab = sure * self._ab + (1 - sure) * new
        self._aim = sure * self._aim + (1 - sure) * new
        self._sure = np.ones_like(self._sure)

    def _run(self, small: color.Float, shape: tuple[int, ...], hints: Sequence[Hint]) -> color.Float:
        self.runs += 1
        palette = self._palette if self._colorizer.takes_hints else None
        return Canvas(self._colorizer, small, shape).working_ab(hints=hints, palette=palette)

    def _as_hints(self) -> list[Hint]:
        """The carried colours on a grid, where they are sure."""
        if not self._colorizer.takes_hints:
            return []
        height, width = len(self._sure), self._sure.shape[-1]
        ab = np.clip(self._ab, -128, 128)
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
            if self._sure[row, column] >= _HINT_SURE
        ]

    def _carry(self, before: color.Byte, seen: color.Byte) -> None:
        """Move the colours along the flow, and say how sure each is."""
        back = self._flow.calc(seen, before, None)
        forth = self._flow.calc(before, seen, None)
        height, width = seen.shape
        at_x = back[..., 0] + np.arange(width, dtype=np.float32)
        at_y = back[..., 1] + np.arange(height, dtype=np.float32)[:, None]

        def moved(values: NDArray[np.generic], how: int = cv2.INTER_LINEAR) -> color.Float:
            return np.asarray(cv2.remap(values, at_x, at_y, how, borderMode=cv2.BORDER_REPLICATE), np.float32)

        error = np.square(back + moved(forth)).sum(axis=-1) / np.float32(_FLOW_ERROR**2)
        change = moved(before.astype(np.float32)) - seen
        change = (change - np.median(change)) / np.float32(2.55 * _CHANGE)  # films flicker as a whole
        inside = (at_x > -0.5) & (at_x < width - 0.5) & (at_y > -0.5) & (at_y < height - 0.5)
        trust = np.exp(-np.maximum(error - 1, 0) - np.maximum(change * change - 1, 0)) * inside
        self._ab = moved(self._ab, cv2.INTER_CUBIC)
        self._aim = moved(self._aim, cv2.INTER_CUBIC)
        self._sure = (moved(self._sure) * trust).astype(np.float32)
        self._since += 1

    def _fill(self) -> None:
        """Give the places without sure colours those of their neighbours, until the network runs."""
        weight = self._sure[..., None] + np.float32(1e-4)
        total = cv2.GaussianBlur(weight, (0, 0), _FILL)[..., None]
        for name in ("_ab", "_aim"):
            own = getattr(self, name)
            around = cv2.GaussianBlur(own * weight, (0, 0), _FILL) / total
            setattr(self, name, weight * own + (1 - np.minimum(weight, 1)) * around)
