"""The jobs and the server of cluster/kuberay, run here as KubeRay runs them."""

import contextlib
import shutil
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fakescan.run.folder import RunFolder
from fakescan.run.verify import verify
from fakescan.serve.keys import edit_keys
from fakescan.storage.store import Store
from tests.cluster_files.kuberay.conftest import of_kind
from tests.jobs.conftest import ROOT, Jobs, wait
from tests.jobs.kuberay_jobs import edited, submitter
from tests.serve_process import PAIRS, free_port
from tools.manifests.build import documents

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(280)]


def test_the_scan_of_the_manifests_runs(jobs: Jobs, images: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images of today"))  # a blank survives both shells
    manifests = edited(tmp_path, SOURCE=source, OUTPUT=tmp_path / "audit", MODEL=ROOT / "fakevlm/assets/small")
    done = submitter(jobs, manifests / "overlays/scan-gke-l4-spot", "RayJob", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "rows: 320 of 320" in done.stdout
    assert verify(RunFolder(str(tmp_path / "audit"), Store())).problems == []


@pytest.fixture
def serve_address(jobs: Jobs) -> Any:
    """The dashboard's address for Serve's REST interface, and the token's header; Serve is gone afterwards."""
    from ray._private.authentication.http_token_authentication import get_auth_headers_if_auth_enabled

    headers = get_auth_headers_if_auth_enabled({})
    client = httpx.Client(base_url=jobs.address, headers=headers, timeout=60)
    yield client
    client.delete("/api/serve/applications/")


def test_the_server_of_the_manifests_answers_behind_its_gate(serve_address: httpx.Client, tmp_path: Path) -> None:
    """KubeRay sends `serveConfigV2` to this interface and asks for /-/healthz; the pods' probe asks for /readyz."""
    with edit_keys(tmp_path / "keys.json", create=True) as keys:
        key = keys.add("alice")
    manifests = edited(tmp_path, MODEL=ROOT / "fakevlm/assets/small", SERVE_REPLICAS=1)
    text = of_kind(documents(manifests / "overlays/serve-eks-l4"), "RayService")["spec"]["serveConfigV2"]
    config = yaml.safe_load(text)
    config["http_options"] = {"host": "127.0.0.1", "port": free_port()}
    variables = {"PYTHONPATH": f"{ROOT}:{ROOT}/platform"}  # the images have the package itself
    config["controller_options"]["runtime_env"]["env_vars"] |= variables
    (application,) = config["applications"]
    application["runtime_env"] = {"env_vars": variables}
    application["args"] |= {"keys": str(tmp_path / "keys.json"), "device": "cpu", "engine": {"kind": "fake"}}
    response = serve_address.put("/api/serve/applications/", json=config)
    assert response.status_code == 200, response.text
    base = f"http://127.0.0.1:{config['http_options']['port']}"

    def get(path: str) -> httpx.Response | None:
        with contextlib.suppress(httpx.TransportError):
            return httpx.get(base + path, timeout=10)
        return None

    ready = wait(lambda: (found := get("/readyz")) is not None and found.status_code == 200, 90, "the server is ready")
    assert ready
    health = get("/-/healthz")
    assert health is not None
    assert (health.status_code, health.text) == (200, "success")
    image = {"file": PAIRS[0].read_bytes()}
    assert httpx.post(f"{base}/v1/detect", files=image).status_code == 401
    answer = httpx.post(f"{base}/v1/detect", files=image, headers={"Authorization": f"Bearer {key}"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["results"][0]["verdict"] in ("real", "fake")
