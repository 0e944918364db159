"""What Kueue asks of a RayJob in one of its queues, and the fields that its own objects may have.

Read in Kueue's webhook for RayJobs and in its API, `v1beta2`. Its definitions are not at hand here: of its objects only
the fields that our example uses are known, and others are refused as unknown to this check.
"""

from collections.abc import Iterator
from typing import Any

from tools.manifests.found import Document, Fault
from tools.manifests.names import DNS_SUBDOMAIN
from tools.manifests.quantities import number

QUEUE = "kueue.x-k8s.io/queue-name"
_MAX_GROUPS = 6
"""Worker groups beside a head and a submitter: Kueue counts eight sets of pods at most."""

_TEXT = {"type": "string", "minLength": 1}
_NAME = {"type": "string", "pattern": rf"^{DNS_SUBDOMAIN.pattern}\Z"}
_OBJECT: dict[str, Any] = {"type": "object", "additionalProperties": False}
_SPECS: dict[str, dict[str, Any]] = {
    "ResourceFlavor": _OBJECT
    | {
        "properties": {
            "nodeLabels": {"type": "object"},
            "nodeTaints": {"type": "array"},
            "tolerations": {"type": "array"},
        }
    },
    "LocalQueue": _OBJECT | {"properties": {"clusterQueue": _NAME}, "required": ["clusterQueue"]},
    "ClusterQueue": _OBJECT
    | {
        "properties": {
            "namespaceSelector": {"type": "object"},
            "queueingStrategy": {"enum": ["BestEffortFIFO", "StrictFIFO"]},
            "cohortName": _TEXT,
            "preemption": {"type": "object"},
            "resourceGroups": {
                "type": "array",
                "maxItems": 16,
                "items": _OBJECT
                | {
                    "required": ["coveredResources", "flavors"],
                    "properties": {
                        "coveredResources": {"type": "array", "minItems": 1, "items": _TEXT},
                        "flavors": {
                            "type": "array",
                            "minItems": 1,
                            "items": _OBJECT
                            | {
                                "required": ["name", "resources"],
                                "properties": {
                                    "name": _NAME,
                                    "resources": {"type": "array", "minItems": 1, "items": {"type": "object"}},
                                },
                            },
                        },
                    },
                },
            },
        }
    },
}


def faults(document: Document) -> list[Fault]:
    """What Kueue would refuse of a RayJob in a queue, or of a queue; empty for all else."""
    if str(document.get("apiVersion", "")).startswith("kueue.x-k8s.io/"):
        return list(_own(document))
    labels = document["metadata"].get("labels") or {}
    if QUEUE not in labels:
        return []
    if document.get("kind") != "RayJob":
        if document.get("kind") == "RayCronJob":
            return [Fault.at(["metadata", "labels", QUEUE], "is not handed on to the jobs that a RayCronJob makes")]
        return []
    return list(_job(document.get("spec") or {}))


def _job(spec: dict[str, Any]) -> Iterator[Fault]:
    cluster = spec.get("rayClusterSpec") or {}
    if spec.get("suspend"):
        yield Fault("spec.suspend", "Kueue starts what it admits, a template as well; take the queue's label away")
    if not spec.get("shutdownAfterJobFinishes"):
        yield Fault("spec.shutdownAfterJobFinishes", "must be true for a job in a queue of Kueue")
    if spec.get("clusterSelector"):
        yield Fault("spec.clusterSelector", "not for a job in a queue of Kueue: it must have its own cluster")
    if cluster.get("enableInTreeAutoscaling"):
        yield Fault("spec.rayClusterSpec.enableInTreeAutoscaling", "must be false for a job in a queue of Kueue")
    groups = cluster.get("workerGroupSpecs") or []
    if len(groups) > _MAX_GROUPS:
        yield Fault("spec.rayClusterSpec.workerGroupSpecs", f"Kueue takes at most {_MAX_GROUPS} (got {len(groups)})")
    for number_, group in enumerate(groups):
        if group.get("groupName") == "head":
            yield Fault(f"spec.rayClusterSpec.workerGroupSpecs.{number_}.groupName", "Kueue calls the head so")


def _own(document: Document) -> Iterator[Fault]:
    from jsonschema import Draft202012Validator

    kind, version = str(document.get("kind")), document["apiVersion"]
    if version != "kueue.x-k8s.io/v1beta2" or kind not in _SPECS:
        yield Fault("", f"{version} {kind} is not known here")
        return
    spec = document.get("spec") or {}
    if unknown := sorted(document.keys() - {"apiVersion", "kind", "metadata", "spec"}):
        yield Fault(unknown[0], "unknown field")
    if kind == "LocalQueue" and not document["metadata"].get("namespace"):
        yield Fault("metadata.namespace", "missing: a LocalQueue belongs to the namespace of its jobs")
    for error in Draft202012Validator(_SPECS[kind]).iter_errors(spec):
        yield Fault.at(["spec", *error.absolute_path], error.message[:200])
        return
    for place, group in enumerate(spec.get("resourceGroups", ())):
        covered = group["coveredResources"]
        flavors = [flavor["name"] for flavor in group["flavors"]]
        if len({*flavors}) < len(flavors):
            yield Fault(f"spec.resourceGroups.{place}.flavors", "one of them is there twice")
        for flavor in group["flavors"]:
            names = [resource.get("name") for resource in flavor["resources"]]
            if names != covered:
                yield Fault(
                    f"spec.resourceGroups.{place}", f"{flavor['name']} must have {', '.join(covered)}, in this order"
                )
            for resource in flavor["resources"]:
                unknown = resource.keys() - {"name", "nominalQuota", "borrowingLimit", "lendingLimit"}
                if unknown or number(resource.get("nominalQuota", "")) is None:
                    yield Fault(f"spec.resourceGroups.{place}", f"{resource.get('name')} needs a nominalQuota alone")
