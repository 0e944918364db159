"""The manifests of cluster/kuberay as a build makes them, and the definitions that they must obey."""

import copy
import functools
import os
import shutil
from pathlib import Path

import pytest

from tools.manifests.build import documents
from tools.manifests.crd_schema import CustomResources, default_folder
from tools.manifests.found import Document

ROOT = Path(__file__).parents[3]
KUBERAY = ROOT / "cluster" / "kuberay"
OVERLAYS = sorted(KUBERAY.glob("overlays/*/kustomization.yaml"))
OTHERS = [KUBERAY / "prepull", KUBERAY / "kueue-queues"]
BUILT = [file.parent for file in OVERLAYS] + OTHERS


@pytest.fixture(scope="session")
def definitions() -> CustomResources:
    """KubeRay's, from where `make crds` puts them or from beside the project."""
    for folder in (default_folder(), ROOT.parent / "shared" / "kuberay-crds"):
        if list(folder.glob("ray.io_*.yaml")):
            return CustomResources(folder)
    pytest.skip("KubeRay's definitions are not here: `make crds` fetches them")


@functools.cache
def _built(folder: Path) -> list[Document]:
    return documents(folder)


def built(folder: Path | str) -> list[Document]:
    """The objects of a build, an overlay by its name; a copy that the caller may change."""
    return copy.deepcopy(_built(KUBERAY / "overlays" / folder if isinstance(folder, str) else folder))


def of_kind(found: list[Document], kind: str, name: str | None = None) -> Document:
    """The one object of a kind."""
    matching = [one for one in found if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(matching) == 1, [one["metadata"]["name"] for one in matching]
    return matching[0]


def build_of(folder: Path, what: str, *components: str) -> list[Document]:
    """The build of an overlay that is written for the test; prepull fills in the settings by itself."""
    last = () if what == "prepull" else ("settings",)
    here = Path(os.path.relpath(KUBERAY, folder))
    lines = [
        f"resources: [{here / what}]",
        "components:",
        *(f"- {here / 'components' / one}" for one in (*components, *last)),
    ]
    (folder / "kustomization.yaml").write_text("\n".join([*lines, ""]))
    return documents(folder)


def copied(folder: Path) -> Path:
    """A copy of cluster/kuberay that a test may edit."""
    ignored = shutil.ignore_patterns("crds")
    return Path(shutil.copytree(KUBERAY, folder / "kuberay", ignore=ignored))
