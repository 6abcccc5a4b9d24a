"""The default generator: a U-Net decoder on an EfficientNet-Lite0 encoder pretrained on ImageNet.

A few hundred photographs can teach which colours go where, but not what a dog is; the encoder already knows
that. Its weights and batch statistics stay frozen, so it can't forget, and training runs a third faster.
Fine-tuning may let the weights train; the batch statistics stay those of ImageNet.
"""

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tintlab.gan.efficientnet import FEATURE_STRIDES, EfficientNetLite, load_efficientnet, network_input
from tintlab.gan.guidance import HintPath, PalettePath
from tintlab.gan.hint_maps import PALETTE_LENGTH
from tintlab.gan.noise import Modulation, Modulations, modulated
from tintlab.gan.srgb import grey_srgb

_ENCODER = "efficientnet_lite0"
_STRIDE = FEATURE_STRIDES[-1]
_MODULATED = 3  # the noise reaches the bottleneck and the first two up-blocks


class Encoded(NamedTuple):
    """The encoder's features of pictures, which can be decoded to colours any number of times.

    Attributes:
        skips: maps at the strides 2, 4, 8 and 16.
        deepest: the map at stride 32.
        pooled: `(n, 1280)`.
    """

    skips: tuple[Tensor, ...]
    deepest: Tensor
    pooled: Tensor


