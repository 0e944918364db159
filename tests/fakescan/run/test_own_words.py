"""Explanations of earlier versions that are not the model's own."""

import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.own_words import overruled, own_words_only
from fakescan.run.run_file import RunFile
from tests.fakescan.run.conftest import results

pytestmark = pytest.mark.unit

ROWS = results(
    {"verdict": "fake", "logit": 1.0, "explanation": "own"},
    {"verdict": "fake", "logit": -1.0, "explanation": "not its own"},
    {"verdict": "real", "logit": -1.0, "explanation": "own"},
    {"verdict": "real", "logit": 1.0, "explanation": "not its own"},
    {"verdict": "real", "logit": 1.0},
    {"verdict": "uncertain", "logit": 1.0, "explanation": "own"},
    {"verdict": "fake", "logit": 0.0, "explanation": "own"},
    {"error_code": "empty", "error_message": "no bytes"},
)


def of_version(run: RunFile, version: str) -> RunFile:
    return RunFile.model_validate({**run.model_dump(), "schema_version": version})


def test_verdicts_that_are_not_the_models_own_word_are_found() -> None:
    assert overruled(ROWS).to_pylist() == [False, True, False, True, True, False, False, False]


@pytest.mark.parametrize("version", ["1", "2"])
def test_of_an_earlier_version_only_the_models_own_words_are_left(run_folder: RunFolder, version: str) -> None:
    found = own_words_only(ROWS, of_version(run_folder.open(), version))
    assert found["explanation"].to_pylist() == ["own", None, "own", None, None, "own", "own", None]
    assert found.drop_columns("explanation").equals(ROWS.drop_columns("explanation"))


def test_rows_of_this_version_are_as_they_are(run_folder: RunFolder) -> None:
    assert own_words_only(ROWS, run_folder.open()) is ROWS
