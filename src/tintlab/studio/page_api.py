"""The HTTP interface of the page: open photographs, and small pictures of them that follow every change."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response, StreamingResponse

from tintlab.imaging.color import lightness_to_grey, to_bytes
from tintlab.imaging.encoding import QUALITY, SUFFIXES, Format
from tintlab.scoring.settings import Depth
from tintlab.studio.api import FAULTS, MEDIA_TYPES, encode_preview
from tintlab.studio.archive import ZipStream, member_names
from tintlab.studio.limits import read_body
from tintlab.studio.look import Look, SavedLook, Share
from tintlab.studio.models import DEFAULT
from tintlab.studio.photo import PREVIEW_SIDE, FileForm, joined
from tintlab.studio.requests import palette_of
from tintlab.studio.state import StudioOfApp
from tintlab.studio.variants import choose_variants, likely_colours
from tintlab.system.errors import TintlabError

_MOST_IN_ZIP = 200


class Asked(BaseModel):
    """A look at a photograph by a model.

    Attributes:
        model: one that /v1/models lists.
        look: how to colour.
    """

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(max_length=40)] = DEFAULT
    look: Look = Look()


class PreviewAsked(Asked):
    """As `Asked`, with the size: pixels of the longer side."""

    side: Annotated[int, Field(ge=16, le=PREVIEW_SIDE)] = 1200


class PlaceAsked(Asked):
    """As `Asked`, with a place: shares of width and height."""

    x: Share
    y: Share


class FileAsked(Asked):
    """As `Asked`, with the form of the file."""

    format: Format = "png"
    quality: Annotated[int, Field(ge=1, le=100)] = QUALITY
    depth: Depth = 8

    def form(self) -> FileForm:
        """The form of the file."""
        return FileForm(self.format, self.quality, self.depth)


class ZipEntry(BaseModel):
    """A photograph of a ZIP file: its id, the name to be shown, and its look."""

    model_config = ConfigDict(extra="forbid")

    id: Annotated[str, Field(max_length=40)]
    name: Annotated[str, Field(max_length=200)]
    look: Look = Look()


class ZipAsked(FileAsked):
    """Several photographs, in files of one form."""

    photos: Annotated[list[ZipEntry], Field(min_length=1, max_length=_MOST_IN_ZIP)]


routes = APIRouter(prefix="/v1/photos", tags=["the page"], responses=FAULTS)


@routes.post("", summary="Open a photograph: its bytes as the body")
async def add(studio: StudioOfApp, request: Request) -> dict[str, Any]:
    """Open a photograph."""
    async with studio.slots.admitting():
        data = await read_body(request, studio.limits)

        def work() -> dict[str, Any]:
            photo_id = studio.store.add(data)
            photo = studio.store.open(photo_id)
            height, width = photo.lightness.shape
            facts = {"id": photo_id, "width": width, "height": height, "sha256": photo.sha256}
            return facts | {"notes": list(photo.notes)}

        return await studio.slots.run(request, work)


@routes.delete("/{photo_id}", status_code=204, summary="Close a photograph")
async def remove(studio: StudioOfApp, photo_id: str) -> Response:
    """Close a photograph."""
    studio.store.remove(photo_id)
    return Response(status_code=204)


@routes.get("/{photo_id}/grey", response_class=Response, summary="The photograph without colours, small")
async def grey(studio: StudioOfApp, request: Request, photo_id: str, side: int = PREVIEW_SIDE) -> Response:
    """The photograph without colours."""

    def work() -> bytes:
        lightness = studio.store.open(photo_id).lightness_at(max(16, side))
        return encode_preview(to_bytes(lightness_to_grey(lightness)))

    async with studio.slots.admitting():
        return Response(await studio.slots.run(request, work), media_type="image/jpeg")


@routes.post("/{photo_id}/preview", response_class=Response, summary="The coloured photograph, small")
async def preview(studio: StudioOfApp, request: Request, photo_id: str, asked: PreviewAsked) -> Response:
    """The coloured photograph, small."""

    def work() -> bytes:
        photo = studio.store.open(photo_id)
        return encode_preview(photo.preview(studio.models.get(asked.model), asked.look, asked.side))

    async with studio.slots.admitting():
        return Response(await studio.slots.run(request, work), media_type="image/jpeg")


@routes.post("/{photo_id}/variants", summary="Colourings that differ visibly, as numbers of draws")
async def variants(studio: StudioOfApp, request: Request, photo_id: str, asked: Asked) -> dict[str, Any]:
    """Colourings that differ visibly."""

    def work() -> dict[str, Any]:
        draws = studio.store.draws(photo_id, studio.models.get(asked.model), asked.look.seed)
        return {"variants": [asdict(variant) for variant in choose_variants(draws, 6)]}

    async with studio.slots.admitting():
        return await studio.slots.run(request, work)


@routes.post("/{photo_id}/likely", summary="Lightness of a place, and the colours that are likely there")
async def likely(studio: StudioOfApp, request: Request, photo_id: str, asked: PlaceAsked) -> dict[str, Any]:
    """What is likely at a place."""

    def work() -> dict[str, Any]:
        draws = studio.store.draws(photo_id, studio.models.get(asked.model), asked.look.seed)
        lightness, colours = likely_colours(draws, asked.x, asked.y)
        return {"lightness": lightness, "colours": [asdict(colour) for colour in colours]}

    async with studio.slots.admitting():
        return await studio.slots.run(request, work)


@routes.post("/{photo_id}/palette", summary="The palette of a reference photograph")
async def palette(studio: StudioOfApp, request: Request, photo_id: str) -> dict[str, Any]:
    """The palette of a reference."""

    def work() -> dict[str, Any]:
        return {"palette": palette_of(studio.store.data(photo_id), studio.limits.max_megapixels)}

    async with studio.slots.admitting():
        return await studio.slots.run(request, work)


@routes.post("/{photo_id}/file", response_class=Response, summary="The coloured photograph at its full size")
async def file(studio: StudioOfApp, request: Request, photo_id: str, asked: FileAsked) -> Response:
    """The coloured photograph as a file."""
    form = asked.form()

    def work() -> bytes:
        photo = studio.store.open(photo_id)
        with studio.budget.take(photo.megapixels):
            return joined(photo.file(studio.models.get(asked.model), asked.look, form)[0])

    async with studio.slots.admitting():
        content = await studio.slots.run(request, work)
    return _attachment(content, MEDIA_TYPES[form.file_format], f"coloured{SUFFIXES[form.file_format]}")


@routes.post("/{photo_id}/settings", response_class=Response, summary="Hints and settings, to be kept")
async def settings(studio: StudioOfApp, request: Request, photo_id: str, asked: Asked) -> Response:
    """Hints and settings as a file."""

    def work() -> str:
        model = studio.models.get(asked.model).settings
        saved = SavedLook(
            model=model.model,
            weights_sha256=model.weights_sha256,
            source_sha256=studio.store.open(photo_id).sha256,
            **asked.look.model_dump(exclude_defaults=True),
        )
        return saved.text()

    async with studio.slots.admitting():
        return _attachment(await studio.slots.run(request, work), "application/json", "settings.json")


@routes.post("/zip", response_class=StreamingResponse, summary="Several photographs in one ZIP file")
async def archive(studio: StudioOfApp, request: Request, asked: ZipAsked) -> Response:
    """Several photographs as a ZIP file."""
    form = asked.form()
    for entry in asked.photos:
        studio.store.touch(entry.id)  # refused before it starts
    names = member_names([entry.name for entry in asked.photos], SUFFIXES[form.file_format])
    held = AsyncExitStack()
    await held.enter_async_context(studio.slots.admitting())

    def coloured(entry: ZipEntry) -> bytes:
        photo = studio.store.open(entry.id)
        with studio.budget.take(photo.megapixels):
            return joined(photo.file(studio.models.get(asked.model), entry.look, form)[0])

    async def pieces() -> AsyncIterator[bytes]:
        async with held:
            stream = ZipStream()
            for name, entry in zip(names, asked.photos, strict=True):
                try:
                    yield stream.add(name, await studio.slots.run(request, coloured, entry))
                except TintlabError as error:
                    yield stream.add(f"{name}.txt", f"{error}\n".encode())
            yield stream.end()

    headers = {"Content-Disposition": 'attachment; filename="coloured.zip"'}
    return StreamingResponse(pieces(), headers=headers, media_type="application/zip")


def _attachment(content: bytes | str, media_type: str, name: str) -> Response:
    return Response(
        content, headers={"Content-Disposition": f'attachment; filename="{name}"'}, media_type=media_type
    )
