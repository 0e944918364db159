"""Scans that clients start, on a real cluster: stopped and resumed, and started from an actor of the cluster itself."""

import json
import shlex
from pathlib import Path

import pytest

from fakescan.engine.config import SimulatedConfig
from fakescan.serve.config import Scans
from fakescan.serve.scans.command import environment
from fakescan.serve.scans.jobs import ScanRequest, ScanState
from tests.conftest import Bucket
from tests.fakescan.serve.scans.test_jobs import (
    ANNA,
    _environment,
    has_ended,
    jobs,
    put_images,
    refusal,
    scan_jobs,
    settings,
    until,
)
from tests.jobs import conftest as head

__all__ = ["_environment", "jobs", "settings"]

pytestmark = pytest.mark.cluster


def test_a_running_scan_is_stopped_and_resumed_by_its_own_command(
    settings: Scans, jobs: head.Jobs, s3_bucket: Bucket
) -> None:
    count = 40
    put_images(s3_bucket, count)
    slow = SimulatedConfig(max_num_seqs=1, step_s=0.2)
    scans = scan_jobs(settings.model_copy(update={"max_running": 1}), engine=slow)
    request = ScanRequest(source=f"{s3_bucket.url}/data", explain="none")
    scan_id = scans.start(request, ANNA).id
    assert refusal(lambda: scans.start(request, ANNA)).code == "overloaded"

    def is_under_way(state: ScanState) -> bool:
        assert not has_ended(state), jobs.log(scan_id)
        return state.rows_done > 0

    running = until(scans, scan_id, is_under_way, "the first part")
    assert (running.status, running.rows, running.ended_at) == ("running", count, None)
    assert scans.stop(scan_id, ANNA).id == scan_id
    stopped = until(scans, scan_id, has_ended, "the scan stops")
    assert (stopped.status, stopped.message) == ("stopped", None)
    assert 0 < stopped.rows_done < count
    assert scans.stop(scan_id, ANNA) == stopped

    again = jobs._client.get_job_info(scan_id)
    resumed = jobs._client.submit_job(entrypoint=again.entrypoint, runtime_env=again.runtime_env)
    early = scans.start(request, ANNA).id
    scans.stop(early, ANNA)
    assert until(scans, early, has_ended, "a scan that has hardly begun stops").status == "stopped"
    assert jobs.finish(resumed) == "SUCCEEDED", jobs.log(resumed)
    assert scans.get(scan_id, ANNA).rows_done == count, "the folder is the same"


IN_AN_ACTOR = """
import json, sys, ray
from fakescan.engine.config import SimulatedConfig
from fakescan.engine.judging_settings import JudgingSettings
from fakescan.serve.config import Scans
from fakescan.serve.scans.jobs import Client, ScanJobs, ScanRequest
from fakevlm.verdict import Calibration

@ray.remote(num_cpus=0)
class Server:
    def start(self, settings, source):
        server = JudgingSettings(engine=SimulatedConfig(), max_new_tokens=8)
        scans = ScanJobs(Scans.model_validate(settings), server, Calibration())
        return scans.start(ScanRequest(source=source), Client("anna", "0a1b2c3d")).id

ray.init(log_to_driver=False)
print("started", ray.get(Server.remote().start.remote(json.loads(sys.argv[1]), sys.argv[2])))
"""


def test_an_actor_finds_the_job_server_of_its_own_cluster(
    settings: Scans, jobs: head.Jobs, s3_bucket: Bucket, tmp_path: Path
) -> None:
    count = 17
    put_images(s3_bucket, count)
    (tmp_path / "server.py").write_text(IN_AN_ACTOR)
    own = json.dumps(settings.model_dump(mode="json", exclude={"job_address"}))
    runtime = environment(inherit=False)
    runtime |= {"working_dir": str(tmp_path), "env_vars": {**runtime["env_vars"], "SCANS_TEST_MARK": "brought"}}
    entrypoint = shlex.join(["python", "server.py", own, f"{s3_bucket.url}/data"])
    server = jobs._client.submit_job(entrypoint=entrypoint, runtime_env=runtime)
    assert jobs.finish(server) == "SUCCEEDED", jobs.log(server)
    scan_id = jobs.log(server).rpartition("started ")[2].strip()

    done = until(scan_jobs(settings), scan_id, has_ended, "the scan ends")
    assert (done.status, done.rows_done) == ("succeeded", count), jobs.log(scan_id)
    told = jobs._client.get_job_info(scan_id).runtime_env
    assert told["working_dir"] == jobs._client.get_job_info(server).runtime_env["working_dir"]
    assert told["env_vars"]["SCANS_TEST_MARK"] == "brought"
