"""A scan that is called from Python, in a script or a notebook, as `fakescan.scan(...)`."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pydantic import ValidationError

from fakescan.errors import JobFailedError
from fakescan.scan.config import ScanConfig
from fakescan.scan.driver import run_scan
from fakescan.scan.execution import Observer, ScanOutcome
from fakescan.settings.yaml_file import check_job_output, first_mistake
from fakescan.sources.listing import local_uri
from fakevlm.errors import UserError

Location = str | os.PathLike[str]
"""A local path, or a URL."""


def scan(
    source: Location,
    output: Location,
    *,
    ray_address: str | None = None,
    verbose: bool = False,
    observe: Observer | None = None,
    **settings: Any,
) -> ScanOutcome:
    """Scan every image of `source` and write verdicts, scores, explanations and errors to `output` as Parquet.

    outcome = fakescan.scan("photos/", output="audit/", model="lingcco/fakeVLM", explain="all")
    print(outcome.whole.fake, outcome.examples)

    `settings` are the fields of `ScanConfig` by their names; None stands for the default. The same call again resumes.
    A Ray that this process is connected to is used; else `ray_address`, RAY_ADDRESS, or a Ray of this machine that ends
    with the process. `observe` is called with the summary of every part that is written.

    Raises UserError, with the line that the command would print, before any engine starts when a setting is wrong; and
    JobFailedError when the scan stops early, or when more rows than `max_error_rate` are errors. Whatever is written
    stays.
    """
    config = _config({"source": source, "output": output, **settings})
    with _restored_data_context():
        outcome = run_scan(config, ray_address=ray_address, verbose=verbose, observe=observe)
    if config.has_too_many_errors(outcome.whole.failed, outcome.whole.rows):
        raise JobFailedError(
            f"{outcome.error_rate:.2%} of the rows are errors, above max_error_rate {config.max_error_rate:.2%}"
        )
    return outcome


def _config(settings: dict[str, Any]) -> ScanConfig:
    given = {name: _plain(value) for name, value in settings.items() if value is not None}
    for name in ("source", "output"):
        if not given.get(name):
            raise UserError(f"{name}: missing")
    if isinstance(given["output"], str):
        check_job_output("output", given["output"])
    try:
        return ScanConfig.model_validate(given)
    except ValidationError as error:
        raise UserError(first_mistake(error)) from None


def _plain(value: Any) -> Any:
    """A path as text, or as a URL where it is not UTF-8; other values as they are."""
    if not isinstance(value, os.PathLike):
        return value
    path = os.fsdecode(value)
    return path if local_uri(path) == path else local_uri(os.path.abspath(path))


@contextmanager
def _restored_data_context() -> Iterator[None]:
    """A scan chooses settings of Ray Data that the caller's own data sets must not get, now or later."""
    before = None
    if "ray.data" in sys.modules:
        from ray.data import DataContext

        before = vars(DataContext.get_current().copy())
    try:
        yield
    finally:
        if "ray.data" in sys.modules:
            from ray.data import DataContext

            vars(DataContext.get_current()).update(vars(DataContext()) if before is None else before)
