"""Training through Ray's job API, everything in a bucket: stopped and resumed."""

import json
from pathlib import Path

import pytest

from fakevlm.checkpoint.checkpoint import open_checkpoint
from tests.conftest import Bucket
from tests.jobs.conftest import Jobs
from tests.striped import settings

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(500)]


def test_a_stopped_job_is_resumed_by_the_same_job(
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
