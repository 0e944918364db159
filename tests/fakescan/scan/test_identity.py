"""Identity: a run is resumed only with the settings that it was started with, as far as they change a row."""

import json
from pathlib import Path
from typing import Any

import pytest

from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.engine.judging_options import JudgingOptions
from fakescan.run.identity import Identity
from fakescan.run.run_file import RunFile, new_run, refuse_change
from fakescan.scan.config import ScanConfig
from fakescan.scan.start.prepare import identity_of
from fakevlm.checkpoint.checkpoint import Checkpoint
from fakevlm.errors import UserError
from fakevlm.preprocess import ImageSpec
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Calibration

pytestmark = pytest.mark.unit


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    """What the identity reads of a checkpoint."""
    return Checkpoint(
        location="owner/model",
        path=Path("/nowhere"),
        prompt=PromptSpec(),
        calibration=Calibration(),
        image=ImageSpec(shortest_edge=84, crop=(84, 84)),
        image_tokens=36,
        prompt_tokens=50,
        max_model_len=4096,
        fake_token_id=7,
        real_token_id=8,
        trained=False,
        notice="",
        weights_sha256="0123456789abcdef" * 4,
        dtype="float32",
    )


def of(checkpoint: Checkpoint, *, ask: JudgingOptions | None = None, **settings: Any) -> Identity:
    config = ScanConfig.model_validate({"source": "s3://b/images", "output": "/out", **settings})
    return identity_of(config, checkpoint, ask or JudgingOptions())


def refused(before: Identity, now: Identity, shard_rows: int | None = None) -> str:
    run = new_run(before, "m", None, fingerprint="f", rows=100, population=100, shard_rows=16)
    with pytest.raises(UserError) as caught:
        refuse_change("s3://b/run", run, now, shard_rows)
    message = str(caught.value)
    assert message.startswith("output: s3://b/run was started with different settings (")
    assert "\n" not in message
    return message.partition("(")[2]


def test_the_same_settings_may_go_on(checkpoint: Checkpoint) -> None:
    run = new_run(of(checkpoint), "m", None, fingerprint="f", rows=100, population=100, shard_rows=16)
    refuse_change("s3://b/run", run, of(checkpoint), None)
    refuse_change("s3://b/run", run, of(checkpoint), 16)


