"""An open photograph: it is decoded once and encoded by the network once, then coloured as often as needed."""

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tintlab.imaging.color import Byte, Float
from tintlab.imaging.descan import even_out
from tintlab.imaging.encoding import QUALITY, Format, encode
from tintlab.imaging.metadata import CaptureMetadata
from tintlab.imaging.photos import read_photo
from tintlab.imaging.provenance import Provenance
from tintlab.inference import noise_vectors
from tintlab.inference.colorizer import Canvas
from tintlab.inference.guided import GuidedColours, coloured, coloured_deep
from tintlab.inference.hints import describe_hints
from tintlab.inference.palettes import Palette
from tintlab.inference.working_size import reduced
from tintlab.scoring.settings import Depth
from tintlab.studio.look import Look
from tintlab.studio.models import Model
from tintlab.system.errors import TintlabError
from tintlab.system.files import file_sha256

PREVIEW_SIDE = 1600
"""Pixels of a preview's longer side, at most."""
DRAFT_SIDE = 480
"""Previews up to this size are drafts."""

_DRAFT_SIZE = 144  # what the network sees, squared
_KEPT_CANVASES = 2  # one, and its draft
_KEPT_PREVIEWS = 4


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
        source: the file's path or its bytes.
        max_megapixels: see `photos.read_photo`.
        page: see `photos.read_photo`.
        descan: even out the fading of a print; see `imaging.descan`.

    Raises:
        PhotoError: it can't be used.
    """

    def __init__(
        self, source: Path | bytes, max_megapixels: float, page: int = 0, descan: bool = False
    ) -> None:
        photo = read_photo(source, max_megapixels, page)
        self.page = page
        self.sha256 = sha256_of(source)
        self.lightness: Float = photo.lightness()
        self.descan = even_out(self.lightness).text() if descan else ""
        self.metadata: CaptureMetadata = photo.metadata
        self.notes = photo.notes
        self.form = photo.form
        self.more_pages = photo.more_pages
        self._lock = threading.Lock()
        self._canvases: OrderedDict[tuple[str, bool], Canvas] = OrderedDict()
        self._previews: dict[int, Float] = {}

    @property
    def megapixels(self) -> float:
        """Millions of pixels."""
        return self.lightness.size / 1e6

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width."""
        height, width = self.lightness.shape
        return height, width

    def preview(self, model: Model, look: Look, side: int = PREVIEW_SIDE) -> Byte:
        """The coloured photograph, small: 8-bit sRGB `(h, w, 3)`, at most `side` pixels on its longer side.

        Small ones are drafts: the network sees less, and not the mirrored photograph.

        Raises:
            TintlabError: the model takes no noise, hints or steps as the look asks for.
        """
        canvas = self._canvas(model, is_draft=side <= DRAFT_SIDE)
        lightness = self.lightness_at(side)
        return coloured(
            lightness, GuidedColours(self._ab(canvas, model, look), canvas.small, lightness.shape)
        )

    def file(self, model: Model, look: Look, form: FileForm) -> tuple[list[bytes], list[str]]:
        """The coloured photograph as a file with its origin: the bytes in pieces, and what was left out of it.

        Raises:
            TintlabError: see `preview`.
            EncodingError: the format can't hold it.
        """
        canvas = self._canvas(model, is_draft=False)
        colours = GuidedColours(self._ab(canvas, model, look), canvas.small, self.lightness.shape)
        pixels = (coloured_deep if form.depth == 16 else coloured)(self.lightness, colours)
        said = replace(
            origin(model, look, self.sha256),
            source_page=str(self.page or ""),
            descan=self.descan,
            source_form=self.form,
        )
        pieces, left_out = encode(pixels, form.file_format, self.metadata, said, form.quality)
        return pieces, [*self.notes, *left_out]

    def lightness_at(self, side: int) -> Float:
        """L* of a preview."""
        height, width = self.shape
        side = min(side, PREVIEW_SIDE, max(height, width))
        found = self._previews.get(side)
        if found is None:
            scale = side / max(height, width)
            found = reduced(self.lightness, (max(1, round(height * scale)), max(1, round(width * scale))))
            with self._lock:
                while len(self._previews) >= _KEPT_PREVIEWS:
                    del self._previews[next(iter(self._previews))]
                self._previews[side] = found
        return found

    def _ab(self, canvas: Canvas, model: Model, look: Look) -> Float:
        saturation = model.settings.saturation if look.saturation is None else look.saturation
        hints = [point.hint() for point in look.hints]
        return canvas.working_ab(noise(model, look, self.sha256), hints, look.palette(), saturation)

    def _canvas(self, model: Model, is_draft: bool) -> Canvas:
        """The photograph as the encoder has seen it; kept for the next change."""
        key = (model.key, is_draft)
        with self._lock:
            if key not in self._canvases:
                settings = model.colorizer.settings
                if is_draft:
                    small = {"flip_average": False, "working_size": min(_DRAFT_SIZE, settings.working_size)}
                    settings = settings.model_copy(update=small)
                self._canvases[key] = model.colorizer.with_settings(settings).open(self.lightness)
                while len(self._canvases) > _KEPT_CANVASES:
                    self._canvases.popitem(last=False)
            self._canvases.move_to_end(key)
            return self._canvases[key]


def sha256_of(source: Path | bytes) -> str:
    """The sha256 of a file."""
    return hashlib.sha256(source).hexdigest() if isinstance(source, bytes) else file_sha256(source)


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
    """The origin that the coloured file of a look records."""
    settings = replace(model.settings, seed=look.seed)
    if look.saturation is not None:
        settings = replace(settings, saturation=look.saturation)
    palette = look.palette()
    return replace(
        settings.provenance(sha256, look.variant),
        steps=", ".join(f"{name} {steps:+g}" for name, steps in look.steps().items()),
        hints=describe_hints([point.hint() for point in look.hints]),
        like="" if palette is None else _palette_text(palette),
    )


def _palette_text(palette: Palette) -> str:
    """Which palette, and its strength."""
    return f"{hashlib.sha256(palette.vector.tobytes()).hexdigest()[:16]}, strength {palette.strength:g}"


def joined(pieces: Sequence[bytes]) -> bytes:
    """The pieces of a file as one."""
    return b"".join(pieces)
