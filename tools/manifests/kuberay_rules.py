"""Rules of KubeRay 1.7 that are in its program and not in its definitions: an operator refuses what breaks one of them.

Read in `ray-operator/controllers/ray/utils/validation.go`. A RayJob or RayService that breaks one is accepted by the
API server and then does nothing but carry an event, which is why they are worth knowing before.
"""

import itertools
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

import yaml

from tools.manifests import cluster_rules
from tools.manifests.found import Document, Fault, below
from tools.manifests.names import is_dns_1035
from tools.manifests.schedule import schedule_fault, time_zone_fault

MAX_NAME = {"RayCluster": 53, "RayJob": 47, "RayService": 47, "RayCronJob": 36}
"""Characters of a name: KubeRay appends to it, and the longest name of a Service must not exceed 63."""
ORDER = ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
"""Policies of deletion rules in the order in which they may come true."""

_MODES = ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
_TIMEOUT = "ray.io/initializing-timeout"
_DURATION = re.compile(r"(\d+(\.\d+)?(ns|us|µs|ms|s|m|h))+|\d+")
_NEVER = (None, "", "Never")


def faults(document: Document, gates: Set[str] = frozenset()) -> list[Fault]:
    """What KubeRay would refuse, with these feature gates on beside its own defaults; empty for other kinds."""
    kind = document.get("kind")
    if kind not in MAX_NAME:
        return []
    spec = document.get("spec") or {}
    annotations = document["metadata"].get("annotations") or {}
    found = list(_name(document["metadata"].get("name", ""), kind))
    if kind == "RayCluster":
        found += below(cluster_rules.faults(spec, annotations, gates), "spec")
    elif kind == "RayJob":
        found += below(_job(spec, annotations, gates), "spec")
    elif kind == "RayService":
        found += [*_initializing_timeout(annotations), *below(_service(spec, annotations, gates), "spec")]
    else:
        found += below(_cron_job(spec, gates), "spec")
    return found


def _name(name: str, kind: str) -> Iterator[Fault]:
    if len(name) > MAX_NAME[kind]:
        yield Fault.at(["metadata", "name"], f"a {kind} may have {MAX_NAME[kind]} characters (got {len(name)})")
    if not is_dns_1035(name):
        yield Fault.at(["metadata", "name"], f"lower case, digits and `-`, a letter first (got {name!r})")


def _job(spec: Mapping[str, Any], annotations: Mapping[str, str], gates: Set[str]) -> Iterator[Fault]:
    cluster, selector = spec.get("rayClusterSpec"), spec.get("clusterSelector") or {}
    mode = spec.get("submissionMode") or "K8sJobMode"
    backoff_limit = spec.get("backoffLimit") or 0
    if mode not in _MODES:
        yield Fault("submissionMode", f"must be one of {', '.join(_MODES)} (got {mode!r})")
    if ((spec.get("submitterConfig") or {}).get("backoffLimit") or 0) < 0:
        yield Fault("submitterConfig.backoffLimit", "must be 0 or more")
    if spec.get("suspend") and not spec.get("shutdownAfterJobFinishes"):
        yield Fault("suspend", "only a job with shutdownAfterJobFinishes: true can be suspended")
    if spec.get("suspend") and selector:
        yield Fault("suspend", "a job on a cluster that it selects cannot be suspended")
    yield from _deletion(spec, bool(selector))
    if cluster is None and not selector:
        yield Fault("rayClusterSpec", "missing; give it or clusterSelector")
    if selector:
        if not selector.get("ray.io/cluster"):
            yield Fault("clusterSelector", "ray.io/cluster must name the cluster")
        if mode == "SidecarMode":
            yield Fault("submissionMode", "SidecarMode needs a cluster of the job's own; remove clusterSelector")
        if backoff_limit > 0:
            yield Fault("backoffLimit", "a retry makes a new cluster, which clusterSelector rules out; remove one")
    if mode == "InteractiveMode" and backoff_limit > 0:
        yield Fault("backoffLimit", "InteractiveMode has no retries; remove one")
    if mode == "SidecarMode":
        for name in ("submitterPodTemplate", "submitterConfig"):
            if spec.get(name) is not None:
                yield Fault(name, "SidecarMode has no submitter of its own; remove one")
        head = cluster_rules.pod_of((cluster or {}).get("headGroupSpec"))
        if head.get("restartPolicy") not in _NEVER:
            yield Fault("rayClusterSpec.headGroupSpec.template.spec.restartPolicy", "SidecarMode needs Never")
    if cluster is not None:
        yield from below(_no_kubernetes_tokens(cluster, "RayJob"), "rayClusterSpec")
        yield from below(cluster_rules.faults(cluster, annotations, gates), "rayClusterSpec")
    yield from _runtime_env(spec.get("runtimeEnvYAML"))
    for name in ("activeDeadlineSeconds", "preRunningDeadlineSeconds"):
        if spec.get(name) is not None and spec[name] <= 0:
            yield Fault(name, f"must be above 0 (got {spec[name]})")
    if backoff_limit < 0:
        yield Fault("backoffLimit", f"must be 0 or more (got {backoff_limit})")


