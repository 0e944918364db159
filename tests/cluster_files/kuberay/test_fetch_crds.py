"""`make crds`, from a folder in place of KubeRay's release, which is not reached from everywhere."""

from pathlib import Path

import pytest

from tools.fetch_crds import FILES, fetch
from tools.manifests.crd_schema import CustomResources

pytestmark = pytest.mark.unit


def test_all_files_come(definitions: CustomResources, tmp_path: Path) -> None:
    fetch(tmp_path / "crds", f"{definitions.folder.as_uri()}/{{file}}")
    assert sorted(file.name for file in (tmp_path / "crds").iterdir()) == sorted(FILES)


def test_what_is_no_definition_replaces_nothing(tmp_path: Path) -> None:
    (source := tmp_path / "source").mkdir()
    for file in FILES:
        (source / file).write_text("<html>")
    with pytest.raises(ValueError, match="no custom resource definition"):
        fetch(tmp_path / "crds", f"{source.as_uri()}/{{file}}")
    with pytest.raises(OSError, match="nowhere"):
        fetch(tmp_path / "crds", f"{tmp_path.as_uri()}/nowhere/{{file}}")
    assert not (tmp_path / "crds").exists()
