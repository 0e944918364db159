"""Every check finds what it is for: a manifest that is right, with one thing wrong in it."""

import copy
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest

from tests.cluster_files.kuberay.conftest import KUBERAY, built, of_kind
from tools.manifests.check import check, faults
from tools.manifests.crd_schema import CustomResources
from tools.manifests.found import Document
from tools.manifests.pod_rules import missing

pytestmark = pytest.mark.unit

Change = Callable[[Any], object]


class Mutation(NamedTuple):
    """A change of one object of a build, and a part of the line that says so."""

    name: str
    overlay: str
    kind: str
    change: Change
    said: str


SCAN, SERVE, NIGHT, CRON, KUEUE = (
    "scan-gke-l4-spot", "serve-eks-l4", "nightly-gke-l4-spot", "nightly-cronjob-eks-l4-spot", "scan-kueue",
)  # fmt: skip


def put(path: str, value: Any) -> Change:
    """Sets the value at a path such as `spec.a.0.b`."""

    def change(document: Document) -> None:
        *parents, last = path.split(".")
        place: Any = document
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place.setdefault(name, {})
        if isinstance(place, list):
            place[int(last)] = value
        else:
            place[last] = value

    return change


def drop(path: str) -> Change:
    """Removes what is at a path."""

    def change(document: Document) -> None:
        *parents, last = path.split(".")
        place: Any = document
        for name in parents:
            place = place[int(name)] if isinstance(place, list) else place[name]
        del place[last]

    return change


def again(path: str) -> Change:
    """Appends the first of a list once more."""

    def change(document: Document) -> None:
        place: Any = document
        for name in path.split("."):
            place = place[int(name)] if isinstance(place, list) else place[name]
        place.append(copy.deepcopy(place[0]))

    return change


def both(*changes: Change) -> Change:
    def change(document: Document) -> None:
        for one in changes:
            one(document)

    return change


def replaced(path: str, old: str, new: str) -> Change:
    """Changes a text."""

    def change(document: Document) -> None:
        place: Any = document
        *parents, last = path.split(".")
        for name in parents:
            place = place[name]
        assert old in place[last], place[last]
        place[last] = place[last].replace(old, new)

    return change


JOB, CLUSTER = "spec", "spec.rayClusterSpec"
HEAD, ENGINE = f"{CLUSTER}.headGroupSpec", f"{CLUSTER}.workerGroupSpecs.0"
BOX = f"{ENGINE}.template.spec.containers.0"
AVOID = (
    f"{HEAD}.template.spec.affinity.nodeAffinity.requiredDuringSchedulingIgnoredDuringExecution.nodeSelectorTerms.0"
    ".matchExpressions"
)
RULES = "spec.deletionStrategy.deletionRules"


def rule(policy: str, seconds: int = 0, **condition: str) -> dict[str, Any]:
    return {"policy": policy, "condition": {"ttlSeconds": seconds, **(condition or {"jobStatus": "FAILED"})}}


OLDER = {"onSuccess": {"policy": "DeleteCluster"}, "onFailure": {"policy": "DeleteNone"}}
SELECTED = both(drop(CLUSTER), drop("spec.deletionStrategy"), put("spec.clusterSelector", {"ray.io/cluster": "mine"}))
SIDECAR = both(
    put("spec.submissionMode", "SidecarMode"), drop("spec.submitterPodTemplate"), drop("spec.submitterConfig")
)