def _runtime_env(text: str | None) -> Iterator[Fault]:
    try:
        found = yaml.safe_load(text or "{}")
    except yaml.YAMLError:
        found = None
    if not isinstance(found, dict):
        yield Fault("runtimeEnvYAML", "must be YAML with names and values")


def _deletion(spec: Mapping[str, Any], selects: bool) -> Iterator[Fault]:
    shuts_down = bool(spec.get("shutdownAfterJobFinishes"))
    ttl = spec.get("ttlSecondsAfterFinished") or 0
    if ttl < 0:
        yield Fault("ttlSecondsAfterFinished", f"must be 0 or more (got {ttl})")
    if ttl > 0 and not shuts_down:
        yield Fault("ttlSecondsAfterFinished", "counts only with shutdownAfterJobFinishes: true")
    strategy = spec.get("deletionStrategy")
    if strategy is None:
        return
    rules, older = strategy.get("deletionRules") or [], {"onSuccess", "onFailure"} & strategy.keys()
    if rules and shuts_down:
        yield Fault("deletionStrategy.deletionRules", "excludes shutdownAfterJobFinishes; remove one")
    if rules and older:
        yield Fault("deletionStrategy", "deletionRules and onSuccess, onFailure exclude each other")
        return
    if not rules and len(older) < 2:
        yield Fault("deletionStrategy", "needs deletionRules, or both onSuccess and onFailure")
        return
    scales = bool((spec.get("rayClusterSpec") or {}).get("enableInTreeAutoscaling"))
    for place, policy in _policies(strategy):
        if policy is None:
            yield Fault(place, "policy is missing")
        if selects and policy in ("DeleteCluster", "DeleteWorkers"):
            yield Fault(place, f"{policy} would take away a cluster that is not the job's")
        if scales and policy == "DeleteWorkers":
            yield Fault(place, "DeleteWorkers does not go with the autoscaler; it removes idle workers by itself")
        if older and shuts_down and policy == "DeleteNone":
            yield Fault(place, "DeleteNone contradicts shutdownAfterJobFinishes: true")
    yield from _rules_in_order(rules)


def _policies(strategy: Mapping[str, Any]) -> Iterator[tuple[str, str | None]]:
    for number, rule in enumerate(strategy.get("deletionRules") or []):
        yield f"deletionStrategy.deletionRules.{number}", rule.get("policy")
    for name in ("onSuccess", "onFailure"):
        if name in strategy:
            yield f"deletionStrategy.{name}", (strategy[name] or {}).get("policy")


def _rules_in_order(rules: list[Mapping[str, Any]]) -> Iterator[Fault]:
    """Each rule is about one end of a job, comes once, and what holds others does not go before them."""
    ends: dict[tuple[str, str], dict[str, int]] = {}
    for number, rule in enumerate(rules):
        place, condition = f"deletionStrategy.deletionRules.{number}.condition", rule.get("condition") or {}
        names = [name for name in ("jobStatus", "jobDeploymentStatus") if condition.get(name) is not None]
        if len(names) != 1:
            yield Fault(place, "needs either jobStatus or jobDeploymentStatus")
            continue
        seconds = condition.get("ttlSeconds") or 0
        if seconds < 0:
            yield Fault(f"{place}.ttlSeconds", f"must be 0 or more (got {seconds})")
            continue
        end = ends.setdefault((names[0], condition[names[0]]), {})
        if rule.get("policy") in end:
            yield Fault(place, f"a second rule for {rule.get('policy')} after {condition[names[0]]}")
        end[str(rule.get("policy"))] = seconds
    for (_, status), end in ends.items():
        times = [(policy, end[policy]) for policy in ORDER if policy in end]
        for (earlier, before), (later, after) in itertools.pairwise(times):
            if after < before:
                order = f"{later} ({after} s) must not come before {earlier} ({before} s)"
                yield Fault("deletionStrategy.deletionRules", f"after {status}, {order}")


