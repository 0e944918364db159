"""Where the parts of KubeRay's objects are: the clusters, their groups and pods, the jobs' command lines."""

from collections.abc import Iterator
from typing import Any

from tools.manifests.found import Document

CLUSTERS = {
    "RayCluster": ("spec",),
    "RayJob": ("spec", "rayClusterSpec"),
    "RayService": ("spec", "rayClusterConfig"),
    "RayCronJob": ("spec", "jobTemplate", "rayClusterSpec"),
}
JOBS = {"RayJob": ("spec",), "RayCronJob": ("spec", "jobTemplate")}
PODS = {
    "Pod": ("spec",),
    "DaemonSet": ("spec", "template", "spec"),
    "Deployment": ("spec", "template", "spec"),
    "Job": ("spec", "template", "spec"),
    "CronJob": ("spec", "jobTemplate", "spec", "template", "spec"),
}
"""Where the pods of Kubernetes' own kinds are."""


def part(document: Document, place: tuple[str, ...]) -> dict[str, Any]:
    """The part of a document at a place; empty where there is none."""
    found: Any = document
    for name in place:
        found = found.get(name) or {} if isinstance(found, dict) else {}
    return found if isinstance(found, dict) else {}


def groups(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """The groups of a document's Ray cluster with their places, the head's first."""
    place = CLUSTERS.get(str(document.get("kind")))
    if place is None:
        return
    cluster, at = part(document, place), ".".join(place)
    if cluster:
        yield f"{at}.headGroupSpec", cluster.get("headGroupSpec") or {}
        for number, group in enumerate(cluster.get("workerGroupSpecs") or []):
            yield f"{at}.workerGroupSpecs.{number}", group


def pods(document: Document) -> Iterator[tuple[str, dict[str, Any]]]:
    """The specifications of all pods that come of a document, with their places."""
    for place, group in groups(document):
        yield f"{place}.template.spec", part(group, ("template", "spec"))
    kind = str(document.get("kind"))
    if kind in JOBS:
        submitter = (*JOBS[kind], "submitterPodTemplate", "spec")
        if pod := part(document, submitter):
            yield ".".join(submitter), pod
    if kind in PODS:
        yield ".".join(PODS[kind]), part(document, PODS[kind])
