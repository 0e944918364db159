"""Settings whose engine does not start are rolled back while clients go on asking."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakevlm.builtin import BUILT_IN
from tests.faulty_server import FEW, REPLICA, Faulty, Load, faulty_server

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with faulty_server(tmp_path_factory.mktemp("faulty")) as server:
        yield server


def test_a_checkpoint_that_only_its_engine_finds_wrong_is_rolled_back(faulty: Faulty, tmp_path: Path) -> None:
    model = shutil.copytree(BUILT_IN, tmp_path / "model")
    card = json.loads((model / "fakevlm.json").read_text())
    (model / "fakevlm.json").write_text(json.dumps({**card, "prompt": {"answer_prefix": "The image is"}}))
    before = faulty.pids(REPLICA)
    with Load(faulty, FEW) as load:
        faulty.roll_out("rolled back", model=str(model), engine={"kind": "vllm"})
        # The old settings are deployed once more, so that Serve does not go on trying the new ones.
        again = lambda: len(faulty.pids(REPLICA)) == 1 and not faulty.pids(REPLICA) & before  # noqa: E731
        faulty.process.wait_for("a replica of the old settings", again)
        load.wait_for(50)
    (line,) = [line for line in faulty.process.lines["err"] if "rolled back" in line]
    assert "asked freely" in line, "the engine's own words"
    assert load.outcomes.keys() == {"ok"}, load.refusals
    assert {answer.body["model"] for answer in load.answers} == {"fake-engine"}
    load.assert_all_scores_agree()
