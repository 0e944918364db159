"""Trainings as processes: started, waited for, and what they left."""

import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil

FAKESCAN = Path(sys.executable).with_name("fakescan")


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


def train_command(folder: Path, config: dict[str, Any]) -> list[str]:
    file = folder / "train.yaml"
    file.write_text(json.dumps(config))
    return [str(FAKESCAN), "train", str(file)]


def process_title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.Error:
        return ""


def checkpoints(folder: Path) -> list[Path]:
    return sorted(folder.glob("checkpoint_*/**/*.pt")) if folder.exists() else []


def until(condition: Callable[[], Any], process: subprocess.Popen[str], what: str) -> None:
    deadline = time.monotonic() + 150
    while not condition():
        assert process.poll() is None, f"ended before {what}: {process.stdout and process.stdout.read()}"
        assert time.monotonic() < deadline, f"not in time: {what}"
        time.sleep(0.05)


def assert_same_weights(one: Path, other: Path) -> None:
    from safetensors.numpy import load_file

    a, b = load_file(one / "model.safetensors"), load_file(other / "model.safetensors")
    assert a.keys() == b.keys()
    for key in a:
        if not key.endswith("k_proj.bias"):  # its true gradient is zero: attention does not change with it
            assert np.abs(a[key] - b[key]).max() < 5e-3, key


STARTED: list[subprocess.Popen[str]] = []
"""Trainings that a test has started, which its drills' fixture ends."""


def started(command: list[str], **options: Any) -> subprocess.Popen[str]:
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, **options)
    STARTED.append(process)
    return process


def output_of(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=400)[0]


def workers_of(process: subprocess.Popen[str]) -> list[psutil.Process]:
    children = psutil.Process(process.pid).children(recursive=True)
    return [child for child in children if "RayTrainWorker" in process_title(child)]


def errors(output: str) -> list[str]:
    return [line for line in output.splitlines() if line.startswith("fakescan: error: ")]
