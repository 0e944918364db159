"""Settings: flags over YAML, and every mistake as one line that names the setting."""

from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.options.flags import split_extensions, store_from_flags
from fakescan.cli.scan import scan_config
from fakescan.engine.config import SimulatedConfig, VllmConfig
from fakescan.scan.config import ScanConfig
from fakescan.settings.replicas import Replicas
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit


def from_yaml(tmp_path: Path, text: str, **flags: Any) -> ScanConfig:
    path = tmp_path / "scan.yaml"
    path.write_text(text)
    return scan_config(path, flags)


def refused(*arguments: Any, **flags: Any) -> str:
    """What the user is told."""
    with pytest.raises(UserError) as caught:
        scan_config(None, {"source": "/images", "output": "/out", **flags}) if not arguments else from_yaml(
            *arguments, **flags
        )
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_flags_alone() -> None:
    config = scan_config(None, {"source": "/images", "output": "/out", "explain": "all", "threshold": None})
    assert config == ScanConfig(source="/images", output="/out", explain="all")
    assert isinstance(config.engine, VllmConfig)


def test_a_file_alone(tmp_path: Path) -> None:
    config = from_yaml(
        tmp_path,
        """
        source: s3://b/images
        output: s3://b/run
        replicas: 1-4
        explain: none
        engine: {kind: fake, step_s: 0.5}
        input_store: {endpoint_url: "http://e:1", options: {key: "env:KEY"}}
        """,
    )
    assert config.replicas == Replicas(low=1, high=4)
    assert config.engine == SimulatedConfig(step_s=0.5)
    assert config.explain == "none"
    assert config.input_store.endpoint_url == "http://e:1"


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    text = "source: /images\noutput: /out\nexplain: none\nlimit: 5\nretry_errors: true"
    config = from_yaml(tmp_path, text, explain="all", limit=None, retry_errors=False)
    assert (config.explain, config.limit, config.retry_errors) == ("all", 5, True)


def test_patterns_from_a_file_and_from_flags(tmp_path: Path) -> None:
    text = "source: /images\noutput: /out\nglobs: ['*.jpg']\nexclude: ['thumbs/**', '*_small.jpg']"
    assert from_yaml(tmp_path, text).exclude == ("thumbs/**", "*_small.jpg")
    assert from_yaml(tmp_path, text, exclude=()).exclude == ("thumbs/**", "*_small.jpg")
    assert from_yaml(tmp_path, text, exclude=("x/*",)).exclude == ("x/*",)
    assert "exclude" in refused(tmp_path, "source: /images\noutput: /out\nexclude: '*.jpg'")


def test_store_flags_are_joined_with_the_files_store(tmp_path: Path) -> None:
    text = "source: /images\noutput: /out\ninput_store: {region: eu-west-1, options: {key: a}}"
    config = from_yaml(tmp_path, text, input_endpoint="http://e:1", output_profile="p", model_anon=True)
    assert (config.input_store.region, config.input_store.endpoint_url) == ("eu-west-1", "http://e:1")
    assert config.output_store.profile == "p"
    assert config.model_store.anon


def test_an_option_flag_keeps_the_files_other_options(tmp_path: Path) -> None:
    text = "source: /images\noutput: /out\ninput_store: {options: {key: a}}"
    config = from_yaml(tmp_path, text, input_option=("secret=b=c",))
    assert {name: value.get_secret_value() for name, value in config.input_store.options.items()} == {
        "key": "a",
        "secret": "b=c",
    }


@pytest.mark.parametrize(
    ("text", "flag", "engine"),
    [
        ("engine: fake", None, SimulatedConfig()),
        ("engine: {kind: fake, tokens: 3}", None, SimulatedConfig(tokens=3)),
        ("engine: {kind: fake, tokens: 3}", "fake", SimulatedConfig(tokens=3)),
        ("engine: {kind: fake, tokens: 3}", "vllm", VllmConfig()),
        ("engine: {dtype: float32}", "vllm", VllmConfig(dtype="float32")),
        ("engine: {dtype: float32}", "fake", SimulatedConfig()),
        ("engine: {dtype: float32}", None, VllmConfig(dtype="float32")),
        ("{}", "fake", SimulatedConfig()),
    ],
)
def test_the_engine_from_a_flag_a_file_or_both(
    tmp_path: Path, text: str, flag: str | None, engine: VllmConfig | SimulatedConfig
) -> None:
    config = from_yaml(tmp_path, text, source="/images", output="/out", engine=flag)
    assert config.engine == engine


