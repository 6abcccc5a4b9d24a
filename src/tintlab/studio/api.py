"""The plain HTTP interface: a photograph in, the same photograph in colour out."""

import base64
import io
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from PIL import Image
from starlette.responses import Response

from tintlab.imaging.color import Byte
from tintlab.imaging.encoding import SUFFIXES, Format
from tintlab.studio.look import Look
from tintlab.studio.models import Model
from tintlab.studio.photo import OpenPhoto, joined
from tintlab.studio.requests import ColorizeQuery, Sent, VariantsQuery, read_sent
from tintlab.studio.state import Studio, StudioOfApp
from tintlab.studio.variants import DRAWN_SIDE, choose_variants, draw

MEDIA_TYPES: dict[Format, str] = {"png": "image/png", "jpeg": "image/jpeg", "webp": "image/webp"}
PREVIEW_QUALITY = 88

_VARIANT_SIDE = 320
_PHOTOGRAPH: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["image"],
                    "properties": {
                        "image": {"type": "string", "format": "binary", "description": "The photograph."},
                        "like": {
                            "type": "string",
                            "format": "binary",
                            "description": "A photograph whose palette guides the colours.",
                        },
                        "hints": {"type": "string", "description": "Colours of places, as JSON."},
                        "settings": {"type": "string", "description": "What the page saved, as JSON."},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
_PICTURE: dict[int | str, dict[str, Any]] = {
    200: {"content": {kind: {} for kind in MEDIA_TYPES.values()}, "description": "The coloured photograph."}
}
FAULTS: dict[int | str, dict[str, Any]] = {
    status: {"description": text, "content": {"application/problem+json": {}}}
    for status, text in {
        400: "A wrong parameter, part or name.",
        413: "The body is too long.",
        422: "The photograph can't be used.",
        503: "Too many requests at a time; Retry-After says when to try again.",
    }.items()
}


routes = APIRouter(prefix="/v1", tags=["plain HTTP"])


@routes.post(
    "/colorize",
    response_class=Response,
    responses=_PICTURE | FAULTS,
    openapi_extra=_PHOTOGRAPH,
    summary="Colour a photograph at its full size",
)
async def colorize(
    studio: StudioOfApp, request: Request, query: Annotated[ColorizeQuery, Query()]
) -> Response:
    """Colour a photograph."""
    form = query.form()
    async with studio.slots.admitting():
        sent = await read_sent(request, query, studio.limits)

        def work() -> tuple[bytes, list[str]]:
            with studio.opening(sent) as (photo, look):
                pieces, notes = photo.file(studio.models.get(query.model), look, form)
                return joined(pieces), notes

        content, notes = await studio.slots.run(request, work)
    headers = {"Content-Disposition": f'inline; filename="coloured{SUFFIXES[form.file_format]}"'}
    if notes:
        headers["Tintlab-Notes"] = "; ".join(notes).encode("ascii", "replace").decode()
    return Response(content, headers=headers, media_type=MEDIA_TYPES[form.file_format])


@routes.post(
    "/variants",
    responses=FAULTS,
    openapi_extra=_PHOTOGRAPH,
    summary="Choose colourings that differ visibly",
)
async def variants(
    studio: StudioOfApp, request: Request, query: Annotated[VariantsQuery, Query()]
) -> dict[str, Any]:
    """Choose colourings."""
    async with studio.slots.admitting():
        sent = await read_sent(request, query, studio.limits)
        return await studio.slots.run(request, _variants, studio, query, sent)


@routes.get("/models", summary="List the models that can be named")
async def models(studio: StudioOfApp, request: Request) -> dict[str, Any]:
    """List the models."""
    return {"models": await studio.slots.run(request, studio.models.list)}


def _variants(studio: Studio, query: VariantsQuery, sent: Sent) -> dict[str, Any]:
    model = studio.models.get(query.model)
    with studio.opening(sent) as (photo, look):
        draws = draw(model, photo.lightness_at(DRAWN_SIDE), photo.sha256, look.seed)
        found = [
            asdict(variant) | {"seed": look.seed, "preview": _preview(photo, model, look, variant.number)}
            for variant in choose_variants(draws, query.count)
        ]
    return {"model": model.facts(), "variants": found}


def _preview(photo: OpenPhoto, model: Model, look: Look, number: int) -> str:
    variant = look.model_copy(update={"variant": number})
    jpeg = encode_preview(photo.preview(model, variant, _VARIANT_SIDE))
    return f"data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}"


def encode_preview(pixels: Byte) -> bytes:
    """A small picture `(h, w, 3)` as JPEG, without metadata: it is shown, not kept."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=PREVIEW_QUALITY)
    return file.getvalue()
