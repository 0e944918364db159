"""The ledger: what it is made of shares no state, and after a restart each learns of an engine in any order."""

import pytest

from fakescan.scan.engines.life import EngineLife, Place
from fakescan.scan.ledger import Ledger

pytestmark = pytest.mark.unit


def test_its_parts_share_no_state() -> None:
    names = [name for part in Ledger.__bases__ for name in vars(part())]
    assert len(names) == len(set(names)), "two of them have an attribute of the same name"


def test_an_engine_is_heard_of_in_any_order() -> None:
    ledger, life = Ledger(), EngineLife("actor", "1")
    ledger.report_engine(life, Place("node", "its name", 1, 1, 60.0, False), True, 3, 1)
    assert ledger.is_judged()
    ledger.report_alive(life)
    assert ledger.claim(life, 5, [b"a"]).together == [b"a"]
