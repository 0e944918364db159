"""The Dockerfiles: what they start from, what lies in which layer, who runs them, and where that may write."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.cluster_files.docker.dockerfiles import (
    FOLDER,
    NAMES,
    ROOT,
    arguments,
    chain,
    context,
    environment,
    pip_lines,
    stages,
)

pytestmark = pytest.mark.unit

WRITABLE = ("/tmp", "/var/cache/fakescan")
"""Where a container with a read-only root may write."""


@pytest.mark.parametrize("kind", NAMES)
def test_hadolint_finds_nothing(kind: str) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    done = subprocess.run([hadolint, FOLDER / f"{kind}.Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")


@pytest.mark.parametrize("kind", NAMES)
def test_the_base_is_pinned_by_an_exact_tag_and_a_digest(kind: str) -> None:
    base = arguments(kind)["BASE"]
    assert re.fullmatch(r"python:3\.11\.\d+-slim-bookworm@sha256:[0-9a-f]{64}", base)
    outside = {stage.base for stage in stages(kind)} - {stage.name for stage in stages(kind)}
    assert outside == {"${BASE}"}
    (label,) = [step for step in stages(kind)[-1].all("LABEL")]
    assert f'base.name="docker.io/library/{base.partition("@")[0]}"' in label.value


def test_both_images_start_from_the_same() -> None:
    assert arguments("cpu")["BASE"] == arguments("gpu")["BASE"]


@pytest.mark.parametrize("kind", NAMES)
def test_layers_go_from_big_and_lasting_to_small_and_changing(kind: str) -> None:
    """System, engine, other packages, this project; and nothing of this project below its own layer."""
    assert [stage.name for stage in chain(kind)] == ["engine", "jobs", "image"]
    steps = [step for stage in chain(kind) for step in stage.steps if step.name in ("RUN", "COPY")]
    order = ["apt-get install", "locks/engine.txt", "locks/jobs.txt", " /wheels/*.whl", " /wheel/*.whl"]
    places = [next(index for index, step in enumerate(steps) if words in step.value) for words in order]
    assert places == sorted(places)
    assert places[-1] == len(steps) - 1
    copied = [step for stage in chain(kind) for step in stage.all("COPY", "ADD")]
    assert all(step.flags.get("from") == "locks" for step in copied)


@pytest.mark.parametrize("kind", NAMES)
def test_every_package_comes_by_its_hash_or_from_a_stage(kind: str) -> None:
    lines = pip_lines(kind)
    assert len(lines) == 7
    for line in lines:
        assert "--no-deps" in line
        assert "--no-cache-dir" in line
        assert ("--require-hashes" in line and " -r " in line) or "--no-index" in line, line


@pytest.mark.parametrize("kind", NAMES)
def test_the_image_runs_as_a_user_without_root(kind: str) -> None:
    image = stages(kind)[-1]
    (user,) = image.all("USER")
    assert user.value == "1000"  # a number: Kubernetes' runAsNonRoot knows no names
    assert image.steps.index(user) > max(image.steps.index(step) for step in image.all("RUN", "COPY"))
    made = next(step.value for step in chain(kind)[0].all("RUN") if "useradd" in step.value)
    assert "--uid 1000 --gid 1000" in made


@pytest.mark.parametrize("kind", NAMES)
def test_commands_are_run_as_they_are_given(kind: str) -> None:
    """KubeRay and `docker run` name the command: the entry point only reaps and passes on."""
    image = stages(kind)[-1]
    assert [step.value for step in image.all("ENTRYPOINT")] == ['["tini", "--"]']
    assert "tini" in chain(kind)[0].all("RUN")[0].value


@pytest.mark.parametrize("kind", NAMES)
def test_kuberay_finds_what_it_calls(kind: str) -> None:
    """`ray` on the PATH, bash (in every Debian), and the wget of its probes and its submitter."""
    assert "wget" in chain(kind)[0].all("RUN")[0].value.split()
    assert environment(kind)["PATH"].startswith("/opt/fakescan/bin:")


@pytest.mark.parametrize("kind", NAMES)
def test_torch_and_triton_find_a_compiler(kind: str) -> None:
    assert {"gcc", "g++", "libc6-dev"} <= set(chain(kind)[0].all("RUN")[0].value.split())


@pytest.mark.parametrize("kind", NAMES)
def test_every_cache_is_where_a_container_may_write(kind: str) -> None:
    """And each variable that names a folder outside the home."""
    variables = environment(kind, "")
    needed = {
        "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "FAKEVLM_CACHE", "HF_HOME", "MPLCONFIGDIR", "NUMBA_CACHE_DIR",
        "TORCHINDUCTOR_CACHE_DIR", "TORCH_EXTENSIONS_DIR",
    }  # fmt: skip
    if kind == "gpu":
        needed |= {"TRITON_HOME", "CUDA_CACHE_PATH", "FLASHINFER_WORKSPACE_BASE"}
    assert needed <= variables.keys()
    folders = {
        name: value for name, value in variables.items() if value.startswith("/") and name not in ("HOME", "PATH")
    }
    assert all(value.startswith(WRITABLE) for value in folders.values()), folders


@pytest.mark.parametrize("kind", NAMES)
def test_another_user_of_group_0_may_write_where_ours_may(kind: str) -> None:
    made = next(step.value for step in chain(kind)[0].all("RUN") if "useradd" in step.value)
    for folder in ("/home/fakescan", "/work", "/var/cache/fakescan"):
        assert re.search(rf"chown 1000:0 [^&]*{folder}\b", made)
        assert re.search(rf"chmod 2775 [^&]*{folder}\b", made)
    assert environment(kind)["USER"] == "fakescan"  # whom getpass names where /etc/passwd does not know the number


@pytest.mark.parametrize("kind", NAMES)
def test_labels_say_what_the_image_is(kind: str) -> None:
    (label,) = stages(kind)[-1].all("LABEL")
    keys = {match.rpartition(".")[2] for match in re.findall(r"org\.opencontainers\.image\.([\w.]+)=", label.value)}
    assert {"title", "description", "licenses", "version", "revision", "created"} <= keys
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert arguments(kind)["VERSION"] == project["version"]
    assert f'licenses="{project["license"]}"' in label.value
    assert f"fakescan:{project['version']}-{kind}" in (FOLDER / f"{kind}.Dockerfile").read_text()


@pytest.mark.parametrize("kind", NAMES)
def test_no_secret_is_built_in(kind: str) -> None:
    """None in a variable or an argument, and nothing fetched that no hash or signature vouches for."""
    for stage in stages(kind):
        for step in stage.all("ENV", "ARG", "LABEL"):
            assert not re.search(r"(?i)(token|secret|password|passwd|credential|api_?key|aws_)", step.value), step
        for step in stage.all("RUN"):
            assert not re.search(r"\b(curl|wget) +(-|http)|git clone|--trusted-host|--allow-unauth", step.value), step
        assert not stage.all("ADD")


def test_the_engine_starts_without_nvcc() -> None:
    """The image has none on its path; see the comment in the Dockerfile."""
    assert environment("gpu")["VLLM_USE_FLASHINFER_SAMPLER"] == "0"


def test_a_driver_too_old_is_refused_by_the_container_toolkit() -> None:
    variables = environment("gpu")
    assert variables["NVIDIA_REQUIRE_CUDA"] == "cuda>=13.0"
    assert set(variables["NVIDIA_DRIVER_CAPABILITIES"].split(",")) == {"compute", "utility"}


@pytest.mark.parametrize("kind", NAMES)
def test_the_builder_gets_all_that_is_copied(kind: str) -> None:
    files = context()
    for stage in stages(kind):
        for step in stage.all("COPY"):
            if "from" in step.flags:
                assert step.flags["from"] in {other.name for other in stages(kind)}
                continue
            for source in step.text.split()[:-1]:
                assert any(path == source or path.startswith(f"{source}/") for path in files), source
    for package, folder in (("fakevlm", ROOT / "fakevlm"), ("platform/fakescan", ROOT / "platform" / "fakescan")):
        parts = [path.relative_to(folder) for path in folder.rglob("*") if path.is_file()]
        wanted = {f"{package}/{path}" for path in parts if "__pycache__" not in path.parts}
        assert wanted <= files


def test_the_builder_gets_nothing_else(tmp_path: Path) -> None:
    """No history, environment, results, tests, or what people leave lying about."""
    stray = (
        ".git/config", ".venv/bin/python", "tests/conftest.py", "demo-output/run.json", "benchmarks/scan.py",
        "samples/pairs/a.jpg", "keys.json", ".env", "id_rsa", "constraints/.env", "fakevlm/.env", "docs/a.md",
        "audit/part-0.parquet", "fakevlm/__pycache__/prompt.cpython-311.pyc", "constraints/notes.md",
        "platform/fakescan/scan/__pycache__/a.pyc", "cluster/aws.yaml", "README.md.orig",
    )  # fmt: skip
    let_in = (
        "pyproject.toml", "README.md", "LICENSE", "constraints/cpu.txt", "fakevlm/prompt.py",
        "fakevlm/assets/small/model.safetensors", "platform/fakescan/serve/page/index.html",
    )  # fmt: skip
    for name in (*stray, *let_in):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("")
    assert context(tmp_path) == set(let_in)
