"""cluster/launcher/*.yaml: through Ray's own preparation and validation, through EC2's own parameters, and our rules.

What needs an account is not tried: Ray's look at instance types, images and roles. Compute Engine's own schema is in
tests/drills/cluster_files/test_clouds.py.
"""

import copy
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import jsonschema
import pytest
import yaml
from botocore.validate import ParamValidator

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
FILES = sorted((ROOT / "cluster" / "launcher").glob("*.yaml"))
Config = dict[str, Any]


def load(file: Path) -> Config:
    loaded: Config = yaml.safe_load(file.read_text())
    return loaded


def validated(config: Config) -> Config:
    """What `ray up` does with a file before it speaks to a cloud; raises for what it refuses."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    prepared: Config = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    return prepared


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rays_validator_takes_it(file: Path) -> None:
    prepared = validated(load(file))
    assert prepared["available_node_types"]["gpu"]["max_workers"] == 8
    # `ray up` merges Ray's defaults into what a file leaves out: none of its examples may come in.
    assert set(prepared["available_node_types"]) == {"head", "gpu", "cpu"}
    assert not any("ray-wheels" in command for command in prepared["worker_setup_commands"])


def _type(name: str, **fields: Any) -> Callable[[Config], None]:
    return lambda config: config["available_node_types"][name].update(fields)


MUTATIONS: dict[str, Callable[[Config], None]] = {
    "an unknown setting": lambda config: config.update(idle_timeout_minute=2),
    "an unknown setting of a node type": _type("gpu", max_worker=8),
    "a fraction of a GPU": _type("gpu", resources={"CPU": 16, "GPU": 0.5}),
    "negative CPUs": _type("cpu", resources={"CPU": -1}),
    "a node type without resources": lambda config: config["available_node_types"]["cpu"].pop("resources"),
    "a node type without its machine": lambda config: config["available_node_types"]["cpu"].pop("node_config"),
    "a head that is no node type": lambda config: config.update(head_node_type="heads"),
    "more nodes at least than at most": _type("gpu", min_workers=25),
    "one command instead of a list": lambda config: config.update(setup_commands="uv venv"),
    "idle for a time less than none": lambda config: config.update(idle_timeout_minutes=-1),
    "no provider": lambda config: config["provider"].pop("type"),
    "an unknown setting of auth": lambda config: config["auth"].update(ssh_users="ubuntu"),
}


@pytest.mark.parametrize("mutation", MUTATIONS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_rays_validator_refuses_what_is_broken(file: Path, mutation: str) -> None:
    config = load(file)
    MUTATIONS[mutation](config)
    with pytest.raises((jsonschema.ValidationError, ValueError, KeyError, TypeError, AssertionError)):
        validated(config)


def problems(config: Config) -> list[str]:
    """What Ray takes and a scan would suffer from."""
    types = config["available_node_types"]
    head = config["head_node_type"]
    found = []
    starts = {kind: " ".join(config[f"{kind}_start_ray_commands"]) for kind in ("head", "worker")}
    if types[head]["resources"].get("CPU") != 0 or "--num-cpus=0" not in starts["head"]:
        found.append("work may run on the head")
    if types[head].get("max_workers") != 0:
        found.append("the autoscaler may add heads")
    if "--autoscaling-config=~/ray_bootstrap_config.yaml" not in starts["head"]:
        found.append("the head has no autoscaler")
    for name, kind in types.items():
        if _is_spot(kind["node_config"]) != (name != head):
            found.append(f"{name}: spot is for workers, and for them alone")
        if name != head and (kind.get("min_workers") != 0 or not kind.get("max_workers")):
            found.append(f"{name}: the group does not go from 0 to a number that somebody meant")
        if not _has_own_rights(kind["node_config"]):
            found.append(f"{name}: no role of its own")
    groups = [kind["resources"] for name, kind in types.items() if name != head]
    if sorted("GPU" in resources for resources in groups) != [False, True]:
        found.append("nodes with and without GPUs are not apart")
    if sum(kind["max_workers"] for kind in types.values()) != config["max_workers"]:
        found.append("the bound of all nodes is not the sum of the groups' bounds")
    if not 1 <= config["idle_timeout_minutes"] <= 5:
        found.append("idle nodes stay for too long, or go between two shards")
    if config["provider"].get("cache_stopped_nodes") is not False:
        found.append("stopped nodes go on costing their disks")
    commands = " ; ".join(config["setup_commands"])
    if not re.search(r"/constraints/gpu\.txt > (\S+) .*pip install [^;]*--require-hashes -r \1", commands):
        found.append("the environment is not the locked one")
    if config["file_mounts"].get("~/.ray/auth_token") != "~/.ray/auth_token" or not any(
        "RAY_AUTH_MODE=token" in command for command in config["setup_commands"]
    ):
        found.append("everybody in the network may use this Ray")
    return found


def _is_spot(node: Config) -> bool:
    market = node.get("InstanceMarketOptions", {}).get("MarketType")
    return market == "spot" or node.get("scheduling", {}).get("provisioningModel") == "SPOT"


def _has_own_rights(node: Config) -> bool:
    return bool(node.get("IamInstanceProfile") or node.get("serviceAccounts"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_it_obeys_our_rules(file: Path) -> None:
    assert problems(load(file)) == []


OUR_MUTATIONS: dict[str, Callable[[Config], None]] = {
    "work may run on the head": _type("head", resources={"CPU": 4}),
    "the autoscaler may add heads": _type("head", max_workers=1),
    "the head has no autoscaler": lambda config: config.update(
        head_start_ray_commands=["ray start --head --num-cpus=0"]
    ),
    "gpu: the group does not go": _type("gpu", min_workers=1),
    "cpu: no role of its own": lambda config: [
        config["available_node_types"]["cpu"]["node_config"].pop(name, None)
        for name in ("IamInstanceProfile", "serviceAccounts")
    ],
    "head: spot is for workers": lambda config: config["available_node_types"]["head"]["node_config"].update(
        InstanceMarketOptions={"MarketType": "spot"}
    ),
    "nodes with and without GPUs": _type("cpu", resources={"CPU": 16, "GPU": 1}),
    "the bound of all nodes": lambda config: config.update(max_workers=10),
    "idle nodes stay": lambda config: config.update(idle_timeout_minutes=60),
    "stopped nodes": lambda config: config["provider"].pop("cache_stopped_nodes"),
    "the environment is not": lambda config: config.update(
        setup_commands=["pip install fakescan # RAY_AUTH_MODE=token"]
    ),
    "everybody in the network": lambda config: config["file_mounts"].pop("~/.ray/auth_token"),
}


@pytest.mark.parametrize("problem", OUR_MUTATIONS)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_our_rules_find_what_is_broken(file: Path, problem: str) -> None:
    config = load(file)
    OUR_MUTATIONS[problem](config)
    assert [found for found in problems(config) if found.startswith(problem)]


def ec2_problems(node: Config) -> str:
    """What EC2 would refuse of the parameters with which Ray starts a node; empty where nothing."""
    session = botocore.session.get_session()
    shape = session.get_service_model("ec2").operation_model("RunInstances").input_shape
    report: str = ParamValidator().validate({**node, "MinCount": 1, "MaxCount": 1}, shape).generate_report()
    return report


AWS = load(ROOT / "cluster" / "launcher" / "aws.yaml")["available_node_types"]


@pytest.mark.parametrize("name", AWS)
def test_ec2_takes_the_nodes(name: str) -> None:
    assert ec2_problems(AWS[name]["node_config"]) == ""


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ({"InstanceTypes": "m7i.xlarge"}, 'Unknown parameter in input: "InstanceTypes"'),
        ({"InstanceMarketOptions": {"MarketTyp": "spot"}}, 'Unknown parameter in InstanceMarketOptions: "MarketTyp"'),
        (
            {"BlockDeviceMappings": [{"Ebs": {"VolumeSize": "200"}}]},
            "Invalid type for parameter BlockDeviceMappings[0]",
        ),
        ({"IamInstanceProfile": "fakescan-worker"}, "Invalid type for parameter IamInstanceProfile"),
    ],
)
def test_ec2_refuses_what_is_broken(broken: Config, said: str) -> None:
    assert said in ec2_problems({**AWS["gpu"]["node_config"], **broken})


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_goes_to_the_nodes_is_there_and_is_all_that_an_installation_needs(file: Path) -> None:
    """Ray reads every byte of it on this machine, so it is not the whole folder, with its .venv."""
    config = load(file)
    mounts = {there: here for there, here in config["file_mounts"].items() if not here.startswith("~")}
    for here in mounts.values():
        assert (ROOT / here).exists(), here
    assert all(there == f"~/fakescan/{here}" for there, here in mounts.items())
    build = (ROOT / "pyproject.toml").read_text()
    needed = {
        "pyproject.toml",
        "README.md",
        "LICENSE",
        *re.findall(r'packages = \["(\w+)", "(\w+)/', build)[0],
        "constraints",
    }
    assert set(mounts.values()) == needed


def test_the_lock_has_the_mark_at_which_it_is_cut() -> None:
    lock = ROOT / "constraints" / "gpu.txt"
    marks = [line for line in lock.read_text().splitlines() if line.startswith("# == sources")]
    assert len(marks) == 1
    assert "deepspeed==" in lock.read_text().split(marks[0])[1]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_commands_are_ones_that_bash_can_read(file: Path) -> None:
    config = load(file)
    for name, commands in config.items():
        if name.endswith("_commands"):
            for command in commands:
                done = subprocess.run(["bash", "-n", "-c", command], capture_output=True, text=True)
                assert done.returncode == 0, (command, done.stderr)


def test_the_two_files_differ_only_where_the_clouds_do() -> None:
    first, second = (load(file) for file in FILES)
    for name in ("max_workers", "upscaling_speed", "idle_timeout_minutes", "file_mounts", "setup_commands"):
        assert first[name] == second[name], name
    for kind in ("head", "worker"):
        assert first[f"{kind}_start_ray_commands"] == second[f"{kind}_start_ray_commands"]


@pytest.mark.parametrize(
    "rest", [None, "", "case $- in *i*) ;; *) return;; esac\n"], ids=["no file", "empty", "Ubuntu's"]
)
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_shell_of_a_node_has_the_environment_and_the_token(file: Path, rest: str | None, tmp_path: Path) -> None:
    """The commands about ~/.bashrc, run twice, as `ray up` does on a node that is there."""
    if rest is not None:
        (tmp_path / ".bashrc").write_text(rest)
    commands = [command for command in load(file)["setup_commands"] if ".bashrc" in command]
    for _ in range(2):
        for command in commands:
            subprocess.run(["bash", "-c", command], env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True)
    assert (tmp_path / ".bashrc").read_text().count("RAY_AUTH_MODE") == 1
    said = subprocess.run(
        ["bash", "-c", f"source {tmp_path}/.bashrc; echo $RAY_AUTH_MODE $PATH"], capture_output=True, text=True,
        env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}, check=True,
    )  # fmt: skip
    assert said.stdout == f"token {tmp_path}/venv/bin:/usr/bin:/bin\n"
