"""Processes that help with a listing are lost in the middle of it: every object is listed once."""

import random
from typing import Any

import pytest

from fakescan.sources.listers import list_process
from fakescan.sources.listers.s3_lister import S3Lister
from tests.nearly_s3 import NearlyS3

pytestmark = pytest.mark.unit


def test_one_that_is_killed_costs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    keys = sorted(f"in/{random.Random(number).getrandbits(64):016x}.jpg" for number in range(1_500))
    made: list[Any] = []
    make, unpacked = list_process._Process.__init__, list_process._unpacked

    def noted(self: Any, *arguments: Any) -> None:
        made.append(self)
        make(self, *arguments)

    def kill_first(stretch: Any) -> Any:
        for process in made:
            process._child.kill()
        return unpacked(stretch)

    monkeypatch.setattr(list_process, "MANY_PAGES", 3)
    monkeypatch.setattr(list_process, "_unpacked", kill_first)
    monkeypatch.setattr(list_process._Process, "__init__", noted)
    with NearlyS3(dict.fromkeys(keys, b"x")) as server:
        filesystem, _ = server.store.filesystem("s3://b/in")
        found = S3Lister(filesystem, "s3://b/in", server.store, page_keys=3, long_pages=2, processes=1)
        uris = [uri for table in found.tables() for uri in table["uri"].to_pylist()]
    assert uris == [f"s3://b/{key}" for key in keys]
    assert made
    assert all(process._child.returncode is not None for process in made)
