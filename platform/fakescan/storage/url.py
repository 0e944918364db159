"""Addresses of objects: their schemes, local paths, buckets and keys, and what of them may be shown."""

import os
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote, unquote, urlsplit, urlunsplit

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_ALIASES = {"s3a": "s3", "gcs": "gs", "abfs": "az", "abfss": "az", "adl": "az", "https": "http", "local": "file"}
_QUERY_SCHEMES = frozenset({"http", "https", "ftp", "ftps", "sftp", "smb", "webdav", "webdavs", "webhdfs"})
"""Schemes with RFC 3986 queries and user names; in `s3://` and `gs://` a `?` or `@` belongs to the key."""

_SIGNED = re.compile(r"[?&](X-Amz-Signature|X-Goog-Signature|Signature|sig|token)=", re.IGNORECASE)
_URL = re.compile(r"\b[a-z][a-z0-9+.-]*://[^\s'\"<>]+", re.IGNORECASE)
_HOST = re.compile(r"(?P<before>https?://(?:[^/?#@]*@)?)(?P<host>[^/?#@:\[\]]+)", re.IGNORECASE)
_URL_SAFE = "%/:=&?~#+!$,;'@()*[]"


def scheme_of(url: str) -> str:
    """The scheme in one spelling: `file` (also for none), `s3`, `gs`, `az`, `http` (also for https), `memory`, …."""
    match = _SCHEME.match(url)
    scheme = match.group(1).lower() if match else "file"
    return _ALIASES.get(scheme, scheme)


def names_host(url: str) -> bool:
    """Whether an address says itself which server has the object, as web addresses do and those of buckets do not."""
    return scheme_of(url) == "http" or url.partition("://")[0].lower() in _QUERY_SCHEMES


def file_path(url: str) -> str:
    """The absolute path of a local URL. `file://` URLs are percent-decoded (RFC 8089), plain paths are taken as is."""
    if url.lower().startswith("file://"):
        escaped = url.replace("?", "%3F").replace("#", "%23")
        return os.path.abspath(unquote(urlsplit(escaped).path, errors="surrogateescape"))
    if url.lower().startswith("local://"):
        url = url[len("local://") :]
    return os.path.abspath(os.path.expanduser(url))


def canonical(url: str) -> str:
    """One spelling for one place: local paths in full, bucket URLs with their usual scheme and without a last slash.

    A local name that is not UTF-8 stays a percent-encoded `file://` URL. Web addresses stay as they are.
    """
    scheme = scheme_of(url)
    if scheme == "http":
        return url
    if scheme == "file":
        path = file_path(url)
        return path if path.encode(errors="ignore").decode() == path else f"file://{quote(os.fsencode(path))}"
    _, _, place = url.partition("://")
    return f"{scheme if scheme in {'s3', 'gs'} else url.partition('://')[0].lower()}://{place.rstrip('/')}"


def split_bucket(path: str) -> tuple[str, str]:
    """Bucket and key of an S3 URL or path. Keys are literal: `?`, `#`, `%` and a trailing `/` belong to them."""
    path = _SCHEME.sub("", path)
    bucket, _, key = path.partition("/")
    if bucket.startswith("arn:"):  # arn:aws:s3:REGION:ACCOUNT:accesspoint/NAME/KEY
        name, _, key = key.partition("/")
        bucket = f"{bucket}/{name}"
    return bucket, key


def web_address(uri: str) -> str:
    """The address with characters that may not travel quoted, and everything that is quoted already left alone."""
    return quote(re.sub(r"%(?![0-9A-Fa-f]{2})", "%25", _ascii_host(uri)), safe=_URL_SAFE)


def _ascii_host(uri: str) -> str:
    """The address with an internationalised host name as the name system knows it (IDNA 2008)."""
    match = _HOST.match(uri)
    if match is None or match["host"].isascii():
        return uri
    import idna

    try:
        host = idna.encode(match["host"], uts46=True).decode()
    except idna.IDNAError as error:
        raise ValueError(f"{match['host']} cannot be the name of a host: {error}") from None
    return f"{match['before']}{host}{uri[match.end() :]}"


def expired_at(uri: str) -> datetime | None:
    """When a presigned address stopped being valid; None for one that is valid, or that does not say."""
    query = {name.lower(): value for name, value in parse_qsl(urlsplit(uri).query)}
    signer = next((name for name in ("x-amz", "x-goog") if f"{name}-date" in query), None)
    try:
        if signer is not None:
            signed = datetime.strptime(query[f"{signer}-date"], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
            end = signed + timedelta(seconds=int(query[f"{signer}-expires"]))
        elif "signature" in query:
            end = datetime.fromtimestamp(int(query["expires"]), UTC)
        else:  # Azure's
            end = datetime.fromisoformat(query["se"])
            end = end if end.tzinfo else end.replace(tzinfo=UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None
    return end if end < datetime.now(UTC) else None


_PLACE = re.compile(r"#row=\d+(&image=\d+)?(&column=[^&#?]*)?$")
"""The place of an image in a Parquet file, at the end of its URI."""


def redact(uri: str) -> str:
    """The URI without what may hold a secret: query, fragment and user of web addresses, and presigned queries of any.

    Everything that is logged, printed or stored in results passes through here. The path is kept as it is.
    """
    if uri.startswith("tar://") and "::" in uri:  # tar://MEMBER::URI-OF-THE-TAR
        member, _, archive = uri.partition("::")
        return f"{member}::{redact(archive)}"
    scheme, separator, _ = uri.partition("://")
    if not separator:
        return uri
    if scheme.lower() in _QUERY_SCHEMES:
        try:
            parts = urlsplit(uri)
        except ValueError:  # such as an unclosed IPv6 bracket
            return f"{scheme}://…"
        place = _PLACE.search(uri)
        plain = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        return plain + (place[0] if place else "")
    signed = _SIGNED.search(uri)
    return uri[: uri.index("?")] if signed and "?" in uri else uri


def redact_text(text: str) -> str:
    """Free text, such as another library's message, on one line and with every URL in it redacted."""
    return " ".join(redact_urls(text).split())


def redact_urls(text: str) -> str:
    """Free text with every URL in it redacted."""
    return _URL.sub(lambda match: redact(match.group()), text)
