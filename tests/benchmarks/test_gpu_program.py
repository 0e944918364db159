"""The GPU bench as a user runs it: without a GPU, with mistakes, and simulated from end to end."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.gpu_bench.options import parse
from benchmarks.report import ROOT

pytestmark = pytest.mark.unit


def bench(*arguments: str, cwd: Path = ROOT, timeout_s: float = 200) -> "subprocess.CompletedProcess[str]":
    """Run the one file. CUDA_VISIBLE_DEVICES hides the GPUs of a machine that has some."""
    command = [sys.executable, str(ROOT / "benchmarks" / "gpu.py"), *arguments]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "GPU-none"}
    return subprocess.run(
        command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--only", "scan,fp9"], "--only: there is no fp9; choose from engine,scan,loop,fp8,reference"),
        (["--only", ","], "--only: name a part of engine,scan,loop,fp8,reference"),
        (["--minutes", "0"], "argument --minutes: must be a number above 0, not '0'"),
        (["--minutes", "nan"], "argument --minutes: must be a number above 0, not 'nan'"),
        (["--peak-tflops", "989,x"], "argument --peak-tflops: must be a number above 0, not 'x'"),
        (["--peak-tflops", "-1"], "argument --peak-tflops: must be a number above 0, not '-1'"),
        (["--max-num-seqs", "2.5"], "argument --max-num-seqs: must be a whole number above 0, not '2.5'"),
        (["--output", "/nowhere/x.json"], "--output: there is no folder /nowhere"),
        (["--output", "/"], "--output: / is a folder; name a file"),
        (["--device", "tpu"], "argument --device: invalid choice: 'tpu' (choose from "),
        (["--nothing"], "unrecognized arguments: --nothing"),
    ],
)
def test_mistakes_are_one_line(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parse(arguments, None)
    assert end.value.code == 2
    printed = capsys.readouterr().err
    assert printed.startswith(f"gpu bench: {said}")
    assert printed.count("\n") == 1


def test_peaks_are_given_for_16_bits_and_for_fp8() -> None:
    assert parse(["--peak-tflops", "989"], None).peak_tflops == (989.0, None)
    assert parse(["--peak-tflops", "989,1979"], None).peak_tflops == (989.0, 1979.0)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "no GPU is visible here; --device simulated shows what the bench does, --device cpu checks it"),
        (
            ["--device", "simulated", "--model", "lingcco/fakeVLM-none"],
            "--model: lingcco/fakeVLM-none is neither a folder",
        ),
        (["--device", "simulated", "--work", "/proc/no"], "--work: "),
    ],
)
def test_what_cannot_begin_is_one_line_and_status_2(arguments: list[str], said: str, tmp_path: Path) -> None:
    done = bench("--work", str(tmp_path), *arguments)
    assert done.returncode == 2
    assert len(done.stderr.strip().splitlines()) == 1, done.stderr
    assert done.stderr.startswith(f"gpu bench: {said}")


def simulated(folder: Path, parts: str) -> dict[str, Any]:
    """What a simulated bench of these parts sends; every figure is marked, and nothing else is left."""
    file = folder / "sent.json"
    arguments = ("--device", "simulated", "--quick", "--only", parts)
    done = bench(*arguments, "--work", str(folder / "work"), "--output", str(file))
    assert done.returncode == 0, done.stderr
    assert max(map(len, done.stdout.splitlines()[:-1])) <= 80
    assert done.stdout.count("SIMULATED") == 2
    assert not [name for name in os.listdir(folder / "work") if name.startswith("gpu-bench-")]
    assert str(folder) not in file.read_text()
    sent: dict[str, Any] = json.loads(file.read_text())
    return sent


def test_simulated_engine_from_end_to_end(tmp_path: Path) -> None:
    """An engine in a process of its own, whose pace is known; the drills have a second one, in FP8, beside it."""
    rows = {(row["part"], row["mode"]): row for row in simulated(tmp_path, "engine")["simulated_rows"]}
    assert rows.keys() == {("engine", mode) for mode in ("score", "explained")}
    assert rows["engine", "score"]["images_s"]["median"] == pytest.approx(160, rel=0.2)
    assert rows["engine", "score"]["share_of_peak"] == pytest.approx(1, rel=0.2)
    assert rows["engine", "explained"]["running"] == pytest.approx(8, rel=0.2)


def test_nothing_measured_is_status_1(tmp_path: Path) -> None:
    done = bench(
        "--device", "simulated", "--quick", "--only", "loop", "--work", str(tmp_path), "--output", str(tmp_path / "a")
    )
    assert done.returncode == 1
    assert "not measured: LLM.generate cannot be simulated" in done.stdout
