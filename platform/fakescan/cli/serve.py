"""`fakescan serve`: parse, build the configuration, run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.exit_status import NothingToResumeError
from fakescan.cli.options.command import SettingsCommand
from fakescan.cli.options.option import option, ray_address
from fakescan.settings.flag import FlagGroup

if TYPE_CHECKING:
    from fakescan.serve.serve_file import Server


@click.command(
    cls=SettingsCommand,
    settings="fakescan.serve.config:ServeConfig",
    examples=[
        ("Try it on this machine", "fakescan serve --no-auth"),
        ("Serve a checkpoint to those who have a key", "fakescan serve --model lingcco/fakeVLM --keys keys.json"),
        (
            "With TLS, for others",
            "fakescan serve --keys k.json --host 0.0.0.0 --tls-cert c.pem --tls-key k.pem",
        ),
        ("Write a file for a cluster", "fakescan serve --keys keys.json --replicas 1-4 --print-config > serve.yaml"),
    ],
)
@option(
    "--config",
    type=click.Path(path_type=Path),
    metavar="FILE",
    group=FlagGroup.SERVER,
    unset="none",
    help="A Serve file, with more settings (docs/serve.md); flags take precedence.",
)
@option(
    "--host", metavar="ADDRESS", group=FlagGroup.SERVER, unset="127.0.0.1, this machine", help="Address to listen at."
)
@option("--port", type=int, metavar="N", group=FlagGroup.SERVER, unset="8000", help="Port to listen at.")
@option(
    "--tls-cert",
    metavar="FILE",
    group=FlagGroup.SERVER,
    unset="no TLS",
    help="PEM file with the certificate and its issuers; read again when it changes.",
)
@option("--tls-key", metavar="FILE", group=FlagGroup.SERVER, unset="in the same file", help="PEM file with its key.")
@ray_address()
@option("--print-config", is_flag=True, group=FlagGroup.OUTPUT, help="Print the Serve file for `serve deploy` and end.")
@click.pass_obj
def serve(verbose: bool, /, config: Path | None, ray_address: str | None, print_config: bool, **flags: Any) -> None:
    """Answer over HTTP: verdict, score and explanation for images that are sent, and a page to try it.

    Needs --keys or --no-auth. Ctrl-C stops; SIGHUP reads --config again and rolls out what has changed.
    """
    from fakescan.serve.serve_file import serve_file

    server = server_of(config, flags)
    if print_config:
        import yaml

        click.echo(yaml.safe_dump(serve_file(server), sort_keys=False), nl=False)
        return
    from fakescan.serve.run import run_server

    try:
        run_server(server, reread=lambda: server_of(config, flags), ray_address=ray_address, verbose=verbose)
    except KeyboardInterrupt:  # while it serves, signals stop it in good order
        raise NothingToResumeError("interrupted while it started; the server has been stopped") from None


def server_of(file: Path | None, flags: dict[str, Any]) -> "Server":
    """The server that a Serve file describes, with the flags that were given in place of its settings."""
    from fakescan.cli.options.flags import settings_of
    from fakescan.serve.config import ServeConfig
    from fakescan.serve.serve_file import ServeFile, Server, read_serve_file

    found = read_serve_file(file) if file is not None else ServeFile()
    settings = dict(found.args)
    if flags.get("keys") is not None:
        settings.pop("no_auth", None)
    if flags.get("no_auth"):
        settings.pop("keys", None)
    config = settings_of(ServeConfig, flags, command="serve", file=settings)
    if config.keys is not None:
        config = config.model_copy(update={"keys": str(Path(config.keys).resolve())})
    return Server(file=found.listening_at(_http_flags(flags)), config=config)


def _http_flags(flags: dict[str, Any]) -> dict[str, Any]:
    """The flags that say where the server listens, as settings of a Serve file. Raises UserError."""
    from fakevlm.errors import UserError

    given = {name: flags[name] for name in ("host", "port") if flags.get(name) is not None}
    certificate, key = flags.get("tls_cert"), flags.get("tls_key")
    if key is not None and certificate is None:
        raise UserError("tls-key: give its certificate too, with --tls-cert")
    if certificate is not None:
        # A file may hold both.
        files = {"ssl_certfile": certificate, "ssl_keyfile": certificate if key is None else key}
        given |= {name: str(Path(file).resolve()) for name, file in files.items()}
    return given