def _no_kubernetes_tokens(cluster: Mapping[str, Any], kind: str) -> Iterator[Fault]:
    if (cluster.get("authOptions") or {}).get("enableK8sTokenAuth"):
        yield Fault("authOptions.enableK8sTokenAuth", f"not with a {kind}; `mode: token` alone is possible")


def _initializing_timeout(annotations: Mapping[str, str]) -> Iterator[Fault]:
    timeout = annotations.get(_TIMEOUT, "")
    if timeout and (not _DURATION.fullmatch(timeout) or not re.search("[1-9]", timeout)):
        place = ["metadata", "annotations", _TIMEOUT]
        yield Fault.at(place, f"must be a duration above 0, such as 30m (got {timeout!r})")


def _service(spec: Mapping[str, Any], annotations: Mapping[str, str], gates: Set[str]) -> Iterator[Fault]:
    cluster = spec.get("rayClusterConfig") or {}
    yield from below(_no_kubernetes_tokens(cluster, "RayService"), "rayClusterConfig")
    yield from below(cluster_rules.faults(cluster, annotations, gates), "rayClusterConfig")
    service = (cluster.get("headGroupSpec") or {}).get("headService") or {}
    if (service.get("metadata") or {}).get("name"):
        yield Fault("rayClusterConfig.headGroupSpec.headService.metadata.name", "KubeRay chooses the name; remove it")
    upgrade = spec.get("upgradeStrategy") or {}
    types = ("None", "NewCluster", "NewClusterWithIncrementalUpgrade")
    if upgrade.get("type") is not None and upgrade["type"] not in types:
        yield Fault("upgradeStrategy.type", f"must be one of {', '.join(types)} (got {upgrade['type']!r})")
    if (spec.get("rayClusterDeletionDelaySeconds") or 0) < 0:
        yield Fault("rayClusterDeletionDelaySeconds", "must be 0 or more")
    if upgrade.get("type") == types[2]:
        if not cluster.get("enableInTreeAutoscaling"):
            yield Fault("upgradeStrategy.type", f"{types[2]} needs enableInTreeAutoscaling: true")
        yield from below(_steps(upgrade.get("clusterUpgradeOptions")), "upgradeStrategy", "clusterUpgradeOptions")


def _steps(options: Mapping[str, Any] | None) -> Iterator[Fault]:
    if options is None:
        yield Fault("", "missing for NewClusterWithIncrementalUpgrade")
        return
    surge, step = options.get("maxSurgePercent", 100), options.get("stepSizePercent")
    if not 0 <= surge <= 100:
        yield Fault("maxSurgePercent", f"must be from 0 to 100 (got {surge})")
    if step is None or not 0 <= step <= 100:
        yield Fault("stepSizePercent", f"must be from 0 to 100 (got {step})")
    elif step > surge:
        yield Fault("stepSizePercent", f"must not be above maxSurgePercent, {surge} (got {step})")
    if (options.get("intervalSeconds") or 0) <= 0:
        yield Fault("intervalSeconds", "must be above 0")
    if not options.get("gatewayClassName"):
        yield Fault("gatewayClassName", "missing")


def _cron_job(spec: Mapping[str, Any], gates: Set[str]) -> Iterator[Fault]:
    yield from schedule_fault(str(spec.get("schedule", "")))
    yield from time_zone_fault(spec.get("timeZone"))
    if spec.get("jobTemplate") is None:
        yield Fault("jobTemplate", "missing")
    else:
        yield from below(_job(spec["jobTemplate"], {}, gates), "jobTemplate")
