"""`fakescan serve`: parse, build the configuration, run."""

from pathlib import Path
from typing import Any

import click

from fakescan.cli.store_flags import store_options


@click.command()
@click.option("--config", type=click.Path(path_type=Path), metavar="YAML", help="A Serve file; flags go first.")
@click.option("--host", metavar="ADDR", help="Address to listen at (default: 127.0.0.1, this machine only).")
@click.option("--port", type=int, metavar="N", help="Port to listen at (default: 8000).")
@click.option("--keys", metavar="FILE", help="API keys that `fakescan keys add` wrote.")
@click.option("--no-auth", is_flag=True, help="Ask for no key: everybody who reaches the port may use it.")
@click.option("--model", metavar="M", help="Checkpoint: local path, hub id or URL.")
@click.option("--threshold", type=float, metavar="P", help="Score from which an image is fake.")
@click.option("--calibration", metavar="FILE", help="What `fakescan calibrate` wrote.")
@click.option("--max-new-tokens", type=int, metavar="N", help="Longest explanation, in tokens.")
@click.option("--engine", metavar="vllm|fake", help="fake simulates: verdicts mean nothing (default: vllm).")
@click.option("--replicas", metavar="N|N-M", help="Engines (default: 1); a range follows the load.")
@click.option("--gpus-per-replica", type=float, metavar="N", help="GPUs for each engine (default: 0, the CPU).")
@click.option("--ray-address", metavar="ADDR", help="Ray cluster (default: RAY_ADDRESS, else a local one).")
@click.option("--print-config", is_flag=True, help="Print the Serve file for `serve deploy` and end.")
@store_options("model", "the checkpoint")
@click.pass_obj
def serve(verbose: bool, /, config: Path | None, ray_address: str | None, print_config: bool, **flags: Any) -> None:
    """Answer over HTTP: verdict, score and explanation for images that are sent, and a page to try it.

    Needs --keys or --no-auth. Ctrl-C stops; SIGHUP reads --config again and rolls out what has changed.
    """
    from fakescan.serve.serve_file import serve_file, server_of

    server = server_of(config, flags)
    if print_config:
        import yaml

        click.echo(yaml.safe_dump(serve_file(server), sort_keys=False), nl=False)
        return
    from fakescan.serve.run import run_server

    run_server(server, reread=lambda: server_of(config, flags), ray_address=ray_address, verbose=verbose)
