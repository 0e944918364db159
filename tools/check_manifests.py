"""Checks Kubernetes manifests without a cluster: `python tools/check_manifests.py cluster/kuberay/overlays/scan-kueue`.

Takes folders with a kustomization, which it builds with `kubectl kustomize`, and YAML files. It finds what an API
server would refuse (unknown fields, wrong types), what KubeRay and Kueue refuse only later, sizes that do not fit into
each other, and options that fakescan does not have. One line for each fault; exit status 1 where there is one, 2 for
wrong use. KubeRay's definitions come with `make crds`.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]

from tools.manifests.build import BuildError, documents  # noqa: E402 - the paths first
from tools.manifests.check import check, notes  # noqa: E402
from tools.manifests.crd_schema import CustomResources, default_folder  # noqa: E402


def main() -> None:
    """Check every path that is named, and end with the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", nargs="+", type=Path, help="folder with a kustomization, or YAML file")
    parser.add_argument("--crds", type=Path, default=default_folder(), help="folder with KubeRay's definitions")
    parser.add_argument(
        "--gate", action="append", default=[], metavar="NAME", help="feature gate that your KubeRay has on"
    )
    given = parser.parse_args()
    if not list(given.crds.glob("ray.io_*.yaml")):
        parser.error(f"--crds: {given.crds} has no definitions of KubeRay; `make crds` fetches them")
    definitions, wrong = CustomResources(given.crds), 0
    for path in given.path:
        try:
            built = documents(path)
        except BuildError as error:
            print(error, file=sys.stderr)
            wrong += 1
            continue
        found = check(built, definitions, frozenset(given.gate))
        for line in found:
            print(f"{path}: {line}", file=sys.stderr)
        wrong += len(found)
        if not found:
            left = notes(built)
            checked = len(built) - sum(note.startswith("not checked") for note in left)
            print(f"{path}: {checked} {'object is' if checked == 1 else 'objects are'} right")
            for note in left:
                print(f"  {note}")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()
