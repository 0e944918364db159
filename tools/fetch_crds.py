"""Fetches the definitions of KubeRay's objects into cluster/kuberay/crds, for tools/check_manifests.py: `make crds`.

They are those of the project's own release and are not part of this one (Apache-2.0).
"""

import sys
import urllib.error
import urllib.request
from pathlib import Path

import yaml

VERSION = "v1.7.0"
SOURCE = "https://raw.githubusercontent.com/ray-project/kuberay/{version}/helm-chart/kuberay-operator/crds/{file}"
FILES = tuple(f"ray.io_{name}.yaml" for name in ("rayclusters", "rayjobs", "rayservices", "raycronjobs"))
FOLDER = Path(__file__).resolve().parents[1] / "cluster" / "kuberay" / "crds"
_TIMEOUT_S = 60


def fetch(folder: Path, source: str = SOURCE) -> None:
    """Put the files into a folder, all or none of them. Raises OSError, and ValueError for what is no definition."""
    texts = {}
    for file in FILES:
        with urllib.request.urlopen(source.format(version=VERSION, file=file), timeout=_TIMEOUT_S) as response:
            texts[file] = response.read()
        found = yaml.load(texts[file], getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        if not isinstance(found, dict) or found.get("kind") != "CustomResourceDefinition":
            raise ValueError(f"{file} of {VERSION} is no custom resource definition")
    folder.mkdir(parents=True, exist_ok=True)
    for file, text in texts.items():
        (folder / file).write_bytes(text)


def main() -> None:
    """Fetch, and say in one line where they are or why not."""
    try:
        fetch(FOLDER)
    except (OSError, ValueError, yaml.YAMLError) as error:
        sys.exit(
            f"crds: cannot fetch KubeRay's definitions ({' '.join(str(error).split())[:200]}); "
            f"put them into {FOLDER} by hand: helm show crds kuberay/kuberay-operator --version 1.7.0"
        )
    print(f"KubeRay {VERSION}: {len(FILES)} definitions in {FOLDER}")


if __name__ == "__main__":
    main()
