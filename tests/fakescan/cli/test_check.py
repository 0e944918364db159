"""`fakescan check`: what people and programs read, and which names are refused before anything starts."""

import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fakescan.cli.main import main
from tests.conftest import Bucket
from tests.web_server import Answer, WebServer

pytestmark = pytest.mark.unit

SAMPLES = Path(__file__).parents[3] / "samples" / "images"
CAT, DOGS = str(SAMPLES / "cat.webp"), str(SAMPLES / "dogs.jpg")
SIMULATED = "warning: the engine is simulated: these verdicts mean nothing"

Check = Callable[..., tuple[str, str]]


@pytest.fixture
def check(capfd: pytest.CaptureFixture[str]) -> Check:
    """Runs the command in this process, with the simulated engine."""

    def run(*arguments: object, status: int = 0) -> tuple[str, str]:
        with pytest.raises(SystemExit) as exit:
            main(["check", "--engine", "fake", *map(str, arguments)])
        out, err = capfd.readouterr()
        assert (exit.value.code or 0) == status, f"{out}\n{err}"
        assert "Traceback" not in err
        return out, err

    return run


def objects(out: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.splitlines()]


def test_for_people(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    out, err = check(CAT, DOGS)
    heads = [line for line in out.splitlines() if not line.startswith(" ")]
    assert [line.startswith("means nothing  0.") for line in heads] == [True, True]
    assert out.count("This verdict means nothing: no trained model gave it.") == 2
    assert out.count("in the model's own words: This is a ") == 2
    assert heads[0].endswith(f"{CAT}  (WEBP, 451 x 300)")
    assert " ".join(out.split()).count("The simulated engine has not looked at it.") == 2
    assert max(len(line) for line in out.splitlines() if "/" not in line) <= 80
    assert err.splitlines() == [SIMULATED]


def test_for_programs(check: Check) -> None:
    out, err = check("--json", CAT, "/no/such.jpg", status=1)
    cat, missing = objects(out)
    assert (cat["uri"], cat["format"], cat["width"], cat["error_code"]) == (CAT, "WEBP", 451, None)
    assert cat["verdict"] in ("real", "fake")
    assert cat["explanation"]
    assert (cat["finding"], cat["how_sure"]) == ("means nothing", None)
    assert cat["remark"] == "This verdict means nothing: no trained model gave it."
    assert cat["warning"] == SIMULATED.removeprefix("warning: ")
    assert (missing["verdict"], missing["score"], missing["error_code"]) == (None, None, "not_found")
    assert err.splitlines() == [SIMULATED, "fakescan: error: no verdict on 1 of 2 images"]


def test_errors_are_lines_with_the_code(check: Check, tmp_path: Path) -> None:
    (tmp_path / "empty.jpg").touch()
    (tmp_path / "words.jpg").write_text("no image at all")
    (tmp_path / "cut.jpg").write_bytes(Path(DOGS).read_bytes()[:3000])
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "big.bmp").write_bytes(b"BM" + bytes(2**20))
    names = ["empty.jpg", "words.jpg", "cut.jpg", "pipe.jpg", "big.bmp", "gone.jpg"]
    out, err = check("--max-bytes", 2**20, *(tmp_path / name for name in names), status=1)
    codes = [line.split(":")[0].strip() for line in out.splitlines() if line.startswith("    ")]
    expected = ["empty", "not_an_image", "truncated", "fetch_failed", "too_large", "not_found"]
    assert [code for code in codes if code in expected] == expected
    assert err.splitlines() == ["fakescan: error: no verdict on 6 of 6 images"]


def test_settings(check: Check) -> None:
    (low,) = objects(check("--json", CAT, "--threshold", "0.0001")[0])
    assert low["verdict"] == "fake"
    (none,) = objects(check("--json", CAT, "--explain", "none")[0])
    assert none["explanation"] is None
    (few,) = objects(check("--json", CAT, "--max-pixels", "1000", status=1)[0])
    assert few["error_code"] == "too_many_pixels"


