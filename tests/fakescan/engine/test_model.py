"""The model is the same everywhere: a hub id becomes a commit, and a node with another checkpoint is refused."""

import shutil
from pathlib import Path

import pytest

from fakescan.engine.model import PinnedModel, open_model, open_pinned, pinned_model
from fakescan.storage.store import Store
from fakevlm.checkpoint.location import pinned
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize("location", ["owner/name", "owner/name@main", "owner/name@v1.0", f"owner/name@{COMMIT}"])
def test_a_hub_id_is_pinned_to_its_commit(location: str, tmp_path: Path) -> None:
    snapshot = tmp_path / "models--owner--name" / "snapshots" / COMMIT
    assert pinned(location, snapshot) == f"owner/name@{COMMIT}"
    assert pinned("s3://bucket/model", snapshot) == "s3://bucket/model"
    assert pinned(f"file://{snapshot}", snapshot) == str(snapshot)


def test_a_folder_is_pinned_in_full(tiny_model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers have another current folder. One in the hub's cache is a folder all the same."""
    snapshot = Path(shutil.copytree(tiny_model, tmp_path / "snapshots" / COMMIT))
    monkeypatch.chdir(tmp_path)
    for location in (f"snapshots/{COMMIT}", str(snapshot)):
        checkpoint = open_model(location, Store())
        assert pinned_model(location, checkpoint).location == str(snapshot)
        assert open_pinned(pinned_model(location, checkpoint), Store()) == open_model(str(snapshot), Store())


def test_the_built_in_one_is_the_same_on_every_node() -> None:
    model = pinned_model(None, open_model(None, Store()))
    assert model.location is None
    assert open_pinned(model, Store()).weights_sha256 == model.weights_sha256


def test_a_node_with_another_checkpoint_is_refused(tiny_model: Path, tmp_path: Path) -> None:
    model = Path(shutil.copytree(tiny_model, tmp_path / "model"))
    opened = pinned_model(str(model), open_model(str(model), Store()))
    (model / "tokenizer_config.json").write_text((model / "tokenizer_config.json").read_text() + "\n")
    with pytest.raises(UserError, match="has another configuration, processor or tokenizer on this node"):
        open_pinned(opened, Store())
    open_pinned(opened._replace(files_sha256=""), Store())
    with pytest.raises(UserError, match="holds other weights on this node than on the driver's"):
        open_pinned(PinnedModel(str(model), "0" * 64), Store())
