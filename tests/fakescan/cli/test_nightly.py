"""`fakescan nightly`: which scan it makes of a day. What the scan does is in tests/drills/jobs/test_kuberay.py."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import main
from fakescan.cli.nightly import nightly_config
from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from fakevlm.errors import UserError
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit


def today() -> str:
    return f"{datetime.now(UTC):%Y-%m-%d}"


def test_the_first_night_scans_all(tmp_path: Path) -> None:
    config = nightly_config("/images", str(tmp_path / "nights"), None, {"explain": "none"})
    assert config.source == "/images"
    assert config.output == f"{tmp_path}/nights/{today()}"
    assert config.new_since is None
    assert config.explain == "none"


def test_later_nights_follow_the_newest(tmp_path: Path) -> None:
    for name in ("2026-01-01", "2026-01-03"):
        make_run(RunFolder(f"{tmp_path}/nights/{name}", Store()), rows=3)
    first = nightly_config("/images", f"{tmp_path}/nights/", None, {})
    assert first.new_since == (f"{tmp_path}/nights/2026-01-03",)
    make_run(RunFolder(first.output, Store()), rows=3)
    again = nightly_config("/images", f"{tmp_path}/nights/", None, {})
    assert again == first, "a resumption, which must not follow itself"


def test_nights_are_looked_for_with_the_credentials_of_the_output(s3_bucket: Bucket, tmp_path: Path) -> None:
    make_run(RunFolder(f"{s3_bucket.url}/nights/2026-01-03", s3_bucket.store), rows=3)
    file = tmp_path / "scan.yaml"
    file.write_text(f"output_store: {json.dumps(s3_bucket.settings())}\n")
    config = nightly_config("/images", f"{s3_bucket.url}/nights", file, {})
    assert config.new_since == (f"{s3_bucket.url}/nights/2026-01-03",)


@pytest.mark.parametrize("setting", ["output: /x", "new_since: [/x]", "limit: 5", "sample: 5"])
def test_settings_that_it_chooses_itself_are_refused(setting: str, tmp_path: Path) -> None:
    file = tmp_path / "scan.yaml"
    file.write_text(setting)
    with pytest.raises(UserError, match=rf"scan.yaml: {setting.partition(':')[0]}: `nightly` takes none"):
        nightly_config("/images", str(tmp_path), file, {})


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nightly"], "SOURCE"),
        (["nightly", "/images"], "RUNS"),
        (["nightly", "/images", "/runs", "--output", "/x"], "--output"),
        (["nightly", "/images", "/proc/none"], "cannot write"),
    ],
)
def test_what_is_wrong_is_one_line(arguments: list[str], said: str, capsys: Any) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_dry_run_leaves_nothing(tmp_path: Path, capsys: Any) -> None:
    images = tmp_path / "images"
    images.mkdir()
    (images / "a.jpg").write_bytes(b"x")
    with pytest.raises(SystemExit) as ended:
        main(["nightly", str(images), str(tmp_path / "nights"), "--dry-run", "--engine", "fake"])
    assert ended.value.code == 0
    assert f"nights/{today()}" in capsys.readouterr().out
    assert not (tmp_path / "nights").exists()
