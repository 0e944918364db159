"""What a client of S3 is made with: its name, and how it reads dates."""

from datetime import UTC, datetime

import pytest

from fakescan.storage.store import Store, make_filesystem, s3_session
from fakevlm import __version__

pytestmark = pytest.mark.unit

MOMENT = datetime(2026, 11, 7, 13, 4, 50, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    ["Sat, 07 Nov 2026 13:04:50 GMT", "2026-11-07T13:04:50Z", "2026-11-07T13:04:50.000Z", "2026-11-07T14:04:50+01:00",
     "Saturday, 07-Nov-26 13:04:50 GMT", str(int(MOMENT.timestamp()))],
)  # fmt: skip
def test_dates_of_headers_and_listings_are_read(text: str) -> None:
    parser = s3_session(None).get_component("response_parser_factory").create_parser("rest-xml")
    assert parser._timestamp_parser(text) == MOMENT


def test_a_store_is_told_who_asks() -> None:
    store = Store.model_validate({"region": "us-east-1", "options": {"key": "any", "secret": "any"}})
    filesystem = make_filesystem(store, "s3", attempts=1)
    assert filesystem.connect().meta.config.user_agent.startswith(f"fakescan/{__version__} aiobotocore/")
    own = {"config_kwargs": {"user_agent": "a scanner"}, "key": "any", "secret": "any"}
    named = make_filesystem(Store.model_validate({"region": "us-east-1", "options": own}), "s3", attempts=1)
    assert named.connect().meta.config.user_agent.startswith("a scanner")
