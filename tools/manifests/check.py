"""All checks of a set of manifests that are applied together."""

from collections.abc import Set

from tools.manifests import command_lines, core_objects, kuberay_rules, kueue_rules, pod_rules, server_rules
from tools.manifests.crd_schema import CustomResources
from tools.manifests.found import Document, Fault, name_of

_EXAMPLES = ("registry.example.org/", "minio.example.org", "s3://bucket/", "123456789012", "fakescan@project.iam")
"""Parts of values that settings.env has until somebody has edited it."""

_BUILT_IN = ("rbac.authorization.k8s.io", "networking.k8s.io", "storage.k8s.io", "scheduling.k8s.io")
"""Groups of Kubernetes' own kinds whose names have a point."""


def check(documents: list[Document], definitions: CustomResources, gates: Set[str] = frozenset()) -> list[str]:
    """What is wrong with them, a line each: the object, the place in it, and what to do."""
    lines = []
    for document in documents:
        lines += [f"{name_of(document)}: {fault}" for fault in faults(document, documents, definitions, gates)]
    if not lines:  # else what is named may not be where it belongs
        lines += [f"{name_of(document)}: {fault}" for document, fault in pod_rules.missing(documents)]
    seen: set[tuple[str, str]] = set()
    for document in documents:
        name = (str(document.get("apiVersion")), name_of(document))
        if name in seen:
            lines.append(f"{name_of(document)}: is there twice")
        seen.add(name)
    return lines


def faults(
    document: Document, documents: list[Document], definitions: CustomResources, gates: Set[str] = frozenset()
) -> list[Fault]:
    """What is wrong with one document. What its schema refuses hides the rest, which may rely on it."""
    for *place, name in (("apiVersion",), ("kind",), ("metadata", "name")):
        if not isinstance((document["metadata"] if place else document).get(name), str):
            return [Fault.at([*place, name], "missing, or no text")]
    if _is_kueues(document):
        return kueue_rules.faults(document) or server_rules.named(document)
    found = definitions.faults(document)
    if found is None:
        found = core_objects.faults(document)
    if found is None:
        if _is_somebody_elses(document):
            return []
        return [Fault("apiVersion", f"{document.get('apiVersion')} {document.get('kind')} is not known here")]
    if found:
        return found
    rules = (server_rules, kueue_rules, pod_rules)
    found = [*kuberay_rules.faults(document, gates), *(fault for each in rules for fault in each.faults(document))]
    return found or command_lines.faults(document, documents)


def _is_kueues(document: Document) -> bool:
    return str(document.get("apiVersion", "")).startswith("kueue.x-k8s.io/")


def _is_somebody_elses(document: Document) -> bool:
    """Whether a kind is of neither Kubernetes nor KubeRay, such as a PodMonitor: its definition is not here."""
    group, slash, _ = str(document.get("apiVersion", "")).rpartition("/")
    return bool(slash) and "." in group and group != "ray.io" and group not in _BUILT_IN


def notes(documents: list[Document]) -> list[str]:
    """What somebody must still do: Secrets to make, values of settings.env that are still those of the example."""
    text = repr(documents)
    others = [document for document in documents if _is_somebody_elses(document) and not _is_kueues(document)]
    unknown = [f"not checked: {name_of(document)}" for document in others]
    needed = [f"needs the Secret {name}" for name in pod_rules.secrets(documents)]
    left = [part for part in _EXAMPLES if part in text]
    return unknown + needed + ([f"settings.env still has the example's {', '.join(left)}"] if left else [])
