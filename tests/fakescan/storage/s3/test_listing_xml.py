"""A page of a listing says the same by columns as by botocore's own parser, in whatever form a server writes it."""

import pytest
from botocore.parsers import RestXMLParser
from botocore.session import get_session

from fakescan.storage.s3.listing_xml import split_page

pytestmark = pytest.mark.unit

_SHAPE = get_session().get_service_model("s3").operation_model("ListObjectsV2").output_shape
_START = '<?xml version="1.0" encoding="UTF-8"?>'
_SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


def page(inner: str, space: str = _SPACE) -> bytes:
    return f"{_START}<ListBucketResult{space}><IsTruncated>true</IsTruncated>{inner}</ListBucketResult>".encode()


def botocores(body: bytes) -> dict[str, object]:
    parsed = RestXMLParser().parse({"body": body, "headers": {}, "status_code": 200}, _SHAPE)
    parsed.pop("ResponseMetadata")
    return parsed


def item(key: str, size: str = "<Size>7</Size>", etag: str = "<ETag>&quot;abc&quot;</ETag>") -> str:
    return f"<Contents><Key>{key}</Key><LastModified>2026-11-25T00:00:00.000Z</LastModified>{etag}{size}</Contents>"


PAGES = {
    "as Amazon": page(item("a.jpg") + item("b/c.jpg") + "<Name>b</Name><KeyCount>2</KeyCount>"),
    "no namespace": page(item("a.jpg"), ""),
    "a prefix": page(item("a.jpg"))
    .replace(b"<", b"<s:")
    .replace(b"<s:/", b"</s:")
    .replace(b"<s:?", b"<?")
    .replace(b" xmlns=", b" xmlns:s="),
    "folders between": page(item("a") + "<CommonPrefixes><Prefix>f/</Prefix></CommonPrefixes>" + item("b")),
    "entities": page(item("a &amp; b &#x1F388; &lt;&gt;&quot;&apos;.jpg", etag="<ETag>&#34;x&#34;</ETag>")),
    "CDATA and comments": page(item("<![CDATA[a<b>.jpg]]>") + "<!-- nothing -->"),
    "nothing known": page(item("a", "", "") + item("b", "<Size>0</Size>", "<ETag/>")),
    "an owner": page(item("a").replace("</Contents>", "<Owner><ID>Key</ID></Owner></Contents>")),
    "an empty page": page("<KeyCount>0</KeyCount>"),
    "spaces between": page("\n  " + item("a") + "\n\t" + item("b") + "\n"),
}


@pytest.mark.parametrize("body", PAGES.values(), ids=PAGES.keys())
def test_the_same_as_botocore_says(body: bytes) -> None:
    expected = botocores(body)
    objects = expected.pop("Contents", [])
    found = split_page(body)
    assert found is not None
    rest, columns = found
    assert botocores(rest) == expected
    assert columns.keys == [one["Key"] for one in objects]  # type: ignore[attr-defined]
    assert columns.sizes == [one.get("Size") for one in objects]  # type: ignore[attr-defined]
    assert columns.etags == [one.get("ETag") or None for one in objects]  # type: ignore[attr-defined]


def test_encoded_names() -> None:
    found = split_page(page("<EncodingType>url</EncodingType>" + item("a+b%2Bc%0A%F0%9F%8E%88%25") + item("plain")))
    assert found is not None
    assert found[1].keys == ["a b+c\n🎈%", "plain"]


def test_a_name_that_xml_cannot_hold() -> None:
    found = split_page(page(item("a\x01.jpg")))
    assert found is not None
    assert found[1].keys == ["a\x01.jpg"]


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html><body>login</body></html>",
        b"<Error><Code>SlowDown</Code></Error>",
        page(item("a"))[:-30],
        page("<Contents><Size>3</Size></Contents>"),
    ],
)
def test_anything_else_is_left_to_botocore(body: bytes) -> None:
    assert split_page(body) is None
