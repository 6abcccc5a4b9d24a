"""What the page asks for films: a film as bytes, its key frames as photographs, and its colouring."""

import asyncio
import dataclasses
import json
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import FileResponse, Response

from tintlab.scoring.film_file import Film, open_film
from tintlab.scoring.film_parts import Coding, check_output
from tintlab.scoring.film_work import FilmSettings
from tintlab.studio.api import FAULTS
from tintlab.studio.films import SOURCE, Films
from tintlab.studio.limits import Limits
from tintlab.studio.look import Look
from tintlab.studio.models import DEFAULT
from tintlab.studio.problems import Problem
from tintlab.studio.safety import FILMS
from tintlab.studio.state import Studio, StudioOfApp
from tintlab.system.errors import TintlabError

routes = APIRouter(prefix=FILMS, tags=["the page"], responses=FAULTS)


class ShotLook(BaseModel):
    """What a person says of a shot: its number from 1, and the look of its first frame."""

    model_config = ConfigDict(extra="forbid")

    shot: Annotated[int, Field(ge=1)]
    look: Look


class FilmAsked(BaseModel):
    """How a film is to be coloured."""

    model_config = ConfigDict(extra="forbid")

    model: Annotated[str, Field(max_length=40)] = DEFAULT
    codec: Literal["h264", "hevc"] = "h264"
    shots: Annotated[list[ShotLook], Field(max_length=100)] = []


@routes.post("", summary="Open a film: its bytes as the body")
async def add(studio: StudioOfApp, request: Request) -> dict[str, Any]:
    """Open a film; the first frames of its shots become photographs."""
    async with studio.slots.admitting():
        film_id, path = studio.films.reserve()
        try:
            await _receive(request, path, studio.limits)
            return await studio.slots.run(request, _open, studio, film_id)
        except BaseException:
            studio.films.remove(film_id)
            raise


async def _receive(request: Request, path: Path, limits: Limits) -> None:
    try:
        async with asyncio.timeout(limits.film_upload_seconds), await anyio.open_file(path, "wb") as file:
            async for piece in request.stream():
                await file.write(piece)
    except TimeoutError:
        raise Problem(408, f"the film did not come within {limits.film_upload_seconds:.0f} s") from None


def _open(studio: Studio, film_id: str) -> dict[str, Any]:
    try:
        held = studio.films.open(film_id)
    except TintlabError as error:
        raise Problem(422, _without_folder(error, studio.films, film_id)) from None
    assert held.film is not None
    photos = []
    for shot, data in zip(held.shots, studio.films.key_frames(held), strict=False):
        photos.append({"shot": shot.number, "id": studio.store.add(data)})
    return {
        "id": film_id,
        "width": held.film.width,
        "height": held.film.height,
        "frames": sum(shot.frames for shot in held.shots),
        "shots": len(held.shots),
        "photos": photos,
    }


def _without_folder(error: TintlabError, films: Films, film_id: str) -> str:
    return str(error).replace(f"{films.find(film_id).folder / SOURCE}: ", "")


@routes.post("/{film_id}/colour", status_code=202, summary="Colour a film, in the background")
async def colour(studio: StudioOfApp, request: Request, film_id: str, asked: FilmAsked) -> dict[str, Any]:
    """Begin to colour a film."""

    def work() -> dict[str, Any]:
        return studio.films.colour(film_id, _settings(studio, film_id, asked)).facts()

    async with studio.slots.admitting():
        return await studio.slots.run(request, work)


@routes.get("/{film_id}", summary="How far a film's colouring is")
async def progress(studio: StudioOfApp, film_id: str) -> dict[str, Any]:
    """How far it is."""
    job = studio.films.find(film_id).job
    return job.facts() if job else {"state": "open"}


@routes.post("/{film_id}/cancel", summary="Cancel a film's colouring; another one goes on from there")
async def cancel(studio: StudioOfApp, film_id: str) -> dict[str, Any]:
    """Cancel it."""
    job = studio.films.find(film_id).job
    if job is None:
        raise Problem(409, "this film is not being coloured")
    job.cancel()
    return job.facts()


@routes.get("/{film_id}/file", response_class=FileResponse, summary="The coloured film")
async def file(studio: StudioOfApp, film_id: str) -> Response:
    """The coloured film."""
    job = studio.films.find(film_id).job
    if job is None or job.output is None:
        raise Problem(409, "this film is not coloured yet")
    kind = "video/mp4" if job.output.suffix == ".mp4" else "video/x-matroska"
    return FileResponse(job.output, media_type=kind, filename=job.output.name)


@routes.delete("/{film_id}", status_code=204, summary="Close a film")
async def remove(studio: StudioOfApp, film_id: str) -> Response:
    """Close a film."""
    await anyio.to_thread.run_sync(studio.films.remove, film_id)
    return Response(status_code=204)


def _settings(studio: Studio, film_id: str, asked: FilmAsked) -> FilmSettings:
    """The settings of a film's colouring; what a person says of its shots goes into a file beside it."""
    held = studio.films.find(film_id)
    coding = Coding(asked.codec)
    entries = [_entry(one) for one in asked.shots if one.look.hints or one.look.like]
    guides = held.folder / "guides.json" if entries else None
    if guides:
        guides.write_text(json.dumps(entries), encoding="utf-8")
    score = dataclasses.replace(studio.models.get(asked.model).settings, output=held.folder)
    output = _output(held.folder, coding, held.film or open_film(held.folder / SOURCE))
    return FilmSettings(held.folder / SOURCE, output, score, coding, guides)


def _output(folder: Path, coding: Coding, film: Film) -> Path:
    """MP4 plays everywhere; Matroska holds every sound."""
    try:
        check_output(folder / "coloured.mp4", coding, film)
    except TintlabError:
        return folder / "coloured.mkv"
    return folder / "coloured.mp4"


def _entry(asked: ShotLook) -> dict[str, Any]:
    hints = [
        {"x": hint.x, "y": hint.y, "ab": list(hint.ab), "radius": hint.radius} for hint in asked.look.hints
    ]
    entry: dict[str, Any] = {"shot": asked.shot} | ({"hints": hints} if hints else {})
    if asked.look.like:
        entry |= {"palette": list(asked.look.like), "strength": asked.look.like_strength}
    return entry
