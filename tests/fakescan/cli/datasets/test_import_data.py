"""`fakescan data import`: the forms of other trainers become records that validate calls ok and training takes."""

import io
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from fakescan.cli.main import main
from fakevlm.data.checks import check_records
from fakevlm.data.dataset import Dataset, open_dataset
from fakevlm.data.images import check_presence
from fakevlm.prompt import PromptSpec
from tests.conftest import Bucket
from tests.fakevlm.data.labelled import QUESTION, png
from tests.fakevlm.data.published import dd_vqa, loki_questions

pytestmark = pytest.mark.unit

KINDS = [("real", 0), ("real", 1), ("fake", 0)]


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as exit:
        main(["data", "import", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert isinstance(exit.value.code, int)
    return exit.value.code, out, err


def pictures(root: Path) -> None:
    for kind, number in KINDS:
        (root / "images" / kind).mkdir(parents=True, exist_ok=True)
        (root / "images" / kind / f"{number}.png").write_bytes(png())


def picture(colour: str, kind: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (20, 10), colour).save(sink, kind)
    return sink.getvalue()


def imported(capfd: pytest.CaptureFixture[str], tmp_path: Path, *arguments: object) -> Dataset:
    """The dataset that comes out, which is sound."""
    status, _, err = run(capfd, *arguments, "-o", tmp_path / "out")
    assert status == 0, err
    dataset = open_dataset(tmp_path / "out")
    assert [problem for problem in check_records([dataset]) if not problem.kind.is_warning] == []
    assert check_presence(dataset).problems == []
    return dataset


def llava(kind: str, number: int) -> dict[str, Any]:
    turns = [{"from": "human", "value": QUESTION}, {"from": "gpt", "value": f"This is a {kind} image. Look at it."}]
    return {"id": f"{kind}-{number}", "image": f"images/{kind}/{number}.png", "conversations": turns}


def talk(asked: str, said: str) -> list[dict[str, str]]:
    return [{"from": "human", "value": asked}, {"from": "gpt", "value": said}]


def openai(kind: str, number: int) -> dict[str, Any]:
    messages = [
        {"role": "system", "content": "You are a detector."},
        {"role": "user", "content": QUESTION},
        {"role": "assistant", "content": f"This is a {kind} image. Look at it."},
    ]
    return {"messages": messages, "images": [f"images/{kind}/{number}.png"]}


def sharegpt(kind: str, number: int) -> dict[str, Any]:
    return {"conversations": llava(kind, number)["conversations"], "images": [f"images/{kind}/{number}.png"]}


def alpaca(kind: str, number: int) -> dict[str, Any]:
    said = {"instruction": QUESTION, "input": "", "output": f"This is a {kind} image. Look at it."}
    return {**said, "images": [f"images/{kind}/{number}.png"]}


def query(kind: str, number: int) -> dict[str, Any]:
    said = {"query": QUESTION, "response": f"This is a {kind} image. Look at it.", "history": []}
    return {**said, "images": [{"bytes": None, "path": f"images/{kind}/{number}.png"}]}


def pairs(kind: str, number: int) -> dict[str, Any]:
    turn = {"human": QUESTION, "assistant": f"This is a {kind} image. Look at it."}
    return {"system": "x", "conversation": [turn], "images": f"images/{kind}/{number}.png"}


def parts(kind: str, number: int) -> dict[str, Any]:
    content = [
        {"type": "image", "image": f"images/{kind}/{number}.png"},
        {"type": "text", "text": "Does the image looks real/fake?"},
    ]
    answer = [{"type": "text", "text": f"This is a {kind} image. Look at it."}]
    return {"messages": [{"role": "user", "content": content}, {"role": "assistant", "content": answer}]}


def reward(kind: str, number: int) -> dict[str, Any]:
    """Of ms-swift's GRPO: a question, and what a reward is told."""
    messages = [{"role": "user", "content": QUESTION}]
    solution = f"This is a {kind} image. Look at it."
    return {"messages": messages, "images": [f"images/{kind}/{number}.png"], "solution": solution}


def preference(kind: str, number: int) -> dict[str, Any]:
    """Of LlamaFactory: the better and the worse answer beside the question."""
    answers = {"chosen": f"This is a {kind} image. Look at it.", "rejected": "I cannot tell."}
    turns = {name: {"from": "gpt", "value": text} for name, text in answers.items()}
    asked = {"conversations": llava(kind, number)["conversations"][:1]}
    return {**asked, **turns, "images": [f"images/{kind}/{number}.png"]}


def image_last(kind: str, number: int) -> dict[str, Any]:
    item = llava(kind, number)
    item["conversations"][0]["value"] = "Does the image looks real/fake?\n<image>"
    return item


@pytest.mark.parametrize("form", [llava, openai, sharegpt, alpaca, query, pairs, parts, reward, preference, image_last])
@pytest.mark.parametrize("suffix", ["json", "jsonl"])
def test_every_form_of_the_other_trainers(
    form: Any, suffix: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path)
    items = [form(*kind) for kind in KINDS]
    file = tmp_path / f"train.{suffix}"
    lines = "\r\n".join(json.dumps(item) for item in items)
    file.write_bytes(b"\xef\xbb\xbf" + (lines if suffix == "jsonl" else json.dumps(items)).encode())
    dataset = imported(capfd, tmp_path, file, "--category", "human")
    assert [(record.image, record.label, record.cate) for record in dataset.records] == [
        ("images/real/0.png", 1, "human"), ("images/real/1.png", 1, "human"), ("images/fake/0.png", 0, "human"),
    ]  # fmt: skip
    assert {PromptSpec().asks(record.question) for record in dataset.records} == {True}
    assert dataset.records[2].answer == "This is a fake image. Look at it."
    assert dataset.root == str(tmp_path)
    assert check_records([dataset]) == []


def test_what_is_added_or_left_out_is_said(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path)
    items = [openai("real", 0), llava("fake", 0), llava("real", 1)]
    items[1]["conversations"][1]["value"] = "The image is fake: six fingers."
    items[1]["conversations"] += [{"from": "human", "value": "Why?"}, {"from": "gpt", "value": "So."}]
    items[2] |= {"source": "coco", "category": "sence", "tags": ["a"], "model": "M"}
    items[2]["conversations"][0]["value"] = "Is it real?"
    (tmp_path / "train.json").write_text(json.dumps(items))
    status, out, err = run(capfd, tmp_path / "train.json", "-o", tmp_path / "out")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[:4] == [
        "1 answers did not begin with the verdict, such as 'This is a fake image.', which was put first",
        "1 fields 'tags' were left out",
        "2 records name no category and count as object (--category)",
        "1 system prompts were left out",
    ]
    assert lines[4].startswith(
        "warning: later turns, which training leaves out: 1 records, such as train.json record 2"
    )
    assert lines[5].startswith("warning: another question, in place of which training asks the prompt's: 1 records")
    assert lines[6] == "3 records: real 2, fake 1"
    records = open_dataset(tmp_path / "out").records
    assert records[1].answer == "This is a fake image. The image is fake: six fingers."
    assert records[2].to_json()["imported_source"] == "coco", "here `source` is the photograph, there the collection"
    assert records[2].source is None
    assert (records[2].cate, records[2].to_json()["model"]) == ("scene", "M")


@pytest.mark.parametrize(
    ("said", "answer"),
    [
        ("This is a clearly fake image. Look.", "This is a fake image. This is a clearly fake image. Look."),
        ("This is a composite. It looks fake.", "This is a fake image. This is a composite. It looks fake."),
        ("this is a fake image. Look.", "This is a fake image. Look."),
        ("THIS IS A FAKE IMAGE", "This is a fake IMAGE"),
        ("Fake.", "This is a fake image."),
        ("This is a real-life scene, but fake.", "This is a fake image. This is a real-life scene, but fake."),
    ],
)
def test_the_verdict_is_put_first_where_training_needs_it(
    said: str, answer: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path)
    item = llava("fake", 0)
    item["conversations"][1]["value"] = said
    (tmp_path / "train.json").write_text(json.dumps([item]))
    (record,) = imported(capfd, tmp_path, tmp_path / "train.json").records
    assert record.answer == answer
    assert PromptSpec().opening_fault(record.answer, record.is_fake) is None


@pytest.mark.parametrize("folder", [".", "nested"])
def test_llama_factory_describes_its_own_columns(
    folder: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path)
    chat = [
        {"role_is": "asker", "says": "<image>What?"},
        {"role_is": "answerer", "says": "This is a fake image. So."},
    ]
    file = tmp_path / folder / "mine.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps([{"talk": chat, "photos": ["images/fake/0.png"]}]))
    description = {
        "file_name": str(file.relative_to(tmp_path)),
        "formatting": "sharegpt",
        "columns": {"messages": "talk", "images": "photos"},
        "tags": {"role_tag": "role_is", "content_tag": "says", "user_tag": "asker", "assistant_tag": "answerer"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps({"other": {"file_name": "x.json"}, "mine": description}))
    (record,) = imported(capfd, tmp_path, file, "--image-folder", tmp_path).records
    assert (record.question, record.answer, record.label) == ("<image>What?", "This is a fake image. So.", 0)


def write_parquet(path: Path, labels: list[Any], *, names: list[str] | None = None, **more: list[Any]) -> None:
    colours = ["red", "green", "blue", "white"][: len(labels)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    rows = [{"bytes": picture(colour, "JPEG"), "path": f"{colour}.jpg"} for colour in colours]
    table = pa.table({"image": pa.array(rows, kind), "label": labels, **more})
    if names:
        features = {"image": {"_type": "Image"}, "label": {"names": names, "_type": "ClassLabel"}}
        table = table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)


def test_images_inside_parquet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_parquet(tmp_path / "data" / "train-00000-of-00002.parquet", [0, 1], names=["Real", "AI"], note=["x", None])
    write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", [1, 0, 1], names=["Real", "AI"])
    dataset = imported(capfd, tmp_path, tmp_path / "data", "--label", "ai=fake")
    assert (dataset.name, dataset.root) == ("train.json", str(tmp_path / "out"))
    assert [(record.label, record.width, record.height) for record in dataset.records] == [
        (1, 20, 10), (0, 20, 10), (0, 20, 10), (1, 20, 10), (0, 20, 10),
    ]  # fmt: skip
    assert dataset.records[1].image == "images/train/train-00000-of-00002/00000002.jpg"
    assert dataset.read_image(dataset.records[2]) == picture("red", "JPEG")
    assert dataset.records[0].answer == "This is a real image."
    assert dataset.records[0].to_json()["note"] == "x"
    again = run(capfd, tmp_path / "data", "-o", tmp_path / "out", "--label", "ai=fake")
    assert again[0] == 0, "the same again is the same"
    write_parquet(tmp_path / "data" / "train-00001-of-00002.parquet", [0, 0, 1], names=["Real", "AI"])
    status, _, err = run(capfd, tmp_path / "data", "-o", tmp_path / "out", "--label", "ai=fake")
    assert status == 2
    assert "train.json exists and is another" in err


@pytest.mark.parametrize(
    ("names", "split"),
    [
        (("data/train-00000-of-00002-0123456789abcdef.parquet", "data/train-00001-of-00002-fedcba9876543210.parquet"),
         "train"),
        (("data/train/0000.parquet", "data/train/0001.parquet"), "train"),
        (("data/REAL.PARQUET",), "REAL"),
    ],
)  # fmt: skip
def test_how_the_hub_names_its_files(
    names: tuple[str, ...], split: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for name in names:
        write_parquet(tmp_path / name, ["real", "fake"])
    dataset = imported(capfd, tmp_path, (tmp_path / names[0]).parent)
    assert dataset.name == f"{split}.json"
    assert [record.label for record in dataset.records] == [1, 0] * len(names)
    assert len({record.image for record in dataset.records}) == 2 * len(names)


def test_one_set_of_a_folder_with_several(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for number in range(2):
        write_parquet(tmp_path / "hub" / "data" / f"train-0000{number}-of-00002.parquet", ["real", "fake"])
    write_parquet(tmp_path / "hub" / "data" / "test-00000-of-00001.parquet", ["fake"])
    status, _, err = run(capfd, tmp_path / "hub" / "data", "-o", tmp_path / "out")
    assert status == 2
    assert "holds test, train; choose one with --split, or name its file" in err
    assert "nor a folder with some; name its folder data\n" in run(capfd, tmp_path / "hub", "-o", tmp_path / "out")[2]
    status, out, err = run(capfd, tmp_path / "hub" / "data", "-o", tmp_path / "out", "--split", "train")
    assert status == 0, err
    assert "4 records: real 2, fake 2" in out
    status, out, err = run(capfd, tmp_path / "hub" / "data", "-o", tmp_path / "out", "--split", "test")
    assert status == 0, err
    dataset = open_dataset(tmp_path / "out", split="test")
    assert dataset.records[0].image == "images/test/test-00000-of-00001/00000001.jpg"
    assert check_presence(dataset).problems == []


def test_numbers_without_names_are_not_guessed(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_parquet(tmp_path / "a.parquet", [0, 1])
    status, out, err = run(capfd, tmp_path / "a.parquet", "-o", tmp_path / "out")
    assert status == 1
    assert "label 0: which of 0 and 1 is fake? In FakeClue 0 is; say it with --label 0=fake --label 1=real" in out
    assert err.endswith("has 2 problems; nothing was written\n")
    assert not (tmp_path / "out").exists()
    dataset = imported(capfd, tmp_path, tmp_path / "a.parquet", "--label", "0=real", "--label", "1=fake")
    assert [record.label for record in dataset.records] == [1, 0]


def test_lists_of_images_and_plain_bytes(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answers = ["This is a real image. Yes.", "This is a fake image. No."]
    listed = pa.array(
        [[{"bytes": picture("red", "PNG"), "path": None}], [{"bytes": picture("blue", "WEBP"), "path": None}]],
        pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())])),
    )
    pq.write_table(pa.table({"images": listed, "answer": answers}), tmp_path / "a.parquet")
    dataset = imported(capfd, tmp_path, tmp_path / "a.parquet")
    assert [Path(record.image).suffix for record in dataset.records] == [".png", ".webp"]
    plain = pa.table({"jpg": [picture("red", "JPEG"), picture("blue", "JPEG")], "answer": answers})
    pq.write_table(plain, tmp_path / "b.parquet")
    status, _, err = run(capfd, tmp_path / "b.parquet", "-o", tmp_path / "plain")
    assert status == 0, err
    assert len(open_dataset(tmp_path / "plain").records) == 2


def test_paths_of_another_machine(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path)
    items = [llava(*kind) for kind in KINDS]
    for item, path in zip(
        items, ("C:\\set\\images\\real\\0.png", "C:/set/images/real/1.png", "images\\fake\\0.png"), strict=True
    ):
        item["image"] = path
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.json").write_text(json.dumps(items))
    flags = ["--image-root", "C:\\set", "--image-folder", tmp_path]
    dataset = imported(capfd, tmp_path, tmp_path / "lists" / "train.json", *flags)
    assert [record.image for record in dataset.records] == [
        "images/real/0.png",
        "images/real/1.png",
        "images/fake/0.png",
    ]


def test_absolute_paths_of_this_machine_need_no_telling(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path / "elsewhere")
    items = [
        {**llava(*kind), "image": str(tmp_path / "elsewhere" / "images" / kind[0] / f"{kind[1]}.png")} for kind in KINDS
    ]
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "train.json").write_text(json.dumps(items))
    dataset = imported(capfd, tmp_path, tmp_path / "lists" / "train.json")
    assert dataset.root == str(tmp_path / "elsewhere" / "images")
    assert dataset.records[0].image == "real/0.png"


def test_benchmarks_become_training_data(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    items = [*loki_questions("sence", 1, fake=True), *loki_questions("person", 2, fake=False)]
    for item in items:
        (tmp_path / item["image_path"]).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / item["image_path"]).write_bytes(png())
    (tmp_path / "true_or_false.json").write_text(json.dumps(items))
    dataset = imported(capfd, tmp_path, tmp_path / "true_or_false.json", "--format", "loki")
    assert [(record.label, record.cate, record.answer) for record in dataset.records] == [
        (0, "scene", "This is a fake image."), (1, "human", "This is a real image."),
    ]  # fmt: skip
    (tmp_path / "ff" / "frames").mkdir(parents=True)
    (tmp_path / "ff" / "frames" / "0_114_102.jpg").write_bytes(png())
    (tmp_path / "ff" / "dd.json").write_text(json.dumps(dd_vqa("0_114_102")))
    status, out, err = run(capfd, tmp_path / "ff" / "dd.json", "--format", "dd-vqa", "-o", tmp_path / "dd")
    assert status == 0, err
    assert "3 records: real 0, fake 3" in out


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"image": None}, "has no images, a record has one"),
        ({"image": ["a.png", "b.png"]}, "has 2 images, a record has one"),
        ({"image": 5}, "its image is 5, not a path"),
        ({"conversations": "x"}, "the conversation is 'x', not a list of turns"),
        ({"conversations": [{"from": "tool", "value": "x"}]}, "a turn is by 'tool'"),
        ({"conversations": None, "history": 5}, "history holds no pairs of a question and an answer"),
        ({"conversations": [{"from": "human", "value": None}]}, "a turn says None, not a text"),
        ({"label": "maybe"}, "label 'maybe' is neither real nor fake: say which, such as --label maybe=fake"),
        ({"label": "fake"}, "contradicts itself: its label fake, its answer real, its folder real"),
        ({"label": 0}, "label 0: which of 0 and 1 is fake?"),
        ({"label": True}, "label True is neither real nor fake"),
        ({"videos": ["a.mp4"]}, "is about videos, not about an image"),
        ({"image": "../../etc/passwd"}, "there is no file"),
        ({"image": "http://x/a.png"}, "is absolute"),
        ({"image": "gone.png"}, "there is no file"),
        (
            {"image": f"data:image/png;base64,{'A' * 99}"},
            "written into the text (data:image/png;base64,AA…, 121 letters)",
        ),
        ({"image": "A" * 5000}, "written into the text (AAAAAAAAAAAAAAAAAAAAAAAA…, 5,000 letters): write it to a file"),
        ({"conversations": talk(QUESTION, "<image>This is a real image.")}, "<image> occurs 2 times"),
        ({"conversations": talk(f"<image>{QUESTION}", "This is a real image.")}, "<image> occurs 2 times"),
        ({"conversations": talk("", "This is a real image.")[::-1]}, "the turns are gpt, human"),
    ],
)
def test_what_is_wrong_is_told_and_nothing_is_written(
    changes: dict[str, Any], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pictures(tmp_path)
    (tmp_path / "train.json").write_text(json.dumps([{**llava("real", 0), **changes}]))
    status, out, err = run(capfd, tmp_path / "train.json", "-o", tmp_path / "out")
    assert status == 1
    assert words in out
    assert err == f"fakescan: error: {tmp_path / 'train.json'} has 1 problems; nothing was written\n"
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["FILE", "--category", "cats"], "category: 'cats' is none of animal"),
        (["FILE", "--label", "x"], "label: 'x' is not NAME=real or NAME=fake"),
        (["FILE", "--format", "coco"], "format: 'coco' is not one of auto, fakeclue, loki, dd-vqa"),
        (["FILE", "--split", "../x"], "split: '../x' is no name"),
        (["EMPTY"], "is neither a file of records"),
        (["/no/such.json"], "there is no such file"),
    ],
)
def test_bad_use(arguments: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pictures(tmp_path)
    (tmp_path / "train.json").write_text(json.dumps([llava("real", 0)]))
    (tmp_path / "empty").mkdir()
    places = {"FILE": tmp_path / "train.json", "EMPTY": tmp_path / "empty"}
    status, out, err = run(capfd, *(places.get(one, one) for one in arguments), "-o", tmp_path / "out")
    assert (status, out) == (2, "")
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    ("contents", "words"),
    [
        (b'{"image": "a.png"', "the file is cut off in it"),
        (b'{"image": "a.png", "image": "b.png"}', "has the field 'image' twice"),
        (b"\xff\xfe{}", "is not UTF-8"),
        (b'{"image": "images/real/0.png", "conversations": [{"from": "gpt", "from": "gpt"}]}', "not an object"),
        (b"null", "not an object with fields"),
        (b"[]", "is a JSON list, not one record on each line; a file with a list must be named .json"),
        (b"", "holds no records"),
    ],
)
def test_damaged_lines(contents: bytes, words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.jsonl").write_bytes(contents)
    status, out, _ = run(capfd, tmp_path / "a.jsonl", "-o", tmp_path / "out")
    assert status == 1
    assert words in out


def test_damaged_parquet(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_parquet(tmp_path / "a.parquet", ["real", "fake"])
    table = pq.read_table(tmp_path / "a.parquet")
    broken = [{"bytes": b"no image", "path": "x"}, {"bytes": None, "path": None}]
    pq.write_table(table.set_column(0, "image", pa.array(broken, table.schema.field(0).type)), tmp_path / "b.parquet")
    status, out, _ = run(capfd, tmp_path / "b.parquet", "-o", tmp_path / "out")
    assert status == 1
    assert "b.parquet record 1: its image is none that can be read" in out
    assert "b.parquet record 2: has no images" in out
    (tmp_path / "c.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-40])
    assert "cannot be read as Parquet" in run(capfd, tmp_path / "c.parquet", "-o", tmp_path / "out")[2]


def test_a_bucket(s3_bucket: Bucket, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    write_parquet(tmp_path / "set" / "a.parquet", ["real", "fake", "fake"])
    s3_bucket.upload(tmp_path / "set", "set")
    options = {name: str(secret.get_secret_value()) for name, secret in s3_bucket.store.options.items()}
    flags = ["--data-endpoint", s3_bucket.store.endpoint_url, "--data-region", s3_bucket.store.region]
    flags += [flag for name, value in options.items() for flag in ("--data-option", f"{name}={value}")]
    url = s3_bucket.url
    status, out, err = run(capfd, f"{url}/set/a.parquet", "-o", f"{url}/out", *flags)
    assert status == 0, err
    fs, path = s3_bucket.store.filesystem(f"{url}/out")
    fs.invalidate_cache()
    dataset = open_dataset(path, fs)
    assert [record.label for record in dataset.records] == [1, 0, 0]
    assert dataset.read_image(dataset.records[1]) == picture("green", "JPEG")
    assert f"dataset: {url}/out/data_json/a.json" in out
    assert "must be in the store of the data" in run(capfd, f"{url}/set/a.parquet", "-o", tmp_path / "x", *flags)[2]
