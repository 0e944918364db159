"""`python tools/check_manifests.py`, as a user calls it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.cluster_files.kuberay.conftest import ROOT, copied
from tools.manifests.crd_schema import CustomResources

pytestmark = pytest.mark.unit


@pytest.fixture
def crds(definitions: CustomResources) -> Path:
    return definitions.folder


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    program = ROOT / "tools" / "check_manifests.py"
    return subprocess.run([sys.executable, program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_what_is_right_and_what_is_left_to_do(crds: Path) -> None:
    done = run("--crds", crds, ROOT / "cluster/kuberay/overlays/scan-a100-minio")
    assert (done.returncode, done.stderr) == (0, "")
    assert "objects are right" in done.stdout
    assert "needs the Secret fakescan-secrets" in done.stdout
    assert "settings.env still has the example's registry.example.org/" in done.stdout


def test_one_line_for_each_fault(crds: Path, tmp_path: Path) -> None:
    folder = copied(tmp_path)
    job = folder / "scan" / "rayjob.yaml"
    job.write_text(job.read_text().replace("backoffLimit: 3", "backofLimit: 3"))
    missing = tmp_path / "nothing.yaml"
    broken = tmp_path / "broken.yaml"
    broken.write_text("a: [")
    done = run("--crds", crds, folder / "overlays/scan-gke-l4-spot", missing, broken, tmp_path)
    assert done.returncode == 1
    first, second, third, fourth = done.stderr.splitlines()
    assert first.endswith("RayJob fakescan-scan: spec.backofLimit: unknown field (did you mean backoffLimit?)")
    assert "cannot be read" in second
    assert "not YAML" in third
    assert "kustomization" in fourth


def test_definitions_that_are_not_there(tmp_path: Path) -> None:
    done = run("--crds", tmp_path, ROOT / "cluster/kuberay/prepull")
    assert done.returncode == 2
    assert "`make crds` fetches them" in done.stderr
