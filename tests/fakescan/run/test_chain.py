"""Which run of a folder of nights is the newest before a day."""

from datetime import date
from pathlib import Path

import pytest

from fakescan.run.chain import newest_run
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit

TODAY = date(2026, 11, 26)


@pytest.fixture(params=["file", "s3", "memory"])
def nights(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Store]:
    """An empty folder of nights in each kind of store."""
    if request.param == "s3":
        bucket: Bucket = request.getfixturevalue("s3_bucket")
        return f"{bucket.url}/nights", bucket.store
    return (str(tmp_path / "nights") if request.param == "file" else f"memory://{tmp_path.name}/nights"), Store()


def test_without_a_night_there_is_none(nights: tuple[str, Store]) -> None:
    url, store = nights
    assert newest_run(url, TODAY, store) is None


def test_the_newest_run_before_the_day(nights: tuple[str, Store]) -> None:
    url, store = nights
    for name in ("2026-11-24", "2026-11-09", "2026-11-26", "2026-12-01", "audit", "2026-11-25-again"):
        make_run(RunFolder(f"{url}/{name}", store), rows=3)
    assert newest_run(f"{url}/", TODAY, store) == f"{url}/2026-11-24"
    assert newest_run(url, date(2026, 11, 24), store) == f"{url}/2026-11-09"
    make_run(RunFolder(f"{url}/2026-11-25", store), rows=3)
    assert newest_run(url, TODAY, store) == f"{url}/2026-11-25", "what was listed is not remembered"


def test_a_start_that_came_to_nothing_is_no_run(nights: tuple[str, Store]) -> None:
    url, store = nights
    make_run(RunFolder(f"{url}/2026-11-24", store), rows=3)
    folder = RunFolder(f"{url}/2026-11-25", store)
    make_run(folder, rows=3)
    folder.forget()
    assert newest_run(url, TODAY, store) == f"{url}/2026-11-24"
