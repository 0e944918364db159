"""When a scan stops because too much cannot be fetched, and what its ledger knows of waits."""

import pytest

from fakescan.run.counts import Counts
from fakescan.scan import store_weather
from fakescan.scan.config import ScanConfig
from fakescan.scan.store_weather import FetchGuard, StoreWaits, TooFewFetchedError
from fakescan.storage.weather.waits import Wait
from fakevlm.errors import ErrorCode

pytestmark = pytest.mark.unit


def part(rows: int, failed: int, code: ErrorCode = ErrorCode.FETCH_FAILED) -> Counts:
    return Counts(rows=rows, real=rows - failed, errors={code: failed} if failed else {})


def add(guard: FetchGuard, *parts: Counts) -> None:
    for counts in parts:
        guard.add(counts, {"fetch_failed": "s3://b/a.jpg: SlowDown", "denied": "s3://b/a.jpg: AccessDenied"})


class TestFetchGuard:
    def test_more_than_a_fifth_of_the_last_rows_stops_the_scan(self) -> None:
        guard = FetchGuard(0.2)
        add(guard, *[part(250, 50)] * 40)  # a fifth is not more than a fifth
        with pytest.raises(
            TooFewFetchedError, match=r"2,0\d\d of the last 10,000 rows could not be fetched"
        ) as stopped:
            add(guard, part(250, 60))
        assert "--retry-errors" in str(stopped.value)
        assert "s3://b/a.jpg: SlowDown" in str(stopped.value)
        assert "\n" not in str(stopped.value)

    def test_a_wall_of_errors_is_found_after_as_many_rows_as_it_takes(self) -> None:
        guard = FetchGuard(0.2)
        add(guard, *[part(250, 0)] * 1000, *[part(250, 250, ErrorCode.DENIED)] * 8)
        with pytest.raises(TooFewFetchedError, match=r"denied 2,250"):
            add(guard, part(250, 250, ErrorCode.DENIED))

    def test_a_short_list_of_dead_links_is_done(self) -> None:
        add(FetchGuard(0.2), part(100, 50))
        add(FetchGuard(0.2), *[part(100, 100)] * 20)

    @pytest.mark.parametrize("code", [ErrorCode.NOT_FOUND, ErrorCode.NOT_AN_IMAGE, ErrorCode.CHANGED])
    def test_what_the_images_are_does_not_count(self, code: ErrorCode) -> None:
        add(FetchGuard(0.2), *[part(250, 250, code)] * 100)

    def test_it_can_be_switched_off(self) -> None:
        add(FetchGuard(1.0), *[part(250, 250)] * 100)

    def test_old_errors_are_forgotten(self) -> None:
        guard = FetchGuard(0.2)
        for _ in range(10):
            add(guard, *[part(250, 250)] * 7, *[part(250, 0)] * 40)


class TestErrorRate:
    @pytest.mark.parametrize(
        ("failed", "rows", "fails"),
        [
            (1, 10, False),
            (1, 1, True),
            (5, 5, True),
            (4, 5, False),
            (5, 10, False),
            (6, 10, True),
            (5, 100, False),
            (6, 100, True),
            (50, 1000, False),
            (0, 0, False),
        ],
    )
    def test_by_default_a_handful_is_none(self, failed: int, rows: int, fails: bool) -> None:
        assert ScanConfig(source="a", output="b").has_too_many_errors(failed, rows) is fails

    @pytest.mark.parametrize(
        ("rate", "failed", "fails"), [(0.05, 1, True), (0.0, 1, True), (0.1, 1, False), (1, 10, False)]
    )
    def test_a_rate_that_is_given_is_exact(self, rate: float, failed: int, fails: bool) -> None:
        assert ScanConfig(source="a", output="b", max_error_rate=rate).has_too_many_errors(failed, 10) is fails


class TestStoreWaits:
    def test_the_longest_wait_of_each_store_is_known(self) -> None:
        ledger = StoreWaits()
        ledger.report_store_waits("a", [Wait("s3://b", "SlowDown", 5.0), Wait("s3://c", "timed out", 1.0)])
        ledger.report_store_waits("b", [Wait("s3://b", "SlowDown", 9.0)])
        assert [(wait.store, wait.seconds) for wait in ledger.store_waits()] == [("s3://b", 9.0), ("s3://c", 1.0)]
        ledger.report_store_waits("b", [])
        ledger.report_store_waits("c", [])
        assert [wait.seconds for wait in ledger.store_waits()] == [5.0, 1.0]

    def test_a_process_that_died_waits_no_more(self, monkeypatch: pytest.MonkeyPatch) -> None:
        ledger = StoreWaits()
        ledger.report_store_waits("a", [Wait("s3://b", "SlowDown", 5.0)])
        monkeypatch.setattr(store_weather, "_FORGET_S", -1.0)
        assert ledger.store_waits() == []
