"""Colourings of one photograph at full size, as files with their provenance."""

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from tintlab.imaging.color import Float
from tintlab.imaging.encoding import encode
from tintlab.imaging.metadata import CaptureMetadata
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.inference.guided import GuidedColours, coloured
from tintlab.scoring.settings import ScoreSettings
from tintlab.system.errors import TintlabError
from tintlab.system.files import atomic_path


@dataclass(frozen=True)
class Source:
    """A photograph to colour: its L* `(h, w)`, its capture metadata, and the sha256 of its file."""

    lightness: Float
    metadata: CaptureMetadata
    sha256: str


def read_source(photo: Path, max_megapixels: float) -> Source:
    """Read a photograph.

    Raises:
        TintlabError: the photograph can't be used.
    """
    try:
        data = photo.read_bytes()
        found = read_photo(data, max_megapixels)
    except OSError as error:
        raise TintlabError(f"{photo} can't be opened: {error.strerror}") from None
    except PhotoError as error:
        raise TintlabError(f"{photo}: {error}") from None
    return Source(found.lightness(), found.metadata, hashlib.sha256(data).hexdigest())


def write(file: Path, photo: Source, colours: GuidedColours, settings: ScoreSettings, variant: str) -> None:
    """Write a PNG file atomically. `variant` says how it differs from the plain colouring."""
    origin = replace(settings.provenance(photo.sha256), variant=variant)
    pieces, _ = encode(coloured(photo.lightness, colours), "png", photo.metadata, origin)
    with atomic_path(file) as temporary, temporary.open("wb") as opened:
        opened.writelines(pieces)
