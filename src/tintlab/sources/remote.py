"""Read a file on a server by http, https, s3 or gs, through fsspec: its version and its bytes.

Credentials come from the environment (NETRC, AWS_…, GOOGLE_APPLICATION_CREDENTIALS). Messages contain the URL
from params.yaml and not the target of a redirect, because that may contain a signature.
"""

import ipaddress
import re
import socket
import time
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies

from tintlab.system import urls
from tintlab.system.errors import TintlabError

_CHUNK = 8 << 20
_PIECE = 1 << 18
_LEAST_SPEED = 1000  # bytes a second; a slower server must not block a download for ever
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PASSING = (408, 425, 429, 500, 502, 503, 504)


@dataclass(frozen=True)
class Patience:
    """Time limits and retries of a download.

    Attributes:
        seconds: time without data, or at less than 1 kB/s, after which an attempt is abandoned.
        attempts: number of attempts in a row that gain less than 1 MB, after which the download is abandoned.
        pause: seconds before the second attempt; twice as long before each further one.
    """

    seconds: float = 30.0
    attempts: int = 5
    pause: float = 1.0


@dataclass(frozen=True)
class Version:
    """The version of a file, as its server states it.

    Attributes:
        etag: identifies the content; empty if the server gives no reliable one.
        size: bytes; None if the server does not state it.
    """

    etag: str
    size: int | None


class InterruptedDownloadError(Exception):
    """The download was interrupted and can be resumed; the message gives the reason."""


class ChangedError(Exception):
    """The part copied so far belongs to another version: start again."""


class MissingError(TintlabError):
    """There is no such file."""


class Remote:
    """A file on a server."""

    def __init__(self, url: str, patience: Patience) -> None:
        self.url = url
        self.patience = patience
        self.in_store = urlsplit(url).scheme in urls.STORES

    def is_still(self, etag: str) -> bool:
        """Whether the file still has this ETag; False if the server can't say."""
        try:
            if self.in_store:
                return _version_of(self._open_store().info(self.url)).etag == etag
            with closing(self._open_response({"If-None-Match": etag})) as response:
                return bool(response.r.status == 304)
        except (InterruptedDownloadError, OSError):
            return False

    def read_from(self, offset: int, version: Version | None) -> Generator[Any, None, None]:
        """Yield the offset of the data and its version; then yield the data from that offset.

        Args:
            offset: number of bytes of `version` that were downloaded before; the server may still start at 0.
            version: the version of these bytes; None for a new download.

        Raises:
            ChangedError: the server no longer has that version.
            InterruptedDownloadError: the server or the network fails, perhaps temporarily.
            TintlabError: the server refuses, or redirects to a forbidden address.
        """
        return self._read_store(offset, version) if self.in_store else self._read_http(offset, version)

    # -- http

    def _read_http(self, offset: int, version: Version | None) -> Generator[Any, None, None]:
        headers = {}
        if version is not None:
            headers = {"Range": f"bytes={offset}-", "If-Range": version.etag}
        with closing(self._open_response(headers)) as response:
            status, said = response.r.status, response.r.headers
            etag = said.get("ETag", "")[:200]
            etag = "" if etag.startswith("W/") or not etag.isprintable() else etag
            if version is not None and status == 206:
                span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", said.get("Content-Range", ""))
                if etag != version.etag or not span or int(span[1]) != offset:
                    raise ChangedError
                yield offset, replace(version, size=int(span[2]))
            elif status == 200:
                length = said.get("Content-Length", "")
                yield 0, Version(etag, int(length) if length.isdecimal() else None)
            else:
                raise ChangedError  # such as 416: the file is shorter now
            yield from self._read_pieces(response)

    def _read_pieces(self, response: Any) -> Generator[bytes, None, None]:
        from aiohttp import ClientError

        since, got = time.monotonic(), 0
        while True:
            try:
                piece = response.read(_PIECE)
            except (ClientError, OSError) as error:
                raise InterruptedDownloadError(_reason(error)) from error
            if not piece:
                return
            got += len(piece)
            elapsed = time.monotonic() - since
            if elapsed > self.patience.seconds:
                if got < _LEAST_SPEED * elapsed:
                    raise InterruptedDownloadError("the server hardly sends anything")
                since, got = time.monotonic(), 0
            yield piece

    def _open_response(self, headers: dict[str, str]) -> Any:
        """Open a response; each redirect is checked before it is followed."""
        from aiohttp import ClientError, ClientResponseError

        url, guard = self.url, AddressGuard(self.url)
        system = self._make_http(guard)
        for _ in range(_MOST_REDIRECTS + 1):
            try:
                # `size` keeps fsspec from asking for it first.
                file = system.open(
                    url, block_size=0, size=1, allow_redirects=False,
                    headers={"Accept-Encoding": "identity"} | headers,
                )  # fmt: skip
            except FileNotFoundError:
                raise MissingError(f"source {self.url} is not there: the server says 404") from None
            except ClientResponseError as error:
                if error.status in _PASSING:
                    raise InterruptedDownloadError(f"the server says {error.status}") from None
                if error.status == 416:
                    raise ChangedError from None
                advice = ": see SECURITY.md for credentials" if error.status in (401, 403) else ""
                raise TintlabError(f"source {self.url}: the server says {error.status}{advice}") from None
            except (ClientError, OSError, ValueError) as error:
                if guard.refused:
                    raise TintlabError(
                        f"source {self.url} redirects to a private address that it does not name: refused"
                    ) from None
                raise InterruptedDownloadError(_reason(error)) from None
            if file.r.status not in _REDIRECTS:
                return file
            target = urljoin(url, file.r.headers.get("Location", ""))
            file.close()
            self._refuse_redirect(url, target)
            url = target
        raise TintlabError(f"source {self.url} redirects again and again: refused")

    def _refuse_redirect(self, url: str, target: str) -> None:
        scheme, before = urlsplit(target).scheme, urlsplit(url).scheme
        if scheme not in urls.HTTP or (before == "https" and scheme != "https"):
            raise TintlabError(f"source {self.url} redirects to {scheme[:20] or 'no URL'!r}: refused")

    def _make_http(self, guard: "AddressGuard") -> Any:
        import aiohttp
        from fsspec.implementations.http import HTTPFileSystem

        async def client(loop: Any, **options: Any) -> aiohttp.ClientSession:
            connector = aiohttp.TCPConnector(socket_factory=guard.socket, force_close=True)
            return aiohttp.ClientSession(connector=connector, **options)

        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self.patience.seconds, sock_read=self.patience.seconds
        )
        # trust_env: use proxies and NETRC. The bytes must arrive as they are stored.
        options = {"timeout": timeout, "trust_env": True, "auto_decompress": False}
        return HTTPFileSystem(get_client=client, client_kwargs=options, skip_instance_cache=True)

    # -- s3 and gs

    def _read_store(self, offset: int, version: Version | None) -> Generator[Any, None, None]:
        store = self._open_store()
        try:
            now = _version_of(store.info(self.url))
            if version is not None and now != version:
                raise ChangedError
            yield offset, now
            size = now.size or 0
            while offset < size:
                piece = store.cat_file(self.url, start=offset, end=min(offset + _CHUNK, size))
                offset += len(piece)
                yield piece
                if not piece:
                    return
            if _version_of(store.info(self.url)) != now:
                raise ChangedError
        except FileNotFoundError:
            raise TintlabError(f"source {self.url} is not there") from None
        except PermissionError:
            raise TintlabError(
                f"source {self.url} may not be read: see SECURITY.md for credentials"
            ) from None
        except (TintlabError, ChangedError, GeneratorExit):
            raise
        except Exception as error:  # each client has its own exceptions
            raise InterruptedDownloadError(_reason(error)) from error

    def _open_store(self) -> Any:
        import fsspec

        scheme = urlsplit(self.url).scheme
        seconds = self.patience.seconds
        options: dict[str, dict[str, Any]] = {
            "s3": {"config_kwargs": {"connect_timeout": seconds, "read_timeout": seconds}},
            "gs": {"requests_timeout": seconds},
        }
        try:
            return fsspec.filesystem(
                scheme, skip_instance_cache=True, use_listings_cache=False, **options[scheme]
            )
        except ImportError:
            extra = {"s3": "s3", "gs": "gcs"}[scheme]
            raise TintlabError(
                f"source {self.url} needs one more package: pip install -c constraints.txt '.[{extra}]'"
            ) from None


