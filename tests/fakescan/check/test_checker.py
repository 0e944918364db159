"""A check says of a file what a scan writes of it: through Ray, vLLM and the model that ships."""

import json
import subprocess
import sys
from datetime import datetime
from pathlib import Path

import pytest

from fakescan.check.checker import CheckedImage, Checker, gpus_of_this_machine
from fakescan.check.config import CheckConfig
from fakescan.engine.config import SimulatedConfig
from fakescan.run.schema import RESULT_SCHEMA
from fakescan.scan.config import ScanConfig
from fakevlm.errors import UserError
from tests.deadly_images import deadly_png, worse_libraries
from tests.fakescan.conftest import PAIRS, Rows

COLUMNS = [name for name in CheckedImage.model_fields if name in RESULT_SCHEMA.names]


@pytest.fixture(scope="module")
def files(mixed: Path) -> list[Path]:
    return sorted(mixed.iterdir())


@pytest.fixture(scope="module")
def scanned(scanned_mixed: Rows, files: list[Path]) -> Rows:
    """The rows of a real scan."""
    rows = [scanned_mixed[str(file)] for file in files]
    assert sum(row["verdict"] is not None for row in rows) == 5
    return rows


@pytest.mark.cluster
def test_a_check_and_a_scan_say_the_same(scanned: Rows, files: list[Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fakescan.cli", "check", "--json", *files], capture_output=True, text=True, timeout=120
    )
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [image["uri"] for image in found] == [str(file) for file in files]
    for image, row in zip(found, scanned, strict=True):
        for name in COLUMNS:
            if name in ("score", "logit", "off_script") and row[name] is not None:
                assert image[name] == pytest.approx(row[name], abs=1e-4)
            elif name == "last_modified" and row[name] is not None:
                assert datetime.fromisoformat(image[name]) == row[name]
            else:
                assert image[name] == row[name], name
    assert any(image["verdict"] and image["error_message"] for image in found)
    # One line each, and nothing of vLLM, torch or decoders.
    warning, error = done.stderr.splitlines()
    assert warning.startswith("warning: the model builtin-small ")
    assert error == "fakescan: error: no verdict on 4 of 9 images"
    assert done.returncode == 1


@pytest.mark.engine
def test_verbose_shows_the_logs_and_keeps_them_out_of_the_results() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "fakescan.cli", "-v", "check", "--json", "--explain", "none", PAIRS / "dune-real.webp"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    (line,) = done.stdout.splitlines()
    assert json.loads(line)["explanation"] is None
    assert len(done.stderr.splitlines()) > 1


@pytest.mark.unit
def test_the_limits_are_those_of_a_scan() -> None:
    for name in ("max_bytes", "max_pixels", "decode_timeout_s", "max_new_tokens"):
        assert CheckConfig.model_fields[name].default == ScanConfig.model_fields[name].default


@pytest.mark.unit
def test_the_columns_are_those_of_a_scan() -> None:
    assert set(CheckedImage.model_fields) - set(RESULT_SCHEMA.names) == {"warning", "finding", "how_sure"}
    assert set(RESULT_SCHEMA.names) - set(CheckedImage.model_fields) == {
        "row_id", "run_id", "scanned_at", "source_key", "phash", "provenance", "provenance_basis",
        "provenance_generator", "provenance_signer", "provenance_detail",
    }  # fmt: skip


@pytest.mark.unit
def test_no_engine_is_opened_where_no_image_can_be_judged(files: list[Path]) -> None:
    with Checker(CheckConfig()) as checker:
        found = list(checker.check([str(file) for file in files if file.stem in ("cut", "empty", "words")]))
        assert checker._engine is None
    assert [image.verdict for image in found] == [None] * 3


@pytest.mark.unit
def test_an_image_that_kills_its_decoder_does_not_kill_the_command(
    tmp_path: Path, tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(worse_libraries(tmp_path / "site")))  # for the checker's child
    names = [tmp_path / f"{way}.png" for way in ("segv", "hang", "none")]
    for name in names:
        name.write_bytes(deadly_png(name.stem))
    config = CheckConfig(engine=SimulatedConfig(), model=str(tiny_model), decode_timeout_s=1)
    with Checker(config) as checker:
        found = list(checker.check([str(name) for name in names]))
    assert [image.error_code for image in found] == ["poison", "poison", None]
    assert [image.error_message for image in found] == [
        "decoding this image alone failed twice: its process was killed by signal 11 (SIGSEGV)",
        "decoding this image alone failed twice: it did not end within 1 s",
        None,
    ]
    assert found[2].verdict is not None


@pytest.mark.unit
@pytest.mark.parametrize("visible", ["", "-1", "NoDevFiles"])
def test_gpus_that_are_hidden_are_not_used(visible: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpus_of_this_machine() == 0


@pytest.mark.unit
def test_a_gpu_that_this_machine_lacks_is_refused_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(UserError, match=r"^device: cuda needs a GPU; there is none"):
        Checker(CheckConfig(device="cuda"))
    Checker(CheckConfig(device="cpu"))
