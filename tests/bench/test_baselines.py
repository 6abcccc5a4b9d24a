"""The baselines do what their description says; where tintlab does the same faster, both agree."""

import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from baselines.dataset import Photographs
from baselines.inference import full_picture
from tintlab.gan.data import scaled
from tintlab.imaging import color


def test_photographs_are_those_that_our_squares_hold(
    tmp_path: Path, picture: Callable[..., np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a square that needs no resizing, up to the rounding of the squares to bytes."""
    rgb = picture(64, 64, 3)
    Image.fromarray(rgb).save(tmp_path / "photo.png")
    ours = scaled(color.quantise(color.rgb_to_lab(rgb))[None])
    monkeypatch.setattr(random, "random", lambda: 0.9)
    L, ab = Photographs([tmp_path / "photo.png"], 64)[0]
    torch.testing.assert_close(L, ours.L[0], rtol=0, atol=0.5 / 127.5 + 1e-4)
    torch.testing.assert_close(ab, ours.ab[0], rtol=0, atol=0.5 / 110 + 1e-4)
    monkeypatch.setattr(random, "random", lambda: 0.1)
    mirrored, _ = Photographs([tmp_path / "photo.png"], 64)[0]
    torch.testing.assert_close(mirrored, L.flip(2))


class Constant(nn.Module):
    """A generator that paints everything in one colour."""

    def __init__(self, a: float, b: float) -> None:
        super().__init__()
        self.ab = torch.tensor([a, b])[:, None, None] / 110

    def forward(self, L: torch.Tensor) -> torch.Tensor:
        """The colour, everywhere."""
        return self.ab.expand(len(L), 2, *L.shape[2:])


def test_the_merge_keeps_the_photographs_size_and_lightness(picture: Callable[..., np.ndarray]) -> None:
    photo = Image.fromarray(picture(90, 70, 1)).convert("L")
    grey = full_picture(photo, Constant(0, 0), size=32)
    np.testing.assert_allclose(grey, np.asarray(photo.convert("RGB")), atol=1)
    tinted = full_picture(photo, Constant(5, 5), size=32)
    lab = color.rgb_to_lab(tinted)
    dark = np.asarray(photo) > 40
    assert np.abs(lab[..., 0] - color.rgb_to_lab(grey)[..., 0])[dark].max() < 1
    assert lab[..., 1:][dark].mean() == pytest.approx(5, abs=0.5)
