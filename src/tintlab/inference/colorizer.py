"""A trained model as people use it: a grey photo of any size in, the same photo in colour out.

The network sees the photo small; its ab is brought back to full size along the photo's own edges and joined
with the photo's own L*. The steps can be called one by one, and only the network's needs torch:
`working_shape`, `reduced`, `Colorizer.predict_working_ab`, `GuidedColours`, `coloured`. None of them looks at
other photos, so a photo's colours are the same alone and in a batch.
"""

import functools
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tintlab.imaging import color
from tintlab.imaging.photos import Photo
from tintlab.inference.engines import Engine, EngineChoice, open_engine
from tintlab.inference.hints import Hint, Palette, hint_map
from tintlab.inference.torch_engine import TorchEngine
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json

if TYPE_CHECKING:
    from torch import nn

WORKING_SIZE = 256
"""The network sees about this many pixels squared, where neither the caller nor the model says otherwise."""

MIN_SIDE = 32
"""Pixels of the short side that the network sees at least, if the photo has them."""

MAX_WORKING_SIZE = 2048
"""A model's config can't ask for more: the network's memory grows with its square."""

_LARGEST_AREA = 8  # times working_size²: MIN_SIDE must not blow up a photo that is a thin line
_RADIUS = 1  # of the guided filter's windows, in pixels of the working size
_LEAST_STRENGTH = 0.5  # hints are not exaggerated further for a low saturation
_EPSILON = 16.0  # (L* units)²: L* that varies by less than its root is texture, not an edge


def working_shape(shape: tuple[int, ...], working_size: int) -> tuple[int, int]:
    """Height and width at which the network sees a photo `(h, w)`: about working_size² pixels, in proportion.

    The short side keeps `MIN_SIDE` pixels if the photo has as many. Small photos are enlarged, so that
    things in them have the size that they had in training.
    """
    height, width = shape
    # The network pads a thin line to `MIN_SIDE`: without an end to its length it would take all memory.
    most = _LARGEST_AREA * working_size**2 / (MIN_SIDE * max(height, width))
    least = min(MIN_SIDE / min(height, width), most, 1)
    scale = min(max(working_size / math.sqrt(height * width), least), max(most, 1 / max(height, width)))
    return max(1, round(height * scale)), max(1, round(width * scale))


def reduced(lightness: color.Float, shape: tuple[int, int]) -> color.Float:
    """Resample L* `(h, w)` to `shape`, antialiased (Lanczos); the result stays in [0, 100]."""
    image = Image.fromarray(np.ascontiguousarray(lightness, dtype=np.float32))
    height, width = shape
    small: color.Float = np.asarray(image.resize((width, height), Image.Resampling.LANCZOS, reducing_gap=3.0))
    return np.clip(small, 0, 100)


class GuidedColours:
    """The network's ab at the photo's full size: upsampled along the edges of L*.

    As in the fast guided filter (He & Sun 2015, arXiv 1505.00996) ab is modelled locally as slope·L* + offset
    at working size; slopes and offsets are interpolated linearly and applied to the full-size L*, so colours
    change where the photo's lightness does. Rows can be asked for in strips of any height, with the same
    result.

    Args:
        ab: `(h, w, 2)` at working size.
        lightness: L* `(h, w)` at working size.
        shape: height and width of the photo.
    """

    def __init__(self, ab: color.Float, lightness: color.Float, shape: tuple[int, ...]) -> None:
        height, width = shape
        models = local_models(ab, lightness)
        low, high, share = _neighbours(models.shape[2], width)
        self._columns = models.take(low, axis=2)
        self._columns += share * (models.take(high, axis=2) - self._columns)
        self._low, _, self._share = _neighbours(len(lightness), height)
        self._down = np.zeros_like(self._columns)  # to the next row; none at the last
        np.subtract(self._columns[1:], self._columns[:-1], out=self._down[:-1])

    def ab(self, lightness: color.Float, rows: slice) -> color.Float:
        """ab `(n, w, 2)` of some of the photo's rows, from the same rows of its L*, `(n, w)`."""
        return np.stack(self.planes(lightness, rows), axis=-1)

    def planes(self, lightness: color.Float, rows: slice) -> tuple[color.Float, color.Float]:
        """As `ab`, a* and b* apart."""
        models = self._models(rows)
        slopes, offsets = models[:, :2], models[:, 2:]
        slopes *= lightness[:, None]
        slopes += offsets
        return slopes[:, 0], slopes[:, 1]

    def _models(self, rows: slice) -> color.Float:
        """The models of rows, `(n, 4, w)`."""
        models: color.Float = self._down.take(self._low[rows], axis=0)
        models *= self._share[rows, None, None]
        models += self._columns.take(self._low[rows], axis=0)
        return models


