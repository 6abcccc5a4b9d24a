"""Decide which requests are admitted, and set the security headers of every answer.

A web page elsewhere can make a browser send requests to this machine: by a name that now resolves to 127.0.0.1
(DNS rebinding, detected by `Host`), or across sites (detected by `Origin` and `Sec-Fetch-Site`).
"""

import hmac
import ipaddress
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import RedirectResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tintlab.studio import problems
from tintlab.studio.limits import Limits
from tintlab.studio.problems import Problem
from tintlab.system.errors import TintlabError

COOKIE = "tintlab-studio"
LEAST_TOKEN = 16
"""Characters of a token, at least."""

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; "
        "trusted-types 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    "Cache-Control": "no-store",
}

FILMS = "/v1/films"
"""Where films are sent to: their bodies may be longer."""

_READ_ONLY = ("GET", "HEAD", "OPTIONS")
_OPEN_PATHS = ("/healthz",)  # says nothing but that the server is there
_DRAINED_BYTES = 256 << 20  # of a refused body are read, so that the client hears the answer


@dataclass(frozen=True)
class Access:
    """The addresses and the token that the server accepts.

    Attributes:
        host: the address that the server listens on.
        names: other names that it may be called by.
        token: that every request needs; empty on this machine alone.
    """

    host: str = "127.0.0.1"
    names: tuple[str, ...] = ()
    token: str = ""

    @property
    def is_local(self) -> bool:
        """Whether this machine alone can reach the server."""
        return self.host == "localhost" or _is_loopback(self.host)

    def knows(self, host: str) -> bool:
        """Whether a `Host` header names this server."""
        name = _name(host)
        if name in ("localhost", self.host.lower(), *(other.lower() for other in self.names)):
            return True
        # A name can be made to resolve to any address; an address can't.
        return _is_loopback(name) or (not self.is_local and _is_address(name))


class Guard:
    """ASGI middleware: refuses what `access` does not let in, and bodies that are too long.

    Args:
        app: the application.
        access: who may come in.
        limits: see `Limits`.
    """

    def __init__(self, app: ASGIApp, access: Access, limits: Limits) -> None:
        self._app, self._access, self._limits = app, access, limits

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        headers = Headers(scope=scope)
        sending = _with_headers(send)
        refusal = self._refusal(scope, headers)
        if refusal is not None:
            await _drain(receive)
            await refusal(scope, receive, sending)
            return
        await self._app(scope, _limited(receive, self._longest(scope, headers)), sending)

    def _longest(self, scope: Scope, headers: Headers) -> int:
        if scope["path"] == FILMS:
            return self._limits.film_bytes
        is_json = headers.get("content-type", "").startswith("application/json")
        return self._limits.json_bytes if is_json else self._limits.body_bytes

    def _refusal(self, scope: Scope, headers: Headers) -> Response | None:
        host = headers.get("host", "")
        if not self._access.knows(host):
            return problems.response(
                421, "call this server by localhost or its address, or start it with --name"
            )
        if scope["method"] not in _READ_ONLY and not _same_origin(headers, host):
            return problems.response(403, "refused: the request comes from a page of another site")
        if self._access.token and scope["path"] not in _OPEN_PATHS:
            return self._without_token(scope, headers)
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length) > self._longest(scope, headers):
            return problems.response(413, _too_long(self._longest(scope, headers)))
        return None

    def _without_token(self, scope: Scope, headers: Headers) -> Response | None:
        """None where the request brings the token; a browser gets a cookie for it once."""
        asked = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        if scope["path"] == "/" and self._is_token(asked):
            response = RedirectResponse("/", 303)
            response.set_cookie(COOKIE, self._access.token, httponly=True, samesite="strict")
            return response
        bearer = headers.get("authorization", "").removeprefix("Bearer ")
        if self._is_token(bearer) or self._is_token(_cookies(headers).get(COOKIE, "")):
            return None
        return problems.response(
            401, "this server wants its token: Authorization: Bearer TOKEN", {"WWW-Authenticate": "Bearer"}
        )

    def _is_token(self, found: str) -> bool:
        return hmac.compare_digest(found.encode(), self._access.token.encode())


def _same_origin(headers: Headers, host: str) -> bool:
    if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
        return False
    origin = headers.get("origin")
    return origin is None or urlsplit(origin).netloc.lower() == host.lower()


def _cookies(headers: Headers) -> dict[str, str]:
    pairs = (part.strip().partition("=") for part in headers.get("cookie", "").split(";"))
    return {name: value for name, _, value in pairs}


def _name(host: str) -> str:
    """The name or address in `name:port` or `[address]:port`."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _is_loopback(name: str) -> bool:
    return _is_address(name) and ipaddress.ip_address(name).is_loopback


def _too_long(longest: int) -> str:
    return f"the body is longer than {longest >> 20} MB, which is the most that this server takes"


def _limited(receive: Receive, longest: int) -> Receive:
    read = 0

    async def limited() -> Message:
        nonlocal read
        message = await receive()
        read += len(message.get("body", b""))
        if read > longest:
            if message.get("more_body", False):
                await _drain(receive)
            raise Problem(413, _too_long(longest))
        return message

    return limited


async def _drain(receive: Receive) -> None:
    """Read what is left of a body, within limits: a client that still sends would miss the answer."""
    left = _DRAINED_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b"")) + 1
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _with_headers(send: Send) -> Callable[[Message], Awaitable[None]]:
    async def sending(message: Any) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending


def check_access(host: str, token: str, names: Sequence[str] = ()) -> Access:
    """Check the options of the command, and make an `Access` of them.

    Raises:
        TintlabError: another address than this machine's without a token, or with one that is too short.
    """
    access = Access(host, tuple(names), token)
    if token and len(token) < LEAST_TOKEN:
        raise TintlabError(f"the token has {len(token)} characters: give {LEAST_TOKEN} or more")
    if not access.is_local and not token:
        raise TintlabError(
            f"{host} is open to other machines: set TINTLAB_STUDIO_TOKEN to {LEAST_TOKEN} characters or more"
        )
    return access
