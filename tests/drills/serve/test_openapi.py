"""The OpenAPI document in other hands: a validator, a generator of clients, schemathesis at a real server."""

import json
import os
import re
from pathlib import Path

import pytest

from tests.own_python import python_with, run
from tests.serve_process import Served, never_slowing, serving

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Served:
    """A server whose engine takes no time, with a rate limit that is never reached."""
    config = never_slowing(tmp_path_factory.mktemp("simulated"))
    with serving("--no-auth", "--engine", "fake", "--config", config) as server:
        yield server


@pytest.fixture(scope="module")
def document(simulated: Served, tmp_path_factory: pytest.TempPathFactory) -> Path:
    with simulated.client() as client:
        path = tmp_path_factory.mktemp("document") / "openapi.json"
        path.write_text(json.dumps(client.get("/openapi.json").raise_for_status().json()))
    return path


def test_it_is_valid(document: Path, tmp_path: Path) -> None:
    python = python_with(tmp_path, "openapi-spec-validator==0.9.0")
    done = run(python, "-m", "openapi_spec_validator", document)
    assert done.returncode == 0, done.stdout[-3000:]


def test_a_client_is_generated_without_a_warning_and_works(document: Path, simulated: Served, tmp_path: Path) -> None:
    python = python_with(tmp_path / "python", "openapi-python-client==0.29.1")
    done = run(
        python, "-m", "openapi_python_client", "generate", "--path", document, "--output-path", tmp_path / "made",
        "--meta", "none", env={**os.environ, "PATH": f"{python.parent}:{os.environ['PATH']}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "arning" not in done.stdout + done.stderr, done.stdout + done.stderr
    program = f"""
from made import Client
from made.api.default import get_about, list_models
client = Client("{simulated.url}")
print(get_about.sync(client=client).model, list_models.sync(client=client).data[0].id)
"""
    used = run(python, "-c", program, cwd=tmp_path)
    assert used.stdout.split() == ["fake-engine", "fake-engine"], used.stderr[-2000:]


def test_schemathesis_finds_no_fault(simulated: Served, tmp_path: Path) -> None:
    python = python_with(tmp_path / "python", "schemathesis==4.32.5")
    done = run(
        python.parent / "schemathesis", "run", f"{simulated.url}/openapi.json", "--checks", "all",
        # Bytes made at random are no image; and what is beside an image is read leniently, as by OpenAI.
        "--exclude-checks", "positive_data_acceptance,negative_data_rejection",
        "--max-examples", "60", "--generation-deterministic", "--continue-on-failure", "--no-color", cwd=tmp_path,
    )  # fmt: skip
    print(done.stdout[-8000:])
    assert done.returncode == 0, done.stdout[-8000:]
    assert re.search(r"[1-9]\d* generated", done.stdout)
