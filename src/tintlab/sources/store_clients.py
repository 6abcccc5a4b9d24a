"""The clients of the stores: which URLs name a folder in one, and the file system of fsspec for each scheme."""

from typing import Any
from urllib.parse import urlsplit

from tintlab.sources.remote import AddressGuard, Patience, Remote
from tintlab.sources.store_faults import StoreError, reason_of
from tintlab.system import urls
from tintlab.system.errors import TintlabError

SCHEMES = ("s3", "gs", "az", "sftp", *urls.HTTP)
"""The first word of a URL that names a folder in a store."""

_EXTRAS = {"s3": "s3", "gs": "gcs", "az": "azure", "sftp": "sftp"}


def fault_of(url: str) -> str | None:
    """Why a URL can't name a folder in a store; None where it can."""
    parts = urls.split(url)
    if parts is None:
        return urls.UNREADABLE
    if parts.scheme not in SCHEMES:
        return f"stores are {', '.join(SCHEMES)}, not {parts.scheme[:20]!r}"
    if not parts.hostname:
        return "the URL of a store names a bucket or a server"
    if parts.password is not None or (parts.username is not None and parts.scheme != "sftp"):
        return "credentials come from the environment, not from the URL (SECURITY.md tells which)"
    if parts.query or parts.fragment:
        return "the URL of a store has no query and no fragment"
    return None if url.isprintable() else "a URL with control characters"


def open_system(url: str, scheme: str, patience: Patience) -> Any:
    """The client for a URL, as a file system of fsspec.

    Raises:
        TintlabError: a package is missing.
        StoreError: the client refuses, such as without credentials.
    """
    seconds = patience.seconds
    # One attempt each: `Store._attempt` counts them.
    options: dict[str, dict[str, Any]] = {
        "s3": {
            "config_kwargs": {
                "connect_timeout": seconds, "read_timeout": seconds, "max_pool_connections": 64,
                "retries": {"mode": "standard", "total_max_attempts": 1},
            }
        },
        "gs": {"requests_timeout": seconds},
    }  # fmt: skip
    try:
        if scheme == "sftp":
            return _open_sftp(url)
        if scheme in urls.HTTP:
            return Remote(url, patience)._make_http(AddressGuard(url))
        import fsspec

        found = fsspec.filesystem(
            scheme, skip_instance_cache=True, use_listings_cache=False, **options.get(scheme, {})
        )
    except ImportError:
        raise TintlabError(
            f"{url} needs one more package: pip install 'tintlab[{_EXTRAS.get(scheme, scheme)}]'"
        ) from None
    except Exception as error:  # such as a client that looks for credentials at once
        raise StoreError(f"{url} can't be opened: {reason_of(error)}") from None
    if scheme == "s3":
        found.retries = 1
    return found


def _open_sftp(url: str) -> Any:
    """By asyncssh, which knows ~/.ssh/config, keys and agents, and refuses servers that known_hosts lacks."""
    from sshfs import SSHFileSystem

    parts = urlsplit(url)
    options: dict[str, Any] = {"username": parts.username} if parts.username else {}
    options |= {"port": parts.port} if parts.port else {}
    return SSHFileSystem(parts.hostname, skip_instance_cache=True, **options)
