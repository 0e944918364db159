"""AWS Signature Version 4 for GET of S3 objects, for little CPU time per request."""

import hashlib
import hmac
from dataclasses import dataclass, field
from datetime import UTC, datetime
from urllib.parse import parse_qs, quote, urlsplit

_ALGORITHM = "AWS4-HMAC-SHA256"
_EMPTY_SHA256 = hashlib.sha256(b"").hexdigest()
_PRESIGNED = {
    *("X-Amz-Algorithm", "X-Amz-Credential", "X-Amz-Date", "X-Amz-Expires", "X-Amz-SignedHeaders", "X-Amz-Signature"),
    "X-Amz-Security-Token",
}
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass
class BucketSigner:
    """Signs requests for the objects of one bucket.

    `base`: address of the bucket, up to the slash before the key. `scope`: region and service of the signature.
    """

    base: str
    scope: tuple[str, str]
    _key: tuple[tuple[str, str], bytes] = field(default=(("", ""), b""), repr=False)

    @staticmethod
    def from_presigned(url: str, key: str) -> "BucketSigner | None":
        """Where botocore would send a request, learnt from an address that it signed for the object `key`.

        None unless it is a plain signature of this version: other kinds are left to botocore.
        """
        parts = urlsplit(url)
        query = parse_qs(parts.query, keep_blank_values=True)
        if query.keys() - _PRESIGNED or query.get("X-Amz-Algorithm") != [_ALGORITHM]:
            return None
        _, _, region, service, _ = query["X-Amz-Credential"][0].rsplit("/", 4)
        if not parts.path.endswith(f"/{key}"):
            return None
        return BucketSigner(f"{parts.scheme}://{parts.netloc}{parts.path.removesuffix(key)}", (region, service))

    def get(self, key: str, access_key: str, secret_key: str, token: str | None) -> tuple[str, dict[str, str]]:
        """URL and headers of a GET of `key`. Further headers may be added; they need no signature.

        After https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html.
        """
        url = self.base + quote(key, safe="/~")
        parts = urlsplit(url)
        host = parts.netloc
        if parts.port == _DEFAULT_PORTS.get(parts.scheme):
            host = host.rpartition(":")[0] or host
        now = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
        headers = {"host": host, "x-amz-content-sha256": _EMPTY_SHA256, "x-amz-date": now}
        if token:
            headers["x-amz-security-token"] = token
        names = ";".join(headers)
        lines = "".join(f"{name}:{value}\n" for name, value in headers.items())
        canonical = f"GET\n{parts.path}\n\n{lines}\n{names}\n{_EMPTY_SHA256}"
        scope = f"{now[:8]}/{self.scope[0]}/{self.scope[1]}/aws4_request"
        message = f"{_ALGORITHM}\n{now}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(self._signing_key(now[:8], secret_key), message.encode(), "sha256").hex()
        headers["authorization"] = (
            f"{_ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
        )
        return url, headers

    def _signing_key(self, day: str, secret_key: str) -> bytes:
        if self._key[0] != (day, secret_key):
            key = f"AWS4{secret_key}".encode()
            for item in (day, *self.scope, "aws4_request"):
                key = hmac.digest(key, item.encode(), "sha256")
            self._key = ((day, secret_key), key)
        return self._key[1]
