"""Faults as problem details (RFC 9457): JSON with one clear sentence."""

import logging
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from tintlab.imaging.photos import PhotoError
from tintlab.system import console
from tintlab.system.errors import TintlabError

MEDIA_TYPE = "application/problem+json"

_TITLES = {422: "This photograph can't be used", 421: "This server does not answer to that name"}
_LONGEST = 200
_log = logging.getLogger(__name__)


class Problem(HTTPException):
    """A fault to be answered: `status`, and one sentence that says what and what to do."""

    def __init__(self, status: int, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(status, detail, headers)


def response(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """The answer to a fault."""
    content = {
        "type": "about:blank",
        "title": _TITLES.get(status, HTTPStatus(status).phrase),
        "status": status,
        "detail": console.printable(detail)[:_LONGEST],
    }
    return JSONResponse(content, status, headers, MEDIA_TYPE)


def install(app: FastAPI) -> None:
    """Answer all faults of an application this way."""

    async def http(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        return response(error.status_code, str(error.detail), dict(error.headers or {}))

    async def photo(request: Request, error: Exception) -> JSONResponse:
        return response(422, str(error))

    async def ours(request: Request, error: Exception) -> JSONResponse:
        return response(400, str(error))

    async def parameters(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        return response(400, _first(error.errors()))

    async def unknown(request: Request, error: Exception) -> JSONResponse:
        _log.error("%s %s failed", request.method, request.url.path, exc_info=error)
        return response(500, "the server has a fault: its log says more")

    app.add_exception_handler(HTTPException, http)
    app.add_exception_handler(PhotoError, photo)
    app.add_exception_handler(TintlabError, ours)
    app.add_exception_handler(RequestValidationError, parameters)
    app.add_exception_handler(Exception, unknown)


def _first(errors: Any) -> str:
    first = errors[0]
    where = ".".join(str(part) for part in first["loc"] if part not in ("body", "query", "path"))
    return f"{where}: {first['msg']}" if where else str(first["msg"])
