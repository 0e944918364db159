"""The jobs and the server of cluster/kuberay, run here as KubeRay runs them."""

import contextlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml

from fakescan.run.folder import RunFolder
from fakescan.run.verify import verify
from fakescan.serve.keys import edit_keys
from fakescan.storage.store import Store
from tests.cluster_files.kuberay.conftest import copied, of_kind
from tests.jobs.conftest import BIN, ROOT, Jobs, wait
from tests.serve_process import PAIRS, free_port
from tools.manifests.build import documents

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(280)]


def edited(folder: Path, **values: object) -> Path:
    """A copy of the manifests with these settings."""
    copy = copied(folder)
    file = copy / "settings" / "settings.env"
    lines = file.read_text().splitlines()
    file.write_text(
        "\n".join(f"{n}={values[n]}" if (n := line.partition("=")[0]) in values else line for line in lines)
    )
    return copy


def submitter(jobs: Jobs, overlay: Path, kind: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """The command of KubeRay's submitter for a build's job: its shell reads the entry point, and then the head's."""
    found = documents(overlay)
    spec = of_kind(found, kind)["spec"]
    entrypoint = spec.get("jobTemplate", spec)["entrypoint"]
    for document in found:
        for name, text in (document.get("data") or {}).items() if document["kind"] == "ConfigMap" else ():
            (folder / name).write_text(text + "\nengine: fake\n")  # what the head has mounted, with a simulated engine
            entrypoint = entrypoint.replace(f"/etc/fakescan/{name}", str(folder / name))
    environment = f'{{"env_vars": {{"PYTHONPATH": "{ROOT}:{ROOT}/platform"}}}}'
    command = f"ray job submit --address {jobs.address} --runtime-env-json '{environment}' -- {entrypoint}"
    variables = {**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"}
    return subprocess.run(["/bin/bash", "-c", command], env=variables, capture_output=True, text=True, check=False)


def test_the_scan_of_the_manifests_runs_and_runs_again(jobs: Jobs, images: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images of today"))  # a blank survives both shells
    manifests = edited(tmp_path, SOURCE=source, OUTPUT=tmp_path / "audit", MODEL=ROOT / "fakevlm/assets/small")
    for _ in range(2):
        done = submitter(jobs, manifests / "overlays/scan-gke-l4-spot", "RayJob", tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        assert "rows: 320 of 320" in done.stdout
    assert verify(RunFolder(str(tmp_path / "audit"), Store())).problems == []


def test_the_night_scans_what_is_new(jobs: Jobs, images: Path, tmp_path: Path) -> None:
    source = Path(shutil.copytree(images, tmp_path / "images"))
    runs = tmp_path / "nights"
    manifests = edited(tmp_path, SOURCE=source, NIGHTLY_RUNS=runs, MODEL=ROOT / "fakevlm/assets/small")
    rows = []
    for added in ("a.jpg", "b.jpg"):
        done = submitter(jobs, manifests / "overlays/nightly-gke-l4-spot", "RayCronJob", tmp_path)
        assert done.returncode == 0, done.stdout + done.stderr
        (today,) = [folder for folder in runs.iterdir() if not folder.name.startswith("2026-01-0")]
        rows.append(RunFolder(str(today), Store()).open().rows)
        today.rename(runs / f"2026-01-0{len(rows)}")  # a day goes by
        shutil.copy(images / "000.jpg", source / added)
    assert rows == [320, 1]


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