@pytest.mark.parametrize(
    ("text", "replicas"),
    [("3", Replicas(low=3, high=3)), ("2-5", Replicas(low=2, high=5)), (4, Replicas(low=4, high=4))],
)
def test_replicas(text: str | int, replicas: Replicas) -> None:
    assert scan_config(None, {"source": "/images", "output": "/out", "replicas": text}).replicas == replicas


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        ({"source": None}, ["source", "missing", "SOURCE"]),
        ({"output": None}, ["output", "missing", "--output"]),
        ({"output": ""}, ["output", "missing"]),
        ({"threshold": 0.0}, ["threshold", "greater than 0", "0.0"]),
        ({"threshold": 1.0}, ["threshold", "less than 1"]),
        ({"threshold": -3.0}, ["threshold", "-3"]),
        ({"threshold": float("nan")}, ["threshold"]),
        ({"explain": "some"}, ["explain", "'fakes'", "'some'"]),
        ({"replicas": "0"}, ["replicas", "greater than or equal to 1"]),
        ({"replicas": "4-2"}, ["replicas", "4-2", "smaller number first"]),
        ({"replicas": "many"}, ["replicas", "'many'", "1-4"]),
        ({"replicas": "-1"}, ["replicas", "'-1'"]),
        ({"limit": 3, "sample": 3}, ["limit and sample exclude each other"]),
        ({"limit": -1}, ["limit", "-1"]),
        ({"limit": 0}, ["limit", "0"]),
        ({"sample": 0}, ["sample", "0"]),
        ({"shard_rows": 0}, ["shard_rows"]),
        ({"shard_rows": 5000}, ["shard_rows", "4096"]),
        ({"max_new_tokens": 0}, ["max_new_tokens"]),
        ({"max_error_rate": 1.5}, ["max_error_rate"]),
        ({"gpus_per_replica": -1.0}, ["gpus_per_replica"]),
        ({"engine": "tensorrt"}, ["engine", "tensorrt"]),
        ({"input_option": ("novalue",)}, ["--input-option", "'novalue'", "KEY=VALUE"]),
        ({"threshold": 7.0, "explain": "some"}, ["and 1 more"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else None,
)
def test_wrong_flags(flags: dict[str, Any], words: list[str]) -> None:
    message = refused(**flags)
    for word in words:
        assert word in message, message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("sauce: /images", ["sauce", "unknown setting"]),
        ("engine: {kind: fake, speed: 3}", ["engine", "speed", "unknown setting"]),
        ("engine: {kind: vllm, step_s: 3}", ["engine", "step_s", "unknown setting"]),
        ("input_store: {endpoint: x}", ["input_store", "endpoint", "unknown setting"]),
        ("input_store: s3.example.org", ["input_store"]),
        ("replicas: true", ["replicas"]),
        ("replicas: {low: 1, high: 2, middle: 3}", ["replicas", "middle"]),
        ("- a\n- b", ["must hold settings as `name: value` lines"]),
        ("just words", ["must hold settings"]),
        ("", ["must hold settings"]),
        ("a: [", ["is not YAML"]),
    ],
)
def test_wrong_files(tmp_path: Path, text: str, words: list[str]) -> None:
    message = refused(tmp_path, text, source="/images", output="/out")
    for word in words:
        assert word in message, message


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--config: cannot read .*none\.yaml: No such file"):
        scan_config(tmp_path / "none.yaml", {})
    with pytest.raises(UserError, match="--config: cannot read"):
        scan_config(tmp_path, {})
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is not YAML"):
        scan_config(tmp_path / "binary.yaml", {})


def test_a_wrong_store_never_shows_its_secret(tmp_path: Path) -> None:
    message = refused(tmp_path, "input_store: {options: {key: hidden}, anon: hidden}", source="/images", output="/out")
    assert "hidden" not in message
    assert "input_store" in message


def test_a_store_from_flags() -> None:
    store = store_from_flags("input", {"input_endpoint": "http://e:1", "input_anon": True, "output_region": "x"})
    assert (store.endpoint_url, store.anon, store.region) == ("http://e:1", True, None)


def test_columns_to_keep(tmp_path: Path) -> None:
    required = {"source": "/images", "output": "/out"}
    assert scan_config(None, {**required, "keep_columns": "id, my label"}).keep_columns == ("id", "my label")
    assert scan_config(None, {**required, "keep_columns": None}).keep_columns is None
    file = tmp_path / "scan.yaml"
    file.write_text("keep_columns: [id, 'last, first']\n")
    assert scan_config(file, required).keep_columns == ("id", "last, first")
    assert scan_config(file, {**required, "keep_columns": "x"}).keep_columns == ("x",)
    for text in ("keep_columns: id", "keep_columns: [2024]", "keep_columns: {id: 1}"):
        assert refused(tmp_path, text, **required).startswith("keep_columns")


def test_extensions() -> None:
    assert split_extensions("jpg, png,") == ("jpg", "png")
    assert split_extensions(None) is None
    assert split_extensions("") is None
    with pytest.raises(UserError, match="names none"):
        split_extensions(" , ")
