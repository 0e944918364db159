"""Opening checkpoints of every layout from every place, and the one line that says what is wrong with a bad one."""

import hashlib
import json
import shutil
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.memory import MemoryFileSystem
from safetensors import safe_open

from fakevlm.checkpoint.cache import build_once
from fakevlm.checkpoint.card import Card, read_card, write_card
from fakevlm.checkpoint.checkpoint import Checkpoint, open_checkpoint
from fakevlm.checkpoint.layout import hub_name
from fakevlm.checkpoint.self_test import self_test
from fakevlm.errors import UserError
from fakevlm.prompt import PromptSpec
from fakevlm.verdict import Calibration
from tests.fakevlm.checkpoint.twin import build_twin

pytestmark = pytest.mark.unit

WEIGHTS = "model.safetensors"
PUBLISHED_PREFIXES = (
    "language_model.model.",
    "language_model.lm_head.",
    "vision_tower.vision_model.",
    "multi_modal_projector.",
)
VICUNA_TEMPLATE = (
    "{% for message in messages %}{{ message['role'].upper() + ': ' }}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}{{ '<image>\n' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}{{ content['text'] + ' ' }}"
    "{% endfor %}{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)


@pytest.fixture(scope="module")
def twin_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_twin(tmp_path_factory.mktemp("twin") / "fakeVLM")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def tiny(tiny_model: Path, tmp_path: Path) -> Path:
    """A copy that the test may spoil."""
    return Path(shutil.copytree(tiny_model, tmp_path / "tiny"))


@pytest.fixture
def twin(twin_model: Path, tmp_path: Path) -> Path:
    """A copy that the test may spoil."""
    return Path(shutil.copytree(twin_model, tmp_path / "fakeVLM"))


def edit(file: Path, **changes: Any) -> None:
    """Change keys of a JSON file; `outer__inner` reaches inside, None removes."""
    content = json.loads(file.read_text())
    for key, value in changes.items():
        *outer, last = key.split("__")
        place = content
        for name in outer:
            place = place[name]
        if value is None:
            place.pop(last)
        else:
            place[last] = value
    file.write_text(json.dumps(content))


def renamed(file: Path, rename: Callable[[str], str]) -> None:
    """Rewrite the header of a safetensors file with other tensor names."""
    data = file.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = {rename(name): entry for name, entry in json.loads(data[8 : 8 + length]).items()}
    text = json.dumps(header).encode()
    file.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length :])


def tensor_names(folder: Path) -> list[str]:
    names: list[str] = []
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "np") as opened:
            names += opened.keys()
    return names


# What opens


def test_the_tiny_model_opens_where_it_lies(tiny_model: Path, cache: Path) -> None:
    checkpoint = open_checkpoint(str(tiny_model), cache_dir=cache)
    self_test(checkpoint)
    assert checkpoint.path == tiny_model
    assert not checkpoint.trained
    assert (checkpoint.image.height, checkpoint.image.width) == (112, 112)
    assert checkpoint.image_tokens == 64
    assert checkpoint.dtype == "float32"
    assert checkpoint.weights_sha256 == hashlib.sha256((tiny_model / WEIGHTS).read_bytes()).hexdigest()


def test_the_twin_of_the_released_model_opens_through_a_view(twin_model: Path, cache: Path) -> None:
    checkpoint = open_checkpoint(str(twin_model), cache_dir=cache)
    self_test(checkpoint)
    assert checkpoint.trained
    assert checkpoint.prompt == PromptSpec()
    assert (checkpoint.image.height, checkpoint.image_tokens, checkpoint.dtype) == (336, 576, "float16")
    assert json.loads((checkpoint.path / "processor_config.json").read_text()) == {
        "patch_size": 14,
        "vision_feature_select_strategy": "default",
        "num_additional_image_tokens": 1,
        "image_token": "<image>",
        "processor_class": "LlavaProcessor",
    }
    assert not (twin_model / "processor_config.json").exists()
    shards = sorted(twin_model.glob("*.safetensors"))
    assert len(shards) == 2
    assert all((checkpoint.path / shard.name).is_symlink() for shard in shards)
    whole = b"".join(shard.read_bytes() for shard in shards)
    assert checkpoint.weights_sha256 == hashlib.sha256(whole).hexdigest()


