"""Clients that this project does not need, each in an environment of its own: what their calls get from a real server.

Each is installed from its registry for the test, which is skipped where there is none.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.own_python import python_with, run
from tests.serve_process import PAIRS, Served

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(900)]

CALLS = Path(__file__).parent / "clients"
FORGED = next(path for path in PAIRS if "splice" in path.name)


def called(served: Served, *command: object, **options: Any) -> dict[str, Any]:
    """What a program with calls prints."""
    done = run(*command, served.url, "builtin-small", FORGED, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    printed: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return printed


@pytest.fixture(scope="module")
def said(served: Served) -> str:
    """The server's own words about the image."""
    with served.client() as client:
        answer = client.post("/v1/detect", files={"file": FORGED.read_bytes()}, params={"explain": "all"})
        words: str = answer.json()["results"][0]["explanation"]
        return words


def test_langchain(served: Served, said: str, tmp_path: Path) -> None:
    found = called(served, python_with(tmp_path, "langchain-openai==1.7.4"), CALLS / "langchain_calls.py")
    for call in ("invoke", "standard", "stream", "responses", "responses_stream"):
        assert found[call].endswith(said), call
    assert (found["finish"], found["logprobs"]) == ("stop", 1)
    assert found["usage"] > 5
    assert found["schema"]["verdict"] == found["json_mode"]["verdict"] == "fake"
    assert found["schema"]["explanation"] == said
    assert "tool_choice: cannot be honoured" in found["tools"]
    assert "the answer has no 'confidence'" in found["unknown"]


def test_litellm(served: Served, said: str, tmp_path: Path) -> None:
    found = called(served, python_with(tmp_path, "litellm==1.110.2"), CALLS / "litellm_calls.py")
    for call in ("completion", "stream", "responses"):
        assert found[call].endswith(said), call
    assert found["finish"] == "stop"
    assert found["usage"] == found["stream_usage"] > 5
    assert found["json"]["verdict"] == found["schema"]["verdict"] == "fake"
    assert "tool_choice" in found["tools"]


def test_npms_openai(served: Served, said: str, tmp_path: Path) -> None:
    if shutil.which("npm") is None:
        pytest.skip("there is no npm")
    installed = run("npm", "install", "--no-audit", "--no-fund", "openai@7.55.0", cwd=tmp_path)
    if installed.returncode != 0:
        pytest.skip(f"openai cannot be installed: {installed.stderr[-200:]}")
    program = Path(shutil.copy(CALLS / "openai_calls.mjs", tmp_path))
    found = called(served, "node", program, cwd=tmp_path)
    for call in ("completion", "stream", "helper", "responses", "responsesStream"):
        assert found[call].endswith(said), call
    assert (found["finish"], found["logprobs"], found["verdict"]) == ("stop", 1, "fake")
    assert found["usage"] == found["streamUsage"] > 5
    assert found["schema"]["verdict"] == "fake"
    assert found["models"] == ["builtin-small"]
    assert found["tools"] == ["UnprocessableEntityError", 422, "tool_choice"]
