"""Weigh rare colours more, so that the L1 loss does not settle on the dull mean of all photographs.

Class rebalancing as in Zhang et al. 2016 (arXiv 1603.08511, section 2.2): a pixel counts in inverse proportion
to how often its true colour appears. The frequencies are smoothed over the ab plane and mixed with a uniform
distribution.
"""

import numpy as np
import torch
from torch import Tensor

from tintlab.gan.data import Squares
from tintlab.imaging.color import AB_SCALE

_BIN = 10  # units of ab, as published
_BINS = 2 * int(AB_SCALE) // _BIN
_IN_GAMUT = 313  # bins of this width that sRGB reaches (ibid.)
_UNIFORM = 0.5  # share of the uniform distribution (ibid.)
_SMOOTHING = 5.0  # standard deviation in units of ab (ibid.)
_SAMPLE = 512  # squares that the frequencies are taken from
_STEP = 4  # only every fourth pixel counts, in both directions


def colour_weights(squares: Squares, power: float) -> Tensor | None:
    """The weight of each ab bin, `(22, 22)`, rows by a*; the mean over the pixels of the squares is 1.

    Args:
        squares: `(n, side, side, 3)` packed L*a*b*.
        power: in [0, 1]; weights are the inverse frequencies to this power. 0 gives None: no weights.
    """
    if not power:
        return None
    places = np.unique(np.linspace(0, len(squares) - 1, _SAMPLE).astype(int))
    ab = np.stack([squares[place, ::_STEP, ::_STEP, 1:] for place in places]).reshape(-1, 2).astype(np.int64)
    bins = np.clip((ab - 128 + int(AB_SCALE)) // _BIN, 0, _BINS - 1)
    counts = np.bincount(bins[:, 0] * _BINS + bins[:, 1], minlength=_BINS**2).reshape(_BINS, _BINS)
    places_of_bins = np.arange(_BINS) * _BIN
    kernel = np.exp(-(((places_of_bins[:, None] - places_of_bins) / _SMOOTHING) ** 2) / 2)
    kernel /= kernel.sum(axis=1, keepdims=True)
    frequencies = counts / counts.sum()
    smooth = kernel @ frequencies @ kernel.T
    weights = ((1 - _UNIFORM) * smooth + _UNIFORM / _IN_GAMUT) ** -power
    return torch.from_numpy((weights / (weights * frequencies).sum()).astype(np.float32))


def weights_of(table: Tensor, ab: Tensor) -> Tensor:
    """The weight of each pixel, `(n, 1, h, w)`, by its true colour ab / 110 `(n, 2, h, w)`."""
    bins = ((ab * AB_SCALE + AB_SCALE) / _BIN).long().clamp(0, _BINS - 1)
    return table[bins[:, 0], bins[:, 1]][:, None]