def test_the_twin_has_the_published_names_and_ids(twin_model: Path) -> None:
    assert all(name.startswith(PUBLISHED_PREFIXES) for name in tensor_names(twin_model))
    config = json.loads((twin_model / "config.json").read_text())
    assert (config["image_token_index"], config["pad_token_id"], config["text_config"]["vocab_size"]) == (
        32000,
        32001,
        32064,
    )
    assert config["transformers_version"] == "4.45.2"
    assert not (twin_model / "fakevlm.json").exists()


TRANSFORMERS_5 = {"vision_tower.vision_model.": "vision_tower."}
TRANSFORMERS_4_52 = {
    "language_model.model.": "model.language_model.",
    "language_model.lm_head.": "lm_head.",
    "vision_tower.": "model.vision_tower.",
    "multi_modal_projector.": "model.multi_modal_projector.",
}
IN_MEMORY_5 = {**TRANSFORMERS_4_52, "vision_tower.vision_model.": "model.vision_tower."}


@pytest.mark.parametrize("layout", [TRANSFORMERS_5, TRANSFORMERS_4_52, IN_MEMORY_5])
@pytest.mark.parametrize("kind", ["one file", "shards"])
def test_other_layouts_become_the_published_one(
    layout: dict[str, str], kind: str, tiny: Path, twin: Path, cache: Path
) -> None:
    folder = tiny if kind == "one file" else twin
    published = tensor_names(folder)

    def rename(name: str) -> str:
        fitting = [old for old in layout if name.startswith(old)]
        return name.replace(old, layout[old], 1) if (old := max(fitting, key=len, default="")) else name

    for file in folder.glob("*.safetensors"):
        renamed(file, rename)
    index = folder / "model.safetensors.index.json"
    if index.exists():
        edit(index, weight_map={rename(n): f for n, f in json.loads(index.read_text())["weight_map"].items()})
    assert tensor_names(folder) != published

    checkpoint = open_checkpoint(str(folder), cache_dir=cache)
    self_test(checkpoint)
    assert tensor_names(checkpoint.path) == published
    if index.exists():
        placed = json.loads((checkpoint.path / index.name).read_text())["weight_map"]
        assert sorted(placed) == sorted(published)
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, "pt") as before, safe_open(checkpoint.path / file.name, "pt") as after:
            for name in before.keys():  # noqa: SIM118 - it is no dict
                assert (before.get_tensor(name) == after.get_tensor(hub_name(name))).all()


def test_transformers_5_keeps_the_image_processor_inside_the_processor(tiny: Path, cache: Path) -> None:
    settings = json.loads((tiny / "preprocessor_config.json").read_text())
    expected = open_checkpoint(str(tiny), cache_dir=cache).image
    (tiny / "preprocessor_config.json").unlink()
    edit(tiny / "processor_config.json", image_processor=settings)
    assert open_checkpoint(str(tiny), cache_dir=cache).image == expected


@pytest.mark.parametrize("lacking", ["patch_size", "vision_feature_select_strategy", "num_additional_image_tokens"])
def test_each_missing_processor_setting_is_added(lacking: str, tiny: Path, cache: Path) -> None:
    whole = json.loads((tiny / "processor_config.json").read_text())
    edit(tiny / "processor_config.json", **{lacking: None})
    checkpoint = open_checkpoint(str(tiny), cache_dir=cache)
    self_test(checkpoint)
    assert json.loads((checkpoint.path / "processor_config.json").read_text()) == whole


def test_a_view_is_made_once_and_again_when_the_original_changes(twin: Path, cache: Path) -> None:
    first = open_checkpoint(str(twin), cache_dir=cache)
    made = (first.path / "config.json").stat().st_mtime_ns
    write_card(twin, Card(calibration=Calibration(bias=1.0)))
    again = open_checkpoint(str(twin), cache_dir=cache)
    assert again.path == first.path
    assert (again.path / "config.json").stat().st_mtime_ns == made
    assert again.calibration.bias == 1.0
    edit(twin / "config.json", ignore_index=-1)
    assert open_checkpoint(str(twin), cache_dir=cache).path != first.path


