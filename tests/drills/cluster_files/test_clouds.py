"""SkyPilot's own loader and cluster/sky/scan.yaml, Compute Engine's schema and cluster/launcher/gcp.yaml, and what the
launcher's files install on a node.

The packages for it pin what this project uses in other versions, so they are installed into an environment of their
own, which takes a minute or two.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

pytestmark = [pytest.mark.unit, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[3]
SKY = ROOT / "cluster" / "sky" / "scan.yaml"
GCP = ROOT / "cluster" / "launcher" / "gcp.yaml"
Config = dict[str, Any]


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Python of an environment with SkyPilot, Google's client and uv."""
    folder = tmp_path_factory.mktemp("clouds") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    packages = ["skypilot==0.14.1", "google-api-python-client==2.202.0", "uv==0.13.9"]
    done = subprocess.run([folder / "bin" / "pip", "install", "-q", *packages], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"they cannot be installed here: {done.stderr.splitlines()[-1]}")
    return folder / "bin" / "python"


LOAD = """
import json, sys, sky, sky.utils.ux_utils
task = sky.Task.from_yaml_config(json.load(sys.stdin))
resources = list(task.resources)
print(json.dumps({
    "nodes": task.num_nodes, "spot": [each.use_spot for each in resources],
    "recovery": [each.job_recovery for each in resources],
    "gpus": [each.accelerators for each in resources], "run": task.run, "setup": task.setup,
}))
"""