@pytest.mark.parametrize(
    "settings",
    [
        {"replicas": "1-4"},
        {"gpus_per_replica": 0.5},
        {"device": "cpu"},
        {"output": "/other"},
        {"retry_errors": True},
        {"dedupe": True},
        {"break_lease": True},
        {"max_error_rate": 0.1},
        {"fetch_concurrency": 3},
        {"fetch_timeout_s": 1},
        {"engine": {"kind": "vllm", "max_num_seqs": 4, "cpu_threads": 1, "gpu_memory_utilization": 0.5}},
        {"input_store": {"endpoint_url": "http://elsewhere:1", "options": {"key": "other"}}},
    ],
    ids=lambda settings: next(iter(settings)),
)
def test_settings_that_change_no_row_may_change(checkpoint: Checkpoint, settings: dict[str, Any]) -> None:
    run = new_run(of(checkpoint), "m", None, fingerprint="f", rows=100, population=100, shard_rows=16)
    refuse_change("s3://b/run", run, of(checkpoint, **settings), None)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"source": "s3://b/others"}, "source was s3://b/images, now s3://b/others"),
        ({"globs": ["*.jpg"]}, "globs"),
        ({"exclude": ["*.png"]}, "exclude"),
        ({"extensions": ["jpg"]}, "extensions was not set"),
        ({"limit": 5}, "limit was not set, now 5"),
        ({"sample": 5}, "sample was not set, now 5"),
        ({"new_since": "s3://b/earlier"}, "new_since"),
        ({"keep_columns": ["id", "label"]}, "keep_columns was not set, now id,label"),
        ({"engine": {"kind": "fake"}}, "engine was vllm, now fake"),
        ({"engine": {"kind": "vllm", "dtype": "bfloat16"}}, "dtype was auto, now bfloat16"),
        ({"max_bytes": 5}, "max_bytes was 67108864, now 5"),
        ({"max_pixels": 5}, "max_pixels was 100000000, now 5"),
        ({"decode": "fast"}, "decode was exact, now fast"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_settings_that_change_rows_are_refused(checkpoint: Checkpoint, settings: dict[str, Any], words: str) -> None:
    assert words in refused(of(checkpoint), of(checkpoint, **settings))


@pytest.mark.parametrize(
    ("ask", "words"),
    [
        (JudgingOptions(explain="all"), "explain was fakes, now all"),
        (JudgingOptions(max_new_tokens=7), "max_new_tokens was 256, now 7"),
        (JudgingOptions(calibration=Calibration(threshold=0.9)), "calibration.threshold was 0.5, now 0.9"),
        (
            JudgingOptions(calibration=Calibration(temperature=2.0, bias=1.0)),
            "calibration.temperature was 1.0, now 2.0",
        ),
    ],
)
def test_another_question_is_refused(checkpoint: Checkpoint, ask: JudgingOptions, words: str) -> None:
    assert words in refused(of(checkpoint), of(checkpoint, ask=ask))


def test_another_model_is_refused_by_its_weights_and_not_by_its_name(checkpoint: Checkpoint) -> None:
    other = of(checkpoint).model_copy(update={"weights_sha256": "f" * 64})
    assert f"weights_sha256 was {checkpoint.weights_sha256[:12]}…, now ffffffffffff…" in refused(of(checkpoint), other)
    run = new_run(of(checkpoint), "m", None, fingerprint="f", rows=100, population=100, shard_rows=16)
    refuse_change("s3://b/run", run, of(checkpoint, model="/a/copy/elsewhere"), None)


def test_a_run_from_before_there_were_kept_columns_goes_on(checkpoint: Checkpoint) -> None:
    run = new_run(of(checkpoint), "m", None, fingerprint="f", rows=100, population=100, shard_rows=16)
    stored = json.loads(run.model_dump_json())
    assert stored["identity"]["selection"].pop("keep_columns") == []
    earlier = RunFile.model_validate_json(json.dumps(stored))
    refuse_change("s3://b/run", earlier, of(checkpoint), None)
    with pytest.raises(UserError, match=r"keep_columns was not set, now id\)"):
        refuse_change("s3://b/run", earlier, of(checkpoint, keep_columns=["id"]), None)
    assert "keep_columns was id,label, now label,id" in refused(
        of(checkpoint, keep_columns=["id", "label"]), of(checkpoint, keep_columns=["label", "id"])
    )


def test_a_run_from_before_there_was_a_choice_of_decoding_is_exact(checkpoint: Checkpoint) -> None:
    run = new_run(of(checkpoint), "m", None, fingerprint="f", rows=100, population=100, shard_rows=16)
    stored = json.loads(run.model_dump_json())
    assert stored["identity"].pop("decode") == "exact"
    earlier = RunFile.model_validate_json(json.dumps(stored))
    refuse_change("s3://b/run", earlier, of(checkpoint), None)
    with pytest.raises(UserError, match=r"decode was exact, now fast\)"):
        refuse_change("s3://b/run", earlier, of(checkpoint, decode="fast"), None)
    assert "decode was fast, now exact" in refused(of(checkpoint, decode="fast"), of(checkpoint))


def test_another_look_needs_exact_decoding() -> None:
    with pytest.raises(ValueError, match="decode: images are looked at again as they are"):
        ScanConfig(source="a", output="b", decode="fast", stability="flagged")


def test_another_cut_is_refused(checkpoint: Checkpoint) -> None:
    assert "shard_rows was 16, now 32" in refused(of(checkpoint), of(checkpoint), shard_rows=32)


def test_every_difference_is_named(checkpoint: Checkpoint) -> None:
    message = refused(
        of(checkpoint), of(checkpoint, limit=5, max_bytes=5, ask=JudgingOptions(explain="all")), shard_rows=32
    )
    for name in ("limit", "max_bytes", "explain", "shard_rows"):
        assert name in message


def test_an_identity_holds_no_secrets(checkpoint: Checkpoint) -> None:
    one = of(
        checkpoint,
        source="https://user:hidden@host/list.csv?X-Amz-Signature=hidden",
        new_since="https://user:hidden@host/run?sig=hidden",
        input_store={"options": {"secret": "hidden"}},
    )
    assert "hidden" not in one.model_dump_json()
    assert one.selection.source == "https://host/list.csv"


@pytest.mark.parametrize("config", [VllmConfig(), SimulatedConfig(step_s=1)])
def test_the_engine_is_part_of_the_identity(checkpoint: Checkpoint, config: VllmConfig | SimulatedConfig) -> None:
    one = of(checkpoint, engine=config)
    assert (one.engine, one.dtype) == (("vllm", "auto") if config.kind == "vllm" else ("fake", None))
    assert one.weights_sha256 == checkpoint.weights_sha256
    assert one.trained is False


def test_a_run_from_before_a_setting_was_there_goes_on(checkpoint: Checkpoint) -> None:
    run = new_run(of(checkpoint), "m", None, fingerprint="f", rows=100, population=100, shard_rows=16)
    written = run.model_dump(mode="json")
    del written["identity"]["selection"]["exclude"]
    earlier = RunFile.model_validate(written)
    refuse_change("s3://b/run", earlier, of(checkpoint), None)
    with pytest.raises(UserError, match="exclude"):
        refuse_change("s3://b/run", earlier, of(checkpoint, exclude=["*.png"]), None)
