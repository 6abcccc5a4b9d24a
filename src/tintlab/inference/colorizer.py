"""Colour a grey photo of any size with a trained model.

The network sees a small copy. `guided` enlarges its ab along the photo's edges and joins it with the photo's L*.
The steps can be called one by one. A photo's colours do not depend on the other photos of a batch.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tintlab.imaging import color, compiled
from tintlab.imaging.descan import even_out
from tintlab.imaging.photos import Photo
from tintlab.inference.engines import Engine, EngineChoice, open_engine
from tintlab.inference.guided import GuidedColours, coloured
from tintlab.inference.hints import Hint, hint_map, spread
from tintlab.inference.palettes import Move, Palette, follow
from tintlab.inference.torch_engine import TorchEngine
from tintlab.inference.working_size import MAX_WORKING_SIZE, MIN_SIDE, WORKING_SIZE, reduced, working_shape
from tintlab.system import paths
from tintlab.system.errors import TintlabError
from tintlab.system.files import read_json

if TYPE_CHECKING:
    from torch import nn

_LEAST_STRENGTH = 0.5  # hints are not exaggerated further for a low saturation


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
        descan: bool = False,
    ) -> color.Byte:
        """Colour a photo: 8-bit sRGB `(h, w, 3)` of its size.

        Args:
            photo: its colours are ignored. Arrays are grey `(h, w)` or sRGB `(h, w, 3)`, uint8 or uint16.
            working_size: see `working_shape`; the model's own where it is None.
            z: a noise vector `(z_dim,)`, which chooses among colourings; None and zeros are the plain one.
            hints: colours that the photo has at points.
            like: the palette of a picture whose colours the photo shall take.
            descan: even out the fading of a print first; see `imaging.descan`.

        Raises:
            TintlabError: the model doesn't take what is given.
        """
        lightness = photo.lightness() if isinstance(photo, Photo) else compiled.lightness(photo)
        if descan:
            even_out(lightness)
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
        """The network's output: ab `(n, h, w, 2)` of photos of one working shape, L* `(n, h, w)`."""
        (ab,) = self._predict(lightness, [None])
        return ab

    def predict_variants(self, lightness: color.Float, z: color.Float | None) -> color.Float:
        """The network's output for one photo at working shape, L* `(h, w)`: ab `(k, h, w, 2)`.

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
        """The decoder's inputs besides the encoded photos: only the given ones."""
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
        move: Move | None = None
        if palette is not None and palette.strength > 0:
            own = self.colorizer.settings.saturation
            factor = 1.0 if saturation is None or not own else saturation / own
            ab, move, palette = follow(lambda given: self._work.decode(z, (), given)[0], palette, factor)
            saturation = None
        else:
            ab = self._work.decode(z, (), palette, saturation)[0]
        if hints:
            wanted = [move.undo(hint) for hint in hints] if move else hints
            hinted = self._work.decode(z, wanted, palette, saturation)[0]
            ab = spread(hints, self.small, ab, hinted)
        return move.apply(ab) if move else ab
