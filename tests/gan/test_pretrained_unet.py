import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from skimage.color import rgb2lab
from torch import Tensor, nn
from torch.nn import functional as F

from tintlab.gan import pretrained_unet
from tintlab.gan.efficientnet import load_efficientnet
from tintlab.gan.model_files import (
    build_generator,
    generator_config,
    load_generator,
    save_generator,
)
from tintlab.gan.pretrained_unet import PretrainedUNet
from tintlab.gan.unet import UNet
from tintlab.inference.colorizer import Colorizer, Settings
from tintlab.system.errors import TintlabError
from tintlab.system.params import TrainParams, load_params
from tintlab.system.paths import MODEL_CONFIG as CONFIG
from tintlab.system.paths import WEIGHTS

WIDTH = 8


def lightness(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.fixture(scope="module")
def generator() -> PretrainedUNet:
    """As it starts, in evaluation mode."""
    torch.manual_seed(0)
    return PretrainedUNet(WIDTH).eval()


@pytest.mark.parametrize("shape", [(32, 32), (64, 160), (224, 96)])
def test_it_maps_L_to_ab_of_the_same_size(shape: tuple[int, int], generator: PretrainedUNet) -> None:
    with torch.inference_mode():
        ab = generator(lightness(2, 1, *shape))
    assert ab.shape == (2, 2, *shape)
    assert ab.abs().max() <= 1
    assert generator.multiple == 32


@pytest.mark.parametrize("shape", [(1, 1, 48, 64), (1, 1, 64, 33), (1, 3, 64, 64), (1, 64, 64)])
def test_other_sizes_are_refused(shape: tuple[int, ...], generator: PretrainedUNet) -> None:
    with pytest.raises(ValueError, match="multiples of 32"):
        generator(torch.zeros(shape))


def test_unfit_noise_and_odd_widths_are_refused(generator: PretrainedUNet) -> None:
    L = torch.zeros(2, 1, 32, 32)
    with pytest.raises(ValueError, match="z_dim is 0"):
        generator(L, torch.zeros(2, 8))
    noisy = PretrainedUNet(WIDTH, z_dim=8, pretrained=False)
    for shape in ((2, 7), (1, 8), (8,)):
        with pytest.raises(ValueError, match=r"z is \(2, 8\)"):
            noisy(L, torch.zeros(shape))
    with pytest.raises(ValueError, match="even"):
        PretrainedUNet(7, pretrained=False)


def test_no_noise_equals_noise_of_zeros_to_the_last_bit(generator: PretrainedUNet) -> None:
    torch.manual_seed(3)
    noisy = PretrainedUNet(WIDTH, z_dim=8, pretrained=False).eval()
    noisy.load_state_dict(generator.state_dict(), strict=False)
    L = lightness(2, 1, 64, 96)
    with torch.inference_mode():
        plain = generator.eval()(L)
        assert torch.equal(noisy(L), plain)
        assert torch.equal(noisy(L, torch.zeros(2, 8)), plain)
        z = torch.randn(2, 8)
        once = noisy(L, z)
        assert (once - plain).abs().max() > 1e-3
        assert torch.equal(noisy(L, z), once)
        encoded = noisy.encode(L)
        assert torch.equal(noisy.decode(encoded, z), once)
        swapped = noisy(L, z.flip(0))
        assert not torch.allclose(swapped, once)  # each picture has the noise of its own row
        assert torch.allclose(noisy(L[:1], z[1:]), swapped[:1], atol=1e-6)


def test_noise_draws_its_weights_aside() -> None:
    weights = []
    for z_dim in (0, 8):
        torch.manual_seed(5)
        weights.append(PretrainedUNet(WIDTH, z_dim=z_dim).state_dict() | {"next": torch.rand(3)})
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


def test_the_encoder_is_imagenets_and_takes_no_part_in_training() -> None:
    generator = PretrainedUNet(WIDTH)
    original = load_efficientnet("efficientnet_lite0").state_dict()
    assert not any(weight.requires_grad for weight in generator.encoder.parameters())
    generator.train()
    assert generator.training and generator.up_blocks.training
    assert not any(module.training for module in generator.encoder.modules())
    generator(lightness(2, 1, 32, 32)).square().sum().backward()
    assert all(weight.grad is None for weight in generator.encoder.parameters())
    trainable = {name: weight for name, weight in generator.named_parameters() if weight.requires_grad}
    assert all(weight.grad is not None for weight in trainable.values())
    for name, value in generator.encoder.state_dict().items():  # batch statistics as well
        assert torch.equal(value, original[name]), name


def test_the_encoder_sees_the_grey_photo_that_has_this_lightness(generator: PretrainedUNet) -> None:
    seen: list[Tensor] = []
    stem = generator.encoder.get_submodule("_conv_stem")
    handle = stem.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    L = lightness(1, 1, 32, 32)
    with torch.inference_mode():
        generator(L)
    handle.remove()
    (pictures,) = seen
    rgb = (pictures[0].permute(1, 2, 0).numpy() * 128 + 127) / 255
    assert np.ptp(rgb, axis=-1).max() < 1e-5
    np.testing.assert_allclose(rgb2lab(rgb)[..., 0], (L[0, 0].numpy() + 1) * 50, atol=0.02)


@pytest.mark.parametrize("part", ["dropout", "context_dropout"])
def test_dropout_is_noise_in_training_and_silent_in_evaluation(part: str) -> None:
    torch.manual_seed(0)
    generator = PretrainedUNet(WIDTH, **({"dropout": 0.0, "context_dropout": 0.0} | {part: 0.5}))
    nn.init.normal_(generator.context[1].weight, 0.0, 0.2)
    L = lightness(2, 1, 64, 64)
    with torch.no_grad():
        assert not torch.equal(generator(L), generator(L))
        generator.eval()
        assert torch.equal(generator(L), generator(L))


def test_the_whole_picture_informs_every_place() -> None:
    """The pooled features reach what lies far outside a pixel's own neighbourhood."""
    generator = vivid(PretrainedUNet(WIDTH).eval())
    L = lightness(1, 1, 32, 512)
    changed = L.clone()
    changed[..., :64] = -1

    def far_effect(context: float) -> float:
        nn.init.constant_(generator.context[1].weight, context)
        with torch.inference_mode():
            return float((generator(L) - generator(changed))[..., -32:].abs().max())

    assert far_effect(0.2) > 1e-4 > 10 * far_effect(0.0)


# Checkerboards. A pattern of period p has its energy at the multiples of the frequency 1/p; what is smooth
# has next to none there.

Pictures = dict[str, NDArray[np.float32]]
PERIODS = (2, 4, 8)


def smooth_pictures(side: int) -> Pictures:
    """L* of pictures with nothing in them that is shorter than a quarter of the side."""
    y, x = np.mgrid[:side, :side] / side
    pictures = {
        "uniform": np.full((side, side), 70.0),
        "ramp": 20 + 30 * (x + y),
        "wave": 50 + 30 * np.sin(2 * np.pi * (2 * x + y)),
        "blob": 20 + 60 * np.exp(-8 * ((x - 0.5) ** 2 + (y - 0.45) ** 2)),
    }
    return {name: picture.astype(np.float32) for name, picture in pictures.items()}


def checkerboard(ab: NDArray[np.float32]) -> float:
    """The strongest of the patterns of `PERIODS` in ab `(h, w, 2)`: its amplitude, in units of ab."""
    margin = 64  # the networks' zero padding makes edges there
    inside = ab[margin:-margin, margin:-margin].astype(np.float64)
    side = len(inside)
    assert inside.shape[1] == side and side % max(PERIODS) == 0
    window = np.blackman(side + 1)[:side]
    window /= window.mean()
    flat = (inside - inside.mean(axis=(0, 1))) * np.outer(window, window)[..., None]
    spectrum = np.abs(np.fft.fft2(flat, axes=(0, 1))) / side**2
    harmonics = spectrum[:: side // max(PERIODS), :: side // max(PERIODS)]
    harmonics[0, 0] = 0
    return float(harmonics.max())


def strongest_checkerboard(generator: nn.Module, enlargement: int) -> float:
    """Over the smooth pictures, seen at 384 px and coloured at so many times that size."""
    colorizer = Colorizer(generator, generator.multiple, Settings(working_size=384))
    predicted = [colorizer.predict_ab(picture) for picture in smooth_pictures(384 * enlargement).values()]
    assert max(np.ptp(ab) for ab in predicted) > 10  # there is something to see
    return max(checkerboard(ab) for ab in predicted)


def vivid(generator: PretrainedUNet) -> PretrainedUNet:
    """With a decoder of larger random weights, so that every layer matters."""
    torch.manual_seed(0)
    for name, module in generator.named_modules():
        if isinstance(module, nn.Conv2d) and not name.startswith("encoder"):
            nn.init.kaiming_normal_(module.weight)
    nn.init.normal_(generator.output.weight, 0.0, 0.1)
    return generator


def transposed(x: Tensor) -> Tensor:
    """Doubling as a transposed convolution does it: four windows that need not agree."""
    kernels = torch.rand(4, 4, generator=torch.Generator().manual_seed(1))
    weight = (4 * kernels / kernels.sum()).expand(x.shape[1], 1, 4, 4)
    return F.conv_transpose2d(x, weight, stride=2, padding=1, groups=x.shape[1])


def nearest(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="nearest")


@pytest.mark.parametrize(("enlargement", "most"), [(1, 0.15), (2, 0.01), (3, 0.005)])
def test_smooth_pictures_get_no_checkerboards(enlargement: int, most: float) -> None:
    assert strongest_checkerboard(vivid(PretrainedUNet(WIDTH).eval()), enlargement) < most


@pytest.mark.parametrize(
    ("doubling", "enlargement", "least"),
    [(transposed, 1, 5), (transposed, 2, 1), (transposed, 3, 0.4), (nearest, 1, 0.3), (nearest, 2, 0.1)],
)
def test_the_measure_sees_checkerboards_of_other_doublings(
    doubling: Callable[[Tensor], Tensor], enlargement: int, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained_unet, "_double", doubling)
    assert strongest_checkerboard(vivid(PretrainedUNet(WIDTH).eval()), enlargement) > least


def test_the_measure_knows_amplitudes() -> None:
    stripes = np.zeros((256, 256, 2), np.float32)
    stripes[::4] = 8  # a mean of 2, and three harmonics of 2
    assert checkerboard(stripes) == pytest.approx(2, rel=1e-3)
    waves = smooth_pictures(256)["wave"]
    assert checkerboard(np.stack([waves, waves], axis=-1)) < 1e-3


# On disk.


@pytest.fixture
def params() -> TrainParams:
    return load_params().train.model_copy(
        update={
            "generator": "pretrained_unet",
            "channels": WIDTH,
            "z_dim": 0,
            "hints": False,
            "saturation": 1.25,
            "working_size": 96,
        }
    )


@pytest.fixture
def without_packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package can be found any more."""
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()


@pytest.mark.usefixtures("without_packages")
def test_a_saved_generator_loads_without_the_encoders_package(
    generator: PretrainedUNet, params: TrainParams, tmp_path: Path
) -> None:
    config = generator_config(params)
    save_generator(tmp_path / "model", generator, config)
    with pytest.raises(TintlabError, match="not installed"):
        build_generator(config)
    loaded, loaded_config = load_generator(tmp_path / "model")
    assert loaded_config == config
    assert not loaded.training
    L = lightness(2, 1, 64, 96)
    with torch.inference_mode():
        assert torch.equal(loaded(L), generator(L))
    settings = Colorizer.load(tmp_path / "model").settings
    assert (settings.working_size, settings.saturation) == (96, 1.25)


def test_the_same_weights_give_the_same_bytes(generator: PretrainedUNet, tmp_path: Path) -> None:
    save_generator(tmp_path / "a", generator, {})
    save_generator(tmp_path / "b", generator.to(memory_format=torch.channels_last), {})
    assert (tmp_path / "a" / WEIGHTS).read_bytes() == (tmp_path / "b" / WEIGHTS).read_bytes()


@pytest.fixture
def saved(generator: PretrainedUNet, params: TrainParams, tmp_path: Path) -> Path:
    save_generator(tmp_path / "model", generator, generator_config(params))
    return tmp_path / "model"


def failure(folder: Path) -> str:
    with pytest.raises(TintlabError) as caught:
        load_generator(folder)
    message = str(caught.value)
    assert message.isprintable()  # one line
    assert len(message) < 300
    return message


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"generator": "diffusion"}, "unknown generator 'diffusion'"),
        ({"channels": "many"}, "wrong value"),
        ({"channels": 7}, "even number"),
        ({"dropout": 7}, "dropout"),
        ({"generator": "unet", "channels": -4}, "wrong value"),
        ({"channels": 2 * WIDTH}, "do not belong together"),
        ({"generator": "unet"}, "do not belong together"),
    ],
)
def test_a_wrong_config_is_one_clear_line(change: dict[str, Any], named: str, saved: Path) -> None:
    config = json.loads((saved / CONFIG).read_bytes()) | change
    (saved / CONFIG).write_text(json.dumps(config))
    assert named in failure(saved)


@pytest.mark.parametrize("key", ["generator", "channels", "dropout", "context_dropout"])
def test_a_missing_key_is_named(key: str, saved: Path) -> None:
    config = json.loads((saved / CONFIG).read_bytes())
    del config[key]
    (saved / CONFIG).write_text(json.dumps(config))
    assert f"lacks '{key}'" in failure(saved)


@pytest.mark.parametrize("content", ["", "[]", "{"])
def test_a_config_that_is_none_is_one_clear_line(content: str, saved: Path) -> None:
    (saved / CONFIG).write_text(content)
    assert "config" in failure(saved)


def test_weights_of_another_architecture_are_refused(saved: Path, params: TrainParams) -> None:
    config = generator_config(params)
    save_generator(saved, UNet(64, WIDTH, 0.0), config)
    assert "do not belong together" in failure(saved)


@pytest.mark.parametrize("kept", [0, 5, 900, -10])
def test_cut_weights_are_refused(kept: int, saved: Path) -> None:
    path = saved / WEIGHTS
    path.write_bytes(path.read_bytes()[:kept])
    assert failure(saved).startswith(f"{path} is damaged")


@pytest.mark.parametrize("name", [CONFIG, WEIGHTS])
def test_a_missing_file_is_named(name: str, saved: Path) -> None:
    (saved / name).unlink()
    message = failure(saved)
    assert f"{name} is missing" in message
    assert "tintlab repro" in message
