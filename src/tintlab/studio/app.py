"""The studio as an ASGI application: the page, the plain HTTP interface, and the guard around both."""

import functools
import threading
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from importlib import metadata, resources
from typing import Any

import anyio
import jinja2
from fastapi import FastAPI
from starlette.responses import Response
from starlette.types import ASGIApp

from tintlab.studio import api, film_api, page_api, problems
from tintlab.studio.limits import Limits
from tintlab.studio.metrics import Measured
from tintlab.studio.models import Models
from tintlab.studio.safety import Access, Guard
from tintlab.studio.state import Studio, make_studio

_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_SWEEP_SECONDS = 60.0
_METHODS = ("get", "post", "delete")


def create_app(models: Models, access: Access, limits: Limits) -> ASGIApp:
    """The application.

    Args:
        models: that it offers.
        access: who may come in.
        limits: of what it takes.
    """
    studio = make_studio(models, limits)

    @asynccontextmanager
    async def living(app: FastAPI) -> AsyncIterator[None]:
        with _following(models):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_sweep, studio)
                try:
                    yield
                finally:
                    tasks.cancel_scope.cancel()
                    studio.films.close()

    app = FastAPI(
        title="tintlab studio",
        version=metadata.version("tintlab"),
        docs_url=None,
        redoc_url=None,
        lifespan=living,
    )
    problems.install(app)
    app.state.studio = studio
    app.include_router(api.routes)
    app.include_router(page_api.routes)
    app.include_router(film_api.routes)
    _add_pages(app, studio)
    return Measured(Guard(app, access, limits), studio.metrics)


def _add_pages(app: FastAPI, studio: Studio) -> None:
    assets = _assets()

    @app.get("/", include_in_schema=False)
    async def page() -> Response:
        return Response(_template("page.html").render(), media_type="text/html")

    @app.get("/docs", include_in_schema=False)
    async def documentation() -> Response:
        operations = list(_operations(app.openapi()))
        return Response(_template("api.html").render(operations=operations), media_type="text/html")

    @app.get("/static/{name}", include_in_schema=False)
    async def static(name: str) -> Response:
        if name not in assets:
            raise problems.Problem(404, "there is no such file")
        content, media_type = assets[name]
        return Response(content, media_type=media_type)

    @app.get("/healthz", tags=["plain HTTP"], summary="Whether the server is there")
    async def healthz() -> dict[str, str]:
        return {"status": "ok"}

    @app.get("/metrics", tags=["plain HTTP"], response_class=Response, summary="Figures for Prometheus")
    async def figures() -> Response:
        return Response(studio.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _assets() -> Mapping[str, tuple[bytes, str]]:
    """All files that the page needs, in memory: no name that a client sends is looked up on the disk."""
    folder = resources.files("tintlab.studio") / "static"
    found = {}
    for file in folder.iterdir():
        suffix = file.name[file.name.rfind(".") :]
        if suffix in _TYPES:
            found[file.name] = file.read_bytes(), _TYPES[suffix]
    return found


@functools.cache
def _template(name: str) -> jinja2.Template:
    loader = jinja2.PackageLoader("tintlab.studio")
    return jinja2.Environment(loader=loader, autoescape=True).get_template(name)


def _operations(schema: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for path, methods in schema["paths"].items():
        for method in _METHODS:
            if method in methods:
                found = methods[method]
                yield {
                    "path": path,
                    "method": method.upper(),
                    "tag": found.get("tags", [""])[0],
                    "summary": found.get("summary", ""),
                    "parameters": found.get("parameters", []),
                    "answers": found.get("responses", {}),
                }


@contextmanager
def _following(models: Models) -> Iterator[None]:
    """A thread that loads the model at the start, and another one when there is another champion."""

    thread = threading.Thread(target=models.follow, daemon=True, name="models")
    thread.start()
    try:
        yield
    finally:
        models.stop()


async def _sweep(studio: Studio) -> None:
    while True:
        await anyio.sleep(_SWEEP_SECONDS)
        studio.store.sweep()
        await anyio.to_thread.run_sync(studio.films.sweep)
