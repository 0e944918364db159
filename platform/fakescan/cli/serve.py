"""`fakescan serve`: parse, build the configuration, run."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from fakescan.cli.options.command import SettingsCommand

if TYPE_CHECKING:
    from fakescan.serve.serve_file import Server


@click.command(cls=SettingsCommand, settings="fakescan.serve.config:ServeConfig")
@click.option("--config", type=click.Path(path_type=Path), metavar="YAML", help="A Serve file; flags take precedence.")
@click.option("--host", metavar="ADDR", help="Address to listen at (default: 127.0.0.1, this machine only).")
@click.option("--port", type=int, metavar="N", help="Port to listen at (default: 8000).")
@click.option("--ray-address", metavar="ADDR", help="Ray cluster (default: RAY_ADDRESS, else a local one).")
@click.option("--print-config", is_flag=True, help="Print the Serve file for `serve deploy` and end.")
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

    run_server(server, reread=lambda: server_of(config, flags), ray_address=ray_address, verbose=verbose)


def server_of(file: Path | None, flags: dict[str, Any]) -> "Server":
    """The server that a Serve file describes, with the flags that were given in place of its settings."""
    from fakescan.cli.options.flags import settings_of
    from fakescan.serve.config import ServeConfig
    from fakescan.serve.serve_file import ServeFile, Server, read_serve_file
    from fakevlm.errors import UserError

    found = read_serve_file(file) if file is not None else ServeFile()
    settings = dict(found.args)
    if flags.get("keys") is not None:
        settings.pop("no_auth", None)
    if flags.get("no_auth"):
        settings.pop("keys", None)
    config = settings_of(ServeConfig, flags, command="serve", file=settings)
    if config.keys is not None:
        config = config.model_copy(update={"keys": str(Path(config.keys).resolve())})
    host, port = flags.get("host") or found.host, found.port if flags.get("port") is None else flags["port"]
    if not isinstance(port, int) or not 1 <= port <= 65535:
        raise UserError(f"port: {port!r} is not a port; use a number from 1 to 65535")
    return Server(str(host), port, config)
