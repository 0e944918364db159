"""What kind of fault an exception of a store is: of one object, or of something that every object needs."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import Enum, auto
from typing import Any

from fakescan.storage.errors import (
    BUSY_CODES,
    CREDENTIAL_CODES,
    DENIED_CODES,
    http_status,
    is_certificate,
    is_forbidden,
    is_transient,
    root_cause,
    service_code,
)
from fakevlm.errors import ImageError, UserError

MAX_RETRY_AFTER_S = 600.0
"""A server that asks for more patience than this is asked again all the same."""

_CREDENTIAL_KINDS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError", "NoAuthTokenError"}
    | {"UnauthorizedSSOTokenError", "SSOTokenLoadError", "TokenRetrievalError", "MetadataRetrievalError"}
    # A credentials file that is being replaced may be read half.
    | {"ProfileNotFound", "ConfigParseError", "InvalidConfigError"}
    | {"RefreshError", "DefaultCredentialsError", "ClientAuthenticationError", "CredentialUnavailableError"}
)
_LATER_CODES = BUSY_CODES - {"InternalError", "OperationAborted", "ConditionalRequestConflict"}
_LATER_STATUS = frozenset({408, 425, 429, 502, 503, 504})
_UNREACHABLE_KINDS = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ConnectionTimeoutError", "ClientConnectorError"}
    | {"ClientConnectorDNSError", "ProxyConnectionError", "ClientProxyConnectionError", "ServiceRequestError"}
    | {"ConnectionRefusedError", "gaierror", "TransportError"}
)


class Fault(Enum):
    """Whose fault an error is, as far as the error itself says."""

    OBJECT = auto()
    """The object's own: missing, changed, too large, no image."""
    DENIED = auto()
    """Access was denied, which may be to this object or to all."""
    CREDENTIALS = auto()
    """The credentials are no longer, or not yet, good."""
    LATER = auto()
    """The store asks for patience: throttled, overloaded, silent."""
    BROKEN = auto()
    """The store failed, or the connection broke off."""
    UNREACHABLE = auto()
    """There was no connection."""


def fault_of(error: BaseException) -> Fault:
    """The kind of fault."""
    if isinstance(error, ImageError):
        return Fault.OBJECT
    if isinstance(error, UserError):
        hidden = error.__context__  # raised `from None`, because its message says it all to a person
        return fault_of(hidden) if hidden is not None else Fault.OBJECT
    error = root_cause(error)
    status, code, kinds = http_status(error), service_code(error), {kind.__name__ for kind in type(error).__mro__}
    if code in CREDENTIAL_CODES or kinds & _CREDENTIAL_KINDS:
        return Fault.CREDENTIALS
    if is_certificate(error):
        return Fault.UNREACHABLE
    if status in _LATER_STATUS or code in _LATER_CODES:
        return Fault.LATER
    if status == 401 and not _is_of_web(error):  # a token that was good: gcsfs and Azure say no more
        return Fault.CREDENTIALS
    if (
        status in (401, 403)
        or code in DENIED_CODES
        or is_wordless(error)
        or isinstance(error, PermissionError)
        or is_forbidden(error)
    ):
        return Fault.DENIED
    if kinds & _UNREACHABLE_KINDS:
        return Fault.UNREACHABLE
    if not is_transient(error):
        return Fault.OBJECT
    return Fault.LATER if isinstance(error, TimeoutError) or "ReadTimeoutError" in kinds else Fault.BROKEN


def is_weather(error: BaseException) -> bool:
    """Whether the error may pass without a change of the object or of the request."""
    return (fault_of(error) not in (Fault.OBJECT, Fault.DENIED) or is_wordless(error)) and not is_settled_certificate(
        error
    )


def is_wordless(error: BaseException) -> bool:
    """Whether an S3 server refused a request without a reason, as answers to HEAD have none.

    The credentials may have expired, or there may be no permission.
    """
    hidden = error.__context__ if isinstance(error, UserError) else error
    return hidden is not None and service_code(root_cause(hidden)) in {"400", "403"}


def is_settled_certificate(error: BaseException) -> bool:
    """Whether a server's certificate was not accepted, which waiting rarely changes."""
    return is_certificate(root_cause(error))


def retry_after(error: BaseException) -> float | None:
    """Seconds for which the server asks to be left alone; None where it does not say."""
    value = _header(root_cause(error), "retry-after")
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            moment = parsedate_to_datetime(value)
        except ValueError:
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - datetime.now(UTC)).total_seconds()
    return min(seconds, MAX_RETRY_AFTER_S) if seconds > 0 else None


def _header(error: BaseException, name: str) -> str | None:
    response = getattr(error, "response", None)
    headers: Any = getattr(error, "headers", None) or getattr(response, "headers", None)
    if isinstance(response, dict):
        headers = response.get("ResponseMetadata", {}).get("HTTPHeaders")
    if not isinstance(headers, Mapping):
        return None
    return next((str(value) for key, value in headers.items() if str(key).lower() == name), None)


def _is_of_web(error: BaseException) -> bool:
    return type(error).__module__.startswith("aiohttp")
