"""A look: every setting that decides how one photograph is coloured. The page saves it, the command reads it."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tintlab.gan.hint_maps import PALETTE_LENGTH
from tintlab.inference.hints import DEFAULT_RADIUS, LARGEST_RADIUS, Hint
from tintlab.inference.palettes import DEFAULT_STRENGTH, Palette
from tintlab.system import console
from tintlab.system.errors import TintlabError

MAX_HINTS = 500
MAX_VARIANT = 1000
MAX_STEPS = 5.0
MAX_SATURATION = 4.0
MAX_FILE_BYTES = 1 << 20

STEER = {"warm": "warm", "vivid": "saturation", "green": "green", "sky": "sky", "foliage": "foliage"}
"""The direction in the noise that each name of the page, the command and the query stands for.

`saturation` is taken: everywhere else it is the factor on the colours.
"""

Steps = Annotated[float, Field(ge=-MAX_STEPS, le=MAX_STEPS, allow_inf_nan=False)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)]
Chroma = Annotated[float, Field(ge=-128, le=128, allow_inf_nan=False)]


class Point(BaseModel):
    """A hint as the page and its files write it; see `inference.hints.Hint`.

    Attributes:
        x: share of the width, from the left.
        y: share of the height, from the top.
        ab: CIE a* and b*.
        radius: share of the longer side.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    x: Share
    y: Share
    ab: tuple[Chroma, Chroma]
    radius: Annotated[float, Field(gt=0, le=LARGEST_RADIUS, allow_inf_nan=False)] = DEFAULT_RADIUS

    def hint(self) -> Hint:
        """The hint."""
        return Hint(self.x, self.y, *self.ab, self.radius)

    @classmethod
    def of(cls, hint: Hint) -> Self:
        """The same as the page writes it."""
        return cls(x=hint.x, y=hint.y, ab=(hint.a, hint.b), radius=hint.radius)


class Look(BaseModel):
    """How a photograph is coloured; the default is the model's own colouring.

    Attributes:
        seed: of the noise; see `noise_vectors.draw`.
        variant: number of the draw of this seed, from 1; 0 is none.
        warm: steps towards warmer colours; as the other four, see `explore.directions`.
        vivid: steps towards more vivid ones.
        green: steps from magenta to green.
        sky: steps towards a bluer sky.
        foliage: steps towards greener leaves.
        saturation: factor on the colours; None is the model's own.
        hints: colours of places.
        like: the palette that guides the colours (see `gan.hint_maps.palette_vector`), or None.
        like_strength: see `inference.palettes.Palette`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    seed: Annotated[int, Field(ge=0, le=2**32 - 1)] = 0
    variant: Annotated[int, Field(ge=0, le=MAX_VARIANT)] = 0
    warm: Steps = 0.0
    vivid: Steps = 0.0
    green: Steps = 0.0
    sky: Steps = 0.0
    foliage: Steps = 0.0
    saturation: Annotated[float, Field(ge=0, le=MAX_SATURATION, allow_inf_nan=False)] | None = None
    hints: Annotated[tuple[Point, ...], Field(max_length=MAX_HINTS)] = ()
    like: (
        Annotated[tuple[Weight, ...], Field(min_length=PALETTE_LENGTH, max_length=PALETTE_LENGTH)] | None
    ) = None
    like_strength: Share = DEFAULT_STRENGTH

    def palette(self) -> Palette | None:
        """The palette that guides the colours."""
        return None if self.like is None else Palette(np.array(self.like, np.float32), self.like_strength)

    def steps(self) -> dict[str, float]:
        """The steps along each direction that is taken, by the direction's name."""
        taken = {direction: float(getattr(self, name)) for name, direction in STEER.items()}
        return {direction: steps for direction, steps in taken.items() if steps}

    @classmethod
    def checked(cls, values: Mapping[str, Any], place: str) -> Self:
        """A look from values that come from elsewhere.

        Raises:
            TintlabError: one is wrong; `place` says where it was.
        """
        try:
            return cls.model_validate(dict(values))
        except ValidationError as error:
            raise TintlabError(f"{place}: {fault(error)}") from None


class SavedLook(Look):
    """The file that the page saves: a look, and the model and photograph that it was made with.

    Attributes:
        tintlab: version of the form.
        model: as in `models:/tintlab/3`.
        weights_sha256: of that model.
        source_sha256: of the photograph's file.
    """

    tintlab: Annotated[int, Field(ge=1, le=1)] = 1
    model: str = ""
    weights_sha256: str = ""
    source_sha256: str = ""

    def text(self) -> str:
        """The file's content."""
        return json.dumps({"tintlab": 1} | self.model_dump(exclude_defaults=True), indent=1) + "\n"

    def look(self) -> Look:
        """The look alone."""
        return Look.model_validate(self.model_dump(include=set(Look.model_fields), exclude_unset=True))


def read_saved(path: Path) -> SavedLook:
    """Read what the page saved.

    Raises:
        TintlabError: it can't be read, or is no such file.
    """
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise TintlabError(f"{path} can't be opened: {error.strerror}") from None
    return parse_saved(content, str(path))


def parse_saved(content: bytes | str, place: str) -> SavedLook:
    """As `read_saved`, from the content; `place` says where it was.

    Raises:
        TintlabError: it is no such file.
    """
    if len(content) > MAX_FILE_BYTES:
        raise TintlabError(f"{place}: more than {MAX_FILE_BYTES >> 20} MB: no settings that the studio saved")
    try:
        return SavedLook.model_validate_json(content)
    except ValidationError as error:
        raise TintlabError(f"{place}: {fault(error)}") from None


def fault(error: ValidationError) -> str:
    """The first fault that pydantic found, in a few words: where it is and what is wrong."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(map(str, first["loc"]))
    return console.printable(f"{where}: {first['msg']}" if where else first["msg"])[:150]


def palette_values(palette: Palette) -> tuple[float, ...]:
    """A palette as `Look.like` holds it: to the last bit."""
    return tuple(float(value) for value in palette.vector)
