"""Makes the RayJob of the day out of a suspended one: `python create_rayjob.py TEMPLATE NAME`, inside a pod.

The job is called NAME-YYYYMMDD (UTC). One that is there already is left alone, with exit status 0.
"""

import json
import os
import ssl
import sys
import urllib.error
import urllib.request
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ACCOUNT = Path(os.environ.get("SERVICE_ACCOUNT_FOLDER", "/var/run/secrets/kubernetes.io/serviceaccount"))


def main() -> None:
    """Read the template, create the job, say which."""
    template, name = sys.argv[1:]
    job = job_of(call("GET", template), f"{name}-{datetime.now(UTC):%Y%m%d}")
    try:
        call("POST", "", job)
    except urllib.error.HTTPError as error:
        if error.code != 409:
            raise
        print(f"rayjob {job['metadata']['name']} exists already")
        return
    print(f"rayjob {job['metadata']['name']} created")


def job_of(template: dict[str, Any], name: str) -> dict[str, Any]:
    """A job with the template's specification that is not suspended, and goes when the Job of this pod goes."""
    owner = {"apiVersion": "batch/v1", "kind": "Job", "name": os.environ["JOB_NAME"], "uid": os.environ["JOB_UID"]}
    labels = {**template["metadata"].get("labels", {}), "fakescan/template": template["metadata"]["name"]}
    spec = {key: value for key, value in template["spec"].items() if key not in ("suspend", "jobId")}
    head = {key: template[key] for key in ("apiVersion", "kind")}
    return {**head, "metadata": {"name": name, "labels": labels, "ownerReferences": [owner]}, "spec": spec}


def call(method: str, name: str, body: dict[str, Any] | None = None) -> Any:
    """One request about the RayJobs of this pod's namespace. Raises HTTPError."""
    namespace = (ACCOUNT / "namespace").read_text().strip()
    server = f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}"
    url = f"{server}/apis/ray.io/v1/namespaces/{namespace}/rayjobs/{name}".rstrip("/")
    headers = {"Authorization": f"Bearer {(ACCOUNT / 'token').read_text().strip()}", "Content-Type": "application/json"}
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, headers, method=method)
    trusted = ssl.create_default_context(cafile=str(ACCOUNT / "ca.crt"))
    with urllib.request.urlopen(request, timeout=30, context=trusted) as response:
        return json.load(response)


if __name__ == "__main__":
    try:
        main()
    except urllib.error.HTTPError as error:
        reason = error.read().decode(errors="replace")[:500]
        sys.exit(f"create_rayjob: {error.code} for {error.url}: {reason}")
    except OSError as error:
        sys.exit(f"create_rayjob: the cluster's API does not answer: {error}")
