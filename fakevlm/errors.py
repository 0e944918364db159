"""The two ways things go wrong: a setting the user can fix, and one image that cannot be judged."""

import sys
from enum import StrEnum

_CLIENT_ERRORS = (
    ("aiohttp", "ClientError"),
    ("azure.core.exceptions", "AzureError"),
    ("botocore.exceptions", "BotoCoreError"),
    ("botocore.exceptions", "ClientError"),
    ("ftplib", "Error"),
    ("gcsfs.retry", "HttpError"),
    ("gcsfs.retry", "NonRetryableError"),
    ("google.api_core.exceptions", "GoogleAPIError"),
    ("google.auth.exceptions", "GoogleAuthError"),
    ("paramiko.ssh_exception", "SSHException"),
    ("smbprotocol.exceptions", "SMBException"),
)
"""Base classes of what the clients raise that is no OSError, by module."""


class UserError(ValueError):
    """A setting, file or service that the user can fix.

    The message is one line that names the setting and the fix. The command line prints it without a traceback.
    """


class ErrorCode(StrEnum):
    """Why one image has no verdict. The list is closed: readers of the results may switch over it."""

    NOT_FOUND = "not_found"
    DENIED = "denied"
    FETCH_FAILED = "fetch_failed"
    CHANGED = "changed"
    TOO_LARGE = "too_large"
    EMPTY = "empty"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too_many_pixels"
    JUDGE_FAILED = "judge_failed"
    POISON = "poison"


class ImageError(Exception):
    """One image failed; the scan goes on and the row carries `code` and `message`."""

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type["ImageError"], tuple[ErrorCode, str]]:
        return ImageError, (self.code, self.message)


def one_line(error: BaseException) -> str:
    """The message of an error on one line; its type's name where it has none."""
    return " ".join(str(error).split()) or type(error).__name__


def remote_errors() -> tuple[type[Exception], ...]:
    """What clients of stores and servers raise. They share no base class, and count only where they are loaded."""
    errors: list[type[Exception]] = [OSError, EOFError, ValueError]  # ValueError: an address that is none
    for module, name in _CLIENT_ERRORS:
        if module in sys.modules:
            errors.append(getattr(sys.modules[module], name))
    return tuple(errors)