def test_the_hash_of_the_weights_is_remembered_and_follows_them(tiny: Path, cache: Path) -> None:
    before = open_checkpoint(str(tiny), cache_dir=cache).weights_sha256
    assert [file.read_text() for file in (cache / "sha256").iterdir()] == [before]
    data = bytearray((tiny / WEIGHTS).read_bytes())
    data[-1] ^= 1
    (tiny / WEIGHTS).write_bytes(data)
    after = open_checkpoint(str(tiny), cache_dir=cache).weights_sha256
    assert after == hashlib.sha256(data).hexdigest() != before


def test_a_card_is_read_back(tiny: Path, cache: Path) -> None:
    card = Card(
        prompt=PromptSpec(prompt_format="chat"), calibration=Calibration(temperature=2.0, threshold=0.7), trained=True
    )
    write_card(tiny, card)
    assert read_card(tiny) == card
    checkpoint = open_checkpoint(str(tiny), cache_dir=cache)
    self_test(checkpoint)
    assert (checkpoint.prompt, checkpoint.calibration, checkpoint.trained) == (card.prompt, card.calibration, True)


# What is refused

CONFIG, TOKENIZER, PROCESSOR, IMAGES = (
    "config.json",
    "tokenizer.json",
    "processor_config.json",
    "preprocessor_config.json",
)
INDEX = "model.safetensors.index.json"


def add_token(folder: Path) -> None:
    content = json.loads((folder / TOKENIZER).read_text())
    content["added_tokens"].append({**content["added_tokens"][-1], "id": 5000, "content": "<more>"})
    content["model"]["vocab"]["<more>"] = 5000
    (folder / TOKENIZER).write_text(json.dumps(content))


def drop(*names: str) -> Callable[[Path], None]:
    return lambda folder: [(folder / name).unlink() for name in names] and None


def change(name: str, **changes: Any) -> Callable[[Path], None]:
    return lambda folder: edit(folder / name, **changes)


def write(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes(content) and None


def cut(name: str, kept: int) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:kept]) and None


def card(**settings: Any) -> Callable[[Path], None]:
    return lambda folder: write_card(folder, Card(**settings))


def only_adapter(folder: Path) -> None:
    (folder / CONFIG).rename(folder / "adapter_config.json")


def only_pickles(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder / "pytorch_model-00001-of-00002.bin")


def only_sentencepiece(folder: Path) -> None:
    (folder / TOKENIZER).rename(folder / "tokenizer.model")


def lose_a_tensor(folder: Path) -> None:
    renamed(folder / WEIGHTS, lambda name: name.replace("layers.1.mlp.up_proj", "layers.9.mlp.up_proj"))


