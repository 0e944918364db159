"""Rules for pods that neither a schema nor KubeRay knows, and whose breach is found out an hour later.

Sizes that do not fit into each other, and objects that the pods name and that nobody makes.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from tools.manifests.found import Document, Fault
from tools.manifests.quantities import number
from tools.manifests.ray_documents import groups, pods


def faults(document: Document) -> list[Fault]:
    """What is wrong with the pods of one document."""
    found = [fault for place, pod in pods(document) for fault in _pod(place, pod)]
    return found + [fault for place, group in groups(document) for fault in _ray_group(place, group)]


def missing(documents: list[Document]) -> list[tuple[Document, Fault]]:
    """ConfigMaps and service accounts that pods need and that are not among the documents."""
    made = {(document.get("kind"), document["metadata"].get("name")) for document in documents}
    found = []
    for document in documents:
        for kind, name in _needed(document):
            if kind != "Secret" and (kind, name) not in made:
                found.append((document, Fault("", f"needs the {kind} {name}, which is not among these manifests")))
    return found


def secrets(documents: list[Document]) -> list[str]:
    """Names of the Secrets without which pods of these documents do not start."""
    return sorted({name for document in documents for kind, name in _needed(document) if kind == "Secret"})


def _needed(document: Document) -> set[tuple[str, str]]:
    found: set[tuple[str, str]] = set()
    for _, pod in pods(document):
        if account := pod.get("serviceAccountName"):
            found.add(("ServiceAccount", account))
        for secret in pod.get("imagePullSecrets") or ():
            found.add(("Secret", secret.get("name", "")))
        for volume in pod.get("volumes") or ():
            for kind, field, name in (("ConfigMap", "configMap", "name"), ("Secret", "secret", "secretName")):
                if field in volume and not volume[field].get("optional"):
                    found.add((kind, volume[field].get(name, "")))
        for container in [*(pod.get("initContainers") or ()), *(pod.get("containers") or ())]:
            for source in container.get("envFrom") or ():
                for kind, field in (("ConfigMap", "configMapRef"), ("Secret", "secretRef")):
                    if field in source and not source[field].get("optional"):
                        found.add((kind, source[field].get("name", "")))
    return found


def _pod(place: str, pod: Mapping[str, Any]) -> Iterator[Fault]:
    volumes = {volume.get("name") for volume in pod.get("volumes") or ()}
    for kind in ("initContainers", "containers"):
        for index, container in enumerate(pod.get(kind) or ()):
            at = f"{place}.{kind}.{index}"
            for mount in container.get("volumeMounts") or ():
                if mount.get("name") not in volumes:
                    yield Fault(f"{at}.volumeMounts", f"the pod has no volume {mount.get('name')}")
            yield from _resources(at, container.get("resources") or {})


def _resources(place: str, resources: Mapping[str, Any]) -> Iterator[Fault]:
    requests, limits = resources.get("requests") or {}, resources.get("limits") or {}
    for name in sorted(requests.keys() | limits.keys()):
        values = [number(amounts[name]) for amounts in (requests, limits) if name in amounts]
        if None in values:
            yield Fault(f"{place}.resources", f"{name} is no quantity, such as 500m or 48Gi")
        elif min(values) < 0:  # type: ignore[type-var]
            yield Fault(f"{place}.resources", f"{name} must be 0 or more")
        elif len(values) == 2 and values[0] > values[1]:  # type: ignore[operator]
            yield Fault(
                f"{place}.resources", f"requests more {name} ({requests[name]}) than its limit ({limits[name]})"
            )
        elif "/" in name and ((len(values) == 1 and name in requests) or values[0] != values[-1]):
            yield Fault(f"{place}.resources", f"{name} must have a limit, and no other request")


def _ray_group(place: str, group: Mapping[str, Any]) -> Iterator[Fault]:
    """Memory of a Ray pod: its limit holds /dev/shm, which holds Ray's objects."""
    pod = (group.get("template") or {}).get("spec") or {}
    container = (pod.get("containers") or [{}])[0]
    at = f"{place}.template.spec"
    limits = (container.get("resources") or {}).get("limits") or {}
    memory = number(limits.get("memory", ""))
    if memory is None:
        yield Fault(f"{at}.containers.0.resources.limits.memory", "missing: Ray takes its share of the whole node")
        return
    name = next((m.get("name") for m in container.get("volumeMounts") or () if m.get("mountPath") == "/dev/shm"), None)
    volume: Mapping[str, Any] = next((v for v in pod.get("volumes") or () if v.get("name") == name), {})
    folder = volume.get("emptyDir") or {}
    shared = number(folder.get("sizeLimit", ""))
    if name is None or folder.get("medium") != "Memory" or shared is None:
        yield Fault(f"{at}.volumes", "/dev/shm must be an emptyDir of medium Memory with a sizeLimit")
        return
    if shared > memory / 2:
        yield Fault(
            f"{at}.volumes", f"/dev/shm ({folder['sizeLimit']}) is above half of the memory ({limits['memory']})"
        )
    objects = number((group.get("rayStartParams") or {}).get("object-store-memory", 0.3 * memory))
    if objects is None or objects > shared:
        yield Fault(
            f"{place}.rayStartParams.object-store-memory", f"does not fit into /dev/shm ({folder['sizeLimit']})"
        )
