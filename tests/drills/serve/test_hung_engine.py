"""An engine that has images and gives no output is replaced by Serve, and what it was asked ends in words."""

import io
import json
import time
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from tests.serve_process import PAIRS, serving

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(400)]

HANGING_RGB = (1, 2, 3)
STALL_S = 5
REPLICA = "ServeReplica:fakevlm:Detector"


def test_a_hung_engine_is_replaced_and_the_next_one_answers(tmp_path: Path) -> None:
    file = tmp_path / "hanging.png"
    Image.new("RGB", (84, 84), HANGING_RGB).save(file)
    config = tmp_path / "serve.yaml"
    engine = {"kind": "fake", "hang_on_rgb": HANGING_RGB, "stall_s": STALL_S}
    args = {"no_auth": True, "engine": engine, "limits": {"request_timeout_s": 40}}
    application = {"name": "fakevlm", "import_path": "fakescan.serve.app:build", "args": args}
    config.write_text(json.dumps({"applications": [application]}))  # JSON is YAML
    with serving("--config", config) as served, served.client() as client:
        (hung,) = served.below(REPLICA)
        hanging = client.post("/v1/detect", content=file.read_bytes(), headers={"content-type": "image/png"})
        assert hanging.status_code == 503, hanging.text
        assert hanging.json()["code"] in {"unavailable", "timeout", "overloaded"}
        assert "retry-after" in hanging.headers
        deadline = time.monotonic() + 120
        while (answer := ask(client)) is None or psutil.pid_exists(hung.pid):
            assert time.monotonic() < deadline, "the replica was not replaced"
            time.sleep(0.2)
        assert answer["results"][0]["verdict"] in {"fake", "real", "uncertain"}
        (other,) = served.below(REPLICA)
        assert other.pid != hung.pid


def ask(client: httpx.Client) -> dict[str, object] | None:
    """The answer about an image that does no harm, or None while nobody gives it."""
    with Image.open(PAIRS[0]) as image:
        image.save(data := io.BytesIO(), "PNG")
    answer = client.post("/v1/detect", content=data.getvalue(), headers={"content-type": "image/png"})
    assert answer.status_code in {200, 503}, answer.text
    found: dict[str, object] = answer.json()
    return found if answer.status_code == 200 else None
