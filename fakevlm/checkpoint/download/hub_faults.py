"""What goes wrong with the hub, by the exceptions of its client, and what a person is told of it."""

from typing import Any
from urllib.parse import urlsplit

from fakevlm.checkpoint.download.transfer import DownloadError, WrongFileError
from fakevlm.errors import one_line
from fakevlm.remote import NoAnswerError, shortened

_TRANSIENT = frozenset({408, 425, 429, 500, 502, 503, 504})
_WORDS = {
    401: "unauthorized",
    403: "forbidden",
    404: "not found",
    416: "range not satisfiable",
    429: "too many requests",
    500: "internal error",
    502: "bad gateway",
    503: "service unavailable",
    504: "gateway timeout",
}


class ForeignAnswerError(Exception):
    """Something else answers in the hub's place; the message says what."""


def web_page(start: object) -> str:
    """What a server is that sent something beginning with `start` in the place of JSON or of a file."""
    text = start.decode(errors="replace") if isinstance(start, bytes) else str(start)
    if text.lstrip("\ufeff \t\r\n").lower().startswith(("<!doctype html", "<html", "<!--")):
        return "what answers is a web page, as of a login or a proxy"
    return "what answers is not the hub"


def hub_errors() -> tuple[type[Exception], ...]:
    """Faults of the network and of what answers there; ValueError and ImportError are about addresses and proxies."""
    import httpx2

    return httpx2.HTTPError, httpx2.InvalidURL, ForeignAnswerError, OSError, ValueError, ImportError


def is_offline(error: BaseException) -> bool:
    """Whether the user has forbidden to ask the hub."""
    from huggingface_hub.errors import OfflineModeIsEnabled

    return isinstance(error, OfflineModeIsEnabled)


def is_unreachable(error: BaseException) -> bool:
    """Whether nothing listens at the address, which the next second does not change."""
    import httpx2

    return isinstance(error, httpx2.ConnectError)


def is_about_the_name(error: BaseException) -> bool:
    """Whether the name or the revision is wrong, so that nothing that was downloaded before is meant."""
    from huggingface_hub.errors import HFValidationError, RevisionNotFoundError

    return isinstance(error, RevisionNotFoundError | HFValidationError)


def may_pass(error: Exception) -> bool:
    """Whether the same request may succeed in a moment."""
    import httpx2

    if (status := _status(error)) is not None:
        return status in _TRANSIENT
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.LocalProtocolError | httpx2.ProxyError):
        return False
    if "SSL" in str(error) or "CERTIFICATE" in str(error) or is_offline(error):
        return False
    return isinstance(error, httpx2.TransportError | ConnectionError | TimeoutError)


def refusal(error: Exception, name: str, revision: str) -> str:
    """What is wrong with the model `name` that was looked for on the hub: the rest of a sentence."""
    from huggingface_hub.errors import GatedRepoError, HFValidationError, RevisionNotFoundError

    hub = f"the hub at {_address()}"
    if isinstance(error, HFValidationError):
        return f"is neither a folder here nor a name of the hub: {shortened(one_line(error))}"
    if isinstance(error, RevisionNotFoundError):
        return f"has no revision {revision} on {hub}"
    if isinstance(error, GatedRepoError):
        return _gated(name)
    status = _status(error)
    if status == 404:
        return f"is neither a folder here nor a model on {hub}; check its name (for a private one set HF_TOKEN)"
    if status in (401, 403):
        return f"is not a folder here, and {hub} does not give it out ({why(error)}){_remedy(error)}"
    if is_offline(error):
        return (
            f"is not a folder here and was not downloaded before, and the hub cannot be reached: {why(error)}; "
            "unset it, or give a local folder or an object-storage URL"
        )
    answers = status is not None or isinstance(error, ForeignAnswerError)
    return (
        f"is not a folder here, and {hub} {'does not serve it' if answers else 'cannot be reached'}: "
        f"{why(error)}{_remedy(error)}, or give a local folder or an object-storage URL"
    )


def breaking_off(error: DownloadError, name: str) -> str:
    """What stopped the download of a file of the model `name`: the rest of a sentence."""
    from huggingface_hub.errors import GatedRepoError

    if isinstance(error.cause, GatedRepoError):
        return f" {_gated(name)}"
    kept = "; the same command goes on where this one stopped" if error.received else ""
    return (
        f": {error.name} cannot be downloaded from the hub at {_address()}: "
        f"{why(error.cause)}{_remedy(error.cause)}{kept}"
    )


def _gated(name: str) -> str:
    return f"is gated: accept its terms at {_address()}/{name} and set HF_TOKEN"


def why(error: BaseException) -> str:
    """The fault in a few words."""
    import httpx2

    status = _status(error)
    if status is not None:
        said = " ".join(str(getattr(error, "server_message", None) or "").split())
        words = f"HTTP {status} {_WORDS.get(status, '')}".rstrip()
        return shortened(f"{words}: {said}" if said and "<" not in said else words)
    if is_offline(error):
        return "HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
    if isinstance(error, UnicodeEncodeError | httpx2.LocalProtocolError):
        return "HF_TOKEN holds characters that no token has"  # the error shows them
    if isinstance(error, NoAnswerError | ForeignAnswerError | WrongFileError):
        return str(error)
    if isinstance(error, httpx2.TimeoutException):
        return "nothing comes for too long"
    if isinstance(error, httpx2.ProxyError):
        return f"the proxy refuses: {shortened(one_line(error))}"
    return shortened(one_line(error))


def _remedy(error: BaseException) -> str:
    """What to do about it, after a semicolon."""
    import httpx2

    status = _status(error)
    if status in (401, 403):
        return "; check its name, and for a private or gated one set HF_TOKEN to a token that may read it"
    if status == 429:
        wait = _headers(error).get("Retry-After", "")
        return f"; try again {f'in {wait} s' if wait.isdigit() else 'later'}, or set HF_TOKEN, which raises the limit"
    if status is not None:
        return "; try again later" if status >= 500 else "; check HF_ENDPOINT"
    if isinstance(error, ForeignAnswerError):
        return "; log in to the network where that is needed, check HF_ENDPOINT and HTTPS_PROXY"
    if isinstance(error, WrongFileError):
        return "; try again, check HF_ENDPOINT and HTTPS_PROXY"
    if isinstance(error, httpx2.TimeoutException | NoAnswerError):
        longer = "HF_HUB_ETAG_TIMEOUT and HF_HUB_DOWNLOAD_TIMEOUT give a slow one more seconds"
        return f"; check the network, HF_ENDPOINT and HTTPS_PROXY ({longer})"
    return "; check the network, HF_ENDPOINT and HTTPS_PROXY"


def _address() -> str:
    """The hub's address without what may be a password in it."""
    from huggingface_hub import constants

    try:
        parts = urlsplit(constants.ENDPOINT)
    except ValueError:
        return "the address in HF_ENDPOINT"
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment="").geturl()


def _status(error: BaseException) -> int | None:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status if isinstance(status, int) else None


def _headers(error: BaseException) -> Any:
    return getattr(getattr(error, "response", None), "headers", {})
