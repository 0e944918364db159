"""The script of the CronJob that makes a RayJob for each night, against an API server that speaks HTTPS."""

import http.server
import json
import os
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tests.certificates import write_certificate
from tests.cluster_files.kuberay.conftest import KUBERAY, built, of_kind
from tools.manifests.check import faults
from tools.manifests.crd_schema import CustomResources

pytestmark = pytest.mark.unit

TEMPLATE = "fakescan-nightly-template"


class ApiServer(http.server.ThreadingHTTPServer):
    """As much of Kubernetes' API as the script asks: RayJobs of one namespace, for one token."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        files = write_certificate(folder)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(files.certificate, files.key)
        self.socket = context.wrap_socket(self.socket, server_side=True)
        self.jobs: dict[str, Any] = {}
        self.account = folder / "account"
        self.account.mkdir()
        for name, text in (("token", "secret\n"), ("namespace", "team-a"), ("ca.crt", files.certificate.read_text())):
            (self.account / name).write_text(text)


class Handler(http.server.BaseHTTPRequestHandler):
    server: ApiServer

    def _answer(self, status: int, body: Any) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def _name(self) -> str | None:
        """The job that is asked for; None where the request is no right one."""
        prefix = "/apis/ray.io/v1/namespaces/team-a/rayjobs"
        if self.headers["Authorization"] != "Bearer secret" or not self.path.startswith(prefix):
            self._answer(403, {"message": "forbidden"})
            return None
        return self.path.removeprefix(prefix).removeprefix("/")

    def do_GET(self) -> None:
        name = self._name()
        if name is not None:
            self._answer(
                *((200, self.server.jobs[name]) if name in self.server.jobs else (404, {"message": "not found"}))
            )

    def do_POST(self) -> None:
        if self._name() is None:
            return
        job = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        name = job["metadata"]["name"]
        if name in self.server.jobs:
            self._answer(409, {"message": "already exists"})
        else:
            self.server.jobs[name] = job
            self._answer(201, job)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def api(tmp_path: Path) -> Iterator[ApiServer]:
    with ApiServer(tmp_path) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


def run(api: ApiServer) -> subprocess.CompletedProcess[str]:
    """The container's own command line, with the script where it is here."""
    job = of_kind(built("nightly-cronjob-eks-l4-spot"), "CronJob")["spec"]["jobTemplate"]["spec"]
    _, script, *arguments = job["template"]["spec"]["containers"][0]["command"]
    file = KUBERAY / "nightly-cronjob" / Path(script).name
    environment = {
        "KUBERNETES_SERVICE_HOST": "127.0.0.1",
        "KUBERNETES_SERVICE_PORT": str(api.server_address[1]),
        "SERVICE_ACCOUNT_FOLDER": str(api.account),
        "JOB_NAME": "fakescan-nightly-29411520",
        "JOB_UID": "0-1-2",
        "PATH": os.environ["PATH"],
    }
    command = [sys.executable, str(file), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def test_a_night_is_made_once_and_may_run(api: ApiServer, definitions: CustomResources) -> None:
    found = built("nightly-cronjob-eks-l4-spot")
    template = of_kind(found, "RayJob")
    assert template["spec"]["suspend"] is True
    template["status"] = {"jobDeploymentStatus": "Suspended"}  # as the server has it
    template["metadata"] |= {"uid": "7", "resourceVersion": "8"}
    api.jobs[TEMPLATE] = template
    name = f"fakescan-nightly-{datetime.now(UTC):%Y%m%d}"
    for said in ("created", "exists already"):
        done = run(api)
        assert (done.returncode, done.stdout.strip(), done.stderr) == (0, f"rayjob {name} {said}", "")
    job = api.jobs[name]
    assert job["spec"] == {key: value for key, value in template["spec"].items() if key != "suspend"}
    (owner,) = job["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["name"]) == ("Job", "fakescan-nightly-29411520")
    assert faults(job, [*found, job], definitions) == []


def test_what_goes_wrong_is_one_line(api: ApiServer) -> None:
    done = run(api)
    assert done.returncode == 1
    assert done.stderr.startswith("create_rayjob: 404 for https://127.0.0.1")
    (api.account / "token").write_text("other")
    assert run(api).stderr.startswith("create_rayjob: 403 for")
    (api.account / "token").unlink()
    done = run(api)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


def test_its_account_may_do_just_that() -> None:
    found = built("nightly-cronjob-eks-l4-spot")
    rules = of_kind(found, "Role")["rules"]
    assert [(rule["verbs"], rule.get("resourceNames")) for rule in rules] == [(["get"], [TEMPLATE]), (["create"], None)]
    binding = of_kind(found, "RoleBinding")
    account = of_kind(found, "CronJob")["spec"]["jobTemplate"]["spec"]["template"]["spec"]["serviceAccountName"]
    assert [subject["name"] for subject in binding["subjects"]] == [account]
