"""What an API server asks of pods and names beyond any schema: words, names, ranges, and nothing twice.

A server that is handed a RayJob does not look into its pods. KubeRay makes them later, is refused, and the job waits
with nothing but an event. Read in Kubernetes' `pkg/apis/core/validation`.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tools.manifests.found import Document, Fault, below, in_words
from tools.manifests.names import DNS_1123, DNS_SUBDOMAIN, is_label_key, is_label_value
from tools.manifests.ray_documents import CLUSTERS, part, pods
from tools.manifests.schedule import schedule_fault, time_zone_fault

Schema = dict[str, Any]


def _pattern(expression: str, most: int | None = None) -> Schema:
    return {"type": "string", "pattern": rf"^(?:{expression})\Z", **({"maxLength": most} if most else {})}


def _fields(**schemas: Schema) -> Schema:
    return {"properties": schemas}


def _each(schema: Schema) -> Schema:
    return {"items": schema}


_LABEL_NAME, _NAME = _pattern(DNS_1123.pattern, 63), _pattern(DNS_SUBDOMAIN.pattern, 253)
_NUMBER: Schema = {"minimum": 0}
_PORT: Schema = {"minimum": 1, "maximum": 65535}
_PORT_NAME = _pattern(r"(?=.*[a-z])(?!.*--)[a-z0-9]([-a-z0-9]*[a-z0-9])?", 15)
_TEXT: Schema = {"minLength": 1}
_REFERENCE = _fields(name=_NAME)

_OF_POD = (
    r"metadata\.(name|namespace|uid|(labels|annotations)\['[-\w./]+'\])"
    r"|spec\.(nodeName|serviceAccountName)|status\.(hostIPs?|podIPs?)"
)
"""What a variable may have of its own pod."""

_SECURITY = _fields(
    runAsUser=_NUMBER,
    runAsGroup=_NUMBER,
    fsGroup=_NUMBER,
    fsGroupChangePolicy={"enum": ["Always", "OnRootMismatch"]},
    seccompProfile=_fields(type={"enum": ["RuntimeDefault", "Unconfined", "Localhost"]}),
    capabilities=_fields(add=_each(_pattern("[A-Z][A-Z0-9_]*")), drop=_each(_pattern("[A-Z][A-Z0-9_]*"))),
)
_TIMES = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_HANDLER = _fields(
    httpGet=_fields(path=_pattern(r"/\S*"), port=_PORT, scheme={"enum": ["HTTP", "HTTPS"]}),
    tcpSocket=_fields(port=_PORT),
    exec=_fields(command={"minItems": 1, "items": _TEXT}),
)
_PROBE: Schema = {"properties": {**dict.fromkeys(_TIMES, _NUMBER), **_HANDLER["properties"]}}
_CONTAINER: Schema = _fields(
    name=_LABEL_NAME,
    image=_pattern(r"\S+"),
    imagePullPolicy={"enum": ["", "Always", "IfNotPresent", "Never"]},
    ports=_each(_fields(name=_PORT_NAME, containerPort=_PORT, protocol={"enum": ["TCP", "UDP", "SCTP"]})),
    env=_each(
        _fields(
            name=_pattern(r"[-._a-zA-Z][-._a-zA-Z0-9]*"),
            valueFrom=_fields(
                fieldRef=_fields(fieldPath=_pattern(_OF_POD)), secretKeyRef=_REFERENCE, configMapKeyRef=_REFERENCE
            ),
        )
    ),
    envFrom=_each(_fields(configMapRef=_REFERENCE, secretRef=_REFERENCE)),
    volumeMounts=_each(_fields(name=_LABEL_NAME, mountPath=_pattern("/[^:]*"))),
    command=_each({}),
    securityContext=_SECURITY,
    livenessProbe=_PROBE,
    readinessProbe=_PROBE,
    startupProbe=_PROBE,
    lifecycle=_fields(preStop=_HANDLER, postStart=_HANDLER),
)
_POD: Schema = _fields(
    containers={"minItems": 1, "items": {"required": ["image"], **_CONTAINER}},
    initContainers=_each({"required": ["image"], **_CONTAINER}),
    imagePullSecrets=_each(_REFERENCE),
    serviceAccountName=_NAME,
    restartPolicy={"enum": ["", "Always", "OnFailure", "Never"]},
    terminationGracePeriodSeconds=_NUMBER,
    securityContext=_SECURITY,
    tolerations=_each(
        _fields(
            operator={"enum": ["", "Exists", "Equal"]},
            effect={"enum": ["", "NoSchedule", "PreferNoSchedule", "NoExecute"]},
        )
    ),
    volumes=_each(
        _fields(
            name=_LABEL_NAME,
            configMap=_REFERENCE,
            secret=_fields(secretName=_NAME),
            persistentVolumeClaim=_fields(claimName=_NAME),
            emptyDir=_fields(medium=_pattern("|Memory|HugePages(-.+)?")),
            hostPath=_fields(
                path=_pattern("/.*"),
                type=_pattern("|DirectoryOrCreate|Directory|FileOrCreate|File|Socket|CharDevice|BlockDevice"),
            ),
        )
    ),
)


_COUNTS = ("backoffLimit", "startingDeadlineSeconds", "successfulJobsHistoryLimit", "failedJobsHistoryLimit")
_ROLE = _pattern(r"[^/%]+")
_VERBS = ["get", "list", "watch", "create", "update", "patch", "delete", "deletecollection", "*"]
_PEERS = _each(_fields(port=_PORT, protocol={"enum": ["TCP", "UDP", "SCTP"]}))
_KINDS: dict[str, Schema] = {
    "CronJob": _fields(
        spec={
            "properties": {
                **dict.fromkeys(_COUNTS, _NUMBER),
                "concurrencyPolicy": {"enum": ["Allow", "Forbid", "Replace"]},
                "jobTemplate": _fields(spec={"properties": dict.fromkeys(_COUNTS, _NUMBER)}),
            }
        }
    ),
    "DaemonSet": _fields(
        spec=_fields(
            updateStrategy=_fields(
                type={"enum": ["RollingUpdate", "OnDelete"]},
                rollingUpdate=_fields(maxUnavailable={"minimum": 0, "pattern": r"^\d+%\Z"}),
            )
        )
    ),
    "NetworkPolicy": _fields(
        spec=_fields(
            policyTypes=_each({"enum": ["Ingress", "Egress"]}),
            ingress=_each(_fields(ports=_PEERS)),
            egress=_each(_fields(ports=_PEERS)),
        )
    ),
    "Service": _fields(
        spec=_fields(
            ports=_each(
                _fields(name=_LABEL_NAME, port=_PORT, targetPort=_PORT, protocol={"enum": ["TCP", "UDP", "SCTP"]})
            )
        )
    ),
    "Ingress": _fields(
        spec=_fields(
            ingressClassName=_NAME,
            tls=_each(_fields(hosts=_each(_pattern(rf"(\*\.)?{DNS_SUBDOMAIN.pattern}", 253)), secretName=_NAME)),
        )
    ),
    "Role": _fields(
        metadata=_fields(name=_ROLE), rules=_each(_fields(verbs={"minItems": 1, "items": {"enum": _VERBS}}))
    ),
    "RoleBinding": _fields(
        metadata=_fields(name=_ROLE),
        roleRef=_fields(
            apiGroup={"enum": ["rbac.authorization.k8s.io"]}, kind={"enum": ["Role", "ClusterRole"]}, name=_ROLE
        ),
        subjects=_each(_fields(kind={"enum": ["ServiceAccount", "User", "Group"]}, name=_ROLE, namespace=_LABEL_NAME)),
    ),
}
"""Words, names and numbers of Kubernetes' own kinds, as far as these manifests have them."""


