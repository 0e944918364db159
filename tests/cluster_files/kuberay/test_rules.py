"""Rules that a schema or a rule in CEL hides, asked alone: KubeRay's, Kueue's, and those for pods."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.cluster_files.kuberay.conftest import built, of_kind
from tests.cluster_files.kuberay.test_mutations import (
    CLUSTER,
    CRON,
    ENGINE,
    HEAD,
    KUEUE,
    NIGHT,
    OLDER,
    RULES,
    SCAN,
    SELECTED,
    SERVE,
    Mutation,
    both,
    drop,
    put,
    rule,
)
from tools.manifests import kuberay_rules, kueue_rules, pod_rules
from tools.manifests.found import Document, Fault
from tools.manifests.names import is_label_key, is_label_value
from tools.manifests.quantities import number

pytestmark = pytest.mark.unit

STORAGE = f"{CLUSTER}.gcsFaultToleranceOptions"
VARIABLE = f"{HEAD}.template.spec.containers.0.env.0"
UPGRADE = "spec.upgradeStrategy"
STEPS = {"maxSurgePercent": 50, "stepSizePercent": 10, "intervalSeconds": 5, "gatewayClassName": "g"}


def variable(name: str) -> Callable[[Any], object]:
    return put(VARIABLE, {"name": name, "value": "x"})


def steps(**changed: Any) -> Callable[[Any], object]:
    given = {name: value for name, value in {**STEPS, **changed}.items() if value is not None}
    return put(UPGRADE, {"type": "NewClusterWithIncrementalUpgrade", "clusterUpgradeOptions": given})


BROKEN = [
    Mutation("a negative idle time of a group", SCAN, "RayJob", put(f"{ENGINE}.idleTimeoutSeconds", -1), "0 or more"),
    Mutation("Redis' address in the environment", SCAN, "RayJob",
             both(put(STORAGE, {"redisAddress": "r"}), variable("RAY_REDIS_ADDRESS")), "redisAddress"),
    Mutation("Redis' namespace as an annotation", SCAN, "RayJob",
             both(put(STORAGE, {"redisAddress": "r"}),
                  put("metadata.annotations", {"ray.io/external-storage-namespace": "n"})), "externalStorageNamespace"),
    Mutation("RocksDB with Redis", SCAN, "RayJob", put(STORAGE, {"backend": "rocksdb", "redisAddress": "r"}),
             "redisAddress: belongs to backend: redis"),
    Mutation("RocksDB on a claim with a size", SCAN, "RayJob",
             put(STORAGE, {"backend": "rocksdb", "storage": {"claimName": "c", "size": "1Gi"}}), "excludes size"),
    Mutation("RocksDB with a variable", SCAN, "RayJob",
             both(put(STORAGE, {"backend": "rocksdb"}), variable("RAY_GCS_STORAGE")), "KubeRay sets"),
    Mutation("tokens of Kubernetes without a mode", SCAN, "RayJob",
             put(f"{CLUSTER}.authOptions", {"enableK8sTokenAuth": True}), "needs mode: token"),
    Mutation("tokens of Kubernetes and a Secret", SCAN, "RayJob",
             put(f"{CLUSTER}.authOptions", {"mode": "token", "enableK8sTokenAuth": True, "secretName": "s"}),
             "remove one"),
    Mutation("a suspended job on a selected cluster", SCAN, "RayJob",
             both(SELECTED, put("spec.suspend", True), put("spec.shutdownAfterJobFinishes", True)),
             "cannot be suspended"),
    Mutation("older and newer policies", SCAN, "RayJob",
             put("spec.deletionStrategy", {**OLDER, "deletionRules": [rule("DeleteSelf")]}), "exclude each other"),
    Mutation("one of the older policies", SCAN, "RayJob",
             put("spec.deletionStrategy", {"onSuccess": {"policy": "DeleteSelf"}}), "or both onSuccess and onFailure"),
    Mutation("an older policy of nothing", SCAN, "RayJob",
             put("spec.deletionStrategy", {"onSuccess": {}, "onFailure": {"policy": "DeleteSelf"}}),
             "policy is missing"),
    Mutation("a rule about no end", SCAN, "RayJob", drop(f"{RULES}.0.condition.jobStatus"), "needs either"),
    Mutation("a rule before the end", SCAN, "RayJob", put(f"{RULES}.0.condition.ttlSeconds", -1), "must be 0 or more"),
    Mutation("a delay of less than nothing", SERVE, "RayService", put("spec.rayClusterDeletionDelaySeconds", -1),
             "0 or more"),
    Mutation("steps without the autoscaler", SERVE, "RayService",
             both(steps(), put("spec.rayClusterConfig.enableInTreeAutoscaling", False)),
             "needs enableInTreeAutoscaling"),
    Mutation("a surge of too much", SERVE, "RayService", steps(maxSurgePercent=101), "maxSurgePercent: must be from 0"),
    Mutation("a step of nothing", SERVE, "RayService", steps(stepSizePercent=None), "stepSizePercent: must be from 0"),
    Mutation("steps at once", SERVE, "RayService", steps(intervalSeconds=0), "intervalSeconds: must be above 0"),
    Mutation("steps without a gateway", SERVE, "RayService", steps(gatewayClassName=""), "gatewayClassName: missing"),
    Mutation("a night of nothing", NIGHT, "RayCronJob", drop("spec.jobTemplate"), "jobTemplate: missing"),
    Mutation("a schedule of steps of none", NIGHT, "RayCronJob", put("spec.schedule", "*/0 2 * * *"), "the minute"),
    Mutation("a schedule that goes back", NIGHT, "RayCronJob", put("spec.schedule", "0 5-2 * * *"), "the hour"),
    Mutation("a queue for a selected cluster", KUEUE, "RayJob", put("spec.clusterSelector", {"ray.io/cluster": "c"}),
             "it must have its own cluster"),
    Mutation("a queue for many groups", KUEUE, "RayJob",
             put(f"{CLUSTER}.workerGroupSpecs", [{"groupName": f"g{number}"} for number in range(7)]),
             "at most 6 (got 7)"),
    Mutation("a quantity that is none", CRON, "CronJob",
             put("spec.jobTemplate.spec.template.spec.containers.0.resources.limits.cpu", "1 core"), "is no quantity"),
]  # fmt: skip


def alone(document: Document) -> list[Fault]:
    """What the rules say without a schema before them."""
    return [*kuberay_rules.faults(document), *kueue_rules.faults(document), *pod_rules.faults(document)]


@pytest.mark.parametrize("mutation", BROKEN, ids=lambda mutation: mutation.name)
def test_a_rule_finds_its_breach(mutation: Mutation) -> None:
    document = of_kind(built(mutation.overlay), mutation.kind)
    assert alone(document) == []
    mutation.change(document)
    assert any(mutation.said in str(fault) for fault in alone(document)), alone(document)


def test_a_cluster_of_its_own_is_held_to_the_same_rules() -> None:
    spec = of_kind(built(SCAN), "RayJob")["spec"]["rayClusterSpec"]
    cluster = {"apiVersion": "ray.io/v1", "kind": "RayCluster", "metadata": {"name": "mine"}, "spec": spec}
    assert alone(cluster) == []
    put("spec.workerGroupSpecs.0.minReplicas", 99)(cluster)
    assert [fault.place for fault in alone(cluster)] == ["spec.workerGroupSpecs.0.minReplicas"]
    cluster["metadata"] = {"name": "a" * 54}
    assert any("53 characters" in str(fault) for fault in alone(cluster))


@pytest.mark.parametrize(
    ("text", "value"),
    [("500m", 0.5), ("2", 2), (4, 4), ("48Gi", 48 * 2**30), ("1.5G", 1.5e9), ("2e3", 2000), ("1k", 1000), ("-1", -1)],
)
def test_quantities(text: str | int, value: float) -> None:
    assert number(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "Gi", "1 Gi", "48GB", "1,5", "five"])
def test_what_is_no_quantity(text: str) -> None:
    assert number(text) is None


def test_labels() -> None:
    assert is_label_key("a.b/c_d")
    assert is_label_value("")
    assert not is_label_key("A.b/c")
    assert not is_label_key("a" * 64)
    assert not is_label_value("-a")
