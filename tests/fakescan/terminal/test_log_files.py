"""Lines of a log file in text: only a record begins one."""

import logging
import re
from pathlib import Path

import pytest

from fakescan.storage.url import redact_urls
from fakescan.terminal.logs import log_session, log_to_file
from fakescan.terminal.messages import MessageHandler

pytestmark = pytest.mark.unit

FORGED = "2026-01-01 00:00:00,000 ERROR fakescan: all is lost"
BEGINNING = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} [A-Z]+ [\w.]+: ")


@pytest.mark.parametrize("name", [f"a\n{FORGED}", f"a\r{FORGED}", f"a\x1b[2K\x1b[1A{FORGED}", f"a\x85{FORGED}\u2028b"])
def test_no_name_makes_a_line_of_its_own(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with log_session():
        log_to_file(tmp_path / "log", redact=redact_urls)
        try:
            raise OSError(name)
        except OSError:
            logging.getLogger("fakescan.test").warning("cannot read %s", name, exc_info=True)
    lines = (tmp_path / "log").read_text().splitlines()
    assert [bool(BEGINNING.match(line)) for line in lines] == [True] + [False] * (len(lines) - 1)
    assert all(line.isprintable() for line in lines)
    shown = capsys.readouterr().err
    assert not [line for line in shown.splitlines() if BEGINNING.match(line)]
    assert shown.replace("\n", "").isprintable()


def test_a_message_of_several_lines_stays_readable(tmp_path: Path) -> None:
    with log_session():
        log_to_file(tmp_path / "log", redact=redact_urls)
        logging.getLogger("fakescan.test").info("first\nsecond")
    assert (tmp_path / "log").read_text().splitlines()[1] == "    second"
    assert not any(isinstance(handler, MessageHandler) for handler in logging.getLogger().handlers)
