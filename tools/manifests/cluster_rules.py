"""Rules of KubeRay 1.7 for the cluster of a RayCluster, RayJob or RayService; see `kuberay_rules`."""

from collections.abc import Iterable, Iterator, Mapping, Set
from typing import Any

from tools.manifests.found import Fault, below
from tools.manifests.names import DNS_1123, is_label_key, is_label_value

_RESOURCES = ("num-cpus", "num-gpus", "memory", "resources")
_NUMBERS = ("num-cpus", "num-gpus", "memory", "object-store-memory")
_AUTOSCALER_V2 = "RAY_enable_autoscaler_v2"
_GATED = {
    "networkPolicy": "RayClusterNetworkPolicy",
    "tlsOptions": "RayClusterMTLS",
    "historyServerOptions": "RayClusterHistoryServer",
}
"""Fields that need an alpha feature gate, which is off unless the operator was started with it."""
_NEVER = (None, "", "Never")


def faults(spec: Mapping[str, Any], annotations: Mapping[str, str], gates: Set[str]) -> list[Fault]:
    """What KubeRay would refuse of a cluster's specification."""
    head = spec.get("headGroupSpec") or {}
    groups = spec.get("workerGroupSpecs") or []
    named = [("headGroupSpec", head), *((f"workerGroupSpecs.{number}", group) for number, group in enumerate(groups))]
    names = [str(group.get("groupName")) for group in groups]
    found = [Fault("workerGroupSpecs", f"{name} is there twice") for name in sorted({*names}) if names.count(name) > 1]
    for place, group in named:
        found += below(_group(group), place)
        if place != "headGroupSpec":
            found += below(_worker_group(group, spec), place)
    found += [*_autoscaler(spec, named), *_fault_tolerance(spec, annotations, gates), *_token(spec)]
    for field, gate in _GATED.items():
        if spec.get(field) is not None and gate not in gates:
            found.append(Fault(field, f"needs KubeRay's feature gate {gate}, which is alpha and off by default"))
    return found


def pod_of(group: Mapping[str, Any] | None) -> Mapping[str, Any]:
    """The pod of a group; empty where there is none."""
    pod: Mapping[str, Any] = ((group or {}).get("template") or {}).get("spec") or {}
    return pod


def ray_container(group: Mapping[str, Any]) -> Mapping[str, Any]:
    """The container of a group's pod in which Ray runs, the first; empty where there is none."""
    containers = pod_of(group).get("containers") or [{}]
    first: Mapping[str, Any] = containers[0]
    return first


def variables(entries: Iterable[Mapping[str, Any]] | None) -> dict[str, str | None]:
    """Environment variables by their names."""
    return {entry.get("name", ""): entry.get("value") for entry in entries or ()}


def _group(group: Mapping[str, Any]) -> Iterator[Fault]:
    if not pod_of(group).get("containers"):
        yield Fault("template.spec.containers", "needs the container in which Ray runs")
    params = group.get("rayStartParams") or {}
    twice = [name for name in _RESOURCES if params.get(name)]
    if twice and group.get("resources"):
        yield Fault("resources", f"and rayStartParams.{twice[0]} say the same; remove one")
    for name in _NUMBERS:
        if not str(params.get(name, "0")).isdecimal():  # `ray start` takes no 8Gi
            yield Fault(f"rayStartParams.{name}", f"must be a whole number (got {params[name]!r})")
    if "labels" in params:
        yield Fault("rayStartParams.labels", "not supported; use labels of the group")
    for key, value in (group.get("labels") or {}).items():
        if not is_label_key(key) or not is_label_value(value):
            yield Fault("labels", f"no label of Kubernetes (got {key}: {value})")


