"""Engines that do not start: the others do the scan."""

import json
from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.scan.engines.node_choice import NODE_LABEL, NodeChoice
from fakescan.storage.store import Store
from tests.scan_process import fakescan, read_rows


@pytest.mark.unit
def test_actors_are_created_on_no_node_that_is_excluded() -> None:
    placement = NodeChoice()
    assert placement() == {}
    for node in ("a1", "b2"):
        placement.exclude(node)
    assert placement() == {"label_selector": {NODE_LABEL: "!in(a1,b2)"}}
    placement.include("a1")
    assert placement() == {"label_selector": {NODE_LABEL: "!in(b2)"}}


@pytest.mark.cluster
@pytest.mark.timeout(120)
def test_two_engines_of_which_one_never_starts(
    ray_cluster: str, pictures: Path, tiny_model: Path, tmp_path: Path
) -> None:
    slots = tmp_path / "slots"
    slots.mkdir()
    (slots / "one").touch()
    run = RunFolder(str(tmp_path / "run"), Store())
    config = {
        "source": str(pictures),
        "output": run.url,
        "model": str(tiny_model),
        "shard_rows": 2,
        "replicas": 2,
        "engine": {"kind": "fake", "start_slots": str(slots), "max_num_seqs": 1, "step_s": 0.05},
    }
    (tmp_path / "scan.yaml").write_text(json.dumps(config))
    scan = fakescan("scan", "--config", tmp_path / "scan.yaml", "--ray-address", ray_cluster)
    assert scan.out.startswith("results: "), "what Ray says of actors that fail is not for the terminal"
    rows = read_rows(run)
    assert len(rows) == 30
    assert {row["error_code"] for row in rows} == {None}
