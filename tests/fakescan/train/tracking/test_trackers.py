"""Trackers: what they are told, in which order, and that one that breaks stops nothing."""

import json
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest

from fakescan.cli.main import main
from fakescan.train.config import TrainConfig
from fakescan.train.metrics_actor import StepMetrics
from fakescan.train.tracking import trackers as module
from fakescan.train.tracking.parameters import commit, parameters
from fakescan.train.tracking.tracker import Ending, Opened, TrackedRun, Tracker
from fakescan.train.tracking.trackers import IDS, Restart, TrackerIds, Trackers
from fakevlm import __version__
from tests.striped import settings

pytestmark = pytest.mark.unit

RUN = TrackedRun(name="train", url="file", parameters={"lr": 0.1}, folder=None, last_step=0)


class Notebook(Tracker):
    """A service that writes down what it is told; it may be away."""

    name: ClassVar[str] = "notebook"

    def __init__(self, known: int = 0) -> None:
        self.said: list[Any] = []
        self.known = known
        self.is_away = False
        self.told = threading.Semaphore(0)

    @classmethod
    def check(cls) -> None:
        """Nothing is needed."""

    def _tell(self, what: Any) -> None:
        self.told.release()
        if self.is_away:
            raise ConnectionError("https://user:hush@tracker.example/api?token=hush is away")
        self.said.append(what)

    def open(self, run: TrackedRun, known: str | None) -> Opened:
        """See Tracker."""
        self._tell(("open", known))
        return Opened(known or "run-1", self.known, "https://tracker.example/run-1")

    def log(self, entries: Sequence[StepMetrics]) -> None:
        """See Tracker."""
        self._tell([entry.step for entry in entries])

    def restarted(self, step: int, restarts: int, why: str) -> None:
        """See Tracker."""
        self._tell(("restarted", step, restarts, why))

    def close(self, ending: Ending, facts: Mapping[str, Any]) -> None:
        """See Tracker."""
        self._tell((ending, dict(facts)))

    @property
    def steps(self) -> list[int]:
        """All steps it has taken."""
        return [step for what in self.said if isinstance(what, list) for step in what]


def entries(last: int) -> list[StepMetrics]:
    return [StepMetrics(step=step, at=float(step), loss=1.0) for step in range(1, last + 1)]


def trackers(notebook: Notebook, folder: Path) -> Trackers:
    return Trackers([notebook], RUN, TrackerIds(fsspec.filesystem("file"), str(folder)))


def test_steps_in_order_each_once_restarts_and_the_end(tmp_path: Path) -> None:
    notebook = Notebook()
    run = trackers(notebook, tmp_path)
    run.start()
    run.publish(entries(5))
    run.restarted(Restart(3, 1, "killed"))
    run.publish(entries(3))  # the workers make steps 4 and 5 again
    run.publish(entries(7))
    run.close("finished", {"steps": 7})
    assert notebook.steps == list(range(1, 8))
    assert notebook.said[0] == ("open", None)
    assert ("restarted", 3, 1, "killed") in notebook.said
    assert notebook.said[-1] == ("finished", {"steps": 7})
    assert run.places == ["notebook: https://tracker.example/run-1"]
    assert json.loads((tmp_path / IDS).read_text()) == {"notebook": "run-1"}


def test_the_next_start_goes_on_with_the_same_run(tmp_path: Path) -> None:
    (tmp_path / IDS).write_text('{"notebook": "run-7", "another": "x"}')
    notebook = Notebook(known=4)
    run = trackers(notebook, tmp_path)
    run.start()
    run.publish(entries(6))
    run.close("interrupted", {})
    assert notebook.said[0] == ("open", "run-7")
    assert notebook.steps == [5, 6], "it has the others"
    assert json.loads((tmp_path / IDS).read_text()) == {"notebook": "run-7", "another": "x"}


