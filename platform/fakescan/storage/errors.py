"""The meaning of a storage error: its code in the results, whether a retry may help, and one line to show."""

import asyncio
import errno
import ssl

from fakescan.storage.url import redact_text
from fakevlm.errors import ErrorCode, UserError, remote_errors
from fakevlm.remote import shortened

CREDENTIAL_CODES = frozenset(
    {"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestTimeTooSkewed", "RequestExpired"}
    | {"InvalidAccessKeyId", "InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"}
    | {"SignatureDoesNotMatch", "AuthFailure", "InvalidSecurity", "NotSignedUp"}
    | {"AuthenticationFailed", "ExpiredAuthenticationToken", "InvalidAuthenticationInfo"}  # Azure's
)
"""Answers to credentials that are wrong, not yet known or expired, whatever the object."""

DENIED_CODES = CREDENTIAL_CODES | {"AccessDenied", "AllAccessDisabled"}
_MISSING_CODES = frozenset({"NoSuchKey", "NoSuchBucket", "NoSuchVersion", "NotFound", "404"})
BUSY_CODES = frozenset(
    {"SlowDown", "SlowDownRead", "SlowDownWrite", "Throttling", "ThrottlingException", "RequestLimitExceeded"}
    | {"TooManyRequests", "RequestTimeout", "InternalError", "ServiceUnavailable", "OperationAborted"}
    | {"ConditionalRequestConflict", "ServerBusy", "OperationTimedOut"}
)
_MISSING_ERRNO = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EISDIR, errno.ENAMETOOLONG})
_DENIED_ERRNO = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_SETTLED_ERRNO = _MISSING_ERRNO | _DENIED_ERRNO | {errno.EEXIST, errno.ENOSPC, errno.EDQUOT, errno.EINVAL, errno.ENOSYS}
_BUSY_STATUS = frozenset({408, 425, 429})
_FINAL_SERVER_STATUS = frozenset({501, 505})

_BUSY_KINDS = frozenset(
    {"HTTPClientError", "ConnectionError", "ResponseStreamingError", "IncompleteReadError", "ResponseParserError"}
)
_REASONS = {
    400: "bad request",
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    410: "gone",
    412: "precondition failed",
    429: "too many requests",
}


def store_errors() -> tuple[type[Exception], ...]:
    """Exceptions of reading and writing stores."""
    return remote_errors()


def http_status(error: BaseException) -> int | None:
    """The HTTP status inside an error of botocore, aiohttp, gcsfs or the Azure SDK; None if it carries none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        if isinstance(status, int):
            return status
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) and 100 <= value <= 599:
            return value
        if isinstance(value, str) and value.isdigit():
            return int(value)
    return None


def service_code(error: BaseException) -> str:
    """The store's own code in an error of botocore or the Azure SDK, such as `NoSuchBucket`; empty if there is none."""
    response = getattr(error, "response", None)
    if isinstance(response, dict):
        return str(response.get("Error", {}).get("Code", ""))
    code = getattr(error, "error_code", None)
    return str(getattr(code, "value", code) or "")


def root_cause(error: BaseException) -> BaseException:
    """The service's own error behind the OSError that fsspec raises for it."""
    cause = error.__cause__
    if type(error).__module__.startswith("aiohttp"):
        return error
    if cause is not None and (service_code(cause) or http_status(cause) is not None or _is_botocore(cause)):
        return cause
    return error


