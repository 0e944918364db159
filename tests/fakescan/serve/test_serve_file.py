"""Settings of a server: Serve file and flags, and what is wrong with them in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import ServeDeploySchema

from fakescan.cli.serve import server_of
from fakescan.serve.config import ServeConfig
from fakescan.serve.serve_file import GATE, GATE_VARIABLE, PROXY_ENVIRONMENT, read_serve_file, serve_file
from fakescan.settings.replicas import Replicas
from fakevlm.errors import UserError

pytestmark = pytest.mark.unit
EXAMPLE = Path(__file__).parents[3] / "cluster" / "serve.yaml"


def write(folder: Path, args: Any, **top: Any) -> Path:
    file = folder / "serve.yaml"
    application = {"name": "fakevlm", "import_path": "fakescan.serve.app:build", "args": args}
    file.write_text(yaml.safe_dump({"applications": [application], **top}))
    return file


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    file = write(tmp_path, {"no_auth": True, "threshold": 0.4, "replicas": "1-3"}, http_options={"port": 9001})
    server = server_of(file, {})
    assert (server.host, server.port, server.config.threshold) == ("127.0.0.1", 9001, 0.4)
    assert server.config.replicas == Replicas(low=1, high=3)
    flags = {"port": 9002, "host": "0.0.0.0", "threshold": 0.6, "engine": "fake", "keys": "keys.json"}
    server = server_of(file, flags)
    assert (server.host, server.port, server.config.threshold) == ("0.0.0.0", 9002, 0.6)
    assert server.config.engine.kind == "fake"
    assert server.config.keys == str(Path("keys.json").resolve())
    assert not server.config.no_auth


def test_the_printed_file_is_what_serve_takes_and_says_the_same() -> None:
    server = server_of(None, {"no_auth": True, "threshold": 0.3, "model_endpoint": "http://127.0.0.1:9", "port": 9003})
    printed = serve_file(server)
    schema = ServeDeploySchema.model_validate(printed)
    assert schema.http_options.host == "127.0.0.1"
    assert printed["controller_options"]["runtime_env"]["env_vars"][GATE_VARIABLE] == GATE
    assert ServeConfig.model_validate(printed["applications"][0]["args"]) == server.config


def test_the_example_is_a_serve_file_with_the_gate() -> None:
    schema = ServeDeploySchema.model_validate(yaml.safe_load(EXAMPLE.read_text()))
    assert schema.controller_options is not None
    assert schema.controller_options.runtime_env == {"env_vars": PROXY_ENVIRONMENT}
    assert schema.http_options.host == "127.0.0.1"
    ServeConfig.model_validate(read_serve_file(EXAMPLE).args)


@pytest.mark.parametrize(
    ("args", "flags", "words"),
    [
        ({}, {}, "keys: missing; make a file with `fakescan keys add"),
        ({"no_auth": True, "keys": "k"}, {}, "exclude each other"),
        ({"no_auth": True, "colour": "red"}, {}, "colour: unknown setting"),
        ({"no_auth": True, "limits": {"max_images": 0}}, {}, "limits.max_images"),
        ({"no_auth": True, "replicas": "3-1"}, {}, "replicas: the range 3-1 is empty"),
        ({"no_auth": True}, {"port": 70000}, "port: 70000"),
        ({"no_auth": True, "threshold": 1.5}, {}, "threshold"),
        ({"no_auth": True, "scans": {"allow": [], "output": "/x"}}, {}, "scans.allow"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, args: dict[str, Any], flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        server_of(write(tmp_path, args), flags)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [("a: 1", "no `applications`"), ("applications: [{import_path: other:app}]", "it needs one"), ("[", "not YAML")],
)
def test_files_that_are_no_serve_files(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match="--config") as caught:
        server_of(file, {})
    assert words in str(caught.value)
