"""What a report says of the run's limits."""

import pytest

from fakescan.report.overview.limits import limits
from fakescan.run.run_file import RunFile, new_run
from tests.fakescan.run.conftest import identity

pytestmark = pytest.mark.unit


def run(decode: str) -> RunFile:
    made = identity().model_copy(update={"decode": decode})
    return new_run(made, "m", None, fingerprint="f", rows=1, population=1, shard_rows=1)


def test_a_report_says_that_images_were_decoded_fast() -> None:
    said = [words for words in limits(run("fast")) if "decode fast" in words]
    assert len(said) == 1
    assert "scores differ a little" in said[0]
    assert not any("decode fast" in words for words in limits(run("exact")))
