"""Kubernetes' own kinds by its published schemas, which the package kubernetes-validate brings."""

import warnings
from typing import Any

from tools.manifests.found import Document, Fault

VERSION = "1.37"
"""Version of Kubernetes whose schemas are taken."""


def faults(document: Document) -> list[Fault] | None:
    """What is wrong with an object, unknown fields included; None for a kind that is not Kubernetes' own."""
    validate = _package()
    try:
        validate.validate(document, VERSION, strict=True)
    except validate.ValidationError as error:
        place = [name for name in error.path if name != "$"]
        return [Fault.at(place, " ".join(str(error.message).split())[:200])]
    except (validate.InvalidSchemaError, validate.SchemaNotFoundError, validate.utils.VersionNotSupportedError):
        return None
    return []


def _package() -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import kubernetes_validate

    return kubernetes_validate
