"""Every overlay, and every component with everything that it may be combined with, built and checked."""

from pathlib import Path
from typing import Any

import pytest
import ray

from tests.cluster_files.kuberay.conftest import BUILT, KUBERAY, OVERLAYS, build_of, built, copied, of_kind
from tools.manifests.build import documents
from tools.manifests.check import check, notes
from tools.manifests.crd_schema import CustomResources
from tools.manifests.found import Document
from tools.manifests.ray_documents import CLUSTERS, groups, part, pods

pytestmark = pytest.mark.unit

COMPONENTS = sorted(file.parent.name for file in KUBERAY.glob("components/*/kustomization.yaml"))
JOBS = ("scan", "train", "serve", "nightly", "nightly-cronjob")


@pytest.mark.parametrize("folder", BUILT, ids=lambda folder: folder.name)
def test_an_overlay_is_right(folder: Path, definitions: CustomResources) -> None:
    assert check(built(folder), definitions) == []


@pytest.mark.parametrize("what", JOBS)
def test_any_choice_of_components_is_right(what: str, definitions: CustomResources, tmp_path: Path) -> None:
    """Of each sort one, so that every one meets every job."""
    sorts = [["gpu-l4", "gpu-a100", "gpu-h100"], ["spot-gke", "spot-eks", "spot-karpenter"]]
    sorts += [
        ["identity-aws", "identity-gcp", "credentials-secret"],
        ["model-cache-node", "network-policy", "s3-endpoint"],
        ["registry-secret"],
    ]
    for number in range(3):
        chosen = [sort[(number + shift) % len(sort)] for shift, sort in enumerate(sorts)]
        if what in ("scan", "train") and number == 2:
            chosen.append("kueue")
        (folder := tmp_path / str(number)).mkdir()
        assert check(build_of(folder, what, *chosen), definitions) == [], chosen


def test_every_pod_may_pull_from_a_registry_with_a_password(tmp_path: Path) -> None:
    for number, what in enumerate((*JOBS, "prepull")):
        (folder := tmp_path / str(number)).mkdir()
        found = build_of(folder, what, "registry-secret")
        places = [(place, pod.get("imagePullSecrets")) for document in found for place, pod in pods(document)]
        assert places
        assert {place for place, secrets in places if secrets != [{"name": "fakescan-registry"}]} == set(), what
        assert "needs the Secret fakescan-registry" in notes(found)


def test_every_component_is_in_an_overlay_or_in_the_test_above() -> None:
    named = {name for file in OVERLAYS for name in COMPONENTS if f"components/{name}\n" in file.read_text()}
    rest = set(COMPONENTS) - named - {"settings"}
    assert rest <= {"spot-eks", "spot-gke", "model-cache-node", "s3-endpoint", "registry-secret"}, rest


@pytest.mark.parametrize("file", OVERLAYS, ids=lambda file: file.parent.name)
def test_an_overlay_says_what_it_is_and_ends_with_the_settings(file: Path) -> None:
    lines = file.read_text().splitlines()
    assert lines[1].strip("# ") == f"kubectl apply -k cluster/kuberay/overlays/{file.parent.name}"
    assert lines[-1].startswith("  - ../../components/settings ")


def test_the_cluster_and_the_settings_are_no_objects_of_their_own() -> None:
    for folder in BUILT:
        kinds = [document["kind"] for document in built(folder)]
        assert "RayCluster" not in kinds
        assert "fakescan-settings" not in [document["metadata"]["name"] for document in built(folder)]


@pytest.fixture
def edited(tmp_path: Path) -> Path:
    """A copy of the manifests whose settings have all been edited."""
    folder = copied(tmp_path)
    file = folder / "settings" / "settings.env"
    values = {"NAMESPACE": "team-a", "SCHEDULE": "30 4 * * 1-5", "TIME_ZONE": "Europe/Berlin", "SERVE_REPLICAS": "2-7"}
    values |= {
        "ENGINE_NODES": "7",
        "ENGINE_GPUS": "2",
        "ENGINE_CPUS": "30",
        "ENGINE_MEMORY": "100Gi",
        "DECODE_NODES": "9",
    }
    values |= {"ENGINE_DISK": "70Gi", "TRAIN_DISK": "200Gi"}
    values |= {"TRAIN_NODES": "2", "TRAIN_GPUS": "2", "TRAIN_CPUS": "31", "TRAIN_MEMORY": "300Gi", "TRAIN_WORKERS": "4"}
    values |= {
        "MODEL": "s3://mine/model",
        "SOURCE": "s3://mine/in",
        "OUTPUT": "s3://mine/out",
        "NIGHTLY_RUNS": "s3://mine/n",
    }
    lines = []
    for line in file.read_text().splitlines():
        name, equals, value = line.partition("=")
        lines.append(
            f"{name}={values.get(name, f'edited-{name.lower()}')}" if equals and value and "#" not in name else line
        )
    file.write_text("\n".join(lines) + "\n")
    return folder


def test_settings_are_edited_in_one_place(edited: Path, definitions: CustomResources) -> None:
    """Nothing of the example is left in any build, and the builds are still right."""
    for overlay in [*sorted((edited / "overlays").iterdir()), edited / "prepull"]:
        found = documents(overlay)
        assert [note for note in notes(found) if "example" in note] == [], overlay.name
        text = repr(found)
        for left in ("fakescan:0.1.0", "lingcco", "llava-hf", "'replaced'", "minio", "Etc/UTC"):
            assert left not in text, (overlay.name, left)
        assert {document["metadata"].get("namespace") for document in found} == {"team-a"}
        assert [line for line in check(found, definitions) if "S3_ENDPOINT" not in line] == [], overlay.name


