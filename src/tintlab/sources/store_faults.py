"""What a store's client raised: whether it will pass, and what it means in words without secrets."""

from collections.abc import Iterator
from typing import Any

from tintlab.system.errors import TintlabError

_PASSING_STATUS = (408, 425, 429, 500, 502, 503, 504)
_PASSING_CODES = {
    *("SlowDown", "ServiceUnavailable", "InternalError", "RequestTimeout", "Throttling"),
    *("ThrottlingException", "RequestLimitExceeded", "ServerBusy", "OperationAborted"),
    "ConditionalRequestConflict",  # another write of the same object is under way
}
_PASSING_KINDS = {
    *("EndpointConnectionError", "ConnectTimeoutError", "ReadTimeoutError", "ConnectionClosedError"),
    *("HTTPClientError", "IncompleteReadError", "IncompleteRead", "ResponseParserError"),
    *("ClientPayloadError", "ServerDisconnectedError", "ClientConnectorError", "ClientOSError"),
    *("FSTimeoutError", "ServiceRequestError", "ServiceResponseError", "ConnectionLost"),
}
_CLOCK = {"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"}
_NO_CREDENTIALS = {"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"}
_BAD_CREDENTIALS = {
    *("InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "RefreshError"),
}
_WORDS = (
    (_CLOCK, "the store finds that this machine's clock is wrong: set it (15 minutes are allowed)"),
    (_NO_CREDENTIALS, "there are no credentials: set them in the environment (SECURITY.md tells which)"),
    (_BAD_CREDENTIALS, "the store does not accept these credentials ({})"),
    ({"NoSuchBucket", "ContainerNotFound"}, "there is no such bucket"),
    ({"InvalidBucketName"}, "a bucket can't have this name"),
    ({"KeyTooLongError", "InvalidObjectName"}, "the name is too long for the store ({})"),
    ({"PermissionDenied", "PermissionError", "AccessDenied", "403", "401"}, "permission denied"),
    ({"HostKeyNotVerifiable"}, "the server's key is not in known_hosts"),
)
_MISSING = {"NoSuchKey", "NoSuchBucket", "404", "BlobNotFound", "SFTPNoSuchFile"}


class StoreError(TintlabError):
    """A store that refuses or stays away: the next file would meet the same."""


def is_missing(error: BaseException) -> bool:
    """Whether there is no file of that name."""
    return isinstance(error, FileNotFoundError) or bool(_MISSING & _marks(error))


def is_passing(error: BaseException) -> bool:
    """Whether the same request may succeed in a while."""
    if _CLOCK & _marks(error):
        return False
    return any(
        isinstance(one, TimeoutError | ConnectionError)
        or _kind(one) in _PASSING_KINDS
        or _status(one) in _PASSING_STATUS
        or _code(one) in _PASSING_CODES
        for one in _chain(error)
    )


def reason_of(error: BaseException) -> str:
    """What is wrong, in words; none of a server's own words, which may hold a signed URL."""
    marks = _marks(error)
    for known, words in _WORDS:
        if hit := known & marks:
            return words.format(min(hit))
    said = next((code for one in _chain(error) if (code := _code(one) or str(_status(one) or ""))), "")
    if said:
        return f"the store says {said[:60]}"
    if isinstance(error, TimeoutError):
        return "the store sends nothing"
    text = error.strerror if isinstance(error, OSError) else None
    return str(text)[:100] if text else _kind(error)


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    now: BaseException | None = error
    while now is not None and id(now) not in seen:
        yield now
        seen.add(id(now))
        now = now.__cause__ or now.__context__


def _marks(error: BaseException) -> set[str]:
    """The kinds, codes and statuses of an error and its causes."""
    found = set()
    for one in _chain(error):
        found |= {_kind(one), _code(one), str(_status(one) or "")}
    return found - {""}


def _kind(error: BaseException) -> str:
    return type(error).__name__


def _code(error: BaseException) -> str:
    """The code of botocore and of Azure."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    return str(getattr(error, "error_code", "") or "")


def _status(error: BaseException) -> int | None:
    """The HTTP status of botocore, aiohttp, gcsfs and Azure."""
    response: Any = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        status = getattr(error, "status", None) or getattr(error, "status_code", None)
        status = status or getattr(error, "code", None)
    try:
        return int(status) if status is not None else None
    except (TypeError, ValueError):
        return None