def local_models(ab: color.Float, lightness: color.Float) -> color.Float:
    """Models of `ab` `(h, w, 2)` by L* `(h, w)` around each pixel, `(h, 4, w)`: two slopes, then two offsets.

    The slopes are the guided filter's. Its offsets would smooth the network's colours as well, and with them
    the texture that makes them believable; here each pixel's model passes through the pixel's own ab.
    """
    mean_l = _box_mean(lightness)
    variance = _box_mean(lightness * lightness) - mean_l * mean_l
    regularised = np.maximum(variance, np.float32(0)) + np.float32(_EPSILON)
    height, width = lightness.shape
    models = np.empty((height, 4, width), np.float32)
    for channel in (0, 1):
        plane = np.ascontiguousarray(ab[..., channel])
        covariance = _box_mean(lightness * plane) - mean_l * _box_mean(plane)
        slope = _box_mean(covariance / regularised)
        models[:, channel] = slope
        models[:, channel + 2] = plane - slope * lightness
    return models


def coloured(lightness: color.Float, colours: GuidedColours) -> color.Byte:
    """Join a photo's own L* `(h, w)` with colours to 8-bit sRGB `(h, w, 3)`.

    Colours that sRGB can't show lose chroma, not lightness or hue. Works in strips, to keep memory small.
    """
    return cast(color.Byte, _in_strips(lightness, colours, np.uint8))


def coloured_deep(lightness: color.Float, colours: GuidedColours) -> NDArray[np.uint16]:
    """As `coloured`, with 16 bits a channel."""
    return cast(NDArray[np.uint16], _in_strips(lightness, colours, np.uint16))


def joined(lightness: color.Float, ab: color.Float) -> color.Byte:
    """8-bit sRGB `(..., 3)` of L* `(...)` and ab `(..., 2)`, mapped into the gamut."""
    return cast(color.Byte, color.lab_to_pixels(lightness, ab[..., 0], ab[..., 1], np.uint8))


def _in_strips(
    lightness: color.Float, colours: GuidedColours, dtype: type[np.uint8 | np.uint16]
) -> color.Pixels:
    result = np.empty((*lightness.shape, 3), dtype)
    for rows in color.strips(lightness.shape):
        strip = lightness[rows]
        result[rows] = color.lab_to_pixels(strip, *colours.planes(strip, rows), dtype)
    return result


class Settings(BaseModel):
    """How a model is used, as its config.json may say beside other things."""

    model_config = ConfigDict(frozen=True, use_attribute_docstrings=True)

    working_size: int = Field(default=WORKING_SIZE, ge=MIN_SIDE, le=MAX_WORKING_SIZE)
    """See `working_shape`."""
    saturation: float = Field(default=1.0, ge=0, le=100, allow_inf_nan=False)
    """Factor on the predicted ab; above 1 is more vivid."""
    flip_average: bool = False
    """Average with the prediction for the mirrored photo: twice the time, calmer colours."""

    @classmethod
    def of_config(cls, config: Mapping[str, Any], folder: Path) -> Self:
        """The settings among other things in the config.json of a model's folder.

        Raises:
            TintlabError: one is wrong.
        """
        try:
            return cls.model_validate(config)
        except ValidationError as error:
            fault = error.errors()[0]
            where, what = fault["loc"][0], fault["msg"]
            raise TintlabError(f"{folder / 'config.json'}: {where}: {what}") from None