def test_sizes_and_words_are_where_they_belong(edited: Path) -> None:
    scan = of_kind(documents(edited / "overlays/scan-gke-l4-spot"), "RayJob")["spec"]
    assert scan["entrypoint"].split()[:7] == (
        ["fakescan", "scan", '"s3://mine/in"', "--output", '"s3://mine/out"', "--model", '"s3://mine/model"']
    )
    engine, decode = scan["rayClusterSpec"]["workerGroupSpecs"]
    limits = engine["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"cpu": "30", "memory": "100Gi", "nvidia.com/gpu": "2"}
    assert engine["template"]["spec"]["containers"][0]["resources"]["requests"]["ephemeral-storage"] == "70Gi"
    assert (engine["maxReplicas"], decode["maxReplicas"]) == (7, 9)
    train = of_kind(documents(edited / "overlays/train-eks-h100"), "RayJob")["spec"]
    assert '--set workers="4"' in train["entrypoint"]
    (workers,) = train["rayClusterSpec"]["workerGroupSpecs"]
    assert workers["maxReplicas"] == 2
    requests = workers["template"]["spec"]["containers"][0]["resources"]["requests"]
    assert (requests["nvidia.com/gpu"], requests["ephemeral-storage"]) == ("2", "200Gi")
    queued = of_kind(documents(edited / "overlays/scan-kueue"), "RayJob")
    assert queued["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "edited-queue"
    engine, decode = queued["spec"]["rayClusterSpec"]["workerGroupSpecs"]
    assert [engine[name] for name in ("minReplicas", "replicas", "maxReplicas")] == [7, 7, 7]
    assert [decode[name] for name in ("minReplicas", "replicas", "maxReplicas")] == [9, 9, 9]
    night = of_kind(documents(edited / "overlays/nightly-gke-l4-spot"), "RayCronJob")["spec"]
    assert (night["schedule"], night["timeZone"]) == ("30 4 * * 1-5", "Europe/Berlin")
    serve = of_kind(documents(edited / "overlays/serve-eks-l4"), "RayService")["spec"]["serveConfigV2"]
    assert "model: 's3://mine/model'" in serve
    assert "replicas: '2-7'" in serve


def every_ray_object() -> list[Any]:
    found = [(folder.name, one) for folder in BUILT for one in built(folder) if one["kind"] in CLUSTERS]
    return [pytest.param(one, id=f"{name} {one['metadata']['name']}") for name, one in found]


@pytest.mark.parametrize("document", every_ray_object())
class TestEveryRayObject:
    """What the docs promise of all of them."""

    def test_head_takes_no_tasks_and_stays(self, document: Document) -> None:
        _, head = next(groups(document))
        assert head["rayStartParams"]["num-cpus"] == "0"
        pod = head["template"]["spec"]
        (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
        avoided = {expression["key"] for expression in term["matchExpressions"]}
        assert avoided >= {"cloud.google.com/gke-spot", "eks.amazonaws.com/capacityType", "karpenter.sh/capacity-type"}
        assert not pod.get("nodeSelector")
        assert int(pod["containers"][0]["resources"]["limits"]["memory"].removesuffix("Gi")) >= 8

    def test_images_and_gpus_belong_together(self, document: Document) -> None:
        for place, group in groups(document):
            container = group["template"]["spec"]["containers"][0]
            has_gpu = "nvidia.com/gpu" in container["resources"]["limits"]
            assert container["image"].endswith("-gpu" if has_gpu else "-cpu"), place
            assert has_gpu == (".workerGroupSpecs.0" in place)

    def test_ray_is_the_one_of_the_project(self, document: Document) -> None:
        assert part(document, CLUSTERS[document["kind"]])["rayVersion"] == ray.__version__

    def test_a_token_guards_ray(self, document: Document) -> None:
        assert part(document, CLUSTERS[document["kind"]])["authOptions"] == {"mode": "token"}

    def test_requests_are_limits(self, document: Document) -> None:
        for place, group in groups(document):
            resources = group["template"]["spec"]["containers"][0]["resources"]
            for name, limit in resources["limits"].items():
                assert resources["requests"][name] == limit, place


@pytest.mark.parametrize("folder", BUILT, ids=lambda folder: folder.name)
def test_pods_keep_to_the_restricted_standard(folder: Path) -> None:
    """Kubernetes' Pod Security Standard, but for the init container that hands over the node's folder."""
    for document in built(folder):
        for place, pod in pods(document):
            assert pod["securityContext"]["runAsNonRoot"] is True, place
            assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}, place
            assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}, place
            for container in pod["containers"]:
                context = container["securityContext"]
                assert context["allowPrivilegeEscalation"] is False, place
                assert context["capabilities"] == {"drop": ["ALL"]}, place
            allowed = {"configMap", "emptyDir", "secret", "projected", "persistentVolumeClaim", "name"}
            is_cached = folder.name == "serve-gke-l4"
            for volume in pod.get("volumes", ()):
                assert is_cached or not volume.keys() - allowed, (place, volume)


def test_every_model_cache_is_where_the_image_looks() -> None:
    from fakevlm.checkpoint.cache import cache_folder

    assert cache_folder.__doc__ is not None
    assert "FAKEVLM_CACHE" in cache_folder.__doc__
    for folder in BUILT:
        for document in built(folder):
            for place, group in groups(document):
                container = group["template"]["spec"]["containers"][0]
                values = {entry["name"]: entry["value"] for entry in container["env"]}
                mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
                for name in ("FAKEVLM_CACHE", "HF_HOME"):
                    assert values[name].startswith(f"{mounts['model-cache']}/"), place
