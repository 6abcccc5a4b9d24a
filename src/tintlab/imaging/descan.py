"""Even out the fading of a print by a robust, limited stretch of L*.

The darkest and the lightest tones move apart, at most to where a fresh print has them. The new L* of a pixel
depends only on its old L*. The stretch is strictly increasing: darker pixels stay darker.
"""

from dataclasses import dataclass

import numpy as np

from tintlab.imaging import color

_FRESH = (5.0, 95.0)  # L* of the darkest and the lightest tones of a fresh print
_FADED = (14.0, 22.0)  # L* of the darkest tones from which on a print is faded, and wholly so
_PERCENTILES = (0.5, 99.5)
_BORDER = 0.05  # share of each side that is ignored: scans show paper, album pages and shadows there
_LARGEST_MOVES = (25.0, 15.0)  # of black and of white, in L*
_LARGEST_GAIN = 1.6
_ENOUGH = 1_000_000  # pixels to look at


@dataclass(frozen=True)
class Stretch:
    """A stretch that moves two tones; the others are interpolated, and 0 and 100 stay.

    Attributes:
        black: L* of the darkest tones.
        white: L* of the lightest.
        to_black: their new L*.
        to_white: see `to_black`.
    """

    black: float
    white: float
    to_black: float
    to_white: float

    def text(self) -> str:
        """The stretch as text: `L* 24.1 to 6.3, 81.0 to 94.2`."""
        return f"L* {self.black:.1f} to {self.to_black:.1f}, {self.white:.1f} to {self.to_white:.1f}"

    def apply(self, lightness: color.Float) -> None:
        """Stretch L* `(h, w)` in place."""
        if (self.black, self.white) == (self.to_black, self.to_white):
            return
        tones = [0.0, self.black, self.white, 100.0]
        new = [0.0, self.to_black, self.to_white, 100.0]
        for rows in color.strips(lightness.shape):
            lightness[rows] = np.interp(lightness[rows], tones, new)


def even_out(lightness: color.Float) -> Stretch:
    """Even out the fading of a print, in place.

    A picture whose darkest tones are those of a fresh print stays as it is.

    Args:
        lightness: L* `(h, w)` float32 in [0, 100].

    Returns:
        The stretch that was applied.
    """
    found = _find_stretch(lightness)
    found.apply(lightness)
    return found


def _find_stretch(lightness: color.Float) -> Stretch:
    height, width = lightness.shape
    down, right = int(height * _BORDER), int(width * _BORDER)
    inner = lightness[down : height - down, right : width - right]
    step = max(1, int(np.sqrt(inner.size / _ENOUGH)))
    low, high = (float(value) for value in np.percentile(inner[::step, ::step], _PERCENTILES))
    # Black that has risen is the sign of fading; white alone may be low in a fresh picture, as at night.
    faded = float(np.clip((low - _FADED[0]) / (_FADED[1] - _FADED[0]), 0, 1))
    darker = faded * min(max(0.0, low - _FRESH[0]), _LARGEST_MOVES[0])
    lighter = faded * min(max(0.0, _FRESH[1] - high), _LARGEST_MOVES[1])
    # Low contrast may be mist, so the gain is limited, and the two ends share what the limit allows.
    allowed = (_LARGEST_GAIN - 1) * (high - low)
    share = min(1.0, allowed / (darker + lighter)) if darker + lighter else 0.0
    return Stretch(low, high, low - share * darker, high + share * lighter)