class Colorizer:
    """A generator with the steps around it.

    Args:
        generator: maps L* / 50 - 1 `(n, 1, h, w)` to ab / 110 `(n, 2, h, w)`; in evaluation mode. Or an engine
            that runs one.
        multiple: the generator takes sides that are multiples of this; None is its own.
        settings: how it is used.
    """

    def __init__(
        self,
        generator: "nn.Module | Engine",
        multiple: int | None = None,
        settings: Settings | None = None,
    ) -> None:
        runs = hasattr(generator, "inputs")
        self.engine = cast(Engine, generator) if runs else TorchEngine(cast("nn.Module", generator), multiple)
        self.settings = settings or Settings()

    @classmethod
    def load(cls, folder: Path, choice: EngineChoice | None = None, workers: int = 1) -> Self:
        """Load a trained model, with the settings of its config.

        Args:
            folder: of weights and config.
            choice: the engine that runs it; None is torch in fp32.
            workers: threads that will use it at the same time.

        Raises:
            TintlabError: no model there, a damaged one, or one with a wrong setting.
        """
        engine = open_engine(folder, choice or EngineChoice(), workers)
        config = read_json(folder / paths.MODEL_CONFIG)
        return cls(engine, None, Settings.of_config(config, folder))

    @property
    def generator(self) -> "nn.Module":
        """Torch's network.

        Raises:
            TintlabError: another engine runs it.
        """
        if not isinstance(self.engine, TorchEngine):
            raise TintlabError("this needs torch's network: use --engine torch")
        return self.engine.generator

    @property
    def multiple(self) -> int:
        """The network takes sides that are multiples of this."""
        return self.engine.multiple

    def with_settings(self, settings: Settings) -> "Colorizer":
        """The same generator, used in another way."""
        return Colorizer(self.engine, None, settings)

    @property
    def z_dim(self) -> int:
        """Length of the noise vectors that the generator takes; 0: it takes none."""
        return self.engine.z_dim

    @property
    def takes_hints(self) -> bool:
        """Whether the generator takes colour hints and palettes."""
        return "hints" in self.engine.inputs

    def colorize(
        self,
        photo: Photo | NDArray[np.generic],
        working_size: int | None = None,
        z: color.Float | None = None,
        hints: Sequence[Hint] = (),
        like: Palette | None = None,
    ) -> color.Byte:
        """Colour a photo: 8-bit sRGB `(h, w, 3)` of its size.

        Args:
            photo: its colours are ignored. Arrays are grey `(h, w)` or sRGB `(h, w, 3)`, uint8 or uint16.
            working_size: see `working_shape`; the model's own where it is None.
            z: a noise vector `(z_dim,)`, which chooses among the colourings that a photo allows; None, as zeros,
                is the one that training held to the truth.
            hints: colours that the photo has at points.
            like: the palette of a picture whose colours the photo shall take.

        Raises:
            TintlabError: the model doesn't take what is given.
        """
        lightness = photo.lightness() if isinstance(photo, Photo) else color.lightness(photo)
        noise = None if z is None else z[None]
        (colours,) = self.colourings(lightness, working_size, noise, hints, like)
        return coloured(lightness, colours)

    def predict_ab(self, lightness: color.Float, working_size: int | None = None) -> color.Float:
        """ab `(h, w, 2)` float32 at full size from L* `(h, w)` in [0, 100]; may lie outside sRGB."""
        return self.colours(lightness, working_size).ab(lightness, slice(0, len(lightness)))

    def colours(self, lightness: color.Float, working_size: int | None = None) -> GuidedColours:
        """The colours of a photo, ready for `coloured`, from its full-size L*."""
        return self.colourings(lightness, working_size)[0]

    def colourings(
        self,
        lightness: color.Float,
        working_size: int | None = None,
        z: color.Float | None = None,
        hints: Sequence[Hint] = (),
        palette: Palette | None = None,
    ) -> list[GuidedColours]:
        """As `colours`, once for each noise vector of `z` `(k, z_dim)`; the encoder runs only once."""
        canvas = self.open(lightness, working_size)
        if z is not None:
            self._check_noise(z)
        return [canvas.colours(each, hints, palette) for each in ([None] if z is None else z)]

    def open(self, lightness: color.Float, working_size: int | None = None) -> "Canvas":
        """Encode a photo's full-size L* `(h, w)` once, to colour it as often as one likes."""
        small = reduced(lightness, working_shape(lightness.shape, working_size or self.settings.working_size))
        return Canvas(self, small, lightness.shape)

    def predict_working_ab(self, lightness: color.Float) -> color.Float:
        """What the network says: ab `(n, h, w, 2)` of photos of one working shape, L* `(n, h, w)`."""
        (ab,) = self._predict(lightness, [None])
        return ab

    def predict_variants(self, lightness: color.Float, z: color.Float | None) -> color.Float:
        """What the network says of one photo at working shape, L* `(h, w)`: ab `(k, h, w, 2)`.

        Args:
            lightness: of the photo.
            z: noise vectors `(k, z_dim)`; None is one of zeros.

        Raises:
            TintlabError: vectors of another length than the model takes.
        """
        if z is None:
            return self._predict(lightness[None], [None])[0]
        self._check_noise(z)
        return np.concatenate(self._predict(lightness[None], list(z)))

    def _check_noise(self, z: color.Float) -> None:
        if z.ndim != 2 or z.shape[1] != self.z_dim:
            takes = f"takes noise vectors of {self.z_dim} numbers" if self.z_dim else "takes no noise vector"
            raise TintlabError(f"this model {takes}, got {z.shape[-1]}: choose another model or vector")

    def _predict(self, lightness: color.Float, codes: Sequence[color.Float | None]) -> list[color.Float]:
        """ab `(n, h, w, 2)` of photos, once for each code."""
        work = _Work(self, lightness)
        return [work.decode(code) for code in codes]


