"""Fixtures that several test modules share: a real S3 server, fresh buckets in it, a web server."""

import gc
import itertools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from hypothesis import settings

from fakescan.run.folder import RunFolder
from fakescan.storage.store import Store
from tests.local_cluster import LocalCluster, local_cluster
from tests.serve_process import Served, never_slowing, serving
from tests.storage_server import SeaweedServer
from tests.web_server import WebServer

_bucket_numbers = itertools.count()

# A shell starts background commands with Ctrl-C ignored, and so would all that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# How long an example takes depends on what else the machine does.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What shares an engine, a cluster or a server is done by one process, and so are the tests of a module.

    pytest-xdist hands out the groups with most tests first, so that small modules are left to even the end out.
    """
    modules = [item.nodeid.partition("::")[0] for item in items]
    engines = {module for module, item in zip(modules, items, strict=True) if item.get_closest_marker("engine")}
    for module, item in zip(modules, items, strict=True):
        fixtures = getattr(item, "fixturenames", ())
        if module.startswith("tests/fakescan/train/") and not item.get_closest_marker("engine"):
            group = "trainings"
        elif "ray_cluster" in fixtures:
            group = "engines and the cluster"
        elif item.get_closest_marker("unit") and module not in engines:
            group = module
        elif item.get_closest_marker("cluster"):
            group = "servers and other clusters"
        else:
            group = "engines and the cluster"
        item.add_marker(pytest.mark.xdist_group(group))


def pytest_collection_finish() -> None:
    """Everything that was imported and collected stays to the end: nobody need search it for cycles again and again."""
    gc.collect()
    gc.freeze()


class Bucket(NamedTuple):
    """An S3 bucket: its URL, the settings that reach it, and its name."""

    url: str
    store: Store
    name: str

    def call(self, method: str, **arguments: Any) -> Any:
        """Call the S3 client with the bucket's name and literal keys."""
        filesystem, _ = self.store.filesystem(self.url)
        return filesystem.call_s3(method, Bucket=self.name, **arguments)

    def put(self, key: str, data: bytes, **arguments: Any) -> None:
        self.call("put_object", Key=key, Body=data, **arguments)

    def upload(self, folder: Path, prefix: str) -> str:
        """Put the files of a folder below `prefix`; returns the URL of the copy."""
        for path in folder.rglob("*"):
            if path.is_file():
                self.put(f"{prefix}/{path.relative_to(folder)}", path.read_bytes())
        return f"{self.url}/{prefix}"

    def settings(self) -> dict[str, Any]:
        """The store as a YAML file has it."""
        options = {name: secret.get_secret_value() for name, secret in self.store.options.items()}
        return {**self.store.model_dump(mode="json", exclude={"options"}), "options": options}


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SeaweedServer]:
    """One S3 server for the whole run."""
    with SeaweedServer(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture
def own_s3(tmp_path: Path) -> Iterator[SeaweedServer]:
    """An S3 server that the test may kill."""
    with SeaweedServer(tmp_path / "own-seaweed") as server:
        yield server


@pytest.fixture
def s3_bucket(s3: SeaweedServer) -> Bucket:
    """A fresh, empty bucket."""
    return new_bucket(s3)


def new_bucket(server: SeaweedServer) -> Bucket:
    name = f"bucket-{next(_bucket_numbers)}"
    bucket = Bucket(f"s3://{name}", server.store, name)
    bucket.call("create_bucket")
    return bucket


@pytest.fixture
def web() -> Iterator[WebServer]:
    """A web server whose answers the test scripts."""
    with WebServer() as server:
        yield server


@pytest.fixture
def unprivileged() -> Callable[[], AbstractContextManager[None]]:
    """A context in which file permissions bind this process even if the tests run as root."""

    @contextmanager
    def context() -> Iterator[None]:
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)  # nobody
        try:
            yield
        finally:
            os.seteuid(user)

    return context


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkpoint that ships, with a card that says untrained: 112-pixel images, 64 image tokens."""
    from fakevlm.builtin import BUILT_IN
    from fakevlm.checkpoint.card import Card, write_card

    skipped = shutil.ignore_patterns("README.md", "metrics.json")
    folder = Path(shutil.copytree(BUILT_IN, tmp_path_factory.mktemp("tiny") / "model", ignore=skipped))
    write_card(folder, Card(trained=False))
    return folder


@pytest.fixture(scope="session")
def labelled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The striped dataset."""
    from tests.striped import write_striped

    return write_striped(tmp_path_factory.mktemp("labelled"))


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[str]:
    """A local Ray cluster of 4 logical CPUs that this process is connected to; its address for other drivers."""
    import ray

    often = {"metrics_report_interval_ms": 1000}  # not every ten seconds, which tests of metrics would wait for
    options: dict[str, Any] = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=4, _system_config=often, **options)
    yield ray.get_runtime_context().gcs_address
    ray.shutdown()


STORE_SECRETS = {"SCANS_TEST_KEY": SeaweedServer.access_key, "SCANS_TEST_SECRET": SeaweedServer.secret_key}
"""Variables of the head's jobs, with the keys to the session's S3 server."""


@pytest.fixture(scope="session")
def job_head() -> Iterator[LocalCluster]:
    """A head with two CPUs and the API for jobs, as `make cluster` starts one."""
    with ExitStack() as stack:
        with pytest.MonkeyPatch.context() as patch:
            for name, value in STORE_SECRETS.items():
                patch.setenv(name, value)
            cluster = stack.enter_context(local_cluster("--head-cpus", 2, "--dashboard"))
        yield cluster


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of 30 small sound images of all formats; for reading only."""
    from tests.drill_images import drill_images

    folder = tmp_path_factory.mktemp("pictures")
    for image in itertools.islice((image for image in drill_images(40) if image.code is None), 30):
        (folder / image.name).write_bytes(image.data)
    return folder


class ScannedPairs(NamedTuple):
    """What `fakescan scan samples/pairs` left and said."""

    run: RunFolder
    out: str


@pytest.fixture(scope="session")
def scanned_pairs(tmp_path_factory: pytest.TempPathFactory) -> ScannedPairs:
    """A scan of the sample pairs with all defaults, as `make demo` runs it: its own Ray, vLLM, the model that ships."""
    from tests.scan_process import fakescan
    from tests.serve_process import PAIRS

    output = tmp_path_factory.mktemp("scanned-pairs") / "run"
    process = fakescan("scan", PAIRS[0].parent, "--output", output)
    return ScannedPairs(RunFolder(str(output), Store()), process.out)


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A real server: Serve, vLLM, the built-in checkpoint; it asks for no key, and slows nobody down."""
    with serving("--no-auth", "--config", never_slowing(tmp_path_factory.mktemp("served"))) as server:
        yield server
