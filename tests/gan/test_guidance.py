import pytest
import torch
from torch import Tensor

from tintlab.gan.hint_maps import PALETTE_LENGTH, draw_hint, empty_map
from tintlab.gan.pretrained_unet import PretrainedUNet

SIDE = 96


@pytest.fixture
def generator() -> PretrainedUNet:
    """Its hint layers are not at their zeros any more, as after training."""
    torch.manual_seed(0)
    generator = PretrainedUNet(8, z_dim=4, hints=True, pretrained=False).eval()
    for name, weight in generator.named_parameters():
        if name.startswith(("hints.additions", "hints.colours", "palette.")):
            torch.nn.init.normal_(weight, 0.0, 0.2)
    return generator


def lightness(count: int) -> Tensor:
    return torch.rand(count, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def one_hint(x: float, y: float) -> Tensor:
    hint_map = empty_map(SIDE, SIDE)
    draw_hint(hint_map, x, y, 3, (60, 40))
    return torch.from_numpy(hint_map)[None]


def palette() -> Tensor:
    vector = torch.zeros(1, PALETTE_LENGTH)
    vector[0, [70, 80, -1]] = torch.tensor([0.5, 0.5, 0.4])
    return vector


def test_empty_inputs_change_no_bit(generator: PretrainedUNet) -> None:
    L = lightness(2)
    with torch.inference_mode():
        plain = generator(L)
        assert torch.equal(generator(L, hints=torch.zeros(2, 3, SIDE, SIDE)), plain)
        assert torch.equal(generator(L, palette=torch.zeros(2, PALETTE_LENGTH)), plain)
        z = torch.randn(2, 4)
        varied = generator(L, z)
        empty = torch.zeros(2, 3, SIDE, SIDE), torch.zeros(2, PALETTE_LENGTH)
        assert torch.equal(generator(L, z, *empty), varied)


def test_new_layers_change_no_bit() -> None:
    torch.manual_seed(0)
    fresh = PretrainedUNet(8, hints=True, pretrained=False).eval()
    L = lightness(1)
    with torch.inference_mode():
        assert torch.equal(fresh(L, hints=one_hint(40, 40), palette=palette()), fresh(L))


def test_hints_draw_their_weights_aside() -> None:
    states = []
    for hints in (False, True):
        torch.manual_seed(5)
        generator = PretrainedUNet(8, z_dim=4, hints=hints, pretrained=False)
        states.append(generator.state_dict() | {"next": torch.rand(3)})
    assert all(torch.equal(value, states[1][name]) for name, value in states[0].items())


def test_a_hint_reaches_its_own_picture_alone(generator: PretrainedUNet) -> None:
    L = lightness(2)
    hints = torch.cat([one_hint(20, 70), torch.zeros(1, 3, SIDE, SIDE)])
    palettes = torch.cat([palette(), torch.zeros(1, PALETTE_LENGTH)])
    with torch.inference_mode():
        plain = generator(L)
        for inputs in ({"hints": hints}, {"palette": palettes}):
            guided = generator(L, **inputs)
            assert (guided[0] - plain[0]).abs().max() > 1e-3
            assert torch.allclose(guided[1], plain[1], atol=1e-6)


def test_where_and_what_a_hint_is_matters(generator: PretrainedUNet) -> None:
    L = lightness(1)
    with torch.inference_mode():
        encoded = generator.encode(L)
        left, right = (generator.decode(encoded, hints=one_hint(x, 48)) for x in (10, 80))
        grey = one_hint(10, 48) * torch.tensor([0.0, 0.0, 1.0])[:, None, None]
        neutral = generator.decode(encoded, hints=grey)
    assert not torch.allclose(left, right, atol=1e-4)
    assert not torch.allclose(left, neutral, atol=1e-4)
    assert not torch.allclose(neutral, generator(L), atol=1e-4)  # "grey here" is a hint too


def test_unfit_inputs_are_refused(generator: PretrainedUNet) -> None:
    L = lightness(1)
    with pytest.raises(ValueError, match=r"hints are \(1, 3, 96, 96\)"):
        generator(L, hints=torch.zeros(1, 3, 48, 96))
    with pytest.raises(ValueError, match="palette is"):
        generator(L, palette=torch.zeros(1, 5))
    plain = PretrainedUNet(8, pretrained=False).eval()
    with pytest.raises(ValueError, match="takes no hints"):
        plain(L, hints=torch.zeros(1, 3, SIDE, SIDE))
    with pytest.raises(ValueError, match="takes no palette"):
        plain(L, palette=torch.zeros(1, PALETTE_LENGTH))
