"""The file that `fakescan serve` prints, deployed by Ray's own `serve deploy`: through the cluster's REST API."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fakescan.serve.keys import edit_keys
from tests.serve_process import PAIRS, free_port

pytestmark = pytest.mark.cluster

SCRIPT = """
import json, sys, time
from pathlib import Path
import httpx, yaml
from fakescan.cluster import connect, disconnect
file, key, image = sys.argv[1:]
connect(data=False, dashboard=True)
import ray
from ray import serve
from ray.dashboard.modules.serve.sdk import ServeSubmissionClient
config = yaml.safe_load(Path(file).read_text())
ServeSubmissionClient("http://" + ray._private.worker._global_node.webui_url).deploy_applications(config)
deadline = time.monotonic() + 120
while (state := serve.status().applications["fakevlm"]).status not in ("RUNNING", "DEPLOY_FAILED"):
    assert time.monotonic() < deadline, state
    time.sleep(0.2)
url = f"http://127.0.0.1:{config['http_options']['port']}"
files = {"file": Path(image).read_bytes()}
answers = [httpx.post(f"{url}/v1/detect", headers={"x-api-key": k}, files=files).status_code for k in (key, "x")]
logs = Path(ray._private.worker._global_node.get_logs_dir_path()) / "serve"
replica = next(logs.glob("replica_*Detector*")).read_text()
print(json.dumps({"state": state.status, "answers": answers, "json": replica.startswith("{")}))
serve.shutdown()
disconnect()
"""


def test_a_printed_file_is_deployed(tmp_path: Path) -> None:
    with edit_keys(tmp_path / "keys.json", create=True) as edit:
        key = edit.add("tester")
    command = ["-m", "fakescan.cli", "serve", "--keys", "keys.json", "--engine", "fake", "--print-config"]
    printed = subprocess.run(
        [sys.executable, *command, "--port", str(free_port())], cwd=tmp_path, capture_output=True, text=True, check=True
    ).stdout
    printed = printed.replace("logging_config:\n", "logging_config:\n  encoding: JSON\n")
    (tmp_path / "serve.yaml").write_text(printed)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    root = Path(__file__).parents[3]
    environment["PYTHONPATH"] = os.pathsep.join([str(root), str(root / "platform")])
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, "serve.yaml", key, str(PAIRS[0])], cwd=tmp_path, env=environment,
        capture_output=True, text=True, timeout=240,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said == {"state": "RUNNING", "answers": [200, 401], "json": True}
