"""Every field of every build of cluster/kuberay, broken in each way that fits it, is refused.

A name with a letter more, a value of another type, a number below none, an entry that is there twice, a name or a word
that no server takes.
"""

import copy
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster_files.kuberay.conftest import BUILT, built, definitions
from tools.manifests.check import check, faults
from tools.manifests.crd_schema import CustomResources

__all__ = ["definitions"]

pytestmark = [pytest.mark.unit, pytest.mark.timeout(900)]

Place = tuple[str | int, ...]

NAMED_BY_USERS = {
    "labels", "annotations", "matchLabels", "nodeSelector", "data", "rayStartParams", "requests", "limits",
    "nominalQuota", "namespaceSelector",
}  # fmt: skip
"""Objects whose keys are no fields."""
FREE = (
    "value", "values", "args", "command", "data", "annotations", "serveConfigV2", "runtimeEnvYAML", "nodeLabels",
    "rules",
)  # fmt: skip
"""Fields that hold any text."""
MANY = ("subjects",)
"""Lists in which the same may be twice."""


def fields(value: Any, path: Place = (), named: bool = True) -> Iterator[tuple[Place, Any, bool]]:
    """Every place of a document, its value, and whether its own name is a field's."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield (*path, name), inner, named
            yield from fields(inner, (*path, name), name not in NAMED_BY_USERS)
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield (*path, number), inner, False
            yield from fields(inner, (*path, number))


def breakages(path: Place, value: Any, named: bool) -> Iterator[tuple[str, Callable[[Any], object]]]:
    """What may be done to a place: a word for it, and a function of what holds it."""
    name = path[-1]
    if named:
        yield "renamed", lambda parent: parent.update({f"{name}x": parent.pop(name)})
    if isinstance(value, str | int | bool | list):
        yield "of another type", lambda parent: parent.__setitem__(name, {"zz": 1})
    else:
        yield "of another type", lambda parent: parent.__setitem__(name, "text")
    if isinstance(value, int) and not isinstance(value, bool):
        yield "below none", lambda parent: parent.__setitem__(name, -7)
    if isinstance(value, dict) and isinstance(name, int) and "name" in value and path[-2] not in MANY:
        yield "twice", lambda parent: parent.append(copy.deepcopy(value))
    if isinstance(value, str) and not any(part in FREE for part in path):
        yield "no word", lambda parent: parent.__setitem__(name, "Not Valid!/")


@pytest.mark.parametrize("folder", BUILT, ids=lambda folder: folder.name)
def test_every_field_is_known_and_held_to_something(folder: Path, definitions: CustomResources) -> None:
    whole = built(folder)
    taken = []
    for number, document in enumerate(whole):
        for path, value, named in fields(document):
            if path == ("metadata",):  # what reads the documents sees to it that they have one
                continue
            for word, change in breakages(path, value, named):
                broken = [*whole]
                parent: Any = copy.deepcopy(document)
                broken[number] = parent
                for name in path[:-1]:
                    parent = parent[name]
                change(parent)
                if not faults(broken[number], broken, definitions) and not check(broken, definitions):
                    taken.append(f"{document['kind']} {'.'.join(map(str, path))} {word}")
    assert taken == []
