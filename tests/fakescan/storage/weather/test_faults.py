"""What kind of fault each error of a store is."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import aiohttp
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError, ReadTimeoutError

from fakescan.storage.weather.faults import Fault, fault_of, retry_after
from fakevlm.errors import ErrorCode, ImageError, UserError

pytestmark = pytest.mark.unit


def s3_error(code: str, status: int, **headers: str) -> ClientError:
    metadata = {"HTTPStatusCode": status, "HTTPHeaders": headers}
    return ClientError({"Error": {"Code": code, "Message": "why"}, "ResponseMetadata": metadata}, "Get")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("error", "fault"),
    [
        (s3_error("ExpiredToken", 400), Fault.CREDENTIALS),
        (s3_error("ExpiredTokenException", 400), Fault.CREDENTIALS),
        (s3_error("TokenRefreshRequired", 400), Fault.CREDENTIALS),
        (s3_error("RequestTimeTooSkewed", 403), Fault.CREDENTIALS),
        (s3_error("InvalidAccessKeyId", 403), Fault.CREDENTIALS),
        (s3_error("InvalidToken", 400), Fault.CREDENTIALS),
        (s3_error("SignatureDoesNotMatch", 403), Fault.CREDENTIALS),
        (NoCredentialsError(), Fault.CREDENTIALS),
        (s3_error("AccessDenied", 403), Fault.DENIED),
        (s3_error("403", 403), Fault.DENIED),
        (s3_error("SlowDown", 503), Fault.LATER),
        (s3_error("RequestTimeout", 400), Fault.LATER),
        (s3_error("SlowDownRead", 503), Fault.LATER),
        (s3_error("Throttling", 429), Fault.LATER),
        (s3_error("InternalError", 500), Fault.BROKEN),
        (s3_error("Strange", 599), Fault.BROKEN),
        (s3_error("InsufficientStorage", 507), Fault.BROKEN),
        (s3_error("NotImplemented", 501), Fault.OBJECT),
        (s3_error("NoSuchKey", 404), Fault.OBJECT),
        (s3_error("NoSuchBucket", 404), Fault.OBJECT),
        (s3_error("InvalidRange", 416), Fault.OBJECT),
        (s3_error("PreconditionFailed", 412), Fault.OBJECT),
        (s3_error("InvalidRequest", 400), Fault.OBJECT),
        (EndpointConnectionError(endpoint_url="http://h"), Fault.UNREACHABLE),
        (ReadTimeoutError(endpoint_url="http://h"), Fault.LATER),
        (ConnectionRefusedError(111, "refused"), Fault.UNREACHABLE),
        (ConnectionResetError(104, "reset"), Fault.BROKEN),
        (TimeoutError(), Fault.LATER),
        (aiohttp.ClientPayloadError("short"), Fault.BROKEN),
        (aiohttp.ServerDisconnectedError(), Fault.BROKEN),
        (aiohttp.InvalidURL("x"), Fault.OBJECT),
        (ImageError(ErrorCode.CHANGED, "x"), Fault.OBJECT),
        (UserError("unknown scheme"), Fault.OBJECT),
        (FileNotFoundError(2, "none"), Fault.OBJECT),
        (PermissionError(13, "denied"), Fault.DENIED),
    ],
)
def test_fault_of(error: Exception, fault: Fault) -> None:
    assert fault_of(error) is fault


def test_the_error_behind_a_message_for_people_counts() -> None:
    def read() -> None:
        try:
            raise s3_error("ExpiredToken", 400)
        except ClientError:
            raise UserError("cannot read it") from None

    with pytest.raises(UserError) as caught:
        read()
    assert fault_of(caught.value) is Fault.CREDENTIALS


def test_the_error_that_fsspec_makes_of_it_counts() -> None:
    error = PermissionError(13, "The AWS Access Key Id you provided does not exist in our records.")
    error.__cause__ = s3_error("InvalidAccessKeyId", 403)
    assert fault_of(error) is Fault.CREDENTIALS


@pytest.mark.parametrize(
    ("value", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("100000", 600.0), ("-1", None), ("soon", None), ("", None)],
)
def test_retry_after(value: str, seconds: float | None) -> None:
    assert retry_after(s3_error("SlowDown", 503, **{"retry-after": value})) == seconds
    assert retry_after(s3_error("SlowDown", 503)) is None


def test_retry_after_as_a_date() -> None:
    moment = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    found = retry_after(s3_error("SlowDown", 503, **{"Retry-After": moment}))
    assert found is not None
    assert 25 < found <= 30