def faults(document: Document) -> list[Fault]:
    """What a server would refuse of a document's names and words, and of the pods that come of it."""
    kind = str(document.get("kind"))
    found = [*named(document), *_breaches(_KINDS.get(kind, {}), document)]
    for place, pod in pods(document):
        found += [*below(_breaches(_POD, pod), place), *below(_pod(pod), place)]
    if kind in CLUSTERS:
        at = (*CLUSTERS[kind], "autoscalerOptions")
        found += below(_breaches(_CONTAINER, part(document, at)), *at)
    spec = document.get("spec") or {}
    if kind == "CronJob":
        found += below([*schedule_fault(str(spec.get("schedule", ""))), *time_zone_fault(spec.get("timeZone"))], "spec")
    if kind == "Service":
        found += below(_twice("ports", "name", spec.get("ports")), "spec")
        found += below(_label_map(spec.get("selector") or {}), "spec", "selector")
    if kind in ("DaemonSet", "Deployment"):
        wanted = (spec.get("selector") or {}).get("matchLabels") or {}
        labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
        if not wanted.items() <= labels.items():
            found.append(Fault("spec.selector.matchLabels", "must be among the labels of the pods"))
    return found


def named(document: Document) -> list[Fault]:
    """What is wrong with the names and labels of a document of any kind."""
    names = {"namespace": _LABEL_NAME, **({} if document.get("kind") in ("Role", "RoleBinding") else {"name": _NAME})}
    found = below(_breaches({"properties": names}, document["metadata"]), "metadata")
    return found + list(_labels(document, ()))


