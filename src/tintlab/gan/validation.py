"""Colour the validation squares with a generator, and compute the score that chooses the best weights."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from tintlab.gan.data import Squares, scaled
from tintlab.gan.kernel_loss import kernel_distance
from tintlab.gan.perceptual import PerceptualLoss
from tintlab.imaging import color

_BATCH = 16


def predict(
    generator: Callable[..., Tensor],
    L: Tensor,
    device: torch.device,
    *inputs: Tensor | None,
) -> Tensor:
    """ab / 110 of `L` `(n, 1, h, w)` on the CPU, in small batches.

    Args:
        generator: see `PretrainedUNet`.
        L: of the pictures.
        device: of the generator.
        inputs: noise, hints and palettes, one row per picture; None for those not given.
    """
    places = torch.split(torch.arange(len(L)), _BATCH)
    with torch.inference_mode():
        return torch.cat(
            [
                generator(
                    L[place].to(device),
                    *(None if each is None else each[place].to(device) for each in inputs),
                )
                .float()
                .cpu()
                for place in places
            ]
        )


def variety(one: Tensor, other: Tensor) -> float:
    """How far apart two colourings ab / 110 `(n, 2, h, w)` are: mean distance in the ab plane, in units of ab."""
    return float((one - other).norm(dim=1).mean()) * color.AB_SCALE


class Validation:
    """The validation squares, and how near predicted colours come to theirs.

    Args:
        squares: `(n, h, w, 3)` packed L*a*b*.
        perceptual: the loss on the generator's own encoder, which is not the judge's network.
        device: the device of that loss.
        as_a_set: `val_score` counts the kernel distance, too.
    """

    def __init__(
        self, squares: Squares, perceptual: PerceptualLoss, device: torch.device, as_a_set: bool = False
    ) -> None:
        pictures = scaled(squares)
        self.L, self.ab = pictures.L, pictures.ab
        self._true = color.dequantise(squares)
        self._perceptual = perceptual
        self._as_a_set = as_a_set
        self._parts = [part.to(device) for part in torch.split(pictures.L, _BATCH)]
        with torch.inference_mode():
            self._wanted = [
                perceptual.features(L, ab.to(device))
                for L, ab in zip(self._parts, torch.split(pictures.ab, _BATCH), strict=True)
            ]
        self._grey_distance, self._grey_kernel = self._distances(torch.zeros_like(pictures.ab))

    def figures(self, predicted: Tensor) -> dict[str, float]:
        """Compare predicted colours, ab / 110 `(n, 2, h, w)`, with the squares' own.

        Returns:
            `val_L1`: mean |ab error| / 110. `val_psnr`: dB of the 8-bit sRGB pictures. `val_colourfulness`:
            mean over the squares. `val_perceptual`: the perceptual loss. `val_kernel`: the kernel distance of
            the encoder's pooled features. `val_score`: L1 and perceptual loss, each as a share of grey's,
            plus half the relative gap in colourfulness, |C - C_true| / C_true; less is better, grey scores
            2.5, the truth 0. `as_a_set` adds the root of the kernel distance, as a share of grey's, and grey
            scores 3.5. Grey does not win against colours that equal it in L1 and perceptual loss: they score
            better by having about the right amount of colour. Early, loud colours score badly, because they
            look wrong to the encoder.
        """
        true = self._true
        ab = predicted.permute(0, 2, 3, 1).numpy() * np.float32(color.AB_SCALE)
        error = np.abs(ab - true[..., 1:]).mean(dtype=np.float64)
        grey_error = np.abs(true[..., 1:]).mean(dtype=np.float64)
        squared, colourfulness, colourfulness_true = 0.0, 0.0, 0.0
        for square, guess in zip(true, ab, strict=True):
            rgb_true = color.to_bytes(color.lab_to_rgb(square))
            rgb = color.to_bytes(color.lab_to_rgb(np.concatenate([square[..., :1], guess], axis=-1)))
            squared += float(np.square(rgb.astype(np.float64) - rgb_true).mean())
            colourfulness += color.colourfulness(rgb)
            colourfulness_true += color.colourfulness(rgb_true)
        distance, kernel = self._distances(predicted)
        shares = float(error / max(grey_error, 1e-9)) + distance / max(self._grey_distance, 1e-9)
        if self._as_a_set:
            # The root: the discrepancy is the square of a distance.
            shares += math.sqrt(max(kernel, 0.0) / max(self._grey_kernel, 1e-9))
        gap = abs(colourfulness - colourfulness_true) / max(colourfulness_true, 1e-9)
        return {
            "val_L1": float(error) / color.AB_SCALE,
            "val_psnr": float(10 * np.log10(255**2 / max(squared / len(ab), 1e-9))),
            "val_colourfulness": colourfulness / len(ab),
            "val_perceptual": distance,
            "val_kernel": kernel,
            "val_score": shares + gap / 2,
        }

    def _distances(self, predicted: Tensor) -> tuple[float, float]:
        """The perceptual loss of all squares, and their kernel distance from the true ones."""
        total, pooled = 0.0, []
        with torch.inference_mode():
            for L, ab, wanted in zip(self._parts, torch.split(predicted, _BATCH), self._wanted, strict=True):
                seen = self._perceptual.features(L, ab.to(L.device))
                total += float(self._perceptual.distance(seen, wanted)) * len(L)
                pooled.append(seen[-1])
            true = torch.cat([wanted[-1] for wanted in self._wanted])
            return total / len(predicted), kernel_distance(torch.cat(pooled), true)


def sample_picks(squares: Squares, count: int) -> Squares:
    """`count` squares spread evenly over the set, the same ones at each call."""
    return squares.take(np.linspace(0, len(squares) - 1, min(count, len(squares))).astype(int), axis=0)
