"""`fakescan data` as a person uses it: all problems at once, tables, splits, and one line for bad use."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fakescan.cli.main import main
from fakevlm.builtin import BUILT_IN
from fakevlm.data.dataset import open_dataset
from tests.conftest import Bucket
from tests.fakevlm.data.labelled import fields, png, write_dataset
from tests.fakevlm.data.published import dd_vqa, loki_earlier, loki_questions

pytestmark = pytest.mark.unit

SCRIPT = str(Path(sys.executable).with_name("fakescan"))
DOCS = Path(__file__).parents[3] / "docs" / "data.md"
ITEMS = [
    fields(f"{name}/{kind}/{number}.png", label, cate=name)
    for name in ("animal", "doc")
    for kind, label in (("real", 1), ("fake", 0))
    for number in range(6)
]


def run(capfd: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    """Status, standard output, standard error."""
    with pytest.raises(SystemExit) as exit:
        main(["data", *map(str, arguments)])
    out, err = capfd.readouterr()
    assert isinstance(exit.value.code, int)
    return exit.value.code, out, err


def s3_flags(bucket: Bucket) -> list[str]:
    options = {name: str(secret.get_secret_value()) for name, secret in bucket.store.options.items()}
    given = [flag for name, value in options.items() for flag in ("--data-option", f"{name}={value}")]
    return ["--data-endpoint", str(bucket.store.endpoint_url), "--data-region", str(bucket.store.region), *given]


def test_a_sound_dataset_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, ITEMS)
    write_dataset(root, [fields("scene/real/1.png", cate="scene")], split="test")
    status, out, err = run(capfd, "validate", root)
    assert (status, out, err) == (0, "ok: 25 records in test.json, train.json, every image is there\n", "")
    status, out, _ = run(capfd, "validate", root, "--split", "test", "--images", "--processes", "1")
    assert (status, out) == (0, "ok: 1 records in test.json, every image decodes\n")


def test_all_problems_are_reported_at_once(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = [fields(f"animal/{n}.png", 0, answer="This is a real image.") for n in range(12)]
    root = write_dataset(tmp_path / "set", [*ITEMS, *wrong, "nonsense", fields("../x.png", cate="cats")])
    (root / "doc/real/0.png").unlink()
    (root / "doc/real/1.png").write_bytes(png()[:30])
    report = tmp_path / "problems.json"
    status, out, err = run(capfd, "validate", root, "--images", "--processes", "1", "--json", report)
    assert status == 1
    assert err.splitlines()[-1] == f"fakescan: error: {root} has 17 problems"
    headings = [line for line in out.splitlines() if not line.startswith(" ")]
    assert headings == [
        "malformed record: 1",
        "answer contradicts the label: 12",
        "unknown category: 1",
        "image path leaves the dataset: 1",
        "missing image: 1",
        "image cannot be decoded: 1",
        "warning: image file with the bytes of another: 33",
    ]
    assert out.count("the answer says real") == 10
    assert "  … and 2 more (--all shows them" in out
    assert "train.json record 37: is 'nonsense', not an object with fields" in out
    written = json.loads(report.read_text())
    refused = [problem for problem in written["problems"] if not problem["warning"]]
    assert (written["data"], written["records"], len(refused)) == (str(root), 37, 17)
    assert {"kind": "missing", "file": "train.json", "record": 13, "image": "doc/real/0.png"}.items() <= next(
        problem for problem in written["problems"] if problem["kind"] == "missing"
    ).items()
    _, out, _ = run(capfd, "validate", root, "--all")
    assert out.count("the answer says real") == 12
    assert "more" not in out


@pytest.mark.parametrize("text", ['{"records": []}', "[", '[{"image": "a.png"', "", '[1, 2, {"image": 5}]', "\xff"])
def test_a_file_that_is_no_list_of_records(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "list.json").write_bytes(text.encode("latin-1"))
    status, out, err = run(capfd, "validate", tmp_path / "list.json")
    assert status == 1
    assert out.startswith(("unreadable file: ", "malformed record: "))
    assert err.count("\n") == 1
    assert "Traceback" not in out + err
    for command in (["stats"], ["split", "-o", tmp_path / "out", "--shares", "a=0.5,b=0.5"]):
        status, out, err = run(capfd, command[0], tmp_path / "list.json", *command[1:])
        assert (status, out) == (2, "")
        assert err.startswith("fakescan: error: data: list.json")
        assert err.count("\n") == 1


def test_a_bucket(s3_bucket: Bucket, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, ITEMS)
    s3_bucket.upload(root, "set")
    url, flags = f"{s3_bucket.url}/set", s3_flags(s3_bucket)
    assert run(capfd, "validate", url, "--images", "--processes", "1", *flags)[0] == 0
    assert "doc" in run(capfd, "stats", url, *flags)[1]
    shares = ["--shares", "train=0.75,val=0.25"]
    status, out, err = run(capfd, "split", url, *shares, "-o", f"{s3_bucket.url}/other/place", *flags)
    assert (status, err) == (0, "")
    assert "train.json" in out
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/other/place")
    dataset = open_dataset(path, fs, split="val")
    assert dataset.root == f"{s3_bucket.name}/set"
    assert [dataset.read_image(record) for record in dataset.records] == [png()] * len(dataset.records)
    assert run(capfd, "validate", f"{s3_bucket.url}/other/place", *flags)[0] == 0
    s3_bucket.call("delete_object", Key="set/doc/fake/3.png")
    status, out, _ = run(capfd, "validate", url, *flags)
    assert status == 1
    assert out.splitlines()[0] == "missing image: 1"
    assert run(capfd, "validate", f"{s3_bucket.url}/none", *flags)[2].endswith(
        f"{s3_bucket.name}/none does not exist\n"
    )
    wrong = [*flags[:-1], "secret=wrong"]
    assert "wrong or expired credentials" in run(capfd, "validate", url, *wrong)[2]


def test_stats_are_plain_where_no_person_looks(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    extra = [fields("x.png", 0, cate="[doc]", family="splice", severity="subtle", answer="This is a fake image. Ha.")]
    write_dataset(tmp_path, [*ITEMS, *extra], images=False)
    status, out, err = run(capfd, "stats", tmp_path)
    assert (status, err) == (0, "")
    assert out.isascii()
    rows = [line.split() for line in out.splitlines()]
    assert ["animal", "12", "6", "6", "50.0"] in rows
    assert ["[doc]", "1", "0", "1", "100.0"] in rows
    assert ["all", "25", "12", "13", "52.0"] in rows
    assert ["splice", "1", "1"] in rows
    assert ["real", "12", "8x6", "8x6", "8x6", "8x6", "100.0"] in rows
    assert ["fake", "13", "9", "9", "92.3"] in rows
    assert "commonest answer, real: This is a real image. The fur is even." in out


def test_split_says_what_each_part_got(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    root = write_dataset(tmp_path, ITEMS)
    (root / "data_json" / "train.json").rename(root / "all.json")
    status, out, _ = run(capfd, "split", root / "all.json", "--shares", "train=0.5,val=0.5", "-o", root, "--seed", "4")
    assert status == 0
    assert ["train.json", "12", "6", "6", "6", "50.0"] in [line.split() for line in out.splitlines()]
    assert "warning" not in out
    assert run(capfd, "validate", root)[:2] == (0, "ok: 24 records in train.json, val.json, every image is there\n")


def test_split_warns_of_sources_that_are_too_big(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    items = [fields(f"doc/{n}.png", n % 2, cate="doc", source=f"s{n // 40}") for n in range(120)]
    root = write_dataset(tmp_path, items, split="all", images=False)
    status, out, _ = run(capfd, "split", root, "--shares", "train=0.5,val=0.5", "-o", tmp_path / "out")
    assert status == 0
    assert "warning: train has 66.7% of the real images, not 50.0%; train has 66.7% of the fake images" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["validate"], "DATA"),
        (["validate", "/no/such"], "cannot read /no/such: there is no such file or folder"),
        (["validate", "EMPTY"], "nor a folder with data_json/train.json"),
        (["validate", "SET", "--split", "val"], "split: "),
        (["validate", "SET", "--format", "coco"], "format: 'coco' is not one of"),
        (["validate", "SET", "--processes", "0"], "--processes"),
        (["validate", "SET", "--json", "/no/such/file"], "--json: cannot write /no/such/file"),
        (["validate", "SET", "--data-option", "x"], "--data-option: 'x' is not KEY=VALUE"),
        (["validate", "ftpx://a/b"], "unknown scheme ftpx://"),
        (["stats", "s3://b/x", "--data-endpoint", "http://127.0.0.1:9", "--data-anon"], "cannot reach"),
        (["split", "SET", "-o", "OUT"], "--shares"),
        (["split", "SET", "--shares", "a=0.5,b=0.5"], "--output"),
        (["split", "SET", "-o", "OUT", "--shares", "a=0.5,b=0.6"], "shares: they sum to 1.1, must sum to 1"),
        (["split", "SET", "-o", "OUT", "--shares", "a=0.5,b=0.5", "--seed", "x"], "--seed"),
        (["split", "SET", "-o", "s3://b/x", "--shares", "a=0.5,b=0.5"], "output: s3://b/x must be in the store of"),
        (["split", "SET", "-o", "FILE", "--shares", "a=0.5,b=0.5"], "a file is in the place of the folder"),
        (["split", "SET", "-o", "SET", "--shares", "train=0.5,b=0.5"], "train.json exists and is another"),
        (["forget"], "forget"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_use(arguments: list[str], words: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    places = {name: tmp_path / name.lower() for name in ("SET", "EMPTY", "OUT", "FILE")}
    write_dataset(places["SET"], ITEMS)
    places["EMPTY"].mkdir()
    places["FILE"].touch()
    status, out, err = run(capfd, *(places.get(argument, argument) for argument in arguments))
    assert (status, out) == (2, "")
    assert err.startswith("fakescan: error: ")
    assert err.count("\n") == 1
    assert words in err


def test_the_commands_load_nothing_heavy(tmp_path: Path) -> None:
    root = write_dataset(tmp_path, ITEMS)
    program = f"""