class PretrainedUNet(nn.Module):
    """L to ab, through five scales of a frozen encoder and a decoder with skips.

    The decoder doubles its maps by bilinear interpolation before each convolution: transposed convolutions leave
    checkerboards. It stops at half size, and interpolation does the last doubling; the eye sees colour no finer,
    and the last scale would cost as much as all the others.

    Args:
        width: channels of the decoder at stride 4; the scales have 4, 3, 2, 1 and 1/2 times as many. Even.
        dropout: share of channels dropped at the two deepest scales of the decoder, in [0, 1).
        context_dropout: share of the pooled features dropped, in [0, 1).
        z_dim: length of the noise vector; 0 is no noise.
        hints: take colour hints and palettes.
        pretrained: False gives the encoder random weights, for tests and before loading all weights.

    Raises:
        ValueError: an argument out of its range.
        TintlabError: the encoder's weights are not installed.
    """

    def __init__(
        self,
        width: int = 64,
        dropout: float = 0.1,
        context_dropout: float = 0.3,
        z_dim: int = 0,
        hints: bool = False,
        pretrained: bool = True,
    ) -> None:
        super().__init__()
        if width < 2 or width % 2:
            raise ValueError(f"width is an even number from 2 up, not {width}")
        self.multiple = _STRIDE
        self.z_dim = z_dim
        self.encoder = load_efficientnet(_ENCODER) if pretrained else EfficientNetLite()
        self.encoder.eval()
        self.freeze_encoder(True)
        *skips, deepest = self.encoder.feature_channels
        channels = (4 * width, 3 * width, 2 * width, width, width // 2)
        self.bottleneck = _conv_norm_relu(deepest, channels[0])
        self.context = nn.Sequential(
            nn.Dropout(context_dropout), nn.Linear(self.encoder.pooled_channels, channels[0])
        )
        self.dropout = nn.Dropout2d(dropout)
        # deepest first; the shallow scales draw edges, which dropout would blur
        self.up_blocks = nn.ModuleList(
            _UpBlock(channels[scale], skip, channels[scale + 1], dropout if scale < 2 else 0.0)
            for scale, skip in enumerate(reversed(skips))
        )
        self.output = nn.Conv2d(channels[-1], 2, 3, padding=1)
        self._initialise()
        # Its weights are drawn from a separate random state, so the others are the same with noise and
        # without.
        with torch.random.fork_rng(devices=[]):
            self.noise = Modulations(z_dim, channels[:_MODULATED]) if z_dim else None
            self.hints = HintPath(channels, self.encoder.feature_channels[2:]) if hints else None
            self.palette = PalettePath(channels[:_MODULATED]) if hints else None

    @property
    def takes_hints(self) -> bool:
        """Whether `decode` takes hints and palettes."""
        return self.hints is not None

    def forward(
        self,
        L: Tensor,
        z: Tensor | None = None,
        hints: Tensor | None = None,
        palette: Tensor | None = None,
    ) -> Tensor:
        """ab / 110 (N, 2, H, W) in [-1, 1] of L / 50 - 1 (N, 1, H, W) in [-1, 1]; H and W multiples of 32.

        The other inputs are those of `decode`. Raises ValueError for other shapes.
        """
        return self.decode(self.encode(L), z, hints, palette)

    def encode(self, L: Tensor) -> Encoded:
        """The first half of `forward`, which does not depend on noise, hints or palette."""
        if L.ndim != 4 or L.shape[1] != 1 or L.shape[2] % _STRIDE or L.shape[3] % _STRIDE:
            raise ValueError(f"L is (N, 1, H, W) with H and W multiples of {_STRIDE}, not {tuple(L.shape)}")
        # frozen: no gradient is wanted inside, so no activations are kept
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            *skips, deepest = self.encoder.features(network_input(grey_srgb(L)))
            return Encoded(tuple(skips), deepest, self.encoder.pool(deepest))

    def decode(
        self,
        encoded: Encoded,
        z: Tensor | None = None,
        hints: Tensor | None = None,
        palette: Tensor | None = None,
    ) -> Tensor:
        """The second half of `forward`: predict colours from the encoder's features.

        Args:
            encoded: of N pictures.
            z: noise (N, z_dim); None gives the colours of z = 0.
            hints: (N, 3, H, W), see `hint_maps`; None or an empty map gives the plain colours to the last bit.
            palette: (N, PALETTE_LENGTH), see `hint_maps`; None or zeros give the plain colours.

        Raises:
            ValueError: an input that this generator does not take, or of another shape.
        """
        x = self.bottleneck(encoded.deepest) + self.context(encoded.pooled)[:, :, None, None]
        x = self.dropout(x)
        modulations = self._modulations(z, palette, len(x))
        carried = self._carried(hints, encoded)
        x = self._guided(x, 0, modulations, carried)
        for scale, up_block in enumerate(self.up_blocks):
            x = up_block(x, encoded.skips[-1 - scale])
            x = self._guided(x, scale + 1, modulations, carried)
        colours = self.output(x)
        if self.hints is not None and carried:
            colours = colours + self.hints.to_colours(*carried[-2:])
        return _double(torch.tanh(colours))

    def freeze_encoder(self, frozen: bool) -> None:
        """Freeze the encoder's weights, or let them train."""
        self._frozen = frozen
        self.encoder.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> "PretrainedUNet":
        """Like `nn.Module.train`, but the encoder stays in evaluation mode, with ImageNet's batch statistics."""
        super().train(mode)
        self.encoder.eval()
        return self

    def _initialise(self) -> None:
        """Begin with dull colours, a mean |ab| of 16, and with a decoder that hardly uses the context."""
        nn.init.normal_(self.context[1].weight, 0.0, 0.01)  # type: ignore[arg-type]
        nn.init.normal_(self.output.weight, 0.0, 0.02)
        nn.init.zeros_(self.output.bias)  # type: ignore[arg-type]

    def _guided(
        self, x: Tensor, scale: int, modulations: list[list[Modulation]], carried: list[Tensor]
    ) -> Tensor:
        """A map of the decoder under noise, palette and hints."""
        for each in modulations:
            if scale < len(each):
                x = modulated(x, each[scale])
        if self.hints is not None and carried:
            x = self.hints.add(x, carried[scale], scale)
        return x

    def _carried(self, hints: Tensor | None, encoded: Encoded) -> list[Tensor]:
        if hints is None:
            return []
        if self.hints is None:
            raise ValueError("this generator takes no hints")
        pictures, _, height, width = encoded.skips[0].shape
        if hints.shape != (wanted := (pictures, 3, 2 * height, 2 * width)):
            raise ValueError(f"hints are {wanted} for these pictures, not {tuple(hints.shape)}")
        return self.hints.carried(hints, (*encoded.skips[2:], encoded.deepest))

    def _modulations(self, z: Tensor | None, palette: Tensor | None, pictures: int) -> list[list[Modulation]]:
        """Scales and shifts by the noise and by the palette, for those inputs that are given."""
        found: list[list[Modulation]] = []
        if z is not None:
            if self.noise is None:
                raise ValueError("this generator takes no noise: its z_dim is 0")
            if z.shape != (pictures, self.z_dim):
                raise ValueError(f"z is {(pictures, self.z_dim)} for these pictures, not {tuple(z.shape)}")
            found.append(self.noise(z))
        if palette is not None:
            if self.palette is None:
                raise ValueError("this generator takes no palette")
            if palette.shape != (pictures, PALETTE_LENGTH):
                wanted = (pictures, PALETTE_LENGTH)
                raise ValueError(f"palette is {wanted} for these pictures, not {tuple(palette.shape)}")
            found.append(self.palette(palette))
        return found


class _UpBlock(nn.Module):
    """Doubles a map, joins the encoder's map of that size and convolves twice."""

    def __init__(self, in_channels: int, skip_channels: int, out_channels: int, dropout: float) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            _conv_norm_relu(in_channels + skip_channels, out_channels),
            _conv_norm_relu(out_channels, out_channels),
            nn.Dropout2d(dropout),
        )

    def forward(self, x: Tensor, skip: Tensor) -> Tensor:
        y: Tensor = self.convs(torch.cat((_double(x), skip), dim=1))
        return y


def _double(x: Tensor) -> Tensor:
    return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def _conv_norm_relu(in_channels: int, out_channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=False),
        nn.BatchNorm2d(out_channels),
        nn.ReLU(inplace=True),
    )
