"""All checks of a set of manifests that are applied together."""

from collections.abc import Set

from tools.manifests import command_lines, core_objects, kuberay_rules, kueue_rules, pod_rules
from tools.manifests.crd_schema import CustomResources
from tools.manifests.found import Document, Fault, name_of

_EXAMPLES = ("registry.example.org/", "minio.example.org", "s3://bucket/", "123456789012", "fakescan@project.iam")
"""Parts of values that settings.env has until somebody has edited it."""


def check(documents: list[Document], definitions: CustomResources, gates: Set[str] = frozenset()) -> list[str]:
    """What is wrong with them, a line each: the object, the place in it, and what to do."""
    lines = []
    for document in documents:
        lines += [f"{name_of(document)}: {fault}" for fault in faults(document, documents, definitions, gates)]
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
    if str(document.get("apiVersion", "")).startswith("kueue.x-k8s.io/"):
        return kueue_rules.faults(document)
    found = definitions.faults(document)
    if found is None:
        found = core_objects.faults(document)
    if found is None:
        return [Fault("apiVersion", f"{document.get('apiVersion')} {document.get('kind')} is not known here")]
    if found:
        return found
    found = [*kuberay_rules.faults(document, gates), *kueue_rules.faults(document), *pod_rules.faults(document)]
    return found or command_lines.faults(document, documents)


def notes(documents: list[Document]) -> list[str]:
    """What somebody must still do: Secrets to make, values of settings.env that are still those of the example."""
    text = repr(documents)
    needed = [f"needs the Secret {name}" for name in pod_rules.secrets(documents)]
    left = [part for part in _EXAMPLES if part in text]
    return needed + ([f"settings.env still has the example's {', '.join(left)}"] if left else [])