BAD_TINY: dict[str, tuple[Callable[[Path], Any], str]] = {
    "no config": (drop(CONFIG), "lacks config.json"),
    "config is no JSON": (write(CONFIG, b"{"), "config.json cannot be read"),
    "config is a list": (write(CONFIG, b"[]"), "config.json is not a JSON object"),
    "an adapter": (only_adapter, "adapter: merge it"),
    "another model": (change(CONFIG, architectures=["LlamaForCausalLM"], model_type="llama"), "is a LlamaForCausalLM"),
    "another LLaVA": (change(CONFIG, architectures=["LlavaNextForConditionalGeneration"]), "LlavaNextFor"),
    "another tower": (change(CONFIG, vision_config__model_type="siglip_vision_model"), "siglip_vision_model"),
    "another language model": (change(CONFIG, text_config__model_type="qwen2"), "qwen2"),
    "no vision config": (change(CONFIG, vision_config=None), "lacks vision_config"),
    "no weights": (drop(WEIGHTS), "neither model.safetensors nor model.safetensors.index.json"),
    "pickled weights": (only_pickles, "pytorch_model-00001-of-00002.bin must be converted"),
    "header damaged": (write(WEIGHTS, b"\x10\0\0\0\0\0\0\0garbage, garbage"), "header is damaged"),
    "header length nonsense": (write(WEIGHTS, b"\xff" * 64), "header is damaged"),
    "header of nothing": (write(WEIGHTS, b""), "header is damaged"),
    "weights cut off": (cut(WEIGHTS, 100_000), "has 100000 bytes, its header says"),
    "a tensor missing": (lose_a_tensor, "lacks the tensor language_model.model.layers.1.mlp.up_proj.weight"),
    "more layers in config": (
        change(CONFIG, text_config__num_hidden_layers=4),
        "layers.3.input_layernorm.weight (and 8",
    ),
    "vocabulary mismatch": (change(CONFIG, text_config__vocab_size=2048), "[1024, 192], config.json says [2048, 192]"),
    "patch mismatch": (
        change(CONFIG, vision_config__patch_size=12),
        "patch_embedding.weight has the shape [192, 3, 14, 14]",
    ),
    "image size mismatch": (
        change(CONFIG, vision_config__image_size=98),
        "position_embedding.weight has the shape [65",
    ),
    "no tokenizer": (drop(TOKENIZER), "lacks tokenizer.json"),
    "sentencepiece only": (only_sentencepiece, "lacks tokenizer.json, only tokenizer.model"),
    "tokenizer damaged": (write(TOKENIZER, b'{"version": "1.0"}'), "is not a tokenizer"),
    "no image processor": (drop(IMAGES), "lacks its image processor, preprocessor_config.json"),
    "foreign image processor": (change(IMAGES, image_processor_type="SiglipImageProcessor"), "SiglipImageProcessor"),
    "two-token word": (
        card(prompt=PromptSpec(real_word="authentic")),
        "'authentic' is 5 tokens after the answer prefix",
    ),
    "card misspelt": (write("fakevlm.json", b'{"calibratoin": {}}'), "fakevlm.json: calibratoin: Extra inputs"),
    "card out of range": (write("fakevlm.json", b'{"calibration": {"threshold": 2}}'), "calibration.threshold: "),
    "crop mismatch": (
        change(IMAGES, crop_size={"height": 98, "width": 98}),
        "98 x 98 pixels, the vision tower takes 112 x 112",
    ),
    "processor patch": (change(PROCESSOR, patch_size=12), "patch_size is 12 in the processor, 14 in the model"),
    "processor count": (change(PROCESSOR, num_additional_image_tokens=0), "63 image tokens into the prompt"),
    "strategy mismatch": (change(PROCESSOR, vision_feature_select_strategy="full"), "65 image tokens into the prompt"),
    "tokenizer too big": (add_token, "the tokenizer has 5001 tokens, the embedding only 1024"),
    "image token mismatch": (
        change(CONFIG, image_token_index=7),
        "<image> is token 1022 in the tokenizer, 7 in config.json",
    ),
    "pad out of range": (change(CONFIG, pad_token_id=32001), "pad_token_id 32001"),
    "pad is the image": (change(CONFIG, pad_token_id=1022), "pad_token_id 1022"),
    "short context": (change(CONFIG, text_config__max_position_embeddings=81), "takes 81 of 81 positions"),
}


def refusal(location: str | Path, cache: Path, **options: Any) -> str:
    """The one line that opening and testing a checkpoint ends with."""
    with pytest.raises(UserError) as caught:
        self_test(open_checkpoint(str(location), cache_dir=cache, **options))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("name", BAD_TINY)
def test_what_is_wrong_is_named(name: str, tiny: Path, cache: Path) -> None:
    spoil, named = BAD_TINY[name]
    spoil(tiny)
    message = refusal(tiny, cache)
    assert named in message
    assert str(tiny) in message


BAD_TWIN: dict[str, tuple[Callable[[Path], Any], str]] = {
    "a shard missing": (drop("model-00002-of-00002.safetensors"), "lacks the weights shard model-00002-of-00002"),
    "an empty index": (change(INDEX, weight_map={}), "no weight_map"),
    "a tensor in no shard": (change(INDEX, weight_map__new="model-00001-of-00002.safetensors"), "the tensor new"),
    "a shard cut off": (cut("model-00002-of-00002.safetensors", 150_000), "has 150000 bytes"),
}


@pytest.mark.parametrize("name", BAD_TWIN)
def test_what_is_wrong_with_shards_is_named(name: str, twin: Path, cache: Path) -> None:
    spoil, named = BAD_TWIN[name]
    spoil(twin)
    assert named in refusal(twin, cache)


