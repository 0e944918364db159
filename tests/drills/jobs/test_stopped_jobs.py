"""Jobs that are stopped through Ray's job API, and go on when they are submitted again."""

import json
from pathlib import Path

import pytest

from fakescan.run.folder import RunFolder
from fakescan.run.verify import verify
from fakescan.storage.store import Store
from fakevlm.checkpoint.checkpoint import open_checkpoint
from tests.conftest import Bucket
from tests.jobs.conftest import Jobs, wait
from tests.striped import settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]


def test_a_stopped_scan_leaves_a_run_that_the_same_job_resumes(jobs: Jobs, images: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    file = tmp_path / "scan.yaml"
    file.write_text(
        f"source: {images}\noutput: {output}\nshard_rows: 16\n"
        "engine: {kind: fake, max_num_seqs: 4, step_s: 0.1}\nexplain: none\n"
    )
    job = jobs.submit(f"jobs/scan.py --config {file}")
    parts = output / "parts"

    jobs.run_until(job, lambda: len(list(parts.glob("part-*.parquet"))) >= 3, "the job writes parts")
    jobs.stop(job)
    wait(lambda: not (output / "lease.json").exists(), 30, "the stopped job gives its lease back")
    kept = {path.name: path.read_bytes() for path in parts.glob("part-*.parquet")}
    assert 3 <= len(kept) < 20

    job = jobs.submit(f"jobs/scan.py --config {file}")
    assert jobs.finish(job) == "SUCCEEDED", jobs.log(job)
    assert verify(RunFolder(str(output), Store())).problems == []
    assert len(list(parts.glob("part-*.parquet"))) == 20
    assert all((parts / name).read_bytes() == data for name, data in kept.items()), "a part was done again"
    assert "rows: 320 of 320" in jobs.log(job)


def test_a_stopped_training_is_resumed_by_the_same_job(
    jobs: Jobs, s3_bucket: Bucket, tiny_model: Path, labelled: Path, tmp_path: Path
) -> None:
    store = s3_bucket.settings()
    config = settings(
        s3_bucket.upload(tiny_model, "models/tiny"), s3_bucket.upload(labelled, "labelled"), f"{s3_bucket.url}/runs",
        zero=3, epochs=4, checkpoint_every=4, keep=1, model_store=store, data_store=store, storage_store=store,
    )  # fmt: skip
    file = tmp_path / "train.yaml"
    file.write_text(json.dumps(config))
    fs, path = s3_bucket.store.filesystem(f"{s3_bucket.url}/runs/train")

    def checkpoints() -> list[str]:
        fs.invalidate_cache()
        return sorted({found.split("/")[3] for found in fs.glob(f"{path}/checkpoint_*/**/*.pt")})

    job = jobs.submit(f"jobs/train.py {file}")
    jobs.run_until(job, lambda: len(checkpoints()) >= 1, "a checkpoint")
    jobs.stop(job)
    assert not fs.exists(f"{path}/model"), "it was stopped too late to show anything"

    job = jobs.submit(f"jobs/train.py {file}")
    assert jobs.finish(job) == "SUCCEEDED", jobs.log(job)
    fs.invalidate_cache()
    log = [json.loads(line) for line in fs.cat(f"{path}/metrics.jsonl").splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, 21))
    assert f"model: {s3_bucket.url}/runs/train/model" in jobs.log(job)
    for secret in store["options"].values():
        assert secret not in jobs.log(job)
        assert secret not in fs.cat(f"{path}/train.json").decode()
    fs.get(f"{path}/model", str(tmp_path / "model"), recursive=True)
    assert open_checkpoint(str(tmp_path / "model")).trained
    assert len(checkpoints()) == 1, "one is kept"