def _labels(value: Any, place: tuple[str | int, ...]) -> Iterator[Fault]:
    """Labels, selectors of labels and keys of annotations, wherever they are."""
    if isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _labels(inner, (*place, number))
    for name, inner in value.items() if isinstance(value, dict) else ():
        if name in ("labels", "matchLabels", "nodeSelector") and isinstance(inner, dict):
            yield from below(_label_map(inner), *place, name)
        elif name == "annotations" and isinstance(inner, dict):
            for key in inner:
                if not is_label_key(key.lower()):
                    yield Fault.at([*place, name], f"no key of an annotation (got {key})")
        elif name in ("labels", "matchLabels", "nodeSelector", "annotations"):
            yield Fault.at([*place, name], "must be of type object")
        elif name != "data":
            yield from _labels(inner, (*place, name))


def _label_map(labels: Mapping[str, Any]) -> Iterator[Fault]:
    for key, text in labels.items():
        if not is_label_key(key) or not isinstance(text, str) or not is_label_value(text):
            yield Fault("", f"no label of Kubernetes (got {key}: {text})")


def _breaches(schema: Schema, value: Any) -> list[Fault]:
    from jsonschema import Draft202012Validator

    return [in_words(error) for error in Draft202012Validator(schema).iter_errors(value)]


def _pod(pod: Mapping[str, Any]) -> Iterator[Fault]:
    yield from _twice("volumes", "name", pod.get("volumes"))
    containers = [(kind, each) for kind in ("initContainers", "containers") for each in pod.get(kind) or ()]
    yield from _twice("containers", "name", [container for _, container in containers])
    for kind, container in containers:
        name = container.get("name")
        for field, key in (("env", "name"), ("ports", "name"), ("volumeMounts", "mountPath")):
            yield from _twice(f"{kind}.{name}.{field}", key, container.get(field))
    for number, toleration in enumerate(pod.get("tolerations") or ()):
        key, operator = toleration.get("key"), toleration.get("operator") or "Equal"
        if (not key and operator != "Exists") or (key and not is_label_key(key)):
            yield Fault(f"tolerations.{number}.key", f"no key of a taint (got {key!r})")
        if operator == "Exists" and toleration.get("value"):
            yield Fault(f"tolerations.{number}.value", "not with operator: Exists")
    yield from below(_node_affinity((pod.get("affinity") or {}).get("nodeAffinity") or {}), "affinity", "nodeAffinity")


def _twice(place: str, key: str, entries: Sequence[Mapping[str, Any]] | None) -> Iterator[Fault]:
    counts = Counter(entry[key] for entry in entries or () if key in entry)
    for value, count in counts.items():
        if count > 1:
            yield Fault(place, f"{key} {value} is there {count} times")


def _node_affinity(affinity: Mapping[str, Any]) -> Iterator[Fault]:
    required = "requiredDuringSchedulingIgnoredDuringExecution"
    preferred = "preferredDuringSchedulingIgnoredDuringExecution"
    terms = [(f"{required}.{number}", term) for number, term in enumerate(_terms(affinity.get(required)))]
    for number, entry in enumerate(affinity.get(preferred) or ()):
        if not 1 <= entry.get("weight", 0) <= 100:
            yield Fault(f"{preferred}.{number}.weight", f"must be from 1 to 100 (got {entry.get('weight')})")
        terms.append((f"{preferred}.{number}", entry.get("preference") or {}))
    if required in affinity and not _terms(affinity[required]):
        yield Fault(required, "needs nodeSelectorTerms")
    for place, term in terms:
        for expression in term.get("matchExpressions") or ():
            yield from below(_expression(expression), place)


def _terms(required: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    return (required or {}).get("nodeSelectorTerms") or ()


def _expression(expression: Mapping[str, Any]) -> Iterator[Fault]:
    """One condition on a node's labels."""
    key, operator, values = expression.get("key", ""), expression.get("operator"), expression.get("values") or []
    if not is_label_key(key):
        yield Fault("key", f"no key of a label (got {key!r})")
    counts = {"In": len(values) > 0, "NotIn": len(values) > 0, "Exists": not values, "DoesNotExist": not values}
    counts |= dict.fromkeys(("Gt", "Lt"), len(values) == 1 and str(values[0]).lstrip("-").isdigit())
    if operator not in counts:
        yield Fault("operator", f"must be one of {', '.join(counts)} (got {operator!r})")
    elif not counts[operator]:
        yield Fault("values", f"do not go with operator: {operator} (got {values})")
    if bad := [value for value in values if not is_label_value(str(value))]:
        yield Fault("values", f"no value of a label (got {bad[0]!r})")