def test_an_empty_folder(tmp_path: Path, cache: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert "lacks config.json: it is not a checkpoint" in refusal(tmp_path / "empty", cache)


@pytest.mark.parametrize("where", ["chat_template.json", "chat_template.jinja", "tokenizer_config.json"])
def test_a_chat_prompt_must_agree_with_the_chat_template(where: str, tiny: Path, cache: Path) -> None:
    def put(template: str) -> None:
        if where.endswith(".jinja"):
            (tiny / where).write_text(template)
        elif (tiny / where).exists():
            edit(tiny / where, chat_template=template)
        else:
            (tiny / where).write_text(json.dumps({"chat_template": template}))

    write_card(tiny, Card(prompt=PromptSpec(prompt_format="chat")))
    put(VICUNA_TEMPLATE)
    self_test(open_checkpoint(str(tiny), cache_dir=cache))
    put(VICUNA_TEMPLATE.replace("ASSISTANT:", "MODEL:"))
    assert "MODEL:" in refusal(tiny, cache)
    put("{{ nonsense( }}")
    assert "chat template fails" in refusal(tiny, cache)
    write_card(tiny, Card(prompt=PromptSpec(prompt_format="raw")))
    self_test(open_checkpoint(str(tiny), cache_dir=cache))


# Places


@pytest.mark.parametrize(
    "location", ["nosuchmodel", "/no/such/model", "./no/such", "~/no/such/model", "file:///no/such"]
)
def test_a_folder_that_is_not_there(location: str, cache: Path) -> None:
    assert "does not exist" in refusal(location, cache)


def test_a_file_is_no_model(tiny: Path, cache: Path) -> None:
    assert "is a file; a model is a folder" in refusal(tiny / CONFIG, cache)


def test_a_file_url(tiny_model: Path, cache: Path) -> None:
    assert open_checkpoint(f"file://{tiny_model}", cache_dir=cache).path == tiny_model


@pytest.fixture
def hub_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    return tmp_path / "hub"


@pytest.mark.parametrize("location", ["lingcco/fakeVLM", "lingcco/fakeVLM@v1.0"])
def test_a_hub_id_without_the_hub(location: str, hub_cache: Path, cache: Path) -> None:
    message = refusal(location, cache)
    assert location in message
    assert "hub cannot be reached" in message


def test_a_hub_id_that_was_downloaded_before(tiny_model: Path, hub_cache: Path, cache: Path) -> None:
    revision = "0123456789012345678901234567890123456789"
    repository = hub_cache / "models--somebody--tiny"
    shutil.copytree(tiny_model, repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    checkpoint = open_checkpoint("somebody/tiny", cache_dir=cache)
    self_test(checkpoint)
    assert checkpoint.path == repository / "snapshots" / revision


@pytest.fixture
def bucket() -> str:
    """A fresh place in fsspec's memory store."""
    MemoryFileSystem.store.clear()
    MemoryFileSystem.pseudo_dirs[:] = [""]
    return "memory://bucket/models/tiny"


def upload(folder: Path, url: str) -> None:
    MemoryFileSystem().put(f"{folder}/", url, recursive=True)


def test_an_object_storage_url(tiny_model: Path, bucket: str, cache: Path) -> None:
    upload(tiny_model, bucket)
    MemoryFileSystem().pipe(f"{bucket}/checkpoint-1/optimizer.bin", b"not wanted")
    first = open_checkpoint(bucket, cache_dir=cache)
    self_test(first)
    assert first.location == bucket
    assert first.path.is_relative_to(cache)
    assert not (first.path / "checkpoint-1").exists()
    assert first.weights_sha256 == open_checkpoint(str(tiny_model), cache_dir=cache).weights_sha256
    MemoryFileSystem().cat_file = None  # type: ignore[method-assign]
    try:
        assert open_checkpoint(bucket, cache_dir=cache) == first, "the second time nothing is downloaded"
    finally:
        del MemoryFileSystem().cat_file


def test_a_changed_object_is_downloaded_again(tiny_model: Path, bucket: str, cache: Path) -> None:
    upload(tiny_model, bucket)
    first = open_checkpoint(bucket, cache_dir=cache)
    time.sleep(0.01)
    MemoryFileSystem().pipe(f"{bucket}/fakevlm.json", Card(trained=True).model_dump_json().encode())
    second = open_checkpoint(bucket, cache_dir=cache)
    assert second.path != first.path
    assert second.trained


def test_a_download_that_stopped_is_resumed_not_taken_as_complete(
    tiny_model: Path, bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(tiny_model, bucket)
    monkeypatch.setattr("fakevlm.checkpoint.download.store_files._FIRST", 2**16)
    got: list[tuple[str, int]] = []
    whole = MemoryFileSystem.cat_file
    allowed = 2**16

    def counted(self: MemoryFileSystem, path: str, start: int, end: int, **options: Any) -> bytes:
        if path.endswith(WEIGHTS) and start >= allowed:
            raise PermissionError(13, "Permission denied")
        got.append((path.rpartition("/")[2], start))
        return bytes(whole(self, path, start=start, end=end, **options))

    monkeypatch.setattr(MemoryFileSystem, "cat_file", counted)
    message = refusal(bucket, cache)
    assert f"{WEIGHTS} cannot be downloaded: Permission denied; the same command goes on" in message
    assert (WEIGHTS, 0) in got
    got.clear()
    allowed = 2**60
    checkpoint = open_checkpoint(bucket, cache_dir=cache)
    self_test(checkpoint)
    assert (checkpoint.path / WEIGHTS).read_bytes() == (tiny_model / WEIGHTS).read_bytes()
    assert (WEIGHTS, 0) not in got, "what was there is kept"


def test_a_short_download_is_an_error(
    tiny_model: Path, bucket: str, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload(tiny_model, bucket)
    monkeypatch.setattr(MemoryFileSystem, "cat_file", lambda self, path, start, end: b"short")
    assert "5 bytes came where" in refusal(bucket, cache)


def test_an_object_storage_url_with_nothing_there(bucket: str, cache: Path) -> None:
    assert refusal("memory://bucket/none", cache) == "model memory://bucket/none does not exist"


def test_an_object_storage_url_that_is_no_model(bucket: str, cache: Path) -> None:
    MemoryFileSystem().pipe(f"{bucket}/readme.json", b"{}")
    assert f"{bucket} lacks config.json" in refusal(bucket, cache)


@pytest.mark.parametrize("url", ["nonsense://bucket/model", "https://127.0.0.1:1/model?X-Amz-Signature=secret"])
def test_an_unreachable_url(url: str, cache: Path) -> None:
    message = refusal(url, cache)
    assert url.split("?")[0] in message
    assert "secret" not in message


def test_from_a_real_bucket(tiny_model: Path, s3_bucket: Any, cache: Path) -> None:
    for file in tiny_model.iterdir():
        s3_bucket.put(f"models/tiny/{file.name}", file.read_bytes())
    url = f"{s3_bucket.url}/models/tiny"
    options = s3_bucket.store.fsspec_options(url)
    checkpoint = open_checkpoint(url, storage_options=options, cache_dir=cache)
    self_test(checkpoint)
    assert checkpoint == open_checkpoint(url, storage_options=options, cache_dir=cache)
    assert "does not exist" in refusal(f"{s3_bucket.url}/nothing", cache, storage_options=options)
    wrong = refusal(url, cache, storage_options={**options, "secret": "wrong"})
    assert "cannot be read" in wrong


def test_a_cache_that_cannot_be_written(twin_model: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    message = refusal(twin_model, tmp_path / "file" / "cache")
    assert "cache folder" in message
    assert "FAKEVLM_CACHE" in message


def test_a_folder_is_built_once_by_many(tmp_path: Path) -> None:
    builds: list[Path] = []

    def build(partial: Path) -> None:
        builds.append(partial)
        time.sleep(0.05)
        (partial / "whole").write_text("yes")

    def want() -> None:
        assert (build_once(tmp_path / "cache" / "thing", build) / "whole").read_text() == "yes"

    threads = [threading.Thread(target=want) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    want()
    assert len(builds) == 1


def test_a_failed_build_leaves_nothing_that_looks_finished(tmp_path: Path) -> None:
    def fail(partial: Path) -> None:
        (partial / "half").write_text("")
        raise UserError("no")

    with pytest.raises(UserError, match="no"):
        build_once(tmp_path / "thing", fail)
    assert not (tmp_path / "thing").exists()
    build_once(tmp_path / "thing", lambda partial: (partial / "rest").write_text(""))
    assert sorted(file.name for file in (tmp_path / "thing").iterdir()) == ["half", "rest"]


def test_the_cache_folder_can_be_chosen(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FAKEVLM_CACHE", str(tmp_path / "chosen"))
    checkpoint: Checkpoint = open_checkpoint(str(tiny))
    assert checkpoint.path == tiny
    assert (tmp_path / "chosen" / "sha256").is_dir()
