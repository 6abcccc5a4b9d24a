"""Convert L*a*b* to sRGB inside the networks: differentiable, on tensors scaled as in `gan.data`.

The formulas are those of `tintlab.imaging.color`, which works on arrays and without gradients.
"""

import torch
from torch import Tensor

from tintlab.imaging.color import AB_SCALE, RGB_FROM_WHITE

_DELTA = 6 / 29  # where CIE 15's cube root gives way to a line
_LINEAR_END = 0.0031308  # where IEC 61966-2-1's power gives way to a line


def grey_srgb(L: Tensor) -> Tensor:
    """The grey sRGB picture `(n, 3, h, w)` in [0, 1] that has the lightness L `(n, 1, h, w)` in [-1, 1]."""
    y = _uncompressed((L * 50 + 66) / 116)
    return _companded(y).clamp(0, 1).expand(-1, 3, -1, -1)


def lab_srgb(L: Tensor, ab: Tensor) -> Tensor:
    """The sRGB picture `(n, 3, h, w)` of L `(n, 1, h, w)` and ab `(n, 2, h, w)` in [-1, 1], clipped to [0, 1]."""
    fy = (L * 50 + 66) / 116
    a, b = (ab * AB_SCALE).chunk(2, dim=1)
    xyz = _uncompressed(torch.cat([fy + a / 500, fy, fy - b / 200], dim=1))
    matrix = torch.as_tensor(RGB_FROM_WHITE, dtype=xyz.dtype, device=xyz.device)
    return _companded(torch.einsum("nchw,cd->ndhw", xyz, matrix)).clamp(0, 1)


def _uncompressed(f: Tensor) -> Tensor:
    return torch.where(f > _DELTA, f**3, 3 * _DELTA**2 * (f - 4 / 29))


def _companded(linear: Tensor) -> Tensor:
    # The clamp keeps the power's gradient finite where the other branch is taken.
    power = 1.055 * linear.clamp(min=_LINEAR_END) ** (1 / 2.4) - 0.055
    return torch.where(linear > _LINEAR_END, power, 12.92 * linear)