def classify(error: BaseException) -> tuple[ErrorCode, str]:
    """The error code and a one-line message, free of secrets, for an exception raised while an object was read."""
    error = root_cause(error)
    status, code = http_status(error), service_code(error)
    message = _message(error, status, code)
    if is_certificate(error):
        return ErrorCode.FETCH_FAILED, message
    if status in (404, 410) or code in _MISSING_CODES or isinstance(error, FileNotFoundError):
        return ErrorCode.NOT_FOUND, message
    if status in (401, 403) or code in DENIED_CODES or isinstance(error, PermissionError) or is_forbidden(error):
        return ErrorCode.DENIED, message
    if type(error).__name__ in {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}:
        return ErrorCode.DENIED, message
    if status in (412, 416) or code in {"PreconditionFailed", "InvalidRange"}:
        return ErrorCode.CHANGED, "the object is no longer the one in the manifest"
    if isinstance(error, OSError) and error.errno in _MISSING_ERRNO:
        return ErrorCode.NOT_FOUND, message
    if isinstance(error, OSError) and error.errno in _DENIED_ERRNO:
        return ErrorCode.DENIED, message
    return ErrorCode.FETCH_FAILED, message


def is_transient(error: BaseException) -> bool:
    """Whether the same request may succeed later: throttling, server errors, time-outs, lost connections."""
    error = root_cause(error)
    status, code = http_status(error), service_code(error)
    if status is not None or code:
        return _is_busy(status) or code in BUSY_CODES
    if is_certificate(error):
        return False
    if isinstance(error, TimeoutError | ConnectionError | asyncio.IncompleteReadError):
        return True
    if _is_botocore(error):
        kinds = {kind.__name__ for kind in type(error).__mro__}
        return bool(kinds & _BUSY_KINDS) and "SSLError" not in kinds
    if type(error).__module__.startswith(("aiohttp", "http.client", "urllib3", "requests")):
        return type(error).__name__ not in {"InvalidURL", "InvalidUrlClientError", "NonHttpUrlClientError"}
    if type(error) is not OSError or is_forbidden(error):
        return False
    return error.errno not in _SETTLED_ERRNO


def is_forbidden(error: BaseException) -> bool:
    """Whether Google's store denied access, of which gcsfs makes an OSError without a number."""
    return type(error) is OSError and str(error).startswith("Forbidden: ")


def _is_busy(status: int | None) -> bool:
    """Whether the same request may succeed after this HTTP status."""
    return status is not None and (status in _BUSY_STATUS or (status >= 500 and status not in _FINAL_SERVER_STATUS))


def is_certificate(error: BaseException) -> bool:
    """Whether TLS failed. Python's errors of it are OSErrors with numbers of their own, which mean other things."""
    return isinstance(error, ssl.SSLError) or "SSL" in type(error).__name__ or "Certificate" in type(error).__name__


def _is_botocore(error: BaseException) -> bool:
    return type(error).__module__.startswith(("botocore", "aiobotocore"))


def _message(error: BaseException, status: int | None, code: str) -> str:
    """One line for people: the service's own words where it has some, and never a signature."""
    if code or (status is not None and _is_botocore(error)):
        response = getattr(error, "response", {})
        words = str(response.get("Error", {}).get("Message", "")) if isinstance(response, dict) else ""
        detail = f": {words}" if words and words != _REASONS.get(status or 0, "").title() else ""
        name = f"{status} {_REASONS.get(status, '')}".rstrip() if code.isdigit() and status else code or status
        return _cut(f"{name}{detail}")
    if status is not None:
        reason = str(getattr(error, "message", "") or _REASONS.get(status, "")).strip()
        return _cut(f"HTTP {status} {reason}".rstrip())
    if isinstance(error, UserError):
        return redact_text(str(error))
    if is_certificate(error):
        if "WRONG_VERSION_NUMBER" in str(error) or "record layer" in str(error):
            return "the server does not speak TLS at this port: write http://, or name the port that does"
        return _cut(f"the server's certificate was not accepted: {error}")
    if isinstance(error, OSError) and error.strerror and error.errno is not None:
        return redact_text(error.strerror)
    if isinstance(error, TimeoutError):
        return "timed out"
    return _cut(f"{type(error).__name__}: {error}" if str(error) else type(error).__name__)


def _cut(text: str) -> str:
    """Another library's words: on one line, without secrets, and no longer than a line may be."""
    return shortened(redact_text(text))
