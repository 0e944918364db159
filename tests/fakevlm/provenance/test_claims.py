"""Each way in which generators, platforms and editors say what a file is, without a signature."""

import json
from pathlib import Path

import pytest

from fakevlm.provenance import MAX_DETAIL, read, sentence
from tests.provenance_files import (
    JPEG,
    PARAMETERS,
    claims,
    exif_block,
    jpeg_segment,
    jpeg_with,
    jpeg_with_exif,
    jpeg_with_xmp,
    png_with,
    source_type,
    user_comment,
    xmp,
)

pytestmark = pytest.mark.unit

CLAIMS = claims()
REAL_FILES = Path(__file__).parents[4] / "shared" / "provenance"


@pytest.mark.parametrize("name", CLAIMS)
def test_a_file_says_what_its_writer_says(name: str) -> None:
    claim = CLAIMS[name]
    found = read(claim.file)
    assert (found.provenance, found.basis, found.generator) == (claim.provenance, claim.basis, claim.generator), found
    assert found.signer is None
    assert not found.is_evidence
    if found.provenance != "none":
        first = json.loads(found.detail or "")["sources"][0]
        assert (first["basis"], first["says"]) == (claim.basis, claim.provenance)


@pytest.mark.parametrize(
    ("name", "generator"),
    [
        ("automatic1111_cropped.jpg", "Stable Diffusion web UI"),
        ("automatic1111_cropped.png", "Stable Diffusion web UI"),
        ("invokeai_dream1.png", "InvokeAI"),
        ("invokeai_imeta1.png", "InvokeAI"),
        ("night_evening_day_morning_cropped.png", "ComfyUI"),
        ("novelai1_cropped.png", "NovelAI"),
    ],
)
def test_real_files(name: str, generator: str) -> None:
    file = REAL_FILES / name
    if not file.exists():
        pytest.skip(f"{file} is not there")
    found = read(file.read_bytes())
    assert (found.provenance, found.basis, found.generator) == ("ai_generated", "text", generator)


def test_what_says_nothing_has_no_detail() -> None:
    assert read(JPEG) == read(b"") == read(b"no image") == read(b"\x89PNG\r\n\x1a\n")
    assert read(JPEG).detail is None


def test_a_label_that_is_no_statement_is_in_the_detail() -> None:
    for name, meaning in (("aigc, may be", "may be"), ("aigc, suspected", "is suspected to be")):
        found = read(CLAIMS[name].file)
        assert json.loads(found.detail or "")["sources"][0]["meaning"] == f"{meaning} AI-generated"
        assert sentence(found) == f"has a label that says that it {meaning} AI-generated"
    art = json.loads(read(CLAIMS["iptc art"].file).detail or "")
    assert art["sources"][0]["digital_source_type"] == "digitalArt"


def test_the_strongest_claim_of_ai_decides_and_the_others_are_in_the_detail() -> None:
    comment = jpeg_segment(0xFE, PARAMETERS.encode())
    exif = jpeg_segment(0xE1, b"Exif\0\0" + exif_block({0x010F: "Ideogram AI"}))
    packet = source_type("digitalCapture")
    capture = jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + packet)
    found = read(jpeg_with(capture, exif, comment))
    assert (found.provenance, found.basis) == ("ai_generated", "text")
    detail = json.loads(found.detail or "")
    assert [source["basis"] for source in detail["sources"]] == ["text", "exif", "iptc"]
    assert detail["conflict"] is True


def test_the_detail_is_short_whatever_a_file_says() -> None:
    long = "\x00\x1b[31m雪\ud83d".encode("utf-8", "replace").decode() * 30_000
    many = [jpeg_segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + source_type("digitalCapture")) for _ in range(200)]
    texts = png_with(
        ("parameters", f"{long}\n{PARAMETERS}, Version: {long[:75]}"),
        ("AIGC", json.dumps({"Label": "1", "ContentProducer": long})),
    )
    prompts = {
        f"Iptc4xmpExt:{key}": long[:5000].replace("\x00", "").replace("\x1b", "")
        for key in ("AISystemUsed", "AIPromptInformation", "AIPromptWriterName")
    }
    for file in (texts, jpeg_with(*many), jpeg_with_xmp(xmp(prompts))):
        found = read(file)
        assert found.provenance != "none"
        assert found.detail is not None
        assert len(found.detail.encode()) <= MAX_DETAIL
        json.loads(found.detail)
        assert len(found.generator or "") <= 200
        assert (found.generator or "").isprintable()


def test_settings_in_the_bytes_of_a_picture_are_none() -> None:
    assert read(JPEG + PARAMETERS.encode()).provenance == "none"
    assert (
        read(jpeg_with_exif(exif_block({}, {0x9286: user_comment("Steps: many, Sampler: none")}))).provenance == "none"
    )
