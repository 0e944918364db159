"""A server under load loses its processes one after the other, gets other settings, and is told to stop."""

import hashlib
import io
import itertools
import json
import signal
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from fakescan.serve.keys import edit_keys
from tests.faulty_server import (
    CLIENTS,
    CONTROL,
    EXPLANATION_S,
    FEW,
    ONGOING,
    PLACES,
    PROXY,
    REPLICA,
    WORKING,
    Faulty,
    Load,
    ask,
    faulty_server,
)
from tests.serve_process import PAIRS, Served

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Faulty]:
    with faulty_server(tmp_path_factory.mktemp("faulty")) as server:
        yield server


def logs(served: Served) -> Path:
    """The folder with Serve's logs of this server's own Ray."""
    (proxy,) = served.below(PROXY)
    (folder,) = {Path(file.path).parent for file in proxy.open_files() if Path(file.path).parent.name == "logs"}
    return folder / "serve"


def test_a_request_is_found_in_the_log_by_its_id_and_its_key_is_not(faulty: Faulty) -> None:
    assert faulty.key
    with faulty.client() as client:
        ids = [
            client.post("/v1/detect", files={"file": path.read_bytes()}).headers["x-request-id"] for path in PAIRS[:3]
        ]
        bad = client.post("/v1/detect", content=b"x", headers={"content-type": "text/plain"}).headers["x-request-id"]
    lines: dict[str, dict[str, Any]] = {}

    def all_there() -> bool:
        for file in logs(faulty).glob("access_*.jsonl"):
            lines.update({line["request_id"]: line for line in map(json.loads, file.read_text().splitlines())})
        return lines.keys() >= {*ids, bad}

    faulty.process.wait_for("the lines", all_there, 20)
    for id, path in zip(ids, PAIRS, strict=False):
        line = lines[id]
        assert (line["status"], line["key"], line["client"], line["path"]) == (200, "tester", "127.0.0.1", "/v1/detect")
        (image,) = line["images"]
        assert image["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert (lines[bad]["status"], lines[bad]["code"]) == (415, "unsupported_media")
    for file in logs(faulty).iterdir():
        assert faulty.key[-43:] not in file.read_text(), f"{file} holds the secret"


def test_requests_of_one_name_are_kept_apart(faulty: Faulty) -> None:
    with faulty.client() as client:
        client.headers["x-request-id"] = "same"
        alone = [ask(client, path).body["results"][0]["sha256"] for path in PAIRS[:8]]
        with ThreadPoolExecutor(8) as pool:
            together = list(pool.map(lambda path: ask(client, path), PAIRS[:8]))
    assert [answer.body["results"][0]["sha256"] for answer in together] == alone
    assert {answer.body["request_id"] for answer in together} == {"same"}


def test_uploads_are_never_on_disk(faulty: Faulty, tmp_path: Path) -> None:
    """With the temporary folder away, whatever is put there fails."""
    before = set(Path.cwd().iterdir())
    photo = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (1300, 1300, 3), dtype=np.uint8)).save(photo, "BMP")
    data = photo.getvalue()
    assert len(data) > 5_000_000
    away = (faulty.folder / "tmp").rename(tmp_path / "away")
    try:
        with faulty.client() as client:
            form = client.post("/v1/detect", files=[("file", data), ("file", data)])
            bare = client.post("/v1/detect", content=data, headers={"content-type": "image/bmp"})
    finally:
        away.rename(faulty.folder / "tmp")
    for answer, count in ((form, 2), (bare, 1)):
        assert [result["num_bytes"] for result in answer.raise_for_status().json()["results"]] == [len(data)] * count
    assert [path for path in set(Path.cwd().iterdir()) - before if path.stat().st_size > 1_000_000] == []
    assert [path for path in (faulty.folder / "tmp").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("query", ["explain=all", "explain=all&stream=true"])
def test_clients_that_leave_free_the_engine(faulty: Faulty, query: str) -> None:
    """Places are taken by explanations that nobody waits for any more; together they would take nine seconds."""
    address = urlsplit(faulty.url)
    headers = f"POST /v1/detect?{query} HTTP/1.1\r\nhost: x\r\nx-api-key: {faulty.key}\r\ncontent-type: image/x\r\n"
    clients = [socket.create_connection((address.hostname, address.port)) for _ in range(PLACES)]
    for client, path in zip(clients, itertools.cycle(PAIRS), strict=False):
        data = path.read_bytes()
        client.sendall(f"{headers}content-length: {len(data)}\r\n\r\n".encode() + data)
    faulty.process.wait_for("as many as one key may have are in", lambda: faulty.metric(ONGOING) > PLACES / 2, 20)
    for client in clients:
        client.close()
    started = time.monotonic()
    faulty.process.wait_for("free places", lambda: faulty.metric(ONGOING) == 0, 20)
    with faulty.client() as client:
        assert ask(client, PAIRS[0], "all").status == 200
    assert time.monotonic() - started < PLACES / 4 * EXPLANATION_S / 2
    assert faulty.metric("fakescan_serve_buffered_bytes") == 0


def test_who_finds_no_place_hears_so_at_once(faulty: Faulty) -> None:
    with faulty.client(limits=httpx.Limits(max_connections=None)) as client, ThreadPoolExecutor(2 * PLACES) as pool:
        answers = list(pool.map(lambda number: ask(client, PAIRS[number % len(PAIRS)], "all"), range(2 * PLACES)))
    refused = [answer for answer in answers if answer.status == 503]
    assert {answer.status for answer in answers} == {200, 503}
    assert {answer.body["code"] for answer in refused} == {"overloaded"}
    assert len(answers) - len(refused) >= PLACES / 2
    assert max(answer.seconds for answer in refused) < 1


def test_settings_change_under_load_without_a_failed_request(faulty: Faulty) -> None:
    with Load(faulty, FEW) as load:
        faulty.roll_out("rolled out", threshold=0.9)
        load.wait_for(50, lambda answer: answer.body["threshold"] == 0.9)
    assert load.outcomes.keys() == {"ok"}, load.refusals
    thresholds = [answer.body["threshold"] for answer in load.answers]
    assert set(thresholds) == {0.5, 0.9}
    load.assert_all_scores_agree()


def test_a_lost_control_actor_changes_nothing_for_clients(faulty: Faulty) -> None:
    wrong = {"authorization": f"Bearer {faulty.key[:-1]}"} if faulty.key else {}
    with Load(faulty) as load, faulty.client() as client:
        faulty.lose(CONTROL)
        assert client.get("/v1/models", headers=wrong).status_code == 401
        assert client.get("/v1/models").status_code == 200
        with edit_keys(faulty.folder / "keys.json") as edit:
            edit.disable("spare")
        spare = {"authorization": f"Bearer {faulty.spare_key}"}
        disabled = lambda: client.get("/v1/models", headers=spare).status_code == 401  # noqa: E731
        faulty.process.wait_for("the new control actor's keys to be in force", disabled, 30)
        load.wait_for(50)
        assert client.get("/v1/models", headers=wrong).status_code == 401
    assert load.outcomes.keys() == {"ok"}, load.refusals
    load.assert_all_scores_agree()


def test_a_lost_replica_costs_only_the_requests_that_it_had(faulty: Faulty) -> None:
    params = {"explain": "all", "stream": "true"}
    with Load(faulty) as load, faulty.client() as client:
        file = {"file": PAIRS[0].read_bytes()}
        with client.stream("POST", "/v1/detect", params=params, files=file) as answer:
            pieces = answer.iter_text()
            begin = next(pieces)
            faulty.lose(REPLICA)
            rest = "".join(pieces)
        load.wait_for(50)
    assert load.outcomes.keys() <= {"ok", "unavailable", "overloaded"}, load.refusals
    assert load.outcomes["unavailable"] <= WORKING
    load.assert_all_scores_agree()
    assert begin.startswith("event: verdict\n")
    assert '"code": "unavailable"' in rest.partition("event: error\ndata: ")[2], "the stream says how it ended"


def test_a_lost_proxy_comes_back(faulty: Faulty) -> None:
    with Load(faulty) as load:
        faulty.lose(PROXY)
        load.wait_for(50)
    assert load.outcomes.keys() <= {"ok", "broken", "starting"}, load.refusals
    assert load.outcomes["broken"] >= CLIENTS, "nothing else could become of them"
    load.assert_all_scores_agree()
    with faulty.client() as client:
        assert client.get("/v1/models", headers={"authorization": "Bearer x"}).status_code == 401
        assert client.get("/readyz").status_code == 200


def test_sigterm_lets_requests_in_flight_end(faulty: Faulty) -> None:
    with faulty.client(limits=httpx.Limits(max_connections=None)) as client, ThreadPoolExecutor(8) as pool:
        asked = [pool.submit(ask, client, path, "all") for path in PAIRS[:8]]
        faulty.process.wait_for("all to be in", lambda: faulty.metric(ONGOING) == 8, 20)
        below = psutil.Process(faulty.process.pid).children(recursive=True)
        faulty.process.signal(signal.SIGTERM)
        stopped_at = time.monotonic()
        while (ready := client.get("/readyz")).status_code == 200:
            assert time.monotonic() - stopped_at < 2, "balancers would go on sending requests here"
        assert ready.json()["code"] == "unavailable"
        answers = [one.result() for one in asked]
    assert {answer.status for answer in answers} <= {200, 503}
    assert 200 in {answer.status for answer in answers}
    assert faulty.process.end(60) == 0
    assert "stopped" in faulty.process.err
    assert "Traceback" not in faulty.process.err
    _, alive = psutil.wait_procs(below, 20)
    assert not alive
