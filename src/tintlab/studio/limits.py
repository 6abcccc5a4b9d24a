"""Limits of the server: how many requests are admitted, how many compute at once, how long a body may be."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import anyio.to_thread
from starlette.requests import Request

from tintlab.studio.problems import Problem

T = TypeVar("T")

RETRY_SECONDS = 2


@dataclass(frozen=True)
class Limits:
    """The limits of one server.

    Attributes:
        body_bytes: of a request.
        json_bytes: of a request of the page without a photograph.
        max_megapixels: of a photograph; see `photos.read_photo`.
        computing: requests that compute at a time.
        admitted: requests with work at a time, computing or waiting; more are answered 503.
        upload_seconds: until a request's body must be there.
        held_bytes: of the photographs that pages have open, as files.
        held_photos: how many.
        held_seconds: how long after its last use.
        open_megapixels: of the photographs that are decoded.
        film_bytes: of a film's file.
        film_seconds: a film lasts at most.
        film_frames: of a film.
        film_shots: of a film, whose first frames become photographs.
        film_upload_seconds: until a film must be there.
        held_films: how many pages have open.
    """

    body_bytes: int = 64 << 20
    json_bytes: int = 1 << 20
    max_megapixels: float = 200.0
    computing: int = 2
    admitted: int = 8
    upload_seconds: float = 60.0
    held_bytes: int = 512 << 20
    held_photos: int = 200
    held_seconds: float = 3600.0
    open_megapixels: float = 60.0
    film_bytes: int = 512 << 20
    film_seconds: float = 600.0
    film_frames: int = 15_000
    film_shots: int = 24
    film_upload_seconds: float = 600.0
    held_films: int = 4


class Slots:
    """Admits requests and runs their work in threads.

    Args:
        limits: see `Limits`.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self.admitted = 0
        self._computing = asyncio.Semaphore(limits.computing)

    @asynccontextmanager
    async def admitting(self) -> AsyncIterator[None]:
        """Hold a place.

        Raises:
            Problem: all are taken: 503, to be tried again.
        """
        if self.admitted >= self._limits.admitted:
            raise Problem(
                503,
                f"{self.admitted} requests are under way: try again in {RETRY_SECONDS} s",
                {"Retry-After": str(RETRY_SECONDS)},
            )
        self.admitted += 1
        try:
            yield
        finally:
            self.admitted -= 1

    async def run(self, request: Request, work: Callable[..., T], *arguments: object) -> T:
        """Do `work` in a thread when one is free, unless the client has left by then.

        Raises:
            Problem: it has.
        """
        async with self._computing:
            if await request.is_disconnected():
                raise Problem(400, "the client has left")
            return await anyio.to_thread.run_sync(partial(work, *arguments))


async def read_body(request: Request, limits: Limits) -> bytes:
    """The body of a request.

    Raises:
        Problem: it is too long (413, see `safety`), or does not come (408).
    """
    try:
        async with asyncio.timeout(limits.upload_seconds):
            return await request.body()
    except TimeoutError:
        raise Problem(408, f"the body did not come within {limits.upload_seconds:.0f} s") from None
