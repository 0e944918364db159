"""The Serve application: what each replica reserves, and clusters that lack it."""

from typing import Any

import pytest

from fakescan.serve import app as app_module
from fakescan.serve import run as run_module
from fakescan.serve.app import build
from fakescan.serve.config import ServeConfig
from fakescan.serve.gate.control_client import CONTROL, REPLICA
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


def test_wrong_args_are_one_line() -> None:
    with pytest.raises(UserError, match=r"^colour: unknown setting; see fakescan serve --help$"):
        build({"no_auth": True, "colour": "red"})


@pytest.mark.parametrize(
    ("gpus_per_replica", "replicas", "cluster_gpus", "words"),
    [
        (1, Replicas(), 0.0, "replicas: 1 replicas with 1 GPUs each need 1 GPUs, the cluster has 0; lower"),
        (None, Replicas(low=3, high=3), 2.0, "replicas: 3 replicas with 1 GPUs each need 3 GPUs, the cluster has 2"),
        (None, Replicas(low=2, high=8), 2.0, None),
        (None, Replicas(low=8, high=8), 0.0, None),
        (0.25, Replicas(low=4, high=4), 1.0, None),
    ],
)
def test_a_cluster_without_the_gpus_is_refused(
    monkeypatch: pytest.MonkeyPatch,
    gpus_per_replica: float | None,
    replicas: Replicas,
    cluster_gpus: float,
    words: str | None,
) -> None:
    """Serve itself would wait forever. The upper end of a range may wait for nodes to come."""
    monkeypatch.setattr(app_module, "cluster_gpus", lambda: cluster_gpus)
    config = ServeConfig(no_auth=True, gpus_per_replica=gpus_per_replica, replicas=replicas)
    if words is None:
        run_module._check_gpus(config)
        return
    with pytest.raises(UserError) as caught:
        run_module._check_gpus(config)
    assert words in str(caught.value)
