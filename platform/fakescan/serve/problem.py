"""Refusals: one exception, and the body that clients get for it (RFC 9457)."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

STATUS: Mapping[str, int] = {
    "unauthorized": 401,
    "forbidden": 403,
    "not_found": 404,
    "method_not_allowed": 405,
    "upload_timeout": 408,
    "too_large": 413,
    "too_many_pixels": 413,
    "unsupported_media": 415,
    "not_an_image": 415,
    "unsupported_format": 415,
    "invalid": 422,
    "empty": 422,
    "truncated": 422,
    "judge_failed": 422,
    "rate_limited": 429,
    "internal": 500,
    "overloaded": 503,
    "starting": 503,
    "unavailable": 503,
    "timeout": 503,
}
"""HTTP status of every code. Codes of images are those of the scan's rows."""
MEDIA_TYPE = "application/problem+json"
_OPENAI_TYPES = {401: "authentication_error", 403: "permission_error", 429: "rate_limit_error"}
_RETRY_S = {"rate_limited": 1.0, "overloaded": 1.0, "starting": 2.0, "unavailable": 2.0, "timeout": 5.0}


def no_upload(media: str) -> "Problem":
    """The refusal of a body that is neither an image nor a form."""
    return Problem(
        "unsupported_media",
        f"Content-Type {media[:100] or 'is missing'}: send multipart/form-data with files, or the bytes of one "
        "image as image/* or application/octet-stream",
    )


class Problem(Exception):
    """A request is refused. `detail` is one line for people that names the limit or the setting, and the fix."""

    def __init__(
        self,
        code: str,
        detail: str,
        *,
        retry_after_s: float | None = None,
        param: str | None = None,
        allow: Sequence[str] = (),
    ) -> None:
        """`param`: the field of the request that is wrong, such as `messages[0].content[1].image_url`.

        `allow`: the methods that the path takes, where the request's is none of them.
        """
        super().__init__(detail)
        self.code = code
        self.detail = detail
        self.param = param
        self.status = STATUS[code]
        self.retry_after_s = _RETRY_S.get(code) if retry_after_s is None else retry_after_s
        self.allow = tuple(allow)

    def content(self, request_id: str) -> dict[str, Any]:
        """The body as a dictionary."""
        return {
            "type": f"urn:fakescan:problem:{self.code}",
            "title": self.code.replace("_", " ").capitalize(),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "request_id": request_id,
            "error": self.openai_error(),
        }

    def openai_error(self) -> dict[str, str | None]:
        """The error as OpenAI's clients read it."""
        kind = _OPENAI_TYPES.get(self.status, "server_error" if self.status >= 500 else "invalid_request_error")
        return {"message": self.detail, "type": kind, "code": self.code, "param": self.param}

    def body(self, request_id: str) -> bytes:
        """The body as bytes."""
        return json.dumps(self.content(request_id)).encode()

    def headers(self) -> dict[str, str]:
        """Headers of the response."""
        headers = {"content-type": MEDIA_TYPE}
        if self.retry_after_s is not None:
            headers["retry-after"] = str(max(1, math.ceil(self.retry_after_s)))
        if self.code == "unauthorized":
            headers["www-authenticate"] = 'Bearer realm="fakescan"'
        if self.allow:
            headers["allow"] = ", ".join(self.allow)
        return headers
