"""The Serve application: what each replica reserves, and clusters that lack it."""

from importlib import import_module
from typing import Any

import pytest

from fakescan.cluster_nodes import ClusterNodes, Node, NodeGroup
from fakescan.serve import app as app_module
from fakescan.serve import run as run_module
from fakescan.serve.app import build
from fakescan.serve.config import ServeConfig
from fakescan.serve.gate.control_client import CONTROL, REPLICA
from fakescan.serve.serve_file import IMPORT_PATH, ServeFile, Server
from fakescan.settings.replicas import Replicas
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


def deployments(application: Any) -> dict[str, Any]:
    """The deployments of an application by name, and what the replica is built with."""
    detector = application._bound_deployment
    config, control = detector.init_args
    return {REPLICA: detector, CONTROL: control._bound_deployment, "config": config}


@pytest.mark.parametrize(
    ("gpus_per_replica", "cluster_gpus", "reserved"),
    [
        (None, 0.0, 0.0),
        (None, 4.0, 1.0),
        (0, 4.0, 0.0),
        (1, 0.0, 1.0),
        (0.5, 4.0, 0.5),
    ],
)
def test_a_replica_reserves_its_gpus(
    monkeypatch: pytest.MonkeyPatch, gpus_per_replica: float | None, cluster_gpus: float, reserved: float
) -> None:
    """By default one where the cluster has any."""
    monkeypatch.setattr(app_module, "cluster_gpus", lambda: cluster_gpus)
    built = deployments(build({"no_auth": True, "gpus_per_replica": gpus_per_replica, "cpus_per_replica": 2}))
    assert built[REPLICA].name == REPLICA
    assert built[REPLICA].ray_actor_options == {"num_cpus": 2, "num_gpus": reserved}
    assert built["config"].gpus_per_replica == reserved, "the replica opens its engine there"
    assert built[CONTROL].name == CONTROL
    assert built[CONTROL].ray_actor_options == {"num_cpus": 0}


def test_a_simulated_engine_needs_no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app_module, "cluster_gpus", lambda: 4.0)
    built = deployments(build(ServeConfig(no_auth=True, engine={"kind": "fake"})))
    assert built[REPLICA].ray_actor_options["num_gpus"] == 0


def test_without_a_cluster_there_are_no_gpus() -> None:
    assert app_module.cluster_gpus() == 0.0


def test_serve_takes_the_function_that_a_serve_file_names() -> None:
    """It calls it with one argument, and refuses one that could take more."""
    from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

    module, _, name = IMPORT_PATH.partition(":")
    built = call_user_app_builder_with_args_if_necessary(getattr(import_module(module), name), {"no_auth": True})
    assert deployments(built)["config"].no_auth


def test_wrong_args_are_one_line() -> None:
    with pytest.raises(UserError, match=r"^colour: unknown setting; see fakescan serve --help$"):
        build({"no_auth": True, "colour": "red"})


HEAD, GPUS = Node(cpus=4), Node(cpus=8, gpus=2)
GROUP = NodeGroup("gpu", GPUS, 2)


@pytest.mark.parametrize(
    ("settings", "cluster", "words"),
    [
        (
            {"gpus_per_replica": 1},
            ClusterNodes((HEAD,)),
            "replicas: 1 replicas with 1 GPUs each need 1 GPUs, the cluster has 0; lower",
        ),
        (
            {"replicas": 3},
            ClusterNodes((HEAD, GPUS)),
            "replicas: 3 replicas with 1 GPUs each need 3 GPUs, the cluster has 2",
        ),
        ({"replicas": 5}, ClusterNodes((HEAD,), (GROUP,)), "need 5 GPUs, the cluster has 0"),
        ({"device": "cuda"}, ClusterNodes((HEAD,)), "device: cuda needs a GPU; there is none"),
        ({"replicas": "2-8"}, ClusterNodes((HEAD, GPUS)), None),
        ({"replicas": 8}, ClusterNodes((HEAD,)), None),
        ({"replicas": 4, "gpus_per_replica": 0.25}, ClusterNodes((HEAD, GPUS)), None),
        ({"replicas": 9, "device": "cpu"}, ClusterNodes((HEAD, GPUS)), None),
        ({"replicas": 4}, ClusterNodes((HEAD,), (GROUP,)), None),
        ({"replicas": 9, "device": "cuda"}, ClusterNodes((HEAD,), None), None),
    ],
)
def test_a_cluster_without_the_gpus_is_refused(
    monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], cluster: ClusterNodes, words: str | None
) -> None:
    """Serve itself would wait forever. What an autoscaler may add is waited for, and so is the upper end of a range."""
    monkeypatch.setattr(run_module, "connected_nodes", lambda: cluster)
    config = ServeConfig.model_validate({"no_auth": True, **settings})
    if words is None:
        run_module._check_gpus(config)
        return
    with pytest.raises(UserError) as caught:
        run_module._check_gpus(config)
    assert words in str(caught.value)


def test_a_server_that_waits_for_a_node_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(run_module, "connected_nodes", lambda: ClusterNodes((HEAD,), (GROUP,)))
    run_module._check_gpus(ServeConfig(no_auth=True))
    assert "waiting for a GPU node: 1 replicas with 1 GPUs each, the cluster has 0 now" in capsys.readouterr().err


@pytest.mark.parametrize("trusted", [(), ("192.0.2.1",)])
@pytest.mark.parametrize(("host", "reach"), [("127.0.0.1", "this machine"), ("0.0.0.0", "the network")])
def test_a_server_without_keys_says_who_may_use_it_and_whom_it_cannot_tell_apart(
    host: str, reach: str, trusted: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    file = ServeFile.model_validate({"http_options": {"host": host}, "applications": [{"import_path": IMPORT_PATH}]})
    run_module._warn_of_open_access(
        Server(file=file, config=ServeConfig.model_validate({"no_auth": True, "trusted_proxies": trusted}))
    )
    said = capsys.readouterr().err
    assert f"everybody on {reach} may use it" in said
    assert ("name a reverse proxy in trusted_proxies" in said) is (not trusted)


@pytest.mark.parametrize(("device", "reserved"), [("cpu", 0.0), ("cuda", 1.0), ("auto", 1.0)])
def test_the_device_decides_what_a_replica_reserves(
    monkeypatch: pytest.MonkeyPatch, device: Any, reserved: float
) -> None:
    monkeypatch.setattr(app_module, "cluster_gpus", lambda: 4.0)
    built = deployments(build({"no_auth": True, "device": device}))
    assert built[REPLICA].ray_actor_options["num_gpus"] == reserved


def test_a_server_has_one_engine_unless_told() -> None:
    assert ServeConfig(no_auth=True).replicas == Replicas(low=1, high=1)
