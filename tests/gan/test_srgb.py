import numpy as np
import torch

from tintlab.gan.srgb import grey_srgb, lab_srgb
from tintlab.imaging import color


def test_lab_srgb_is_the_colour_modules_conversion() -> None:
    levels = np.linspace(0, 255, 18).astype(np.uint8)
    rgb = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(1, -1, 18, 3)
    lab = torch.from_numpy(color.rgb_to_lab(rgb)).permute(0, 3, 1, 2)
    ours = lab_srgb(lab[:, :1] / 50 - 1, lab[:, 1:] / 110)
    np.testing.assert_allclose(ours.permute(0, 2, 3, 1).numpy(), rgb / 255, atol=2e-3)


def test_grey_srgb_has_the_lightness_it_was_made_from() -> None:
    L = torch.linspace(-1, 1, 101).reshape(1, 1, 1, -1)
    grey = grey_srgb(L)
    assert grey.shape == (1, 3, 1, 101)
    back = color.rgb_to_lab(grey.permute(0, 2, 3, 1).numpy())
    np.testing.assert_allclose(back[0, 0, :, 0], (L[0, 0, 0].numpy() + 1) * 50, atol=0.01)


def test_gradients_are_finite_everywhere_even_out_of_gamut() -> None:
    L = torch.linspace(-1, 1, 64).reshape(1, 1, 8, 8).requires_grad_()
    ab = (torch.rand(1, 2, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1).requires_grad_()
    lab_srgb(L, ab).sum().backward()
    assert L.grad is not None and ab.grad is not None
    assert torch.isfinite(L.grad).all() and torch.isfinite(ab.grad).all()