def without_version(*images: dict[str, Any]) -> None:
    """Take away what differs between two copies of a file."""
    for image in images:
        for name in ("etag", "version", "last_modified"):
            image.pop(name)


def test_standard_input(check: Check, monkeypatch: pytest.MonkeyPatch) -> None:
    def give(data: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))

    data = Path(CAT).read_bytes()
    give(data)
    from_stdin, from_file = objects(check("--json", "-", CAT)[0])
    assert from_stdin.pop("uri") == "-"
    assert from_file.pop("uri") == CAT
    without_version(from_stdin, from_file)
    assert from_stdin == from_file
    give(b"")
    assert objects(check("--json", "-", status=1)[0])[0]["error_code"] == "empty"
    give(data)
    assert objects(check("--json", "-", "--max-bytes", len(data) - 1, status=1)[0])[0]["error_code"] == "too_large"
    give(data)
    assert objects(check("--json", "-", "--max-bytes", len(data))[0])[0]["num_bytes"] == len(data)


def test_many_images_come_in_their_order(check: Check, pictures: Path) -> None:
    names = sorted(map(str, pictures.iterdir()), reverse=True)
    out, _ = check("--json", *names)
    assert [image["uri"] for image in objects(out)] == names


def test_the_web(check: Check, web: WebServer) -> None:
    """Secrets in a query are sent and never shown."""
    web.answers["/cat.webp"] = Answer(Path(CAT).read_bytes())
    web.answers["/no.webp"] = Answer(status=403)
    names = [f"{web.url}/cat.webp?token=hidden", f"{web.url}/no.webp?token=hidden"]
    for flags in ([], ["--json"]):
        out, err = check(*flags, *names, status=1)
        assert "hidden" not in out + err
    cat, denied = objects(out)
    (local,) = objects(check("--json", CAT)[0])
    without_version(cat, local)
    assert cat == {**local, "uri": f"{web.url}/cat.webp"}
    assert denied["error_code"] == "denied"
    assert "/cat.webp?token=hidden" in {request.target for request in web.seen}


def test_stores(check: Check, s3_bucket: Bucket) -> None:
    s3_bucket.put("a b/cat.webp", Path(CAT).read_bytes())
    options = {name: secret.get_secret_value() for name, secret in s3_bucket.store.options.items()}
    flags = [flag for name, value in options.items() for flag in ("--input-option", f"{name}={value}")]
    flags += ["--input-endpoint", str(s3_bucket.store.endpoint_url)]
    url = f"{s3_bucket.url}/a b/cat.webp"
    found, missing = objects(check("--json", *flags, url, f"{s3_bucket.url}/none.jpg", status=1)[0])
    (local,) = objects(check("--json", CAT)[0])
    without_version(found, local)
    assert found == {**local, "uri": url}
    assert missing["error_code"] == "not_found"