MUTATIONS = [
    # The schema: unknown fields at any depth, types, quantities, words, what is missing
    Mutation("unknown field of the job", SCAN, "RayJob", put("spec.ttlSeconds", 5), "spec.ttlSeconds: unknown field"),
    Mutation("unknown field of the cluster", SCAN, "RayJob",
             put(f"{CLUSTER}.autoscaling", True), "autoscaling: unknown"),
    Mutation("unknown field of a group", SCAN, "RayJob", put(f"{ENGINE}.maxReplica", 3), "did you mean maxReplicas?"),
    Mutation("unknown field of a pod", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.nodeSelectors", {}), "unknown field"),
    Mutation("unknown field of a container", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.containers.0.volumeMount", []), "did you mean volumeMounts?"),
    Mutation("unknown field of a volume", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.volumes.0.emptyDir.size", "1Gi"), "emptyDir.size: unknown field"),
    Mutation("unknown field of metadata", SCAN, "RayJob", put("metadata.label", {}), "metadata.label: unknown field"),
    Mutation("unknown field of a night's job", NIGHT, "RayCronJob",
             put("spec.jobTemplate.spec", {}), "spec: unknown field"),
    Mutation("unknown field of a service", SERVE, "RayService",
             put("spec.rayClusterSpec", {}), "rayClusterSpec: unknown"),
    Mutation("number as text", SCAN, "RayJob", put(f"{ENGINE}.maxReplicas", "4"), "must be of type integer"),
    Mutation("text as number", SCAN, "RayJob", put(f"{HEAD}.rayStartParams.num-cpus", 0), "must be of type string"),
    Mutation("a list that is none", SCAN, "RayJob", put(f"{ENGINE}.template.spec.tolerations", {}), "type array"),
    Mutation("a number beyond 32 bits", SCAN, "RayJob", put(f"{ENGINE}.maxReplicas", 2**31), "2147483648"),
    Mutation("bad quantity", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.containers.0.resources.limits.memory", "48 GB"), "has the wrong form"),
    Mutation("a word that is none", SCAN, "RayJob", put(f"{CLUSTER}.autoscalerOptions.version", "v3"), "one of v1, v2"),
    Mutation("a policy that is none", SCAN, "RayJob", put(f"{RULES}.0.policy", "DeleteAll"), "must be one of"),
    Mutation("no container name", SCAN, "RayJob", drop(f"{ENGINE}.template.spec.containers.0.name"), "name: missing"),
    Mutation("no group name", SCAN, "RayJob", drop(f"{ENGINE}.groupName"), "groupName: missing"),
    Mutation("no head", SCAN, "RayJob", drop(HEAD), "headGroupSpec: missing"),
    Mutation("no schedule", NIGHT, "RayCronJob", drop("spec.schedule"), "schedule: missing"),
    Mutation("another version of the API", SCAN, "RayJob", put("apiVersion", "ray.io/v2"), "is not known here"),
    # The rules in CEL
    Mutation("older and newer policies", SCAN, "RayJob",
             put("spec.deletionStrategy.onSuccess", {"policy": "DeleteSelf"}),
             "cannot be used together"),
    Mutation("a strategy of nothing", SCAN, "RayJob", put("spec.deletionStrategy", {}), "cannot be empty"),
    Mutation("a rule about two ends", SCAN, "RayJob", put(f"{RULES}.0.condition.jobDeploymentStatus", "Failed"),
             "cannot be used together"),
    Mutation("a rule about no end", SCAN, "RayJob", drop(f"{RULES}.0.condition.jobStatus"), "requires either"),
    Mutation("another manager", SCAN, "RayJob", put("spec.managedBy", "me"), "must be either"),
    # KubeRay's own rules: names
    Mutation("a job's name is too long", SCAN, "RayJob", put("metadata.name", "a" * 48), "47 characters (got 48)"),
    Mutation("a service's name is too long", SERVE, "RayService", put("metadata.name", "a" * 48), "47 characters"),
    Mutation("a night's name is too long", NIGHT, "RayCronJob", put("metadata.name", "a" * 37), "36 characters"),
    Mutation("a name that begins with a digit", SCAN, "RayJob", put("metadata.name", "7-scans"), "a letter first"),
    Mutation("a name in capitals", SCAN, "RayJob", put("metadata.name", "Scan"), "lower case"),
    Mutation("a name with a point", SCAN, "RayJob", put("metadata.name", "scan.b"), "lower case"),
    # ... groups
    Mutation("no maxReplicas", SCAN, "RayJob", drop(f"{ENGINE}.maxReplicas"), "maxReplicas: missing"),
    Mutation("no minReplicas without autoscaler", KUEUE, "RayJob",
             drop(f"{ENGINE}.minReplicas"), "minReplicas: missing"),
    Mutation("fewer at most than at least", SCAN, "RayJob", put(f"{ENGINE}.minReplicas", 9), "above maxReplicas"),
    Mutation("less than none", SCAN, "RayJob", put(f"{ENGINE}.minReplicas", -1), "must be 0 or more"),
    Mutation("resources twice", SCAN, "RayJob",
             put(f"{HEAD}.resources", {"CPU": "0"}), "rayStartParams.num-cpus say the same"),
    Mutation("labels among Ray's parameters", SCAN, "RayJob",
             put(f"{ENGINE}.rayStartParams.labels", "a=b"), "not supported"),
    Mutation("a label that is none", SCAN, "RayJob", put(f"{ENGINE}.labels", {"a b": "c"}), "no label of Kubernetes"),
    Mutation("no containers", SCAN, "RayJob", put(f"{ENGINE}.template.spec.containers", []), "in which Ray runs"),
    Mutation("a group that is suspended", SCAN, "RayJob",
             put(f"{ENGINE}.suspend", True), "not with enableInTreeAutoscaling"),
    # ... the autoscaler
    Mutation("a head that starts again with v2", SCAN, "RayJob", put(f"{HEAD}.template.spec.restartPolicy", "Always"),
             "autoscaler v2 needs Never"),
    Mutation("a worker that starts again with v2", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.restartPolicy", "OnFailure"), "autoscaler v2 needs Never"),
    Mutation("v2 named twice", SCAN, "RayJob",
             put(f"{HEAD}.template.spec.containers.0.env.0", {"name": "RAY_enable_autoscaler_v2", "value": "1"}),
             "same"),
    Mutation("v2 without an autoscaler", KUEUE, "RayJob",
             put(f"{HEAD}.template.spec.containers.0.env.0", {"name": "RAY_enable_autoscaler_v2", "value": "1"}),
             "must be true"),
    Mutation("a group's idle time with v1", SCAN, "RayJob",
             both(put(f"{CLUSTER}.autoscalerOptions.version", "v1"), put(f"{ENGINE}.idleTimeoutSeconds", 5)),
             "version: v2"),
    Mutation("a negative idle time", SCAN, "RayJob",
             put(f"{CLUSTER}.autoscalerOptions.idleTimeoutSeconds", -1), "0 or more"),
    Mutation("a priority with v1", SCAN, "RayJob",
             both(put(f"{CLUSTER}.autoscalerOptions.version", "v1"), put(f"{ENGINE}.priority", 5)), "priority: needs"),
    Mutation("a priority with an old Ray", SCAN, "RayJob",
             both(put(f"{CLUSTER}.rayVersion", "2.55.0"), put(f"{ENGINE}.priority", 5)), "2.56.0 or later"),
    Mutation("KubeRay's own variable", SCAN, "RayJob",
             put(f"{CLUSTER}.autoscalerOptions.env", [{"name": "KUBERAY_GEN_AUTOSCALER_START_CMD"}]), "KubeRay's own"),
    # ... gates that are off
    Mutation("KubeRay's network policy", SCAN, "RayJob",
             put(f"{CLUSTER}.networkPolicy", {}), "RayClusterNetworkPolicy"),
    Mutation("mTLS", SCAN, "RayJob", put(f"{CLUSTER}.tlsOptions", {"enabled": True}), "RayClusterMTLS"),
    Mutation("history server", SCAN, "RayJob", put(f"{CLUSTER}.historyServerOptions", {}), "RayClusterHistoryServer"),
    Mutation("RocksDB", SCAN, "RayJob", put(f"{CLUSTER}.gcsFaultToleranceOptions", {"backend": "rocksdb"}),
             "GCSFaultToleranceEmbeddedStorage"),
    # ... the head's state
    Mutation("Redis without options", SCAN, "RayJob",
             put(f"{HEAD}.template.spec.containers.0.env.0", {"name": "RAY_REDIS_ADDRESS", "value": "r:6379"}),
             "needs gcs"),
    Mutation("Redis' password in the environment", SCAN, "RayJob",
             both(put(f"{CLUSTER}.gcsFaultToleranceOptions", {"redisAddress": "r:6379"}),
                  put(f"{HEAD}.template.spec.containers.0.env.0", {"name": "REDIS_PASSWORD", "value": "x"})),
                  "redisPassword"),
    Mutation("Redis' user in Ray's parameters", SCAN, "RayJob", put(f"{HEAD}.rayStartParams.redis-username", "x"),
             "redisUsername"),
    Mutation("the annotation and the options", SCAN, "RayJob",
             both(put(f"{CLUSTER}.gcsFaultToleranceOptions", {"redisAddress": "r:6379"}),
                  put("metadata.annotations", {"ray.io/ft-enabled": "true"})), "remove it"),
    Mutation("a volume for Redis", SCAN, "RayJob",
             put(f"{CLUSTER}.gcsFaultToleranceOptions", {"storage": {"size": "1Gi"}}), "belongs to backend: rocksdb"),
    # ... the token
    Mutation("tokens of Kubernetes for a job", SCAN, "RayJob", put(f"{CLUSTER}.authOptions.enableK8sTokenAuth", True),
             "not with a RayJob"),
    Mutation("tokens of Kubernetes for a service", SERVE, "RayService",
             put("spec.rayClusterConfig.authOptions.enableK8sTokenAuth", True), "not with a RayService"),
    Mutation("a token without Ray's version", SCAN, "RayJob", drop(f"{CLUSTER}.rayVersion"), "2.52.0 or later"),
    Mutation("a token with an old Ray", SCAN, "RayJob", put(f"{CLUSTER}.rayVersion", "2.51.0"), "2.52.0 or later"),
    # ... jobs
    Mutation("rules and shutdown", SCAN, "RayJob", put("spec.shutdownAfterJobFinishes", True), "remove one"),
    Mutation("a TTL without shutdown", SCAN, "RayJob", put("spec.ttlSecondsAfterFinished", 60), "counts only with"),
    Mutation("a negative TTL", CRON, "RayJob", put("spec.ttlSecondsAfterFinished", -1), "must be 0 or more"),
    Mutation("suspended without shutdown", SCAN, "RayJob", put("spec.suspend", True), "can be suspended"),
    Mutation("DeleteWorkers beside the autoscaler", SCAN, "RayJob", put(f"{RULES}.0.policy", "DeleteWorkers"),
             "removes idle workers by itself"),
    Mutation("a rule twice", SCAN, "RayJob",
             put(RULES, [rule("DeleteCluster"), rule("DeleteCluster", 5)]), "a second rule"),
    Mutation("the job before its cluster", SCAN, "RayJob",
             put(RULES, [rule("DeleteCluster", 60), rule("DeleteSelf", 5)]),
             "must not come before"),
    Mutation("DeleteNone with shutdown", SCAN, "RayJob",
             both(put("spec.deletionStrategy", OLDER), put("spec.shutdownAfterJobFinishes", True)),
             "DeleteNone contradicts"),
    Mutation("sidecar with a submitter's pod", SCAN, "RayJob",
             both(put("spec.submissionMode", "SidecarMode"), drop("spec.submitterConfig")), "no submitter of its own"),
    Mutation("sidecar with a submitter's retries", SCAN, "RayJob",
             both(put("spec.submissionMode", "SidecarMode"), drop("spec.submitterPodTemplate")),
             "no submitter of its own"),
    Mutation("sidecar on a head that starts again", KUEUE, "RayJob",
             both(SIDECAR, put(f"{HEAD}.template.spec.restartPolicy", "Always")), "SidecarMode needs Never"),
    Mutation("retries of an interactive job", SCAN, "RayJob",
             put("spec.submissionMode", "InteractiveMode"), "no retries"),
    Mutation("retries on a selected cluster", SCAN, "RayJob", SELECTED, "which clusterSelector rules out"),
    Mutation("a sidecar on a selected cluster", SCAN, "RayJob",
             both(SELECTED, SIDECAR, put("spec.backoffLimit", 0)), "a cluster of the job's own"),
    Mutation("a selector of nothing", SCAN, "RayJob",
             both(SELECTED, put("spec.clusterSelector", {"a": "b"})), "must name"),
    Mutation("rules for a selected cluster", SCAN, "RayJob",
             both(SELECTED, put("spec.backoffLimit", 0), put(RULES, [rule("DeleteCluster")])), "not the job's"),
    Mutation("no cluster", SCAN, "RayJob", drop(CLUSTER), "give it or clusterSelector"),
    Mutation("negative retries", SCAN, "RayJob", put("spec.backoffLimit", -1), "backoffLimit: must be 0 or more"),
    Mutation("no time at all", SCAN, "RayJob", put("spec.activeDeadlineSeconds", 0), "must be above 0"),
    Mutation("an environment that is no YAML", SCAN, "RayJob", put("spec.runtimeEnvYAML", "a: [b"), "must be YAML"),
    Mutation("an environment that is a list", SCAN, "RayJob", put("spec.runtimeEnvYAML", "- a"), "must be YAML"),
    # ... nights
    Mutation("a schedule of four fields", NIGHT, "RayCronJob", put("spec.schedule", "0 2 * *"), "needs five fields"),
    Mutation("hour 25", NIGHT, "RayCronJob", put("spec.schedule", "0 25 * * *"), "the hour must be from 0 to 23"),
    Mutation("a zone in the schedule", NIGHT, "RayCronJob", put("spec.schedule", "TZ=UTC 0 2 * * *"), "as timeZone"),
    Mutation("a zone that is none", NIGHT, "RayCronJob",
             put("spec.timeZone", "Europe/Atlantis"), "timeZone: is not one"),
    Mutation("a rule inside a night's job", NIGHT, "RayCronJob", put("spec.jobTemplate.ttlSecondsAfterFinished", 5),
             "spec.jobTemplate.ttlSecondsAfterFinished"),
    # ... services
    Mutation("a name for the head's Service", SERVE, "RayService",
             put("spec.rayClusterConfig.headGroupSpec.headService", {"metadata": {"name": "mine"}}), "KubeRay chooses"),
    Mutation("an upgrade that is none", SERVE, "RayService",
             put("spec.upgradeStrategy.type", "Rolling"), "must be one of"),
    Mutation("an upgrade in steps without steps", SERVE, "RayService",
             put("spec.upgradeStrategy.type", "NewClusterWithIncrementalUpgrade"), "clusterUpgradeOptions: missing"),
    Mutation("steps above the surge", SERVE, "RayService",
             put("spec.upgradeStrategy", {"type": "NewClusterWithIncrementalUpgrade", "clusterUpgradeOptions": {
                 "maxSurgePercent": 20, "stepSizePercent": 30, "intervalSeconds": 5, "gatewayClassName": "g"}}),
             "must not be above maxSurgePercent"),
    Mutation("a timeout that is none", SERVE, "RayService",
             put("metadata.annotations", {"ray.io/initializing-timeout": "soon"}), "must be a duration"),
    # Kueue
    Mutation("a queue with the autoscaler", KUEUE, "RayJob",
             put(f"{CLUSTER}.enableInTreeAutoscaling", True), "must be false"),
    Mutation("a queue without shutdown", KUEUE, "RayJob",
             both(drop("spec.shutdownAfterJobFinishes"), drop("spec.ttlSecondsAfterFinished")),
             "must be true for a job"),
    Mutation("a queue with a group called head", KUEUE, "RayJob",
             put(f"{ENGINE}.groupName", "head"), "calls the head so"),
    Mutation("a template in a queue", CRON, "RayJob",
             put("metadata.labels", {"kueue.x-k8s.io/queue-name": "q"}), "a template as well"),
    Mutation("a queue for a RayCronJob", NIGHT, "RayCronJob",
             put("metadata.labels", {"kueue.x-k8s.io/queue-name": "q"}), "not handed on"),
    # Sizes, and what the pods name
    Mutation("objects that do not fit", SCAN, "RayJob",
             put(f"{ENGINE}.rayStartParams.object-store-memory", "20000000000"), "does not fit into /dev/shm"),
    Mutation("/dev/shm of most of the memory", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.volumes.0.emptyDir.sizeLimit", "40Gi"), "above half of the memory"),
    Mutation("/dev/shm on a disk", SCAN, "RayJob",
             drop(f"{ENGINE}.template.spec.volumes.0.emptyDir.medium"), "/dev/shm must"),
    Mutation("no limit of memory", SCAN, "RayJob",
             drop(f"{ENGINE}.template.spec.containers.0.resources.limits.memory"), "memory: missing"),
    Mutation("another number of GPUs", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.containers.0.resources.limits", {"memory": "48Gi", "nvidia.com/gpu": "2"}),
             "no other"),
    Mutation("requests above the limit", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.containers.0.resources.requests.memory", "64Gi"), "requests more memory"),
    Mutation("a mount of no volume", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.containers.0.volumeMounts.0.name", "shared"), "no volume shared"),
    Mutation("a ConfigMap that nobody makes", SCAN, "RayJob",
             put(f"{HEAD}.template.spec.volumes.2.configMap.name", "other"), "needs the ConfigMap other"),
    Mutation("an account that nobody makes", SCAN, "RayJob",
             put(f"{HEAD}.template.spec.serviceAccountName", "other"), "needs the ServiceAccount other"),
    # What the server refuses when KubeRay makes the pods: words, names, ranges, twice the same
    Mutation("a pull policy that is none", SCAN, "RayJob", put(f"{BOX}.imagePullPolicy", "Often"), "must be one of"),
    Mutation("an image of no name", SCAN, "RayJob", put(f"{BOX}.image", ""), "has the wrong form"),
    Mutation("an image and a comment", SCAN, "RayJob", put(f"{BOX}.image", "fakescan:1 # ours"), "has the wrong form"),
    Mutation("no image", SCAN, "RayJob", drop(f"{BOX}.image"), "image: missing"),
    Mutation("a container in capitals", SCAN, "RayJob", put(f"{BOX}.name", "Ray"), "has the wrong form"),
    Mutation("a container twice", SCAN, "RayJob", again(f"{ENGINE}.template.spec.containers"), "is there 2 times"),
    Mutation("a volume twice", SCAN, "RayJob", again(f"{ENGINE}.template.spec.volumes"), "shm is there 2 times"),
    Mutation("a variable twice", SCAN, "RayJob", again(f"{BOX}.env"), "HF_HOME is there 2 times"),
    Mutation("a mount twice", SCAN, "RayJob", again(f"{BOX}.volumeMounts"), "/dev/shm is there 2 times"),
    Mutation("a port twice", SCAN, "RayJob", again(f"{BOX}.ports"), "metrics is there 2 times"),
    Mutation("a group twice", SCAN, "RayJob", again(f"{CLUSTER}.workerGroupSpecs"), "engine is there twice"),
    Mutation("a group in capitals", SCAN, "RayJob", put(f"{ENGINE}.groupName", "Engine"), "lower case, digits"),
    Mutation("less than no replicas", SCAN, "RayJob", put(f"{ENGINE}.replicas", -1), "must be 0 or more"),
    Mutation("a port beyond the last", SERVE, "RayService",
             put("spec.rayClusterConfig.workerGroupSpecs.0.template.spec.containers.0.readinessProbe.httpGet.port",
                 70000), "maximum of 65535"),
    Mutation("a long name of a port", SCAN, "RayJob", put(f"{BOX}.ports.0.name", "metrics-of-this-node"), "too long"),
    Mutation("a probe that never comes", SERVE, "RayService",
             put("spec.rayClusterConfig.workerGroupSpecs.0.template.spec.containers.0.readinessProbe.periodSeconds",
                 -5), "minimum of 0"),
    Mutation("a variable with a blank", SCAN, "RayJob", put(f"{BOX}.env.0.name", "HF HOME"), "has the wrong form"),
    Mutation("a mount of no path", SCAN, "RayJob", put(f"{BOX}.volumeMounts.1.mountPath", "cache"), "wrong form"),
    Mutation("a user below none", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.securityContext.runAsUser", -1), "minimum of 0"),
    Mutation("a profile that is none", SCAN, "RayJob",
             put(f"{BOX}.securityContext.seccompProfile.type", "Default"), "must be one of RuntimeDefault"),
    Mutation("an autoscaler's profile that is none", SCAN, "RayJob",
             put(f"{CLUSTER}.autoscalerOptions.securityContext.seccompProfile.type", "Default"), "must be one of"),
    Mutation("a toleration's effect that is none", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.tolerations.0.effect", "NoRun"), "must be one of"),
    Mutation("a toleration of a value that exists", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.tolerations.0.value", "true"), "not with operator: Exists"),
    Mutation("a toleration of nothing", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.tolerations.0", {"effect": "NoSchedule"}), "no key of a taint"),
    Mutation("a label of nodes that is none", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.nodeSelector", {"gke spot": "true"}), "no label of Kubernetes"),
    Mutation("a condition that is none", SCAN, "RayJob", put(f"{AVOID}.0.operator", "Missing"), "must be one of In"),
    Mutation("a condition without its values", SCAN, "RayJob", drop(f"{AVOID}.1.values"), "do not go with"),
    Mutation("a condition with a value too many", SCAN, "RayJob",
             put(f"{AVOID}.0.values", ["true"]), "do not go with operator: DoesNotExist"),
    Mutation("a label of pods that is none", SCAN, "RayJob",
             put(f"{ENGINE}.template.metadata.labels", {"a": "b c"}), "no label of Kubernetes"),
    Mutation("a Secret's name that is none", SCAN, "RayJob",
             put(f"{ENGINE}.template.spec.imagePullSecrets", [{"name": "My Registry"}]), "wrong form"),
    Mutation("a namespace that is none", SCAN, "RayJob", put("metadata.namespace", "Team A"), "wrong form"),
    Mutation("an account in capitals", SCAN, "ServiceAccount", put("metadata.name", "Fakescan"), "wrong form"),
    Mutation("less than no memory", SCAN, "RayJob", put(f"{BOX}.resources.limits.memory", "-48Gi"), "0 or more"),
    Mutation("Ray's memory as Kubernetes writes it", SCAN, "RayJob",
             put(f"{ENGINE}.rayStartParams.object-store-memory", "8Gi"), "must be a whole number"),
    Mutation("a way of submission that is none", SCAN, "RayJob",
             put("spec.submissionMode", "PodMode"), "must be one of K8sJobMode"),
    Mutation("less than no retries of a submitter", SCAN, "RayJob",
             put("spec.submitterConfig.backoffLimit", -1), "must be 0 or more"),
    Mutation("a kind that is a path", SCAN, "ServiceAccount", put("kind", "../pod"), "is not known here"),
    Mutation("a CronJob's schedule that is none", CRON, "CronJob", put("spec.schedule", "at night"), "five fields"),
    Mutation("a CronJob's zone that is none", CRON, "CronJob", put("spec.timeZone", "Mars/North"), "is not one"),
    Mutation("a CronJob's policy of none", CRON, "CronJob", put("spec.concurrencyPolicy", "Never"), "one of Allow"),
    Mutation("a verb that is none", CRON, "Role", put("rules.0.verbs.0", "read"), "must be one of get"),
    Mutation("a binding to what is no role", CRON, "RoleBinding", put("roleRef.kind", "Rolle"), "must be one of Role"),
    Mutation("a field of the pod that is none", CRON, "CronJob",
             put("spec.jobTemplate.spec.template.spec.containers.0.env.1.valueFrom.fieldRef.fieldPath",
                 "metadata.label"), "has the wrong form"),
    # Command lines and Serve files
    Mutation("a misspelt option", SCAN, "RayJob", replaced("spec.entrypoint", "--model", "--modell"), "--modell"),
    Mutation("a value that is none", SCAN, "RayJob",
             replaced("spec.entrypoint", "--model", "--device tpu --model"), "device"),
    Mutation("another command", SCAN, "RayJob",
             replaced("spec.entrypoint", "fakescan scan", "fakescan skan"), "no command"),
    Mutation("no output", SCAN, "RayJob", replaced("spec.entrypoint", "--output", "--glob"), "output: missing"),
    Mutation("another program", SCAN, "RayJob",
             replaced("spec.entrypoint", "fakescan", "python"), "must begin with fakescan"),
    Mutation("a quote that does not end", SCAN, "RayJob",
             put("spec.entrypoint", 'fakescan scan "s3://b'), "a shell cannot"),
    Mutation("a word for the shell", SCAN, "RayJob",
             replaced("spec.entrypoint", "s3://bucket/images", "s3://b/$X"), "a shell reads"),
    Mutation("a training's setting that is none", "train-eks-h100", "RayJob",
             replaced("spec.entrypoint", "--set data", "--set dota"), "dota"),
    Mutation("a night's option", NIGHT, "RayCronJob",
             replaced("spec.jobTemplate.entrypoint" , "--model", "--output x --model"),
             "--output"),
    Mutation("a settings file with a wrong name", SCAN, "ConfigMap",
             put("data", {"scan.yaml": "explane: all"}), "explane"),
    Mutation("a settings file that is none", SCAN, "ConfigMap",
             put("data", {"other.yaml": ""}), "/etc/fakescan/scan.yaml"),
    Mutation("a server's setting that is none", SERVE, "RayService",
             replaced("spec.serveConfigV2", "device: cuda", "devise: cuda"), "devise"),
    Mutation("a server of this machine alone", SERVE, "RayService",
             replaced("spec.serveConfigV2", "0.0.0.0", "127.0.0.1"), "reached by nobody outside"),
    Mutation("a server without its gate", SERVE, "RayService",
             replaced("spec.serveConfigV2", "fakescan.serve.gate:middleware", "other:middleware"), "without the gate"),
    Mutation("a server without keys", SERVE, "RayService",
             replaced("spec.serveConfigV2", "keys: /etc/fakescan/keys/keys.json", "access_log: {}"), "keys"),
    Mutation("keys that are not mounted", SERVE, "RayService",
             replaced("spec.serveConfigV2", "/etc/fakescan/keys/keys.json", "/keys/keys.json"),
             "not mounted in every pod"),
    Mutation("an option of Serve's that is none", SERVE, "RayService",
             replaced("spec.serveConfigV2", "proxy_location: EveryNode", "proxy_location: Nowhere"), "proxy_location"),
    # Kubernetes' own kinds
    Mutation("unknown field of a service account", SCAN, "ServiceAccount", put("annotations", {}), "annotations"),
    Mutation("unknown field of a CronJob", CRON, "CronJob", put("spec.timezone", "UTC"), "timezone"),
    Mutation("unknown field of its container", CRON, "CronJob",
             put("spec.jobTemplate.spec.template.spec.containers.0.cmd", []), "cmd"),
    Mutation("a CronJob without a schedule", CRON, "CronJob", drop("spec.schedule"), "schedule"),
    Mutation("a role with a word for a list", CRON, "Role", put("rules.0.verbs", "get"), "verbs"),
]  # fmt: skip


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_mutated_manifest_is_refused(mutation: Mutation, definitions: CustomResources) -> None:
    found = built(mutation.overlay)
    name = {"ServiceAccount": "fakescan"}.get(mutation.kind)
    changed = of_kind(found, mutation.kind, name)
    mutation.change(changed)
    if mutation.kind != "ConfigMap":  # the settings file of another object
        others = [fault for document, fault in missing(found) if document is changed]
        lines = [str(fault) for fault in [*faults(changed, found, definitions), *others]]
    else:
        lines = check(found, definitions)
    assert any(mutation.said in line for line in lines), lines
    assert all("\n" not in line and "Traceback" not in line for line in lines)


@pytest.mark.parametrize("character", "$`;&|<>*?!#~'(){}[]")
def test_a_word_may_have_nothing_that_a_shell_reads(character: str, definitions: CustomResources) -> None:
    found = built(SCAN)
    job = of_kind(found, "RayJob")
    replaced("spec.entrypoint", "s3://bucket/images", f"s3://bucket/a{character}b")(job)
    assert any("which a shell reads" in str(fault) for fault in faults(job, found, definitions))


def queue_mutations() -> Iterator[Any]:
    yield pytest.param("LocalQueue", drop("spec.clusterQueue"), "clusterQueue", id="a queue of nothing")
    yield pytest.param("ClusterQueue", put("spec.cohort", "all"), "cohort", id="an older version's field")
    yield pytest.param("ClusterQueue", put("spec.queueingStrategy", "LIFO"), "LIFO", id="a strategy that is none")
    quota = "spec.resourceGroups.0.flavors.0.resources"
    yield pytest.param("ClusterQueue", put(f"{quota}.0.nominalQuota", "many"), "cpu", id="a quota that is none")
    yield pytest.param("ClusterQueue", put(f"{quota}.0.name", "memory"), "in this order", id="a resource twice")
    yield pytest.param("ClusterQueue", put("metadata.name", "Our queue"), "wrong form", id="a name that is none")
    yield pytest.param("LocalQueue", put("spec.clusterQueue", "A B"), "clusterQueue", id="another name that is none")
    yield pytest.param("LocalQueue", drop("metadata.namespace"), "namespace", id="a queue of no namespace")
    yield pytest.param("ClusterQueue", put("specs", {}), "specs: unknown", id="an unknown field")
    yield pytest.param("ClusterQueue", again("spec.resourceGroups.0.flavors"), "twice", id="a flavor twice")
    yield pytest.param("ResourceFlavor", put("apiVersion", "kueue.x-k8s.io/v1alpha1"), "not known", id="an old version")


@pytest.mark.parametrize(("kind", "change", "said"), queue_mutations())
def test_a_mutated_queue_is_refused(kind: str, change: Change, said: str, definitions: CustomResources) -> None:
    found = built(KUBERAY / "kueue-queues")
    change(of_kind(found, kind))
    assert any(said in line for line in check(found, definitions))


def test_the_same_object_twice_is_refused(definitions: CustomResources) -> None:
    found = built(SCAN)
    assert any("is there twice" in line for line in check([*found, found[-1]], definitions))


@pytest.mark.parametrize("gate", ["RayClusterNetworkPolicy", "RayClusterMTLS"])
def test_what_a_gate_allows_is_right_where_it_is_on(gate: str, definitions: CustomResources) -> None:
    found = built(SCAN)
    field = {"RayClusterNetworkPolicy": "networkPolicy", "RayClusterMTLS": "tlsOptions"}[gate]
    put(f"{CLUSTER}.{field}", {})(of_kind(found, "RayJob"))
    assert any(gate in line for line in check(found, definitions))
    assert check(found, definitions, frozenset({gate})) == []


@pytest.mark.parametrize(
    "schedule", ["0 2 * * *", "*/15 0-6,22 1 jan-mar mon", "@daily", "@every 1h30m", "0 0 ? * 1-5/2"]
)
def test_schedules_that_are_right(schedule: str, definitions: CustomResources) -> None:
    found = built(NIGHT)
    put("spec.schedule", schedule)(of_kind(found, "RayCronJob"))
    assert check(found, definitions) == []
