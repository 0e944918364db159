"""The command line: bad use gets one clear line and a status, before any engine or cluster starts."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from fakescan.cli.main import main
from fakescan.run.folder import RunFolder
from fakescan.sources.manifest import ManifestReader
from fakescan.storage.store import Store
from fakevlm.reading import NO_FORGERY_FOUND, Meaning
from tests.conftest import Bucket
from tests.fakescan.run.conftest import make_run

pytestmark = pytest.mark.unit

NOBODY = ["--input-endpoint", "http://127.0.0.1:9"]
SCRIPT = str(Path(sys.executable).with_name("fakescan"))


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    folder.mkdir()
    samples = Path(__file__).parents[3] / "samples" / "images"
    for name in ("cat.webp", "coffee.png"):
        shutil.copy(samples / name, folder)
    return folder


@pytest.fixture
def run_folder(tmp_path: Path) -> RunFolder:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder)
    return folder


def fakescan(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([SCRIPT, *map(str, arguments)], capture_output=True, text=True, timeout=120)


def assert_refused(capfd: pytest.CaptureFixture[str], *arguments: object, words: str, status: int = 2) -> None:
    """One line on stderr with these words, this exit status, and no Ray."""
    with pytest.raises(SystemExit) as exit:
        main([str(argument) for argument in arguments])
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert len(lines) == 1, err
    assert lines[0].startswith("fakescan: error: ")
    assert words in lines[0]
    assert exit.value.code == status
    assert out == ""


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["scan"], "source: missing"),
        (["scan", "IMAGES"], "output: missing"),
        (["scan", "IMAGES", "-o", "OUT", "--colour"], "--colour"),
        (["scan", "IMAGES", "-o", "OUT", "--limit", "many"], "--limit"),
        (["scan", "IMAGES", "-o", "OUT", "--limit", "3", "--sample", "3"], "exclude each other"),
        (["scan", "IMAGES", "-o", "OUT", "--threshold", "1.5"], "threshold"),
        (["scan", "IMAGES", "-o", "OUT", "--explain", "some"], "explain"),
        (["scan", "IMAGES", "-o", "OUT", "--replicas", "4-2"], "replicas"),
        (["scan", "IMAGES", "-o", "OUT", "--engine", "magic"], "engine"),
        (["scan", "IMAGES", "-o", "OUT", "--config", "/none.yaml"], "cannot read /none.yaml"),
        (["scan", "/no/such/folder", "-o", "OUT"], "cannot read /no/such/folder"),
        (["scan", "ftpx://host/images", "-o", "OUT"], "unknown scheme ftpx://"),
        (["scan", "IMAGES", "-o", "ftpx://host/run"], "unknown scheme ftpx://"),
        (["scan", "IMAGES", "-o", "https://host/run"], "web addresses are read-only"),
        (["scan", "IMAGES", "-o", "FILE"], "a file is in the place of the folder"),
        (["scan", "IMAGES", "-o", "FILE/run"], "cannot write to"),
        (["scan", "IMAGES", "-o", "/proc/run"], "cannot write to /proc/run"),
        (["scan", "IMAGES", "-o", "OUT", "--model", "EMPTY"], "EMPTY"),
        (["scan", "IMAGES", "-o", "OUT", "--model", "/no/such/model"], "/no/such/model"),
        (["scan", "s3://b/images", "-o", "OUT", *NOBODY, "--input-anon"], "cannot reach http://127.0.0.1:9"),
        (["scan", "IMAGES", "-o", "s3://b/run", "--output-endpoint", "http://127.0.0.1:9", "--output-anon"], "reach"),
        (["scan", "IMAGES", "-o", "OUT", "--input-option", "x"], "KEY=VALUE"),
        (["index", "IMAGES"], "--output"),
        (["index", "/no/such/folder", "-o", "OUT"], "cannot read"),
        (["index", "EMPTY", "-o", "OUT"], "no images found"),
        (["index", "IMAGES", "-o", "FILE"], "a file is in the place of the folder"),
        (["index", "IMAGES", "-o", "OUT", "--keep-columns", "id"], "without columns to keep"),
        (["index", "IMAGES", "-o", "OUT", "--keep-columns", "id,uri"], "'uri' is the name of a column of the results"),
        (["index", "IMAGES", "-o", "OUT", "--keep-columns", ""], "'--keep-columns': it is empty"),
        (["scan", "IMAGES", "-o", "OUT", "--keep-columns", "id,,x"], "keep_columns: a name is empty"),
        (["scan", "IMAGES", "-o", "OUT", "--keep-columns", "x, x"], "keep_columns: 'x' is named twice"),
        (["scan", "IMAGES", "-o", "OUT", "--keep-columns", "id,score"], "rename it in the list"),
        (["scan", "IMAGES", "-o", "OUT", "--keep-columns", "last_modified"], "rename it in the list"),
        (["verify"], "RUN"),
        (["verify", "EMPTY"], "holds no run"),
        (["verify", "/no/such/run"], "there is no such file or folder"),
        (["verify", "FILE"], "holds no run"),
        (["compact", "FILE"], "holds no run"),
        (["scan", "IMAGES", "-o", "OUT", "--limit", "1", "--thresold", "1"], "Did you mean '--threshold'?"),
        (["scann"], "Did you mean 'scan'?"),
        (["verify"], "; see fakescan verify --help"),
        (["scan", "IMAGES", "-o", "OUT", "--extensions", ","], "names none"),
        (["verify", "ftpx://host/run"], "unknown scheme"),
        (["verify", "s3://b/run", "--output-endpoint", "http://127.0.0.1:9", "--output-anon"], "reach"),
        (["compact", "s3://b/run", "--output-endpoint", "http://127.0.0.1:9", "--output-anon"], "reach"),
        (["compact", "EMPTY"], "holds no run"),
        (["frobnicate"], "frobnicate"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_use(
    arguments: list[str], words: str, images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    empty, file = tmp_path / "empty", tmp_path / "file"
    empty.mkdir()
    file.touch()
    places = {"IMAGES": images, "OUT": tmp_path / "out", "FILE": file, "EMPTY": empty}
    filled = [argument.replace(name, str(places[name])) for argument in arguments for name in [_place(argument)]]
    assert_refused(capfd, *filled, words=str(places.get(words, words)))


def _place(argument: str) -> str:
    return next((name for name in ("IMAGES", "OUT", "FILE", "EMPTY") if argument.startswith(name)), "IMAGES")


def test_an_unknown_setting_in_the_file(images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "scan.yaml").write_text(f"source: {images}\noutput: {tmp_path}/out\ntreshold: 0.5\n")
    assert_refused(capfd, "scan", "--config", tmp_path / "scan.yaml", words="treshold: unknown setting")


def test_wrong_credentials(s3_bucket: Bucket, images: Path, capfd: pytest.CaptureFixture[str]) -> None:
    arguments = ["--output-endpoint", s3_bucket.store.endpoint_url, "--output-option", "key=fakescan-test-key"]
    wrong = [*arguments, "--output-option", "secret=wrong"]
    assert_refused(capfd, "scan", images, "-o", f"{s3_bucket.url}/run", *wrong, words="wrong or expired credentials")
    assert_refused(capfd, "verify", f"{s3_bucket.url}/run", *wrong, words="wrong or expired credentials")


def test_a_secret_that_is_not_in_the_environment(images: Path, capfd: pytest.CaptureFixture[str]) -> None:
    option = ["--input-option", "key=env:NO_SUCH_VARIABLE"]
    assert_refused(capfd, "scan", "s3://b/x", "-o", images / "run", *option, words="NO_SUCH_VARIABLE is not set")


def test_no_images_found_starts_no_cluster(
    images: Path, tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["scan", images, "-o", tmp_path / "out", "--model", tiny_model, "--ray-address", "127.0.0.1:9"]
    assert_refused(capfd, *arguments, "--glob", "*.tiff", words="no images found under")
    assert not (tmp_path / "out" / "lease.json").exists()


def test_a_model_without_weights(
    images: Path, tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    model = shutil.copytree(tiny_model, tmp_path / "model")
    (model / "model.safetensors").unlink()
    assert_refused(capfd, "scan", images, "-o", tmp_path / "out", "--model", model, words="model")


def test_a_ray_cluster_that_does_not_answer(
    images: Path, tmp_path: Path, tiny_model: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Through a process of its own: Ray keeps what it logs about a failed connection."""
    done = fakescan(
        "scan",
        images,
        "-o",
        tmp_path / "out",
        "--model",
        tiny_model,
        "--engine",
        "fake",
        "--ray-address",
        "127.0.0.1:9",
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("fakescan: error: ray address: no cluster answers at '127.0.0.1:9'")
    assert not (tmp_path / "out" / "lease.json").exists()


def test_the_console_script_says_one_line_and_no_traceback(images: Path, tmp_path: Path) -> None:
    done = fakescan("scan", images, "-o", tmp_path / "out", "--threshold", "7")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "fakescan: error: threshold: Input should be less than 1 (got 7.0)\n"


def test_index_says_what_it_found(images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (images / "notes.txt").touch()
    with pytest.raises(SystemExit) as exit:
        main(["index", str(images), "-o", str(tmp_path / "manifest")])
    assert exit.value.code == 0
    out, err = capfd.readouterr()
    assert out.splitlines()[0] == f"2 images in {tmp_path}/manifest (0 duplicates left out)"
    assert f"left out: 1 with other extensions, such as {images}/notes.txt" in out
    assert ".txt 1" in out
    assert err == ""
    assert_refused(capfd, "index", images, "-o", tmp_path / "manifest", words="already holds a manifest")


def test_columns_are_kept_from_a_list_to_the_manifest_of_a_scan(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("url,id,label\na.jpg,007,cat\n")
    for source, keep in (("list.csv", "id, label"), ("m-0", "label")):
        output = tmp_path / f"m-{source == 'm-0':d}"
        with pytest.raises(SystemExit) as exit:
            main(["index", str(tmp_path / source), "-o", str(output), "--keep-columns", keep])
        assert exit.value.code == 0
    kept = [ManifestReader(str(tmp_path / name), Store()).rows(0, 1)["kept"][0].as_py() for name in ("m-0", "m-1")]
    assert kept == ['{"id": "007", "label": "cat"}', '{"label": "cat"}']


def test_index_leaves_out_what_is_excluded(images: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["index", str(images), "-o", str(tmp_path / "manifest"), "--exclude", "c*t.webp", "--exclude", "none"])
    assert exit.value.code == 0
    out, _ = capfd.readouterr()
    assert out.splitlines()[0] == f"1 images in {tmp_path}/manifest (0 duplicates left out)"
    assert "left out: 1 with names that were not asked for" in out
    every = ("index", images, "-o", tmp_path / "none", "--exclude")
    assert_refused(capfd, *every, "*", words="2 with names that were not asked for")
    assert_refused(capfd, *every, "[z-a]", words="exclude: '[z-a]' is no pattern")
    assert_refused(capfd, *every, "", words="'--exclude': it is empty")


def test_verify_counts_an_intact_run(run_folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["verify", run_folder.url])
    assert exit.value.code == 0
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "ok: 50 rows, each once   real 22   fake 21   uncertain 0   errors 7"
    assert lines[1].split() == ["not_found", "7"]


def test_commands_on_a_run_call_nothing_real_that_is_only_not_found(
    run_folder: RunFolder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """A model that knows no generator says with a low score only that it found no forgery."""
    run_folder.save(run_folder.open().model_copy(update={"meaning": Meaning.FORGERIES}))
    for command in (
        ["verify", run_folder.url],
        ["filter", run_folder.url, "--drop", "fake", "-o", str(tmp_path / "keep.txt")],
        ["diff", run_folder.url, run_folder.url],
        ["review", "sample", run_folder.url, "-n", "10"],
        ["rejudge", run_folder.url, "-o", str(tmp_path / "strict"), "--threshold", "0.9"],
        ["summary", run_folder.url],
        ["duplicates", run_folder.url],
        ["report", run_folder.url, "-o", str(tmp_path / "report")],
    ):
        with pytest.raises(SystemExit) as exit:
            main(command)
        told = capfd.readouterr()
        assert exit.value.code == 0, told.err
        without = NO_FORGERY_FOUND.replace("make the image real", "")
        words = (told.out + told.err).replace(NO_FORGERY_FOUND, without).replace("for real verdicts", "")
        assert not re.search(r"\breal\b", words.replace("neither real nor fake", "")), (command, told.out)


def test_verify_fails_on_a_damaged_run(run_folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    Path(run_folder.parts, "part-00000001.parquet").unlink()
    Path(run_folder.parts, "part-00000002.parquet").write_bytes(b"PAR1")
    with pytest.raises(SystemExit) as exit:
        main(["verify", run_folder.url])
    assert exit.value.code == 1
    out, err = capfd.readouterr()
    assert len(out.splitlines()) == 2
    assert err == f"fakescan: error: {run_folder.url} does not account for every row (2 problems)\n"


def test_verify_of_a_thousand_problems_stays_readable(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = RunFolder(str(tmp_path / "run"), Store())
    make_run(folder, rows=100, shard_rows=1)
    for shard in range(100):
        Path(folder.part(shard)).write_bytes(b"damaged")
    with pytest.raises(SystemExit):
        main(["verify", folder.url])
    out, _ = capfd.readouterr()
    assert len(out.splitlines()) == 21
    assert "and 80 more" in out


def test_compact_says_where_the_files_are(run_folder: RunFolder, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit:
        main(["compact", f"{run_folder.url}/"])
    assert exit.value.code == 0
    assert capfd.readouterr().out == f"50 rows in 1 files: {run_folder.url}/compact/*.parquet\n"


def test_version_and_help(capfd: pytest.CaptureFixture[str]) -> None:
    for arguments in (["--version"], ["-h"], ["scan", "--help"]):
        with pytest.raises(SystemExit) as exit:
            main(arguments)
        assert exit.value.code == 0
    out, err = capfd.readouterr()
    assert "fakescan, version " in out
    assert "--explain" in out
    assert err == ""


def test_an_output_that_the_reader_closes_is_no_traceback(run_folder: RunFolder) -> None:
    """`fakescan verify RUN | head -0`."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([SCRIPT, "verify", run_folder.url], stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert "Traceback" not in done.stderr
