"""Below: entries outside the allowed prefixes end a scan before anything is read."""

from pathlib import Path

import pyarrow as pa
import pytest

from fakescan.sources.allowed_prefixes import within_prefixes
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit
ALLOW = ("s3://bucket/data", "/data/in", "https://host/images/")


INSIDE = (
    "s3://bucket/data/a.jpg",
    "s3://bucket/data/x//y*.jpg",
    "s3://bucket/data/100%.jpg",
    "/data/in/a.jpg",
    "file:///data/in/x/a.jpg",
    "https://host/images/a.jpg?signature=x",
    "https://HOST/images/a%20b.jpg",
)
OUTSIDE = (
    "s3://bucket/data-private/a.jpg",
    "s3://bucket/a.jpg",
    "s3://other/data/a.jpg",
    "gs://bucket/data/a.jpg",
    "/data/in/../out/a.jpg",
    "/data/inner/a.jpg",
    "/etc/hostname",
    "file:///data/in/../../etc/hostname",
    "http://169.254.169.254/latest",
    "http://host/images/a.jpg",
    "https://host/images/../secret",
    "https://host/images/%2e%2e/secret",
    "https://host/images/%252e%252e/secret",
    "https://host@evil/images/a",
)


def passes(uri: str, container: str | None = None) -> bool:
    table = pa.table({"uri": [uri], "object": pa.array([container], pa.string())})
    try:
        return list(within_prefixes([table], ALLOW)) == [table]
    except UserError:
        return False


@pytest.mark.parametrize("uri", INSIDE)
def test_below(uri: str) -> None:
    assert passes(uri)


@pytest.mark.parametrize("uri", OUTSIDE)
def test_elsewhere(uri: str) -> None:
    assert not passes(uri)


def test_the_container_is_what_is_read() -> None:
    assert passes("s3://elsewhere/a.jpg", "s3://bucket/data/shard.tar")
    assert not passes("s3://bucket/data/a.jpg", "s3://elsewhere/shard.tar")


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.jpg").write_bytes(b"x")
    (tmp_path / "in" / "link.jpg").symlink_to(tmp_path / "secret.jpg")
    table = pa.table({"uri": [str(tmp_path / "in" / "link.jpg")]})
    with pytest.raises(UserError, match="lies below no allowed prefix"):
        list(within_prefixes([table], (str(tmp_path / "in"),)))