def loaded(python: Path, config: Config, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {"HOME": str(home), "PATH": "/usr/bin:/bin", "SKYPILOT_DISABLE_USAGE_COLLECTION": "1"}
    return subprocess.run(
        [python, "-c", LOAD], input=json.dumps(config), capture_output=True, text=True, env=environment, cwd=ROOT
    )


def given() -> Config:
    """The task with what --env and --secret give."""
    config: Config = yaml.safe_load(SKY.read_text())
    config["envs"] |= {"SOURCE": "s3://bucket/prefix", "OUTPUT": "s3://bucket/audit"}
    config["secrets"] |= {"RAY_AUTH_TOKEN": "a token"}
    return config


def test_skypilot_takes_the_task(python: Path, tmp_path: Path) -> None:
    done = loaded(python, given(), tmp_path)
    assert done.returncode == 0, done.stderr
    task = json.loads(done.stdout.splitlines()[-1])
    assert task["nodes"] == 2
    assert set(task["spot"]) == {True}
    assert all(
        each["strategy"] == "EAGER_NEXT_REGION" and each["recover_on_exit_codes"] == [1] for each in task["recovery"]
    )
    for name in ("setup", "run"):
        assert subprocess.run(["bash", "-n", "-c", task[name]]).returncode == 0


MUTATIONS: dict[str, Callable[[Config], object]] = {
    "an unknown setting": lambda config: config.update(num_node=2),
    "an unknown setting of resources": lambda config: config["resources"].update(use_spots=True),
    "a strategy that is a number": lambda config: config["resources"]["job_recovery"].update(strategy=1),
    "an exit status by name": lambda config: config["resources"]["job_recovery"].update(recover_on_exit_codes=["one"]),
    "no number of nodes": lambda config: config.update(num_nodes="two"),
    "no source": lambda config: config["envs"].update(SOURCE=None),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_skypilot_refuses_what_is_broken(python: Path, tmp_path: Path, mutation: str) -> None:
    config = given()
    MUTATIONS[mutation](config)
    assert loaded(python, config, tmp_path).returncode != 0


def test_skypilot_brings_the_program_that_the_task_calls(python: Path) -> None:
    where = subprocess.run(
        [python, "-c", "import sky_templates; print(sky_templates.__path__[0])"],
        capture_output=True,
        text=True,
        check=True,
    )
    templates = Path(where.stdout.strip())
    (called,) = [
        line.strip() for line in yaml.safe_load(SKY.read_text())["run"].splitlines() if "sky_templates" in line
    ]
    assert (templates / called.removeprefix("~/sky_templates/")).is_file()


SCHEMA = """
import json, pathlib, googleapiclient
folder = pathlib.Path(googleapiclient.__file__).parent / "discovery_cache" / "documents"
print(json.dumps(json.loads((folder / "compute.v1.json").read_text())["schemas"]))
"""


@pytest.fixture(scope="module")
def schemas(python: Path) -> Config:
    done = subprocess.run([python, "-c", SCHEMA], capture_output=True, text=True, check=True)
    found: Config = json.loads(done.stdout)
    return found


def problems(value: Any, schema: Config, schemas: Config, where: str) -> list[str]:
    """What of a value does not fit its schema in Google's description of the API."""
    schema = schemas[schema["$ref"]] if "$ref" in schema else schema
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "integer": int, "number": (int, float)}
    # 64-bit integers are strings there, and taken as numbers.
    if not isinstance(value, kinds[schema["type"]]) and not (
        schema.get("format") == "int64" and isinstance(value, int)
    ):
        return [f"{where}: not of type {schema['type']}"]
    if "enum" in schema and value not in schema["enum"]:
        return [f"{where}: {value} is not one of {schema['enum']}"]
    found = []
    if isinstance(value, dict):
        for name, each in value.items():
            inner = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            found += problems(each, inner, schemas, f"{where}.{name}") if inner else [f"{where}.{name}: unknown"]
    if isinstance(value, list):
        for number, each in enumerate(value):
            found += problems(each, schema["items"], schemas, f"{where}[{number}]")
    return found


NODES = yaml.safe_load(GCP.read_text())["available_node_types"]


@pytest.mark.parametrize("name", NODES)
def test_compute_engine_takes_the_nodes(schemas: Config, name: str) -> None:
    assert problems(NODES[name]["node_config"], {"$ref": "Instance"}, schemas, name) == []


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"machineTyp": "n2-standard-16"}, "gpu.machineTyp: unknown"),
        ({"scheduling": [{"preemptible": True}]}, "gpu.scheduling: not of type object"),
        ({"scheduling": {"provisioningModel": "SPOTS"}}, "gpu.scheduling.provisioningModel: SPOTS is not one of"),
        ({"disks": [{"boot": "yes"}]}, "gpu.disks[0].boot: not of type boolean"),
        ({"serviceAccounts": [{"mail": "a"}]}, "gpu.serviceAccounts[0].mail: unknown"),
    ],
)
def test_compute_engine_refuses_what_is_broken(schemas: Config, broken: Config, said: str) -> None:
    found = problems({**NODES["gpu"]["node_config"], **broken}, {"$ref": "Instance"}, schemas, "gpu")
    assert any(each.startswith(said) for each in found), found


@pytest.mark.parametrize("name", ["aws", "gcp"])
def test_a_node_installs_what_the_launcher_brings(python: Path, tmp_path: Path, name: str) -> None:
    """The set-up as it is written, but for the gigabytes of the lock, which are looked up and not fetched."""
    config = yaml.safe_load((ROOT / "cluster" / "launcher" / f"{name}.yaml").read_text())
    for there, here in config["file_mounts"].items():
        if not here.startswith("~"):
            copy, source = tmp_path / there.removeprefix("~/"), ROOT / here
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copytree(source, copy) if source.is_dir() else shutil.copy(source, copy)
    (tmp_path / ".local" / "bin").mkdir(parents=True)
    (tmp_path / ".local" / "bin" / "uv").symlink_to(python.with_name("uv"))
    said = ""
    for command in config["setup_commands"]:
        command = command.replace("--require-hashes", "--require-hashes --dry-run")
        done = subprocess.run(
            ["bash", "-c", command], env={**os.environ, "HOME": str(tmp_path)}, capture_output=True, text=True
        )
        assert done.returncode == 0, (command, done.stderr)
        said += done.stderr
    assert "vllm==" in said, "the lock of the GPU environment"
    scripts = subprocess.run(
        ["bash", "-c", "source ~/.bashrc; command -v fakescan"], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert scripts.stdout.strip() == str(tmp_path / "venv" / "bin" / "fakescan")
