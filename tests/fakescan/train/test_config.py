"""Settings of a training: every mistake is one line that names the setting."""

from pathlib import Path

import pytest

from fakescan.cli.train import train_config
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit

ROOT = Path(__file__).parents[3]
LEAST = "model: m\ndata: d\nstorage_path: s\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("bacth_size: 3", "bacth_size: unknown setting (did you mean batch_size?)"),
        ("llm: {mood: full}", "llm.mood: unknown setting"),
        ("batch_size: 30\nworkers: 4", "batch_size 30 is not a multiple of workers 4 x micro_batch 4"),
        ("lr: -1", "lr: "),
        ("zero: 1", "zero: "),
        ("llm: {mode: frozen}\nvision: {mode: frozen}\nprojector: {mode: frozen}", "nothing would be trained"),
        ("quantize: nf4", "set llm.mode to lora"),
        ("name: a/b", "name 'a/b' must be the name of a folder"),
    ],
)
def test_mistakes(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(f"{LEAST}{text}\n")
    with pytest.raises(UserError) as caught:
        train_config(file)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("missing", ["model", "data", "storage_path"])
def test_what_is_missing_is_named(tmp_path: Path, missing: str) -> None:
    file = tmp_path / "train.yaml"
    file.write_text("".join(line + "\n" for line in LEAST.splitlines() if not line.startswith(missing)))
    with pytest.raises(UserError, match=f"^{missing}: missing"):
        train_config(file)


def test_set_changes_settings_of_parts_too(tmp_path: Path) -> None:
    file = tmp_path / "train.yaml"
    file.write_text(LEAST)
    config = train_config(file, ("llm.mode=lora", "lora.rank=8", "lr=1.0e-4"))
    assert (config.llm.mode, config.lora.rank, config.lr) == ("lora", 8, 1e-4)
    with pytest.raises(UserError, match="is not NAME=VALUE"):
        train_config(file, ("lr",))


@pytest.mark.parametrize("recipe", ["fakevlm-7b", "lora-7b", "small"])
def test_the_recipes_are_sound(recipe: str) -> None:
    changes = ("model=m", "data=d", "storage_path=s") if recipe == "small" else ()
    config = train_config(ROOT / "jobs" / f"{recipe}.yaml", changes)
    assert config.accumulate >= 1


def test_the_published_recipe() -> None:
    config = train_config(ROOT / "jobs" / "fakevlm-7b.yaml")
    assert (config.lr, config.epochs, config.workers * config.micro_batch) == (2e-5, 2, 8 * 32)
    assert (config.warmup_ratio, config.weight_decay, config.zero, config.max_length) == (0.03, 0.0, 2, 1024)
    assert {config.llm.mode, config.vision.mode, config.projector.mode} == {"full"}
    assert config.gradient_checkpointing
    assert config.precision == "bf16"
