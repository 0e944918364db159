"""Files of settings: what is wrong in one line with its place, and what was meant."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from fakescan.scan.config import ScanConfig
from fakescan.serve.config import ServeConfig
from fakescan.settings.suggestion import closest
from fakescan.settings.yaml_file import first_mistake, read_yaml
from fakescan.train.config import TrainConfig
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


def refused(tmp_path: Path, text: str | bytes) -> str:
    file = tmp_path / "x.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError) as caught:
        read_yaml(file)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"--config: {file} ")
    return message.removeprefix(f"--config: {file} ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; it must hold settings as `name: value` lines"),
        ("# only a comment\n", "is empty; it must hold settings as `name: value` lines"),
        ("- a\n- b\n", "holds a list; it must hold settings as `name: value` lines"),
        ("just words", "must hold settings as `name: value` lines"),
        ("a: 1\n\tb: 2\n", "is not YAML: line 2, column 1: a tab; indent with spaces"),
        ("limit: 1\nsource: x\nlimit: 2\n", "is not YAML: line 3, column 1: limit is there twice"),
        ("engine:\n  kind: fake\n  kind: vllm\n", "is not YAML: line 3, column 3: kind is there twice"),
        ("engine: {kind: fake, kind: vllm}\n", "is not YAML: line 1, column 22: kind is there twice"),
        (b"a: \xff\xfe", "is not YAML: it is not text in UTF-8 (byte 4 is 0xff)"),
        ("when: 2026-13-45\n", "is not YAML: month must be in 1..12"),
        ("[" * 5000, "is not YAML: it is nested too deeply"),
    ],
    ids=lambda value: str(value)[:24],
)
def test_what_is_no_settings_file(tmp_path: Path, text: str | bytes, message: str) -> None:
    assert refused(tmp_path, text) == message


@pytest.mark.parametrize("text", ["a: [", "a: 'b", "a: !!python/object:os.system {}", "a: b: c", "? [a]\n: 1", "a: \0"])
def test_other_broken_yaml_is_one_line(tmp_path: Path, text: str) -> None:
    assert refused(tmp_path, text).startswith("is not YAML: ")


def test_parts_that_multiply_cost_nothing(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))]
    (tmp_path / "x.yaml").write_text("\n".join([*lines, "self: &s {s: *s}"]))
    assert len(read_yaml(tmp_path / "x.yaml")) == 31


def test_a_byte_order_mark_and_merged_parts_are_read(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_bytes(b"\xef\xbb\xbfbase: &b {x: 1, y: 2}\nmore: {<<: *b, y: 3}\n1: number\n")
    assert read_yaml(file) == {"base": {"x": 1, "y": 2}, "more": {"x": 1, "y": 3}, "1": "number"}


@pytest.mark.parametrize(
    ("model", "settings", "message"),
    [
        (ScanConfig, {"treshold": 0.5}, "treshold: unknown setting (did you mean threshold?)"),
        (ScanConfig, {"max-bytes": 5}, "max-bytes: unknown setting (did you mean max_bytes?)"),
        (ScanConfig, {"Explain": "all"}, "Explain: unknown setting (did you mean explain?)"),
        (ScanConfig, {"sauce": "x"}, "sauce: unknown setting (did you mean source?)"),
        (ScanConfig, {"dtype": "float32"}, "dtype: unknown setting (did you mean engine.dtype?)"),
        (ScanConfig, {"colour": 1}, "colour: unknown setting; see fakescan scan --help"),
        (ScanConfig, {"1": 1}, "1: unknown setting; see fakescan scan --help"),
        (ScanConfig, {"engine": {"kind": "fake", "steps": 3}}, "engine.steps: unknown setting (did you mean step_s?)"),
        (ScanConfig, {"engine": {"kind": "vllm", "max_num_seq": 3}}, "engine.max_num_seq: unknown setting (did"),
        (ScanConfig, {"input_store": {"endpoint": "x"}}, "input_store.endpoint: unknown setting (did you mean endp"),
        (ScanConfig, {"calibration": {"temprature": 2}}, "calibration.temprature: unknown setting (did you"),
        (ScanConfig, {"replicas": {"lo": 1}}, "replicas.lo: unknown setting (did you mean low?)"),
        (ServeConfig, {"no_auth": True, "limits": {"brust": 2}}, "limits.brust: unknown setting (did you mean burst?)"),
        (TrainConfig, {"llm": {"mod": "lora"}}, "llm.mod: unknown setting (did you mean mode?)"),
        (TrainConfig, {"modle": "x"}, "modle: unknown setting (did you mean model?)"),
        (ScanConfig, {"explain": "fake"}, "explain: Input should be 'fakes', 'all' or 'none' (got 'fake'; did you"),
        (ScanConfig, {"explain": "some"}, "explain: Input should be 'fakes', 'all' or 'none' (got 'some')"),
        (ScanConfig, {"engine": {"kind": "vlm"}}, "engine: Input should be 'vllm' or 'fake' (got 'vlm'; did you"),
        (TrainConfig, {"llm": {"mode": "ful"}}, "llm.mode: Input should be 'full', 'lora' or 'frozen' (got 'ful'; d"),
        (ScanConfig, {"globs": "*.jpg"}, "globs: Input should be a list, such as [a, b] (got '*.jpg')"),
        (ScanConfig, {"replicas": 0}, "replicas: the number of engines must be greater than or equal to 1 (got 0)"),
        (ScanConfig, {"replicas": 1.5}, "replicas: 1.5 is neither a number such as 2 nor a range such as 1-4"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)  # fmt: skip
def test_what_was_meant(model: Any, settings: dict[str, Any], message: str) -> None:
    needed = {
        ScanConfig: {"source": "/a", "output": "/b"},
        TrainConfig: {"model": "/m", "data": "/d", "storage_path": "/s"},
    }.get(model, {})
    if "modle" in settings:
        needed = {}
    command = {ScanConfig: "scan", TrainConfig: "train"}.get(model, "serve")
    with pytest.raises(ValidationError) as caught:
        model.model_validate({**needed, **settings})
    assert first_mistake(caught.value, command=command, model=model).startswith(message)


def test_far_words_are_not_proposed() -> None:
    assert closest("wholly other", ["threshold", "model"]) is None
    assert closest("", ["threshold"]) is None
