"""Read clients' requests: a photograph as bytes, and its look. Text is not opened as a path or URL."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from tintlab.imaging.encoding import QUALITY, Format
from tintlab.imaging.photos import PhotoError, read_photo
from tintlab.inference.hints import parse_hints
from tintlab.inference.palettes import DEFAULT_STRENGTH, Palette
from tintlab.studio.limits import Limits, read_body
from tintlab.studio.look import (
    MAX_HINTS,
    MAX_SATURATION,
    MAX_VARIANT,
    Look,
    Point,
    Share,
    Steps,
    palette_values,
    parse_saved,
)
from tintlab.studio.models import DEFAULT
from tintlab.studio.photo import FileForm
from tintlab.studio.problems import Problem
from tintlab.system.errors import TintlabError

_LIKE = ("image", "like")
_TEXTS = ("hints", "settings")
_OF_THE_LOOK = ("seed", "variant", "warm", "vivid", "green", "sky", "foliage", "saturation", "like_strength")


class LookQuery(BaseModel):
    """How to colour, in a query: each name as in a `Look`, and the model's."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(max_length=40, description="One that /v1/models lists.")] = DEFAULT
    seed: Annotated[int, Field(ge=0, le=2**32 - 1, description="Of the noise.")] = 0
    variant: Annotated[
        int, Field(ge=0, le=MAX_VARIANT, description="Draw of the noise, from 1; 0 is none.")
    ] = 0
    warm: Annotated[Steps, Field(description="Steps towards warmer colours.")] = 0.0
    vivid: Annotated[Steps, Field(description="Steps towards more vivid colours.")] = 0.0
    green: Annotated[Steps, Field(description="Steps from magenta to green.")] = 0.0
    sky: Annotated[Steps, Field(description="Steps towards a bluer sky.")] = 0.0
    foliage: Annotated[Steps, Field(description="Steps towards greener leaves.")] = 0.0
    saturation: Annotated[
        float | None,
        Field(ge=0, le=MAX_SATURATION, allow_inf_nan=False, description="Factor; the model's own if absent."),
    ] = None
    like_strength: Annotated[
        Share, Field(description="How far colours are moved to the reference's palette.")
    ] = DEFAULT_STRENGTH


class ColorizeQuery(LookQuery):
    """As `LookQuery`, with the form of the file."""

    format: Annotated[Format, Field(description="Of the coloured file.")] = "png"
    quality: Annotated[int, Field(ge=1, le=100, description="Of JPEG and WebP.")] = QUALITY
    depth: Annotated[Literal["8", "16"], Field(description="Bits a channel; 16 for PNG.")] = "8"

    def form(self) -> FileForm:
        """The form of the file.

        Raises:
            TintlabError: the format can't have this depth.
        """
        return FileForm(self.format, self.quality, 16 if self.depth == "16" else 8)


class VariantsQuery(LookQuery):
    """As `LookQuery`, with how many."""

    count: Annotated[int, Field(ge=1, le=12, description="How many colourings.")] = 6


@dataclass(frozen=True)
class Sent:
    """The content of a client's request.

    Attributes:
        image: the bytes of a photograph's file.
        like: those of a reference, or None.
        query_look: how to colour, but for hints and reference.
        hints: JSON that holds hints, or None.
    """

    image: bytes
    like: bytes | None
    query_look: Look
    hints: Any

    def look(self, shape: tuple[int, int], max_megapixels: float) -> Look:
        """How to colour a photograph of this height and width.

        Raises:
            TintlabError: a hint is wrong, or the reference can't be used.
        """
        change: dict[str, Any] = {}
        if self.hints is not None:
            hints = parse_hints(self.hints, shape, "hints")
            if len(hints) > MAX_HINTS:
                raise TintlabError(f"{len(hints)} hints: give at most {MAX_HINTS}")
            change["hints"] = tuple(Point.of(hint) for hint in hints)
        if self.like is not None:
            change["like"] = palette_of(self.like, max_megapixels)
        return self.query_look.model_copy(update=change)


async def read_sent(request: Request, query: LookQuery, limits: Limits) -> Sent:
    """A photograph as multipart form data or as the whole body, and its look.

    Raises:
        Problem: there is none, or a part is not what it should be.
        TintlabError: the look is wrong.
    """
    content_type = request.headers.get("content-type", "")
    if content_type.lower().startswith("multipart/"):
        files, texts = await _parts(request, limits)
    else:
        files, texts = {"image": await read_body(request, limits)}, {}
    if not files.get("image"):
        raise Problem(
            400, "no photograph: send its bytes as the part `image` (curl -F image=@boat.jpg), or as the body"
        )
    hints = _parse_json(texts["hints"]) if "hints" in texts else None
    return Sent(files["image"], files.get("like"), look_of(query, texts), hints)


def palette_of(reference: bytes | Path, max_megapixels: float) -> tuple[float, ...]:
    """The palette of a reference photograph, for `Look.like`.

    Raises:
        TintlabError: it can't be used, or has no colours.
    """
    try:
        return palette_values(Palette.of(read_photo(reference, max_megapixels).rgb()))
    except PhotoError as error:
        raise TintlabError(f"the reference can't be used: {error}") from None


def look_of(query: LookQuery, texts: dict[str, str]) -> Look:
    """The look of a query and of the text `settings`; the query counts for more.

    Raises:
        TintlabError: it is wrong.
    """
    values: dict[str, Any] = {}
    if "settings" in texts:
        values = parse_saved(texts["settings"], "settings").look().model_dump(exclude_unset=True)
    values |= query.model_dump(include=set(_OF_THE_LOOK), exclude_unset=True)
    return Look.checked(values, "look")


def _parse_json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise Problem(400, "hints: not JSON") from None


async def _parts(request: Request, limits: Limits) -> tuple[dict[str, bytes], dict[str, str]]:
    """Files and texts of a form, by name: in memory, as the body's length is limited."""
    body = await read_body(request, limits)

    async def whole() -> Any:
        yield body

    parser = MultiPartParser(
        request.headers, whole(), max_files=3, max_fields=2, max_part_size=limits.json_bytes
    )
    parser.spool_max_size = limits.body_bytes + 1  # never on the disk
    try:
        form = await parser.parse()
    except (MultiPartException, KeyError, ValueError) as error:
        raise Problem(400, f"the form can't be read: {error}") from None
    files: dict[str, bytes] = {}
    texts: dict[str, str] = {}
    for name, value in form.multi_items():
        if name in files or name in texts:
            raise Problem(400, f"{name[:20]} is there twice: send it once")
        if isinstance(value, UploadFile):
            data = await value.read()
            if name in _TEXTS:
                texts[name] = data.decode("utf-8", "replace")
            elif name in _LIKE:
                files[name] = data
            else:
                raise _unknown(name)
        elif name in _TEXTS:
            texts[name] = value
        elif name in _LIKE:
            raise Problem(
                400, f"{name}: send the file's bytes, as in -F {name}=@boat.jpg; a name is not opened"
            )
        else:
            raise _unknown(name)
    return files, texts


def _unknown(name: str) -> Problem:
    return Problem(400, f"{name[:20]!r} is no part of this form: image, like, hints, settings are")
