import pytest
import torch
from torch import nn

from tintlab.gan.discriminator import PatchDiscriminator
from tintlab.gan.networks import init_norm
from tintlab.gan.unet import UNet, depth_for


@pytest.mark.parametrize(("size", "depth"), [(64, 6), (128, 7), (256, 8), (512, 8), (96, 5), (160, 5)])
def test_depth_follows_the_size(size: int, depth: int) -> None:
    assert depth_for(size) == depth


@pytest.mark.parametrize("size", [64, 128, 256])
def test_unet_maps_L_to_ab_of_the_same_size(size: int) -> None:
    unet = UNet(size, channels=4, dropout=0.5).eval()
    with torch.inference_mode():
        ab = unet(torch.rand(1, 1, size, size) * 2 - 1)
        wide = unet(torch.rand(1, 1, size, 2 * size) * 2 - 1)
    assert ab.shape == (1, 2, size, size)
    assert wide.shape == (1, 2, size, 2 * size)
    assert ab.abs().max() <= 1


def test_unet_has_the_published_size() -> None:
    """pix2pix has 54.414 million at 256 px, from 3 channels to 3, and biases before the norms less."""
    parameters = sum(parameter.numel() for parameter in UNet(256, 64, 0.5).parameters())
    two_more_in, one_more_out, our_biases = 2 * 64 * 16, 128 * 16 + 1, 64 + 512
    assert (parameters + two_more_in + one_more_out - our_biases) / 1e6 == pytest.approx(54.414, abs=5e-4)


def test_unet_skips_carry_detail_past_the_bottleneck() -> None:
    unet = UNet(64, channels=4, dropout=0.0).eval()
    for up in list(unet.ups)[1:]:  # everything but the outermost up-block is silenced
        for parameter in up.parameters():
            nn.init.zeros_(parameter)
    L = torch.zeros(1, 1, 64, 64)
    changed = L.clone()
    changed[..., 32, 32] = 1
    with torch.inference_mode():
        assert not torch.equal(unet(L), unet(changed))


def test_dropout_is_noise_in_training_and_silent_in_evaluation() -> None:
    unet = UNet(64, channels=8, dropout=0.5)
    init_norm(unet)
    L = torch.rand(2, 1, 64, 64)
    with torch.no_grad():
        assert not torch.equal(unet(L), unet(L))
        unet.eval()
        assert torch.equal(unet(L), unet(L))
    dropouts = [level for level, up in enumerate(unet.ups) if any(isinstance(m, nn.Dropout) for m in up)]
    assert dropouts == [2, 3, 4]  # depth 6: the three after the innermost


def test_activations_in_place_change_no_output_and_no_gradient() -> None:
    """A skip is changed by the block that takes it on; the ReLU behind it makes that no difference."""
    torch.manual_seed(0)
    fast, slow = UNet(64, 4, dropout=0.0), UNet(64, 4, dropout=0.0)
    slow.load_state_dict(fast.state_dict())
    for module in slow.modules():
        if isinstance(module, nn.LeakyReLU | nn.ReLU):
            module.inplace = False
    L = torch.randn(2, 1, 64, 64)
    for network in (fast, slow):
        network(L).square().sum().backward()
    assert torch.equal(fast(L), slow(L))
    for expected, got in zip(slow.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(got.grad, expected.grad)


def test_unet_takes_no_noise_vector() -> None:
    with pytest.raises(ValueError, match="z_dim 0"):
        UNet(64, 4, 0.5)(torch.zeros(1, 1, 64, 64), torch.zeros(1, 16))


def test_patchgan_sees_70_pixels() -> None:
    """The receptive field, measured: where the input's gradient of one logit is not zero."""
    discriminator = PatchDiscriminator(4).eval()  # evaluation: batch statistics would couple all pixels
    lab = torch.rand(1, 3, 256, 256, requires_grad=True)
    logits = discriminator(lab)
    assert logits.shape == (1, 1, 30, 30)
    logits[0, 0, 15, 15].backward()
    assert lab.grad is not None
    rows, columns = torch.nonzero(lab.grad.abs().sum(dim=(0, 1)), as_tuple=True)
    assert rows.max() - rows.min() + 1 == 70
    assert columns.max() - columns.min() + 1 == 70


def test_norm_initialisation_draws_from_the_stated_distributions() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(64)
    init_norm(discriminator)
    convolutions = [m for m in discriminator.modules() if isinstance(m, nn.Conv2d)]
    norms = [m for m in discriminator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert torch.cat([m.weight.flatten() for m in convolutions]).std().item() == pytest.approx(0.02, rel=0.01)
    assert torch.cat([m.weight.flatten() for m in convolutions]).mean().item() == pytest.approx(0, abs=1e-4)
    assert all(m.bias is None or not m.bias.any() for m in convolutions)
    scales = torch.cat([m.weight for m in norms])
    assert scales.mean().item() == pytest.approx(1, abs=0.005)
    assert scales.std().item() == pytest.approx(0.02, rel=0.1)


def test_instance_norm_is_torchs_own_picture_by_picture() -> None:
    torch.manual_seed(0)
    discriminator = PatchDiscriminator(8, "instance")
    reference = PatchDiscriminator(8, "instance")
    reference.load_state_dict(discriminator.state_dict())
    for place, layer in enumerate(reference.layers):
        if isinstance(layer, nn.GroupNorm):
            reference.layers[place] = nn.InstanceNorm2d(layer.num_channels, affine=True)
    assert sum(isinstance(layer, nn.InstanceNorm2d) for layer in reference.layers) == 3
    pictures = torch.randn(3, 3, 64, 64)
    with torch.no_grad():
        for layout in (torch.contiguous_format, torch.channels_last):
            seen = discriminator.to(memory_format=layout)(pictures.to(memory_format=layout))
            torch.testing.assert_close(seen, reference(pictures), rtol=1e-4, atol=1e-5)
