"""Motion between two frames: where each place was in the other frame, and how far that can be trusted.

Optical flow is DIS (Kroeger et al. 2016, arXiv 1603.03590), forth and back.
"""

from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from tintlab.imaging import color

_FLOW_ERROR = 0.75  # pixels
_CHANGE = 8.0  # units of L*


@dataclass(frozen=True)
class Motion:
    """From a frame to another one beside it.

    Attributes:
        x: column in the frame where each place of the other one comes from, `(h, w)`.
        y: its row.
        trust: how sure that is, in [0, 1]: less where the flow forth and back disagree, where the picture
            changed, or where something new came into view.
    """

    x: color.Float
    y: color.Float
    trust: color.Float

    def move(self, values: color.Float) -> color.Float:
        """Values `(h, w, ...)` of the frame, as they lie in the other one.

        Interpolation is linear: it smooths colours a little, which is steadier and nearer to the truth.
        """
        moved = cv2.remap(values, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(moved, np.float32)


class MotionFinder:
    """Finds the motion between frames, which are L* as bytes `(h, w)`."""

    def __init__(self) -> None:
        self._flow: Any = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)

    def find(self, before: color.Byte, after: color.Byte) -> tuple[Motion, Motion]:
        """The motion from the frame before to the one after it, and back."""
        back = self._flow.calc(after, before, None)
        forth = self._flow.calc(before, after, None)
        return _motion(back, forth, before, after), _motion(forth, back, after, before)


def _motion(way: color.Float, other: color.Float, source: color.Byte, target: color.Byte) -> Motion:
    """The motion from `source` to `target`; `way` leads from places of the target to those of the source."""
    height, width = target.shape
    x = np.asarray(way[..., 0] + np.arange(width, dtype=np.float32), np.float32)
    y = np.asarray(way[..., 1] + np.arange(height, dtype=np.float32)[:, None], np.float32)
    found = Motion(x, y, np.zeros(0, np.float32))
    error = np.square(way + found.move(other)).sum(axis=-1) / np.float32(_FLOW_ERROR**2)
    change = found.move(source.astype(np.float32)) - target
    change = (change - np.median(change)) / np.float32(2.55 * _CHANGE)  # films flicker as a whole
    inside = (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)
    trust: NDArray[np.float32] = (
        np.exp(-np.maximum(error - 1, 0) - np.maximum(change * change - 1, 0)) * inside
    )
    return Motion(x, y, trust.astype(np.float32))
