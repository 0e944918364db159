"""`python tools/check_manifests.py`, as a user calls it."""

import subprocess
import sys
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tests.cluster_files.kuberay.conftest import ROOT, built, copied, of_kind
from tools.manifests.build import documents
from tools.manifests.check import check, notes
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


def test_what_is_not_checked_is_not_called_right(crds: Path) -> None:
    done = run("--crds", crds, ROOT / "cluster/ingress.yaml", ROOT / "cluster/monitoring/podmonitor.yaml")
    assert "ingress.yaml: 2 objects are right" in done.stdout
    assert "podmonitor.yaml: 0 objects are right" in done.stdout
    assert done.stdout.count("not checked: ") == 3


def test_a_service_and_an_ingress_are_held_to_their_rules(definitions: CustomResources) -> None:
    found = documents(ROOT / "cluster" / "ingress.yaml")
    of_kind(found, "Service")["spec"] |= {"selector": {"a b": "c"}, "ports": [{"port": 0}]}
    of_kind(found, "Ingress")["spec"]["tls"][0]["hosts"] = ["a_b"]
    said = check(found, definitions)
    for place in ("Service fakescan: spec.selector", "Service fakescan: spec.ports.0.port", "spec.tls.0.hosts.0"):
        assert any(place in line for line in said), said


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


def test_kinds_of_others_are_said_to_be_unchecked(definitions: CustomResources) -> None:
    monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": {"name": "mine"}, "spec": 5}
    assert check([monitor], definitions) == []
    assert notes([monitor]) == ["not checked: PodMonitor mine"]


@pytest.mark.parametrize("command", ["python /work/jobs/scan.py", "python3 jobs/scan.py", "fakescan scan"])
def test_a_job_may_be_called_by_its_script(command: str, definitions: CustomResources) -> None:
    found = built("scan-gke-l4-spot")
    spec = of_kind(found, "RayJob")["spec"]
    spec["entrypoint"] = spec["entrypoint"].replace("fakescan scan", command)
    assert check(found, definitions) == []
    spec["entrypoint"] = spec["entrypoint"].replace("--model", "--modell")
    assert len(check(found, definitions)) == 1


ODD: list[Any] = [None, [], {}, "", "²", 5, -1, True, [None], [{}], {"a": None}, 1e300]


def nodes(value: Any) -> list[tuple[Any, Any]]:
    """Every place of a document: what holds it, and by which name."""
    if not isinstance(value, dict | list):
        return []
    inner = list(value.items()) if isinstance(value, dict) else list(enumerate(value))
    return [(value, name) for name, _ in inner] + [place for _, one in inner for place in nodes(one)]


@pytest.mark.parametrize("overlay", ["scan-a100-minio", "serve-eks-l4", "nightly-cronjob-eks-l4-spot", "scan-kueue"])
def test_whatever_is_in_a_manifest_is_a_line_and_no_traceback(overlay: str, definitions: CustomResources) -> None:
    random = Random(overlay)
    for _ in range(12):
        found = built(overlay)
        holder, name = random.choice(nodes(found))
        holder[name] = random.choice(ODD)
        if all(isinstance(document, dict) and isinstance(document.get("metadata"), dict) for document in found):
            lines = check(found, definitions)
            assert all("\n" not in line for line in lines)
            assert lines or all("\n" not in note for note in notes(found))


def test_definitions_that_are_not_there(tmp_path: Path) -> None:
    done = run("--crds", tmp_path, ROOT / "cluster/kuberay/prepull")
    assert done.returncode == 2
    assert "`make crds` fetches them" in done.stderr
