"""The jobs of cluster/kuberay with a test's own settings, submitted as KubeRay's submitter does it."""

import os
import subprocess
import sys
from pathlib import Path

from tests.cluster_files.kuberay.conftest import copied, of_kind
from tests.jobs.conftest import ROOT, Jobs
from tools.manifests.build import documents

BIN = Path(sys.executable).parent


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
