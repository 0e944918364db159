"""Explains to a person why a store could not be read or written: what failed, why, and what to change."""

from fakescan.storage.errors import CREDENTIAL_CODES, classify, is_certificate, is_transient, root_cause, service_code
from fakescan.storage.store import Store
from fakescan.storage.url import redact, scheme_of, split_bucket
from fakevlm.errors import ErrorCode
from fakevlm.remote import NoAnswerError

_NO_CREDENTIALS = frozenset(
    {"NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError"}
    | {"ClientAuthenticationError", "CredentialUnavailableError", "DefaultCredentialsError"}
)

_UNREACHABLE = frozenset(
    {"EndpointConnectionError", "ConnectTimeoutError", "ClientConnectorError", "ClientConnectorDNSError"}
    | {"ServiceRequestError", "ConnectionRefusedError", "gaierror"}
)
_SILENT = frozenset({"ReadTimeoutError", "ServiceResponseTimeoutError"})
_CREDENTIALS = {
    "gs": "set GOOGLE_APPLICATION_CREDENTIALS or the option token, or use anonymous access for a public bucket",
    "az": (
        "set the options account_name and account_key (or sas_token, or connection_string), or the variable "
        "AZURE_STORAGE_CONNECTION_STRING; for a public container account_name and anonymous access"
    ),
}
_ANY_CREDENTIALS = "set them, name a profile, or use anonymous access for a public bucket"
_SERVICES = {"s3": "Amazon S3", "gs": "Google Cloud Storage", "az": "Azure Blob Storage"}


def explain(action: str, url: str, store: Store, error: Exception) -> str:
    """One line: what failed, why in the user's terms, what to change."""
    start, scheme = f"cannot {action} {redact(url)}", scheme_of(url)
    cause = root_cause(error)
    code, message = classify(error)
    service, kind = service_code(cause), type(cause).__name__
    if kind in _NO_CREDENTIALS:
        return f"{start}: no credentials found; {_CREDENTIALS.get(scheme, _ANY_CREDENTIALS)}"
    if scheme == "az" and isinstance(error, ValueError) and "account_name" in str(error):
        return f"{start}: no storage account is named; {_CREDENTIALS['az']}"
    if kind == "ProfileNotFound":
        return f"{start}: there is no AWS profile named {store.profile}"
    if service in CREDENTIAL_CODES:
        return f"{start}: wrong or expired credentials ({message})"
    bucket = split_bucket(url)[0]
    if service == "NoSuchBucket" or (code is ErrorCode.NOT_FOUND and scheme in _SERVICES):
        return f"{start}: no such bucket: {bucket}"
    if code is ErrorCode.DENIED:
        others = f", or {_CREDENTIALS[scheme]}" if scheme in _CREDENTIALS else ""
        return f"{start}: access denied ({message}); check the credentials' permissions{others}"
    if code is ErrorCode.NOT_FOUND:
        return f"{start}: not found ({message})"
    server = _server(url, store)
    if isinstance(cause, TimeoutError) or kind in _SILENT:
        silence = str(error) if isinstance(error, NoAnswerError) else "no answer in time"
        return f"{start}: {silence} from {server}; {_settings(scheme)}"
    if kind in _UNREACHABLE:
        return f"{start}: cannot reach {server}; check the address and the network"
    if is_certificate(cause):
        return f"{start}: {message}; check the address"
    if kind in {"ResponseParserError", "ContentTypeError"}:
        return f"{start}: {foreign(url, store)}"
    if is_transient(error):
        return f"{start}: the store does not answer properly ({message}); try again later"
    return f"{start}: {message}"


def foreign(url: str, store: Store) -> str:
    """What to say where something else answers in the place of the store."""
    what = f"what answers at {_server(url, store)} is no such store, but perhaps a login page"
    return f"{what}; {_settings(scheme_of(url))}"


def _server(url: str, store: Store) -> str:
    """Who should answer."""
    scheme = scheme_of(url)
    if store.endpoint_url and scheme in {"s3", "gs"}:
        return redact(store.endpoint_url)
    return _SERVICES.get(scheme) or redact(url)


def _settings(scheme: str) -> str:
    """What may be wrong when a server is silent or another one than was meant."""
    if scheme == "s3":
        return "check the endpoint (for Amazon's the region), the credentials and the network"
    if scheme in _CREDENTIALS:
        return f"check the network and the credentials: {_CREDENTIALS[scheme]}"
    return "check the address, the network and HTTPS_PROXY"
