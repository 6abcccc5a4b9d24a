"""A photograph that is open: decoded once, seen by the encoder once, coloured as often as one likes."""

import functools
import hashlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from tintlab.imaging.color import Byte, Float
from tintlab.imaging.encoding import QUALITY, Format, encode
from tintlab.imaging.metadata import CaptureMetadata
from tintlab.imaging.photos import read_photo
from tintlab.imaging.provenance import Provenance
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import GuidedColours, coloured, coloured_deep, reduced, working_shape
from tintlab.scoring.settings import Depth
from tintlab.studio.look import Look
from tintlab.studio.models import Model, takes_hints
from tintlab.system.errors import TintlabError

PREVIEW_SIDE = 1600
"""Pixels of a preview's longer side, at most."""


@dataclass(frozen=True)
class FileForm:
    """The form of a coloured file; see `scoring.chunk.ScoreSettings`."""

    file_format: Format = "png"
    quality: int = QUALITY
    depth: Depth = 8

    def __post_init__(self) -> None:
        """Refuse 16 bits where the format has 8.

        Raises:
            TintlabError: it has.
        """
        if self.depth == 16 and self.file_format != "png":
            raise TintlabError(f"{self.file_format} has 8 bits a channel: for 16 choose png")


class OpenPhoto:
    """A photograph, ready to be coloured; can be used from several threads.

    Args:
        data: the file's bytes.
        max_megapixels: see `photos.read_photo`.

    Raises:
        PhotoError: it can't be used.
    """

    def __init__(self, data: bytes, max_megapixels: float) -> None:
        photo = read_photo(data, max_megapixels)
        self.sha256 = hashlib.sha256(data).hexdigest()
        self.lightness: Float = photo.lightness()
        self.metadata: CaptureMetadata = photo.metadata
        self.notes = photo.notes
        self._opening = threading.Lock()
        self._smalls: dict[int, Float] = {}

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.lightness.size / 1e6

    def working_ab(self, model: Model, look: Look) -> tuple[Float, Float]:
        """What the network says: ab `(h, w, 2)` at working size, and L* `(h, w)` of the same size.

        Raises:
            TintlabError: the model takes no noise, hints or steps as the look asks for.
        """
        colorizer = model.colorizer
        if look.hints and not takes_hints(colorizer):
            raise TintlabError("this model takes no hints: choose another one")
        saturation = model.settings.saturation if look.saturation is None else look.saturation
        settings = colorizer.settings.model_copy(update={"saturation": saturation})
        small = self._small(settings.working_size)
        z = noise(model, look, self.sha256)
        ab = colorizer.with_settings(settings).predict_variants(small, None if z is None else z[None])
        return ab[0], small

    def preview(self, model: Model, look: Look, side: int = PREVIEW_SIDE) -> Byte:
        """The coloured photograph, small: 8-bit sRGB `(h, w, 3)`, at most `side` pixels on its longer side."""
        ab, small = self.working_ab(model, look)
        lightness = self.lightness_at(side)
        return coloured(lightness, GuidedColours(ab, small, lightness.shape))

    def lightness_at(self, side: int) -> Float:
        """L* of a preview."""
        return self._preview_lightness(min(side, PREVIEW_SIDE, max(self.lightness.shape)))

    def file(self, model: Model, look: Look, form: FileForm) -> tuple[list[bytes], list[str]]:
        """The coloured photograph as a file with its origin: the bytes in pieces, and what was left out of it.

        Raises:
            TintlabError: see `working_ab`.
            EncodingError: the format can't hold it.
        """
        ab, small = self.working_ab(model, look)
        colours = GuidedColours(ab, small, self.lightness.shape)
        pixels = (coloured_deep if form.depth == 16 else coloured)(self.lightness, colours)
        pieces, left_out = encode(
            pixels, form.file_format, self.metadata, origin(model, look, self.sha256), form.quality
        )
        return pieces, [*self.notes, *left_out]

    @functools.lru_cache(maxsize=4)  # noqa: B019  # photographs are few, and go together with it
    def _preview_lightness(self, side: int) -> Float:
        height, width = self.lightness.shape
        scale = side / max(height, width)
        return reduced(self.lightness, (max(1, round(height * scale)), max(1, round(width * scale))))

    def _small(self, working_size: int) -> Float:
        with self._opening:
            if working_size not in self._smalls:
                self._smalls[working_size] = reduced(
                    self.lightness, working_shape(self.lightness.shape, working_size)
                )
            return self._smalls[working_size]


def noise(model: Model, look: Look, sha256: str) -> Float | None:
    """The noise vector `(z_dim,)` of a look at the photograph with this sha256; None where it asks for none.

    Raises:
        TintlabError: the model takes no noise, or has no directions.
    """
    steps = look.steps()
    if not (look.variant or steps):
        return None
    z = np.zeros(model.colorizer.z_dim, np.float32)
    if look.variant:
        z += noise_vectors.draw(look.seed, sha256, look.variant, model.colorizer.z_dim)[-1]
    if steps:
        if model.directions is None:
            raise TintlabError(
                "this model has no directions to steer along: `tintlab explore directions` finds them"
            )
        z += model.directions.code(steps)
    return z


def origin(model: Model, look: Look, sha256: str) -> Provenance:
    """What the coloured file of a look says of its making."""
    settings = replace(model.settings, seed=look.seed)
    if look.saturation is not None:
        settings = replace(settings, saturation=look.saturation)
    return settings.provenance(sha256, look.variant)


def joined(pieces: Sequence[bytes]) -> bytes:
    """The pieces of a file as one."""
    return b"".join(pieces)