class _Work:
    """Photos of one working shape, encoded.

    Args:
        colorizer: whose generator encodes them.
        lightness: L* `(n, h, w)`.
    """

    def __init__(self, colorizer: Colorizer, lightness: color.Float) -> None:
        self.colorizer = colorizer
        self.height, self.width = lightness.shape[1:]
        down, right = -self.height % colorizer.multiple, -self.width % colorizer.multiple
        self.top, self.left = down // 2, right // 2
        self.pads = ((0, 0), (self.top, down - self.top), (self.left, right - self.left))
        # numpy reflects again and again where the padding is wider than the photo.
        padded = np.pad(lightness, self.pads, mode="reflect")
        scaled = (padded / np.float32(50) - 1)[:, None]
        if colorizer.settings.flip_average:
            scaled = np.concatenate([scaled, scaled[..., ::-1]])
        self.count = len(scaled)
        # What all colourings share is done once.
        self.encoded = colorizer.engine.encode(np.ascontiguousarray(scaled, np.float32))

    def decode(
        self,
        code: color.Float | None = None,
        hints: Sequence[Hint] = (),
        palette: Palette | None = None,
        saturation: float | None = None,
    ) -> color.Float:
        """ab `(n, h, w, 2)` under a noise vector `(z_dim,)`, hints and a palette."""
        settings = self.colorizer.settings
        strength = settings.saturation if saturation is None else saturation
        inputs = self._inputs(code, palette, self._hint_map(hints, strength))
        ab = self.colorizer.engine.decode(self.encoded, inputs)
        if settings.flip_average:
            upright, mirrored = np.split(ab, 2)
            ab = (upright + mirrored[..., ::-1]) / np.float32(2)
        inside = ab[:, :, self.top : self.top + self.height, self.left : self.left + self.width]
        planes: color.Float = np.ascontiguousarray(inside.transpose(0, 2, 3, 1))
        scaled: color.Float = planes * np.float32(color.AB_SCALE * strength)
        return scaled

    def _hint_map(self, hints: Sequence[Hint], strength: float) -> color.Float | None:
        """The hints' map for the padded photo, so that their colours are as they were set after `strength`."""
        if not hints:
            return None
        drawn = np.pad(hint_map(hints, (self.height, self.width)), self.pads)
        drawn[:2] = np.clip(drawn[:2] / max(strength, _LEAST_STRENGTH), -1, 1)
        return drawn

    def _inputs(
        self, code: color.Float | None, palette: Palette | None, hints: color.Float | None
    ) -> dict[str, color.Float]:
        """What the decoder takes besides the encoded photos: only what is given."""
        found: dict[str, color.Float] = {}
        if code is not None:
            found["z"] = _repeated(code, self.count)
        if palette is not None:
            found["palette"] = _repeated(palette.vector, self.count)
        if hints is not None:
            found["hints"] = _repeated(hints, self.count)
            if self.colorizer.settings.flip_average:
                found["hints"][self.count // 2 :] = hints[..., ::-1]
        return found


def _repeated(values: color.Float, count: int) -> color.Float:
    return np.repeat(np.asarray(values, np.float32)[None], count, axis=0)


class Canvas:
    """A photo, encoded once, that can be coloured again and again.

    Args:
        colorizer: that colours it.
        small: its L* `(h, w)` at working size.
        shape: its full height and width.

    Attributes:
        small: as given.
    """

    def __init__(self, colorizer: Colorizer, small: color.Float, shape: tuple[int, ...]) -> None:
        self.colorizer = colorizer
        self.small = small
        self.shape = shape
        self._work = _Work(colorizer, small[None])

    def colours(
        self,
        z: color.Float | None = None,
        hints: Sequence[Hint] = (),
        palette: Palette | None = None,
        saturation: float | None = None,
    ) -> GuidedColours:
        """The photo's colours, ready for `coloured`; see `working_ab`."""
        return GuidedColours(self.working_ab(z, hints, palette, saturation), self.small, self.shape)

    def working_ab(
        self,
        z: color.Float | None = None,
        hints: Sequence[Hint] = (),
        palette: Palette | None = None,
        saturation: float | None = None,
    ) -> color.Float:
        """ab `(h, w, 2)` at working size.

        Args:
            z: a noise vector `(z_dim,)`.
            hints: colours at points.
            palette: of a reference picture.
            saturation: factor on the colours in place of the model's own; the hints' colours keep theirs.

        Raises:
            TintlabError: the model doesn't take what is given.
        """
        if z is not None:
            self.colorizer._check_noise(z[None])
        if (hints or palette is not None) and not self.colorizer.takes_hints:
            raise TintlabError("this model takes no colour hints and no palettes: choose another model")
        ab: color.Float = self._work.decode(z, hints, palette, saturation)[0]
        return ab


def _box_mean(values: NDArray[np.floating]) -> color.Float:
    """Means of `values` `(h, w)` over square windows; at the border the outermost pixels repeat."""
    height, width = values.shape
    steps = range(2 * _RADIUS + 1)
    wide = np.pad(values, _RADIUS, mode="edge")
    rows = functools.reduce(np.add, [wide[step : step + height] for step in steps])
    total: color.Float = functools.reduce(np.add, [rows[:, step : step + width] for step in steps])
    return total / np.float32(len(steps) ** 2)


def _neighbours(small: int, large: int) -> tuple[NDArray[np.intp], NDArray[np.intp], color.Float]:
    """For linear interpolation from `small` to `large` pixels: the two neighbours, and the second's share."""
    places = np.clip((np.arange(large) + 0.5) * (small / large) - 0.5, 0, small - 1)
    low = places.astype(np.intp)
    return low, np.minimum(low + 1, small - 1), (places - low).astype(np.float32)
