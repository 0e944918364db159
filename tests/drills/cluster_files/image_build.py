"""Builds an image of ours without a registry and without Docker's daemon, and runs commands in it.

Buildah builds the Dockerfile as it stands; only its base is another one: Debian 12 from `debootstrap`, with Debian's
Python 3.11 in a venv at /usr/local, where the base image has its own. pip is told what it is told on this machine, so
that it finds the CPU build of torch here, and where it does not find that of torchvision, the base's `sitecustomize`
brings tools/torchvision_cpu_shim.py, which `make setup` brings too.

Needs root, overlay file systems, and `apt-get install buildah debootstrap`. The variable FAKESCAN_IMAGES names a
folder in which images are kept from one run to the next.
"""

import configparser
import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.cluster_files.docker.dockerfiles import FOLDER, ROOT, arguments, environment

PATH = "/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
"""What the base image has."""
BASE = "localhost/python-stand-in"
HEADERS = "libpython3.11-dev"
"""Python's headers, which the base image has and Triton needs."""


def missing_tools() -> str:
    """What keeps this machine from building images, or nothing."""
    lacking = [tool for tool in ("buildah", "debootstrap", "unshare", "setpriv") if shutil.which(tool) is None]
    if os.getuid():
        return "needs root"
    return f"needs {', '.join(lacking)} (apt-get install buildah debootstrap)" if lacking else ""


@dataclass
class Builder:
    """Buildah, with its images in a folder of ours."""

    folder: Path

    def buildah(self, *arguments: object) -> str:
        """The output of a command of Buildah."""
        command = [
            "buildah", "--root", self.folder / "images", "--runroot", self.folder / "run",
            "--storage-driver", "overlay", *arguments,
        ]  # fmt: skip
        done = subprocess.run(list(map(str, command)), capture_output=True, text=True)
        assert done.returncode == 0, f"{arguments}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout.strip()

    def make_base(self) -> None:
        """Makes the stand-in for the base image, unless it is there."""
        if BASE in self.buildah("images", "--format", "{{.Name}}").split():
            return
        root = self.folder / "base"
        if root.exists():  # of a run that was interrupted
            shutil.rmtree(root)
        packages = f"ca-certificates,python3,python3-venv,{HEADERS}"
        command = ["debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root)]
        done = subprocess.run(command, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
        made = ["chroot", root, "/usr/bin/python3", "-m", "venv", "/usr/local"]
        subprocess.run(made, check=True, env={"PATH": PATH, "LANG": "C.UTF-8"})
        shutil.copy(ROOT / "tools" / "torchvision_cpu_shim.py", root / "usr/lib/python3.11/_torchvision_cpu_shim.py")
        custom = root / "usr" / "lib" / "python3.11" / "sitecustomize.py"
        custom.unlink(missing_ok=True)
        custom.write_text("import _torchvision_cpu_shim\n")
        container = self.buildah("from", "scratch")
        self.buildah("add", "--quiet", container, root, "/")
        self.buildah("config", "--env", f"PATH={PATH}", container)
        self.buildah("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(root)

    def build(self, kind: str) -> str:
        """Builds a Dockerfile; the name of the image."""
        name = f"localhost/fakescan:{arguments(kind)['VERSION']}-{kind}"
        given = {"BASE": BASE, **other_index(kind)}
        build_arguments = [f"--build-arg={key}={value}" for key, value in given.items()]
        with pip_settings() as (file, folders):
            mounts = [f"{file}:/etc/pip.conf:ro", "/etc/ssl/certs:/etc/ssl/certs:ro"]
            mounts += [f"{folder}:{folder}:ro" for folder in folders]
            self.buildah(
                "build", "--isolation", "chroot", "--network", "host", "--layers", "--pull=never",
                *(f"--volume={mount}" for mount in mounts), *build_arguments,
                "--file", FOLDER / f"{kind}.Dockerfile", "--tag", name, ROOT,
            )  # fmt: skip
        return name

    @contextlib.contextmanager
    def root_of(self, image: str) -> Iterator[Path]:
        """The file system of a container of an image."""
        container = self.buildah("from", "--pull=never", image)
        try:
            yield Path(self.buildah("mount", container))
        finally:
            self.buildah("rm", container)


def other_index(kind: str) -> dict[str, str]:
    """The build argument that has PyPI instead of PyTorch's index where that is out of reach.

    pip asks an index that does not answer five times for each package.
    """
    index = arguments(kind).get("PYTORCH_INDEX")
    if index is None:
        return {}
    try:
        httpx.head(index, timeout=5)
    except httpx.HTTPError:
        return {"PYTORCH_INDEX": "https://pypi.org/simple"}
    return {}


@contextlib.contextmanager
def pip_settings() -> Iterator[tuple[Path, list[Path]]]:
    """pip's settings on this machine, as a file for another root, and the folders that they name."""
    listed = subprocess.run(["pip", "config", "list"], capture_output=True, text=True, check=True).stdout
    settings = configparser.ConfigParser(interpolation=None)
    settings["global"] = {}
    for line in sorted(listed.splitlines(), key=lambda line: line.startswith(":env:")):  # variables take precedence
        name, _, value = line.partition("=")
        settings["global"][name.rpartition(".")[2]] = value.strip("'")
    settings["global"].pop("constraint", None)
    words = " ".join(settings["global"].values()).replace("file://", "").split()
    folders = [Path(word) for word in words if word.startswith("/") and Path(word).is_dir()]
    folders = sorted({Path(*folder.parts[:3]) for folder in folders})
    with tempfile.NamedTemporaryFile("w", suffix=".conf") as file:
        settings.write(file)
        file.flush()
        yield Path(file.name), folders


RUN = """
set -e
root=$1 cache=$2 work=$3; shift 3
mount --make-rprivate /
mount --bind "$root" "$root"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
mount --bind "$cache" "$root/var/cache/fakescan"
mount --bind "$work" "$root/work"
mount --rbind /dev "$root/dev"
mount --rbind /sys "$root/sys"
mount -o remount,bind,ro "$root/sys"
mount -t proc proc "$root/proc"
mount --bind /etc/resolv.conf "$root/etc/resolv.conf" 2>/dev/null || true
mount -o remount,bind,ro "$root"
exec chroot "$root" "$@"
"""
"""A root that is read-only but for /tmp, the cache and the working folder, as `docker run --read-only` makes it."""


def command_line(
    root: Path, cache: Path, work: Path, kind: str, *command: object, user: str = "1000:1000", **variables: str
) -> list[str]:
    """The command that runs one of an image as its user, in its environment and in no other."""
    uid, gid = user.split(":")
    found = environment(kind, PATH) | variables
    return [
        "unshare", "--mount", "--pid", "--fork", "--kill-child", "--", "sh", "-c", RUN, "sh", str(root), str(cache),
        str(work), "/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups", "--no-new-privs",
        "--inh-caps=-all", "--bounding-set=-all", "/usr/bin/env", "--chdir=/work", "-i",
        *(f"{name}={value}" for name, value in found.items()), "tini", "--", *map(str, command),
    ]  # fmt: skip