def test_a_place_in_a_container_as_results_have_it(check: Check, tmp_path: Path) -> None:
    import tarfile

    import pyarrow as pa
    import pyarrow.parquet as pq

    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        tar.add(CAT, "cats/cat.webp")
    pq.write_table(pa.table({"image": [Path(DOGS).read_bytes(), Path(CAT).read_bytes()]}), tmp_path / "x.parquet")
    names = [
        f"tar://cats/cat.webp::{tmp_path}/x.tar",
        f"{tmp_path}/x.parquet#row=1",
        f"tar://none.webp::{tmp_path}/x.tar",
        f"{tmp_path}/x.parquet#row=7",
        f"tar://a::{tmp_path}/none.tar",
    ]
    found = objects(check("--json", *names, status=1)[0])
    (local,) = objects(check("--json", CAT)[0])
    assert [image["sha256"] for image in found[:2]] == [local["sha256"]] * 2
    assert [image["score"] for image in found[:2]] == [local["score"]] * 2
    assert [image["error_code"] for image in found[2:]] == ["not_found"] * 3


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["IMAGES"], "is a folder"),
        (["CAT", "IMAGES"], "fakescan scan IMAGES --output RUN"),
        (["file://IMAGES"], "is a folder"),
        (["s3://bucket/photos/"], "is a folder"),
        (["s3://bucket"], "is a folder"),
        (["-", "-"], "standard input can be read only once"),
        ([""], "empty name"),
        (["ftpx://host/a.jpg"], "unknown scheme ftpx://"),
        (["zip://host/a.jpg"], "zip://"),
        (["tar://member.jpg"], "tar://MEMBER::TAR"),
        (["CAT", "--threshold", "2"], "threshold"),
        (["CAT", "--explain", "some"], "explain"),
        (["CAT", "--model", "/no/such/model"], "/no/such/model"),
        (["CAT", "--calibration", "/no/such.json"], "calibration"),
        (["CAT", "--engine", "magic"], "engine"),
        (["CAT", "--replicas", "2"], "--replicas"),
        (["CAT", "--max-bytes", "0"], "max_bytes"),
        (["CAT", "--input-option", "x"], "KEY=VALUE"),
        (["s3://b/x.jpg", "--input-option", "key=env:NO_SUCH_VARIABLE"], "NO_SUCH_VARIABLE is not set"),
        ([], "FILE"),
    ],
)
def test_wrong_use(check: Check, arguments: list[str], words: str) -> None:
    places = {"CAT": CAT, "IMAGES": str(SAMPLES)}

    def filled(text: str) -> str:
        for name, place in places.items():
            text = text.replace(name, place)
        return text

    out, err = check(*map(filled, arguments), status=2)
    assert out == ""
    (line,) = err.splitlines()
    assert filled(words) in line


def test_names_that_harm_a_terminal_or_are_no_text(tmp_path: Path) -> None:
    """Through a process of its own: the command line begins with bytes."""
    names = [b"\x1b[2Jred.webp", b"new\nline.webp", b"\xff\xfe.webp", "Füße.webp".encode(), b"~.webp", b"#row=1.webp"]
    for name in names:
        Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + name)).write_bytes(Path(CAT).read_bytes())
    for flags in ([], ["--json"]):
        done = subprocess.run(
            [sys.executable, "-m", "fakescan.cli", "check", "--engine", "fake", *flags, *names],
            cwd=tmp_path,
            capture_output=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        assert b"\x1b" not in done.stdout
        assert done.stderr.decode().splitlines() == [SIMULATED]
        if flags:
            found = objects(done.stdout.decode())
            assert len({image["sha256"] for image in found}) == 1
            assert found[2]["uri"] == f"file://{tmp_path}/%FF%FE.webp"
            assert found[1]["uri"] == f"{tmp_path}/new\nline.webp"
            assert found[3]["uri"] == f"{tmp_path}/Füße.webp"
        else:
            assert sum(b"451 x 300" in line for line in done.stdout.splitlines()) == len(names)


def test_nothing_heavy_is_imported_to_refuse_a_folder() -> None:
    program = (
        "import sys\nfrom fakescan.cli.main import main\ntry:\n    main(['check', sys.argv[1]])\n"
        "except SystemExit as end:\n    print(end.code, sorted({'ray', 'torch', 'vllm'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program, str(SAMPLES)], capture_output=True, text=True, timeout=60)
    assert done.stdout == "2 []\n", done.stderr


@pytest.mark.parametrize("redirection", ["<&-", "</dev/null"])
def test_standard_input_that_gives_nothing(redirection: str) -> None:
    command = f"exec {sys.executable} -m fakescan.cli check --engine fake --json - {CAT} {redirection}"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60)
    nothing, cat = objects(done.stdout)
    assert (nothing["error_code"], cat["error_code"]) == ("empty", None)
    assert done.stderr.splitlines() == [SIMULATED, "fakescan: error: no verdict on 1 of 2 images"]
