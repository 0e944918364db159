"""What people send: a JSON without names or places, in which simulated figures cannot be taken for measured ones."""

import getpass
import json
import socket
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_bench.document import Comparison, Document, Roofline, clean, to_json
from benchmarks.gpu_bench.figures import Differences, Spread
from benchmarks.gpu_bench.gpu_watch import Gpu, Use
from benchmarks.gpu_bench.rows import Row
from benchmarks.gpu_bench.table import lines
from benchmarks.report import describe_machine

pytestmark = pytest.mark.unit

USE = Use(0.98, 72 * 10**9, 690.0, 1755.0, 64.0, ("power cap",))


def document(device: str = "cuda", **changed: Any) -> Document:
    simulated = device == "simulated"
    rows = [
        Row(
            "engine", "score", simulated, images_s=Spread(61.234, 60.9, 61.5, 3), share_of_peak=0.54, running=26.1,
            max_num_seqs=1024, tokens_per_step=16_001.0, max_num_batched_tokens=16_384, kv_cache=0.31, cores=2.13,
            host_bytes=10**10, others_cores=0.4, gpu=USE, tokens_per_image=1.0,
        ),
        Row("scan", "explained", simulated, images_s=Spread(1234.5, 1.0, 2345.6, 3), steady=False),
        Row("engine FP8", "score", simulated, error="ValueError: it cannot be done, for reasons that are long " * 4),
    ]  # fmt: skip
    settings: dict[str, Any] = {
        "device": device, "options": {"quick": False}, "started": "2026-11-26T00:00:00+00:00",
        "machine": describe_machine(), "model": {"description": "random numbers: 7.06 billion parameters"},
        "images": {"images": 512}, "gpu": Gpu("NVIDIA H100 80GB HBM3", 85 * 10**9, "580.65.06", "13.0"),
        "roofline": Roofline(8.8, 8.2, 13.2, 989.4, 1978.9, "NVIDIA H100 data sheet"), "before": USE, "rows": rows,
        "comparisons": [
            Comparison("engine FP8", "engine", simulated, Differences(128, 0.001, 0.02, 0.125, 3, 0.91, 0.92)),
            Comparison("engine", "float32 on the CPU", simulated, error="float32 takes 31 GB"),
        ],
        "notes": [], "seconds": 1.0,
    }  # fmt: skip
    return Document(**{**settings, **changed})


def test_json_has_the_schema_version_and_every_figure() -> None:
    found = json.loads(to_json(document()))
    assert (found["schema"], found["simulated"], found["device"]) == (1, False, "cuda")
    assert found["rows"][0]["images_s"] == {"median": 61.234, "low": 60.9, "high": 61.5, "count": 3}
    assert found["comparisons"][0]["differences"]["flips"] == 3
    assert {"gpu", "machine", "model", "roofline", "options", "before", "notes"} <= found.keys()


def test_json_names_neither_host_nor_user_nor_folder(tmp_path: Path) -> None:
    host, user, home = socket.gethostname(), getpass.getuser(), Path.home()
    text = f"cannot read {home}/models/x and {tmp_path}/a.txt for {user} at {host} (10.1.2.3), pid=1234"
    rows = [Row("engine", "score", False, error=text)]
    found = to_json(document(rows=rows, notes=[text], options={"note": text}))
    for secret in (f" {host} ", f" {user} ", str(tmp_path), "models/x", "10.1.2.3", "pid=1234"):
        assert secret not in found


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[Errno 2] no file: '/srv/models/fake vlm'", "[Errno 2] no file: 'PATH vlm'"),
        ("~/models/x is not there", "PATH is not there"),
        ("see https://docs.vllm.ai/en/stable/features", "see https://docs.vllm.ai/en/stable/features"),
        ("7.06 billion, 12/64 and images/s", "7.06 billion, 12/64 and images/s"),
    ],
)
def test_clean_takes_places_out_of_a_text_and_nothing_else(text: str, said: str) -> None:
    assert clean(text) == said


def test_simulated_figures_have_other_names() -> None:
    found = json.loads(to_json(document("simulated")))
    assert found["simulated"] is True
    assert "rows" not in found
    assert "comparisons" not in found
    assert all(row["simulated"] for row in [*found["simulated_rows"], *found["simulated_comparisons"]])


@pytest.mark.parametrize("device", ["cuda", "cpu", "simulated"])
def test_table_fits_80_columns(device: str) -> None:
    printed = list(lines(document(device, gpu=None if device == "cpu" else document().gpu)))
    assert max(map(len, printed)) <= 80
    whole = "\n".join(printed)
    assert "not measured: ValueError" in whole
    assert "61.2" in whole
    assert ("SIMULATED" in printed[0]) == (device == "simulated")
    if device == "simulated":
        figures = [line for line in printed if any(figure in line for figure in ("61.2", "1,234", "128"))]
        assert figures
        assert all(line.startswith("simulated ") for line in figures)


def test_unknown_peak_prints_no_share() -> None:
    rows = [Row("engine", "score", False, images_s=Spread(1.0, 1.0, 1.0, 1))]
    roofline = Roofline(8.8, 8.2, 13.2, None, None, "not in the table")
    printed = list(lines(document(rows=rows, roofline=roofline)))
    assert any("peak unknown" in line for line in printed)
    assert any(line.startswith("engine, score") and " %" not in line for line in printed)


def test_nothing_measured_is_known_to_be_nothing() -> None:
    assert document().has_figures
    assert not document(rows=[Row("engine", "score", False, error="no")], comparisons=[]).has_figures