def test_one_that_breaks_is_said_once_without_secrets_and_gets_what_it_has_missed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    notebook = Notebook()
    notebook.is_away = True
    run = trackers(notebook, tmp_path)
    run.start()
    run.publish(entries(3))
    for _ in range(3):
        assert notebook.told.acquire(timeout=10)
    notebook.is_away = False
    run.publish(entries(5))
    run.close("finished", {})
    assert notebook.steps == [1, 2, 3, 4, 5]
    (line,) = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert line.startswith(
        "trackers: notebook does not take what it is told (ConnectionError: https://tracker.example/api"
    )
    assert "the training goes on" in line
    assert "hush" not in caplog.text


def test_one_that_never_comes_back_holds_up_the_end_for_a_bounded_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(module, "_FIRST_PAUSE_S", 0.01)
    monkeypatch.setattr(module, "LAST_S", 0.2)
    notebook = Notebook()
    notebook.is_away = True
    run = trackers(notebook, tmp_path)
    run.start()
    run.publish(entries(3))
    run.close("failed", {})
    assert caplog.messages[-1] == "trackers: notebook has not taken the end of the run; 3 steps are not there"
    assert not (tmp_path / IDS).exists()


def test_parameters_are_settings_data_and_code_without_secrets(tmp_path: Path) -> None:
    config = TrainConfig.model_validate(
        settings(
            "https://user:hush@models.example/llava?sig=hush", "s3://bucket/data", "s3://bucket/runs", zero=0,
            exclude=["a.png", "b.png"], storage_store={"options": {"secret": "hush"}, "endpoint_url": "http://h:1"},
            trackers=["mlflow"],
        )
    )  # fmt: skip
    found = parameters(config, {"records": "abc", "held_out": None, "bad_images": ["c.png"], "steps": 10})
    assert found["lr"] == 1e-3
    assert found["llm.mode"] == "full"
    assert found["records"] == "abc"
    assert found["exclude"] == 2
    assert found["model"] == "https://models.example/llava"
    assert found["fakescan_version"] == __version__
    assert found.get("fakescan_commit") == commit()
    assert not {name for name in found if "store" in name or name in ("trackers", "bad_images", "held_out")}
    assert "hush" not in repr(found)


@pytest.mark.parametrize(("name", "extra"), [("wandb", "fakescan[wandb]"), ("mlflow", "fakescan[mlflow]")])
def test_a_package_that_is_missing_is_one_line_with_the_extra(
    name: str, extra: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(f"fakescan.train.tracking.{name}_tracker.importlib.util.find_spec", lambda _: None)
    line = refused(tmp_path, capfd, name)
    assert line == f"fakescan: error: trackers: {name} is not installed; install {extra}"


def test_a_service_without_its_key_or_address(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("wandb")
    pytest.importorskip("mlflow")
    for name in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE", "WANDB_MODE", "WANDB_DISABLED", "MLFLOW_TRACKING_URI"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    assert "wandb has no API key; set WANDB_API_KEY, or call wandb login" in refused(tmp_path, capfd, "wandb")
    assert "mlflow has no address; set MLFLOW_TRACKING_URI, such as" in refused(tmp_path, capfd, "mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "gopher://nowhere")
    assert "mlflow cannot use MLFLOW_TRACKING_URI: " in refused(tmp_path, capfd, "mlflow")


def test_an_unknown_service(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    line = refused(tmp_path, capfd, "comet")
    assert "trackers" in line
    assert "wandb" in line


def refused(tmp_path: Path, capfd: pytest.CaptureFixture[str], tracker: str) -> str:
    file = tmp_path / "train.yaml"
    file.write_text(json.dumps(settings("m", "d", tmp_path / "runs", zero=0, trackers=[tracker])))
    with pytest.raises(SystemExit) as exit:
        main(["train", str(file)])
    assert exit.value.code == 2
    (line,) = capfd.readouterr().err.splitlines()
    return line