def _worker_group(group: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterator[Fault]:
    low, high = group.get("minReplicas"), group.get("maxReplicas")
    scales = bool(spec.get("enableInTreeAutoscaling"))
    if not DNS_1123.fullmatch(group.get("groupName", "")):
        yield Fault("groupName", f"must be lower case, digits and `-` (got {group.get('groupName')!r})")
    for name, value in (("minReplicas", low), ("maxReplicas", high), ("replicas", group.get("replicas", 0))):
        if value is None and (not scales or name == "maxReplicas"):
            # With the autoscaler KubeRay would take 2,147,483,647 for the most.
            yield Fault(name, "missing; give both minReplicas and maxReplicas")
        if value is not None and value < 0:
            yield Fault(name, f"must be 0 or more (got {value})")
    if low is not None and high is not None and low > high:
        yield Fault("minReplicas", f"must not be above maxReplicas, {high} (got {low})")
    if scales and group.get("suspend"):
        yield Fault("suspend", "not with enableInTreeAutoscaling")
    has_v2 = scales and _is_v2(spec)
    idle = group.get("idleTimeoutSeconds")
    if idle is not None and idle < 0:
        yield Fault("idleTimeoutSeconds", f"must be 0 or more (got {idle})")
    if idle is not None and not has_v2:
        yield Fault("idleTimeoutSeconds", "needs autoscalerOptions.version: v2")
    if group.get("priority") and not has_v2:
        yield Fault("priority", "needs autoscalerOptions.version: v2")
    if group.get("priority") and not _is_at_least(spec.get("rayVersion"), (2, 56)):
        yield Fault("priority", "needs rayVersion 2.56.0 or later")


def _is_v2(spec: Mapping[str, Any]) -> bool:
    if (spec.get("autoscalerOptions") or {}).get("version") == "v2":
        return True
    return variables(ray_container(spec.get("headGroupSpec") or {}).get("env")).get(_AUTOSCALER_V2) in ("1", "true")


def _autoscaler(spec: Mapping[str, Any], groups: list[tuple[str, Mapping[str, Any]]]) -> Iterator[Fault]:
    options, scales = spec.get("autoscalerOptions") or {}, bool(spec.get("enableInTreeAutoscaling"))
    variable = variables(ray_container(spec.get("headGroupSpec") or {}).get("env")).get(_AUTOSCALER_V2)
    if not scales and variable in ("1", "true"):
        yield Fault("enableInTreeAutoscaling", f"must be true where the head has {_AUTOSCALER_V2}")
    if scales and variable is not None and options.get("version") is not None:
        yield Fault("autoscalerOptions.version", f"and {_AUTOSCALER_V2} of the head say the same; remove the variable")
    if scales and options.get("version") == "v2":
        for place, group in groups:
            if pod_of(group).get("restartPolicy") not in _NEVER:
                yield Fault(f"{place}.template.spec.restartPolicy", "autoscaler v2 needs Never")
    if (options.get("idleTimeoutSeconds") or 0) < 0:
        yield Fault("autoscalerOptions.idleTimeoutSeconds", "must be 0 or more")
    if "KUBERAY_GEN_AUTOSCALER_START_CMD" in variables(options.get("env")):
        yield Fault("autoscalerOptions.env", "KUBERAY_GEN_AUTOSCALER_START_CMD is KubeRay's own; remove it")


def _fault_tolerance(spec: Mapping[str, Any], annotations: Mapping[str, str], gates: Set[str]) -> Iterator[Fault]:
    """Rules of a head whose state outlives it, in Redis or on a volume."""
    head = spec.get("headGroupSpec") or {}
    names, params = variables(ray_container(head).get("env")), head.get("rayStartParams") or {}
    options = spec.get("gcsFaultToleranceOptions")
    marked = annotations.get("ray.io/ft-enabled", "")
    if params.get("redis-username") or "REDIS_USERNAME" in names:
        yield Fault("headGroupSpec", "name the user of Redis in gcsFaultToleranceOptions.redisUsername")
    if options is None:
        if marked != "true" and "RAY_REDIS_ADDRESS" in names:
            yield Fault("headGroupSpec", "RAY_REDIS_ADDRESS needs gcsFaultToleranceOptions")
        return
    if marked:
        yield Fault("gcsFaultToleranceOptions", "excludes the annotation ray.io/ft-enabled; remove it")
    if params.get("redis-password") or "REDIS_PASSWORD" in names:
        yield Fault("headGroupSpec", "name the password in gcsFaultToleranceOptions.redisPassword")
    if "RAY_REDIS_ADDRESS" in names:
        yield Fault("headGroupSpec", "name the address in gcsFaultToleranceOptions.redisAddress")
    if annotations.get("ray.io/external-storage-namespace"):
        yield Fault("gcsFaultToleranceOptions", "name the namespace in externalStorageNamespace, not as an annotation")
    yield from below(_backend(options, names, gates), "gcsFaultToleranceOptions")


def _backend(options: Mapping[str, Any], names: Mapping[str, str | None], gates: Set[str]) -> Iterator[Fault]:
    storage = options.get("storage") or {}
    if options.get("backend", "redis") != "rocksdb":
        if storage:
            yield Fault("storage", "belongs to backend: rocksdb")
        return
    if "GCSFaultToleranceEmbeddedStorage" not in gates:
        gate = "GCSFaultToleranceEmbeddedStorage"
        yield Fault("backend", f"rocksdb needs KubeRay's feature gate {gate}, which is alpha and off by default")
    for name in ("redisAddress", "redisUsername", "redisPassword", "externalStorageNamespace"):
        if options.get(name):
            yield Fault(name, "belongs to backend: redis")
    if storage.get("claimName") and storage.keys() & {"size", "storageClassName", "accessModes"}:
        yield Fault("storage.claimName", "excludes size, storageClassName and accessModes")
    if names.keys() & {"RAY_gcs_storage", "RAY_gcs_storage_path", "RAY_GCS_STORAGE", "RAY_GCS_STORAGE_PATH"}:
        yield Fault("backend", "KubeRay sets the head's variables of the storage; remove them")


def _token(spec: Mapping[str, Any]) -> Iterator[Fault]:
    options = spec.get("authOptions") or {}
    by_kubernetes = bool(options.get("enableK8sTokenAuth"))
    if options.get("mode") != "token":
        if by_kubernetes:
            yield Fault("authOptions.enableK8sTokenAuth", "needs mode: token")
        return
    least = (2, 55) if by_kubernetes else (2, 52)
    if not _is_at_least(spec.get("rayVersion"), least):
        version = f"{least[0]}.{least[1]}.0"
        yield Fault("rayVersion", f"authOptions needs it, {version} or later (got {spec.get('rayVersion')!r})")
    if by_kubernetes and options.get("secretName"):
        yield Fault("authOptions.secretName", "excludes enableK8sTokenAuth; remove one")


def _is_at_least(version: str | None, least: tuple[int, int]) -> bool:
    try:
        major, minor = (int(part) for part in str(version).split(".")[:2])
    except ValueError:
        return False
    return (major, minor) >= least