class AddressGuard:
    """Lets a download reach only public addresses, and those that its own URL names.

    A server must not be able to direct us to a service on this machine or in its network, by a redirect or by
    a name that resolves to another address the second time. So the address is checked when the connection is
    made.
    """

    def __init__(self, url: str) -> None:
        hosts = {urlsplit(place).hostname for place in (url, *getproxies().values())}
        self._named = {address for host in hosts if host for address in _resolve(host)}
        self.refused = False

    def socket(self, address: Any) -> socket.socket:
        """A socket for an address as `getaddrinfo` gives it.

        Raises:
            PermissionError: the address is private, and the URL does not name it.
        """
        family, kind, protocol, _, place = address
        if place[0] not in self._named and not _is_public(place[0]):
            self.refused = True
            raise PermissionError("a private address")
        return socket.socket(family, kind, protocol)


def _resolve(host: str) -> set[str]:
    try:
        return {str(place[4][0]) for place in socket.getaddrinfo(host, None)}
    except (OSError, UnicodeError):
        return set()


def _is_public(address: str) -> bool:
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = getattr(found, "ipv4_mapped", None) or getattr(found, "sixtofour", None) or found
    return bool(mapped.is_global and not mapped.is_multicast)


def _version_of(info: dict[str, Any]) -> Version:
    etag = str(info.get("ETag") or info.get("generation") or info.get("etag") or "")[:200]
    return Version(etag, int(info["size"]))


def _reason(error: BaseException) -> str:
    # Leave out the error's text: it may contain the URL of a redirect.
    if isinstance(error, TimeoutError):
        return "the server sends nothing"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return type(error).__name__
