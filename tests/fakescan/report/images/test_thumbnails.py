"""Thumbnails: what a decoder may do to a report, and a store that answers nothing."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from fakescan.report.build import ReportSettings, build_report
from fakescan.report.images import thumbnails
from fakescan.report.images.source_images import SourceImages, WantedImage
from fakescan.report.images.thumbnails import MakeThumbnail, Thumbnail
from fakescan.run.folder import RunFolder
from fakescan.sources.fetch import Fetched
from fakescan.storage.store import Store
from fakevlm.errors import ErrorCode, ImageError
from tests.fakescan.report.conftest import MadeRun, picture

pytestmark = pytest.mark.unit


def test_a_thumbnail_is_small_and_has_no_metadata() -> None:
    made = MakeThumbnail(10**6)(picture(3))
    assert isinstance(made, Thumbnail)
    assert (made.width, made.height) == (43, 30)
    assert b"Exif" not in made.data
    for data, code in ((b"no image", ErrorCode.NOT_AN_IMAGE), (picture(1)[:300], ErrorCode.TRUNCATED)):
        failed = MakeThumbnail(10**6)(data)
        assert isinstance(failed, ImageError)
        assert failed.code == code
    large = MakeThumbnail(100)(picture(1))
    assert isinstance(large, ImageError)
    assert large.code == ErrorCode.TOO_MANY_PIXELS


def test_a_store_that_answers_nothing_is_not_asked_for_every_image(
    made_run: MadeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The store is the one thing that is not real here: to wait for one that is away would take minutes."""
    asked: list[int] = []

    def away(self: SourceImages, wanted: list[WantedImage]) -> list[Fetched]:
        asked.append(len(wanted))
        return [Fetched(error_code=ErrorCode.FETCH_FAILED, error_message="no answer")] * len(wanted)

    target = RunFolder(str(tmp_path / "report"), Store())
    monkeypatch.setattr(thumbnails, "_BLOCK_IMAGES", 16)
    with monkeypatch.context() as patch:
        patch.setattr(SourceImages, "fetch", away)
        report = build_report(made_run.folder, target, ReportSettings(thumbs=100))
    assert asked == [16]
    assert (report.thumbs.count, report.thumbs.missing) == (100, 100)
    again = build_report(made_run.folder, target, ReportSettings(thumbs=100))
    assert again.thumbs.missing < 30
    rows: list[dict[str, Any]] = pq.read_table(f"{target.path}/{again.data}thumbs-00000.parquet").to_pylist()
    assert not any(row["error_code"] == "fetch_failed" for row in rows)
