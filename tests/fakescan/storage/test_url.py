"""Addresses: host names in any script, and presigned addresses that say when they end."""

from datetime import UTC, datetime, timedelta

import pytest

from fakescan.storage.url import expired_at, web_address

pytestmark = pytest.mark.unit

PAST, FUTURE = datetime.now(UTC) - timedelta(hours=2), datetime.now(UTC) + timedelta(hours=2)


@pytest.mark.parametrize(
    ("address", "sent"),
    [
        ("https://bücher.example/ä.jpg", "https://xn--bcher-kva.example/%C3%A4.jpg"),
        ("https://BÜCHER.example:8443/a.jpg", "https://xn--bcher-kva.example:8443/a.jpg"),
        ("https://例え.テスト/x?q=é", "https://xn--r8jz45g.xn--zckzah/x?q=%C3%A9"),
        ("http://user:pass@пример.example/a", "http://user:pass@xn--e1afmkfd.example/a"),
        ("https://faß.example/a", "https://xn--fa-hia.example/a"),
        ("https://plain.example/ü", "https://plain.example/%C3%BC"),
        ("http://[::1]:80/a.jpg", "http://[::1]:80/a.jpg"),
    ],
)
def test_hosts_in_any_script(address: str, sent: str) -> None:
    assert web_address(address) == sent


@pytest.mark.parametrize("host", ["a\u0301\u200d.example", "ü" * 70, "\u2603\u0000.example"])
def test_what_cannot_be_a_host_is_named(host: str) -> None:
    with pytest.raises(ValueError, match="cannot be the name of a host"):
        web_address(f"https://{host}/a.jpg")


def aws(signed: datetime, seconds: int) -> str:
    return f"https://b.example/a?X-Amz-Date={signed:%Y%m%dT%H%M%SZ}&X-Amz-Expires={seconds}&X-Amz-Signature=0"


@pytest.mark.parametrize(
    ("address", "expired"),
    [
        (aws(PAST, 3600), True),
        (aws(PAST, 86_400), False),
        (aws(PAST, 3600).replace("X-Amz", "X-Goog"), True),
        (aws(PAST, 3600).lower().replace("t", "T").replace("z&", "Z&"), True),
        (f"https://b.example/a?AWSAccessKeyId=K&Expires={PAST.timestamp():.0f}&Signature=s", True),
        (f"https://b.example/a?AWSAccessKeyId=K&Expires={FUTURE.timestamp():.0f}&Signature=s", False),
        (f"https://b.example/a?sv=2024&se={PAST:%Y-%m-%dT%H:%M:%SZ}&sig=s", True),
        ("https://b.example/a?se=2020-01-01&sig=s", True),
        (f"https://b.example/a?sv=2024&se={FUTURE:%Y-%m-%dT%H:%M:%SZ}&sig=s", False),
        ("https://b.example/a?X-Amz-Date=now&X-Amz-Expires=soon", False),
        ("https://b.example/a?Expires=99999999999999999999&Signature=s", False),
        ("https://b.example/a.jpg", False),
    ],
    ids=range(12),  # the addresses tell the time
)
def test_expired_addresses(address: str, expired: bool) -> None:
    assert (expired_at(address) is not None) == expired
