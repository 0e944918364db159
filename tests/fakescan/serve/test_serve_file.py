"""Settings of a server: Serve file and flags, and what is wrong with them in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.serve.schema import HTTPOptionsSchema, LoggingConfig, ServeApplicationSchema, ServeDeploySchema

from fakescan.cli.serve import server_of
from fakescan.serve.config import ServeConfig
from fakescan.serve.run import check_same_address
from fakescan.serve.serve_file import (
    _NOT_HERE,
    GATE,
    GATE_VARIABLE,
    PROXY_ENVIRONMENT,
    HttpOptions,
    LoggingOptions,
    ServeFile,
    read_serve_file,
    serve_file,
)
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
        ({"no_auth": True}, {"port": 70000}, "port: Input should be less than or equal to 65535 (got 70000)"),
        ({"no_auth": True}, {"tls_key": "key.pem"}, "tls-key: give its certificate too"),
        ({"no_auth": True, "threshold": 1.5}, {}, "threshold"),
        ({"no_auth": True, "scans": {"allow": [], "output": "/x"}}, {}, "scans.allow"),
        ({"no_auth": True, "limits": {"max_images": True}}, {}, "limits.max_images: Input should be a valid integer"),
        ({"no_auth": True}, {"replicas": "99999999999"}, "replicas: at most 10,000 engines"),
        ({"no_auth": True}, {"replicas": "1-10001"}, "replicas: at most 10,000 engines"),
        ({"no_auth": True, "served_model_name": "a\x1b[31mb"}, {}, "served_model_name: it has control characters"),
        ({"no_auth": True, "served_model_name": " a"}, {}, "or space around it"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, args: dict[str, Any], flags: dict[str, Any], words: str) -> None:
    with pytest.raises(UserError) as caught:
        server_of(write(tmp_path, args), flags)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


HONOURED: dict[str, Any] = {
    "proxy_location": "HeadOnly",
    "http_options": {
        "host": "0.0.0.0", "port": 9001, "keep_alive_timeout_s": 75, "ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem",
        "ssl_keyfile_password": "p",
    },
    "controller_options": {"runtime_env": {"env_vars": {"RAY_SERVE_PROXY_HEALTH_CHECK_PERIOD_S": "1", "MORE": "x"}}},
    "logging_config": {"encoding": "JSON", "log_level": "DEBUG", "logs_dir": "/var/log/serve"},
}  # fmt: skip


def test_all_of_a_serve_file_is_honoured_and_printed_again(tmp_path: Path) -> None:
    server = server_of(write(tmp_path, {"no_auth": True}, **HONOURED), {})
    assert server.url == "https://0.0.0.0:9001/"
    printed = serve_file(server)
    assert ServeDeploySchema.model_validate(printed)
    assert printed["http_options"] == HONOURED["http_options"]
    assert printed["proxy_location"] == "HeadOnly"
    given = HONOURED["controller_options"]["runtime_env"]["env_vars"]
    assert printed["controller_options"]["runtime_env"]["env_vars"] == {**PROXY_ENVIRONMENT, **given}
    assert printed["logging_config"] == {**HONOURED["logging_config"], "enable_access_log": False}


def test_settings_of_the_application_are_honoured_too(tmp_path: Path) -> None:
    file = write(tmp_path, {"no_auth": True})
    content = yaml.safe_load(file.read_text())
    content["applications"][0] |= {
        "runtime_env": {"env_vars": {"HF_HOME": "/models"}},
        "logging_config": {"log_level": "WARNING"},
    }
    file.write_text(yaml.safe_dump(content))
    (printed,) = serve_file(server_of(file, {}))["applications"]
    assert printed["runtime_env"] == {"env_vars": {"HF_HOME": "/models"}}
    assert printed["logging_config"] == {"log_level": "WARNING", "enable_access_log": False}


@pytest.mark.parametrize(
    ("top", "application", "words"),
    [
        (
            {"http_options": {"root_path": "/x"}},
            {},
            "http_options.root_path: fakescan serve cannot honour it: the gate",
        ),
        ({"http_options": {"request_timeout_s": 5}}, {}, "limits.request_timeout_s"),
        ({"http_options": {"ssl_ca_certs": "ca.pem"}}, {}, "asks no client for a certificate"),
        ({"http_options": {"ssl_certfile": "c.pem"}}, {}, "ssl_certfile and ssl_keyfile belong together"),
        ({"http_options": {"prot": 1}}, {}, "http_options.prot: unknown setting (did you mean port?)"),
        ({"http_options": {"port": 0}}, {}, "http_options.port"),
        ({"grpc_options": {"port": 9000}}, {}, "there is no gRPC"),
        ({"target_capacity": 50}, {}, "target_capacity"),
        ({"proxy_location": "Disabled"}, {}, "proxy_location"),
        ({"logging_config": {"colour": 1}}, {}, "logging_config.colour: unknown"),
        ({"controller_options": {"runtime_env": {"pip": ["x"]}}}, {}, "controller_options.runtime_env.pip: unknown"),
        (
            {"controller_options": {"runtime_env": {"env_vars": {GATE_VARIABLE: "other:gate"}}}},
            {},
            "without the gate replicas answer nobody",
        ),
        ({}, {"deployments": [{"name": "Detector"}]}, "applications.deployments"),
        ({}, {"name": "other"}, "the gate looks for an application called fakevlm"),
        ({}, {"route_prefix": "/x"}, "route_prefix"),
        ({}, {"autoscaling_policy": {}}, "follows the load"),
        ({}, {"unknown": 1}, "unknown setting"),
    ],
)
def test_what_cannot_be_honoured_is_refused(
    tmp_path: Path, top: dict[str, Any], application: dict[str, Any], words: str
) -> None:
    file = write(tmp_path, {"no_auth": True}, **top)
    content = yaml.safe_load(file.read_text())
    content["applications"][0] |= application
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="--config") as caught:
        server_of(file, {})
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_every_setting_of_serve_is_honoured_or_refused() -> None:
    """Those of its next version included, for this test will tell of them."""
    for schema, ours, place in (
        (ServeDeploySchema, ServeFile, ""),
        (HTTPOptionsSchema, HttpOptions, "http_options."),
        (ServeApplicationSchema, ServeFile.model_fields["applications"].default[0].__class__, "applications."),
        (LoggingConfig, LoggingOptions, "logging_config."),
    ):
        known = {*ours.model_fields, *(name.rpartition(".")[2] for name in _NOT_HERE if name.startswith(place))}
        unknown = set(schema.model_fields) - known - {"host", "port"}
        assert not unknown, f"{place or 'top'}: {unknown}"


def test_a_second_application_is_refused(tmp_path: Path) -> None:
    file = write(tmp_path, {"no_auth": True})
    content = yaml.safe_load(file.read_text())
    content["applications"].append({"name": "more", "route_prefix": "/more", "import_path": "more:app"})
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError, match="2 applications, and fakescan serve runs one"):
        server_of(file, {})


def test_flags_name_a_certificate(tmp_path: Path) -> None:
    options = server_of(None, {"no_auth": True, "tls_cert": "both.pem"}).file.http_options
    assert options.ssl_certfile == options.ssl_keyfile == str(Path("both.pem").resolve())
    file = write(tmp_path, {"no_auth": True}, http_options={"ssl_certfile": "/old.pem", "ssl_keyfile": "/old-key.pem"})
    options = server_of(file, {"tls_cert": "/new.pem", "tls_key": "/new-key.pem"}).file.http_options
    assert (options.ssl_certfile, options.ssl_keyfile) == ("/new.pem", "/new-key.pem")


def test_what_needs_a_restart_is_named(tmp_path: Path) -> None:
    before = server_of(write(tmp_path, {"no_auth": True}), {})
    check_same_address(before, server_of(write(tmp_path, {"no_auth": True, "threshold": 0.4}), {}))
    for top, name in (
        ({"http_options": {"port": 9001}}, "port"),
        ({"http_options": {"ssl_certfile": "/c.pem", "ssl_keyfile": "/k.pem"}}, "ssl_certfile"),
        ({"logging_config": {"encoding": "JSON"}}, "logging_config"),
        ({"controller_options": {"runtime_env": {"env_vars": {"MORE": "x"}}}}, "controller_options"),
    ):
        with pytest.raises(UserError, match=f"^{name}: it needs a restart"):
            check_same_address(before, server_of(write(tmp_path, {"no_auth": True}, **top), {}))


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


@pytest.mark.parametrize("mistake", [{"foo": 1}, {"route_prefix": "/x"}, {"name": "other"}])
def test_one_mistake_is_not_counted_twice(tmp_path: Path, mistake: dict[str, Any]) -> None:
    file = write(tmp_path, {"no_auth": True})
    content = yaml.safe_load(file.read_text())
    content["applications"][0] |= mistake
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(UserError) as caught:
        read_serve_file(file)
    assert "more" not in str(caught.value)
    assert next(iter(mistake)) in str(caught.value)