import sys
from fakescan.cli.main import main
try:
    main(["data", "stats", {str(root)!r}])
except SystemExit as done:
    assert done.code == 0
print(sorted({{"ray", "torch", "transformers", "vllm"}} & set(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "[]", done.stderr


@pytest.mark.parametrize("delay_s", [0.0, 1.0])
def test_ctrl_c_while_decoding_is_one_line(delay_s: float, tmp_path: Path) -> None:
    root = write_dataset(tmp_path, [fields(f"animal/{number}.png") for number in range(400)], images=False)
    (root / "animal").mkdir()
    large = png(2000, 1500)
    for number in range(400):
        (root / "animal" / f"{number}.png").write_bytes(large)
    command = [SCRIPT, "data", "validate", root, "--images", "--processes", "1"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        first = process.stderr.readline()
        time.sleep(delay_s)
        os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to the decoders too
        out, err = process.communicate(timeout=60)
    assert first == "train.json: decoding 0/400\n"
    assert process.returncode == 130
    assert out == ""
    assert err.splitlines()[-1].startswith("fakescan: error: interrupted")
    assert "Traceback" not in err


def _write_what_the_documentation_reads(root: Path) -> None:
    """Files in the shapes of others, under the names in docs/data.md."""
    (root / "my-checkpoint").symlink_to(BUILT_IN)
    questions = [item for number in range(2) for item in loki_questions("sence", number, fake=number == 0)]
    earlier, cluster = loki_earlier("doc/real/1.png", fake=False), "/mnt/cluster/FakeImage_dataset"
    talks = [
        {"image": f"{kind}/1.png", "conversations": fields(label=kind == "real")["conversations"]}
        for kind in ("real", "fake")
    ]
    for name, contents in {
        "LOKI/true_or_false.json": questions,
        "LOKI/image_tf.json": [{**item, "image_path": f"{cluster}/doc/real/1.png"} for item in earlier],
        "DD-VQA/test_set/Deepfakes/Deepfakes.json": dd_vqa("0_114_102"),
        "DD-VQA/test_set/Original/Original.json": dd_vqa("5_044"),
        "llava/train.json": talks,
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(json.dumps(contents))
    for image in (
        "LOKI/doc/real/1.png", "llava/real/1.png", "llava/fake/1.png",
        *(f"LOKI/{item['image_path']}" for item in questions),
        *(f"FaceForensics++/manipulated_sequences/Deepfakes/c23/frames/114_102/{number}.png" for number in range(3)),
        *(f"FaceForensics++/original_sequences/youtube/c23/frames/044/{number}.png" for number in range(3)),
    ):  # fmt: skip
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / image).write_bytes(png())
    (root / "swift").mkdir()
    lines = [
        {"query": "<image>real?", "response": f"This is a {kind} image.", "images": [f"{kind}/1.png"]}
        for kind in ("real", "fake")
    ]
    (root / "swift" / "train.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (root / "hub" / "data").mkdir(parents=True)
    hub = pa.table(
        {"image": [{"bytes": png(), "path": "1.png"}, {"bytes": png(9), "path": "2.png"}], "label": ["ai", "human"]}
    )
    pq.write_table(hub, root / "hub" / "data" / "train-00000-of-00001.parquet")


def test_every_command_of_the_documentation_runs(
    s3_bucket: Bucket, tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    many = [
        fields(f"{item['cate']}/{'real' if item['label'] else 'fake'}/{n}-{item['image'].replace('/', '')}", **rest)
        for n in range(5)
        for item in ITEMS
        for rest in [{"label": item["label"], "cate": item["cate"]}]
    ]
    write_dataset(tmp_path / "FakeClue", many)
    write_dataset(tmp_path / "FakeClue", [fields("scene/real/1.png", cate="scene")], split="test")
    s3_bucket.upload(tmp_path / "FakeClue", "FakeClue")
    _write_what_the_documentation_reads(tmp_path)
    ours = DOCS.read_text().partition("## Forge")[0]
    commands = [
        line
        for block in re.findall(r"```sh\n(.*?)```", ours, re.DOTALL)
        for line in block.replace("\\\n", "").splitlines()
    ]
    assert len(commands) >= 6
    for command in commands:
        program, group, *arguments = shlex.split(command, comments=True)
        assert (program, group) == ("fakescan", "data")
        if "--data-profile" in arguments:
            at = arguments.index("--data-profile")
            arguments[at : at + 2] = s3_flags(s3_bucket)
        filled = [argument.replace("s3://datasets", s3_bucket.url) for argument in arguments]
        status, _, err = run(capfd, *filled)
        assert status == 0, err
