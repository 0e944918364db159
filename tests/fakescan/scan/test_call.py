"""`fakescan.scan(...)`: called whatever was imported before, twice in a process, on a Ray that is the caller's."""

import logging
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

import fakescan
from fakescan.errors import JobFailedError
from fakevlm.errors import UserError

FAST: dict[str, Any] = {"engine": "fake", "shard_rows": 16}


@pytest.mark.unit
@pytest.mark.parametrize(
    "before",
    ["", "import fakescan.scan", "import fakescan.scan.driver", "from fakescan.scan import config", "fakescan.scan"],
)
def test_it_is_called_whatever_was_imported_before(before: str, tmp_path: Path) -> None:
    program = f"""
import fakescan
{before}
try:
    fakescan.scan({str(tmp_path / "none")!r}, {str(tmp_path / "out")!r}, engine="fake")
except fakescan.UserError as error:
    print(error)
import fakescan.scan.driver
from fakescan import scan
assert scan is fakescan.scan is sys.modules["fakescan.scan"] and scan.driver.run_scan
"""
    done = subprocess.run([sys.executable, "-c", f"import sys{program}"], capture_output=True, text=True, timeout=60)
    assert done.stdout == f"cannot read {tmp_path / 'none'}: there is no such file or folder\n", done.stderr
    assert done.returncode == 0, done.stderr


@pytest.mark.unit
def test_importing_the_package_loads_nothing() -> None:
    program = (
        "import sys, fakescan\n"
        "print(sorted({'ray', 'torch', 'pydantic', 'pyarrow', 'numpy', 'click'} & set(sys.modules)))\n"
        "print(sorted(name for name in sys.modules if name.startswith(('fakescan', 'fakevlm'))))\n"
        "print(sorted({'scan', 'open_run', 'Run', 'UserError', 'JobFailedError'} - set(dir(fakescan))))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines() == ["[]", "['fakescan']", "[]"], done.stderr
    with pytest.raises(AttributeError, match="no attribute 'scann'"):
        fakescan.scann  # noqa: B018


@pytest.mark.unit
def test_the_package_is_pickled_by_its_name() -> None:
    """As Ray does with what a function of a notebook uses."""
    from ray import cloudpickle

    import fakescan.scan as package

    assert pickle.loads(pickle.dumps(package)) is package
    assert cloudpickle.loads(cloudpickle.dumps(package)) is package


@pytest.mark.unit
@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"threshold": 7}, "threshold: Input should be less than 1 (got 7)"),
        ({"treshold": 0.5}, "treshold: unknown setting; see fakescan scan --help"),
        ({"explain": "some"}, "explain: "),
        ({"engine": "magic"}, "engine: "),
        ({"engine": {"step_s": 1}}, "step_s: unknown setting"),
        ({"limit": 3, "sample": 3}, "limit and sample exclude each other"),
        ({"globs": "*.jpg"}, "globs: "),
        ({"input_store": {"endpoint": "x"}}, "input_store.endpoint: unknown setting"),
        ({"model": "/no/such/model"}, "/no/such/model"),
        ({"output": ""}, "output: missing"),
        ({"source": None}, "source: missing"),
        ({"source": 3}, "source: "),
        ({"output": "https://host/run"}, "web addresses are read-only"),
        ({"replicas": "4-2"}, "replicas: "),
    ],
)
def test_a_wrong_setting_is_the_line_that_the_command_prints(
    settings: dict[str, Any], words: str, tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        fakescan.scan(**{"source": tmp_path, "output": tmp_path / "out", **settings})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.cluster
def test_a_scan_and_its_run(ray_cluster: str, pictures: Path, tmp_path: Path) -> None:
    import ray
    from ray.data import DataContext

    context = DataContext.get_current()
    before = (context.target_max_block_size, context.execution_options.preserve_order, context.enable_progress_bars)
    handler = signal.getsignal(signal.SIGTERM)
    handlers, level = list(logging.getLogger().handlers), logging.getLogger().level
    seen: list[int] = []
    outcome = fakescan.scan(
        pictures, tmp_path / "run", **FAST, observe=lambda part: seen.append(part.counts.rows), limit=None
    )
    assert (outcome.whole.rows, outcome.whole.failed, sum(seen)) == (30, 0, 30)
    again = fakescan.scan(str(pictures), str(tmp_path / "run"), **FAST)
    assert (again.scanned.rows, again.whole.rows) == (0, 30)
    other = fakescan.scan(pictures, tmp_path / "other", **FAST, explain="none")
    assert other.run.run_id != outcome.run.run_id
    assert ray.is_initialized()
    assert DataContext.get_current() is context
    assert before == (
        context.target_max_block_size,
        context.execution_options.preserve_order,
        context.enable_progress_bars,
    )
    assert signal.getsignal(signal.SIGTERM) is handler
    assert (list(logging.getLogger().handlers), logging.getLogger().level) == (handlers, level)
    with pytest.raises(UserError, match="explain was fakes, now all"):
        fakescan.scan(pictures, tmp_path / "run", **FAST, explain="all")
    run = fakescan.open_run(tmp_path / "run")
    assert run.is_finished
    assert run.counts == outcome.whole
    assert run.verify().problems == []


@pytest.mark.cluster
def test_too_many_errors_are_an_error_after_all(ray_cluster: str, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for number in range(3):
        (tmp_path / "in" / f"{number}.jpg").write_text("no image")
    with pytest.raises(JobFailedError, match=r"100\.00% of the rows are errors, above max_error_rate 50\.00%"):
        fakescan.scan(tmp_path / "in", tmp_path / "run", **FAST, max_error_rate=0.5)
    assert fakescan.open_run(tmp_path / "run").counts.failed == 3


@pytest.mark.cluster
def test_a_scan_that_is_interrupted_leaves_nothing_that_runs(ray_cluster: str, pictures: Path, tmp_path: Path) -> None:
    """A notebook keeps the error with its frames; the pipeline must not be in one of them."""
    import ray

    def interrupt(part: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt) as kept:
        fakescan.scan(pictures, tmp_path / "run", engine="fake", shard_rows=1, observe=interrupt)
    assert kept.value.__traceback__ is not None
    assert not (tmp_path / "run" / "lease.json").exists()
    cpus = ray.cluster_resources()["CPU"]
    deadline = time.monotonic() + 60
    while ray.available_resources().get("CPU") != cpus:
        assert time.monotonic() < deadline, "the engine of the interrupted scan is still there"
        time.sleep(0.05)
    outcome = fakescan.scan(pictures, tmp_path / "run", engine="fake", shard_rows=1)
    assert outcome.whole.rows == 30
