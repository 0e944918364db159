"""Rules for names and labels that KubeRay and Kubernetes ask of each."""

import re

DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
DNS_1123 = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?")
"""Names of containers, volumes, namespaces; at most 63 characters."""
DNS_SUBDOMAIN = re.compile(rf"{DNS_1123.pattern}(\.{DNS_1123.pattern})*")
"""Names of most objects; at most 253 characters."""
_LABEL_PART = re.compile(r"[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?")


def is_dns_1035(name: str) -> bool:
    """Whether it may be the name of a Service: lower case, digits, `-`, a letter first."""
    return len(name) <= 63 and DNS_1035.fullmatch(name) is not None


def is_label_key(key: str) -> bool:
    """Whether it may be the key of a label: a name, perhaps after a domain and `/`."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not DNS_SUBDOMAIN.fullmatch(prefix)):
        return False
    return 0 < len(name) <= 63 and _LABEL_PART.fullmatch(name) is not None


def is_label_value(value: str) -> bool:
    """Whether it may be the value of a label."""
    return value == "" or (len(value) <= 63 and _LABEL_PART.fullmatch(value) is not None)
