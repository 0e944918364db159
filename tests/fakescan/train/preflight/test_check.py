"""What `data validate` calls ok, training takes; what it refuses, training refuses; the rest both say."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import main
from fakescan.train.config import TrainConfig
from fakescan.train.preflight.check import check
from fakescan.train.preflight.inputs import open_inputs
from fakevlm.errors import UserError
from tests.fakevlm.data.labelled import QUESTION, fields, png
from tests.striped import settings

pytestmark = pytest.mark.unit

GPT = {"from": "gpt", "value": "This is a real image. The fur is even."}
MORE = [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]


def answered(text: str) -> dict[str, Any]:
    return {"conversations": [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": text}]}


CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "another question": {"conversations": [{"from": "human", "value": "<image>Is it real?"}, GPT]},
    "later turns": {"conversations": [{"from": "human", "value": QUESTION}, GPT, *MORE]},
    "a repeated image": {"image": "b.png"},
    "no verdict first": answered("The image is real. The fur is even."),
    "an article more": answered("This is an authentic, real image."),
    "no word where the score is read": answered("This is a clearly real image."),
    "a capital": answered("This is a Real image."),
    "another label": answered("This is a fake image."),
    "no verdict": answered("This is a fine image."),
    "an empty answer": answered(" "),
    "a long answer": answered("This is a real image. " + "The fur is even. " * 400),
    "an image in the answer": answered("This is a real image. <image>"),
    "an absolute path": {"image": "/b.png"},
    "an unknown category": {"cate": "cat"},
    "no image": {"image": "gone.png"},
}
TAKEN = ("as it is", "another question", "later turns", "a repeated image")


@pytest.mark.parametrize("change", CHANGES)
def test_validate_and_training_agree(
    change: str,
    tiny_model: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.png", "b.png", "c.png"):
        (data / name).write_bytes(png())
    items = [fields("a.png") | CHANGES[change], fields("b.png"), fields("c.png", 0)]
    (data / "train.json").write_text(json.dumps(items))
    with pytest.raises(SystemExit) as exit:
        main(["data", "validate", str(data), "--model", str(tiny_model), "--max-length", "300"])
    out, _ = capfd.readouterr()
    assert exit.value.code == (0 if change in TAKEN else 1), out
    config = TrainConfig.model_validate(settings(tiny_model, data, tmp_path / "runs") | {"max_length": 300})
    if change not in TAKEN:
        with pytest.raises(UserError, match=r"^(?:data|max_length): "):
            check(config, open_inputs(config))
        return
    inputs = open_inputs(config)
    check(config, inputs)
    assert inputs.plan.samples == 3
    warnings = [line.removeprefix("warning: ") for line in out.splitlines() if line.startswith("warning: ")]
    said = [record.getMessage().removeprefix("data: ") for record in caplog.records if "data: " in record.getMessage()]
    assert len(said) == len(warnings) == (0 if change == "as it is" else 1)
    assert all(line.startswith(warning.rpartition(":")[0]) for line, warning in zip(said, warnings, strict=True))


def test_the_checkpoints_own_prompt_decides(
    tiny_model: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model"
    shutil.copytree(tiny_model, model)
    card = json.loads((model / "fakevlm.json").read_text()) if (model / "fakevlm.json").exists() else {}
    prompt = {"question": "<image>Real or fake?", "prompt_format": "raw", "answer_prefix": "It is"}
    (model / "fakevlm.json").write_text(json.dumps({**card, "prompt": prompt}))
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "train.json").write_text(json.dumps([fields("a.png", answer="It is real.")]))
    for arguments, status in ((["--model", str(model)], 0), ([], 1)):
        with pytest.raises(SystemExit) as exit:
            main(["data", "validate", str(tmp_path / "train.json"), *arguments])
        assert exit.value.code == status, capfd.readouterr().out
