"""The commands and Serve files inside manifests, by fakescan's own parsers and settings."""

import re
import shlex
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import click
import yaml

from tools.manifests.found import Document, Fault
from tools.manifests.ray_documents import JOBS, groups, part, pods

_SHELL = "$`\\;&|<>*?!#~\"'(){}[]\n"
"""Characters of a word that one of the two shells between a manifest and the program would read."""
_PROGRAM = "fakescan"
_SCRIPT = re.compile(r"^python3? (?:\S*/)?jobs/(\w+)\.py$")
"""The same command by its script in jobs/, for images that bring the project's folder."""


def faults(document: Document, documents: list[Document]) -> list[Fault]:
    """What fakescan would refuse of a document's entry point or Serve file; `documents` hold its settings files."""
    kind = str(document.get("kind"))
    if kind in JOBS:
        place = (*JOBS[kind], "entrypoint")
        text = part(document, JOBS[kind]).get("entrypoint")
        return [
            Fault(".".join(place), message) for message in _entrypoint(str(text or ""), _files(document, documents))
        ]
    if kind == "RayService":
        text = str(part(document, ("spec",)).get("serveConfigV2") or "")
        return [Fault("spec.serveConfigV2", message) for message in _serve_file(text, _mounts(document))]
    return []


def _files(document: Document, documents: list[Document]) -> dict[str, str]:
    """Text of the settings files that the head has, by their full names."""
    texts: dict[str, dict[str, str]] = {}
    for other in documents:
        data = other.get("data")
        if other.get("kind") == "ConfigMap" and isinstance(data, dict):  # its own faults are told elsewhere
            named = {name: text for name, text in data.items() if isinstance(name, str) and isinstance(text, str)}
            texts[str(other["metadata"].get("name"))] = named
    found = {}
    for _, head in list(groups(document))[:1]:
        pod = part(head, ("template", "spec"))
        volumes = {
            volume.get("name"): (volume.get("configMap") or {}).get("name") for volume in pod.get("volumes") or ()
        }
        for mount in (pod.get("containers") or [{}])[0].get("volumeMounts") or ():
            for name, text in texts.get(str(volumes.get(mount.get("name"))), {}).items():
                found[f"{mount['mountPath']}/{name}"] = text
    return found


def _mounts(document: Document) -> set[str]:
    """Folders that every pod of a document has."""
    every = [
        {mount.get("mountPath") for mount in (pod.get("containers") or [{}])[0].get("volumeMounts") or ()}
        for _, pod in pods(document)
    ]
    return set.intersection(*every) if every else set()


def _entrypoint(text: str, files: dict[str, str]) -> Iterator[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        yield f"a shell cannot read it: {error}"
        return
    script = _SCRIPT.search(" ".join(words[:2]))
    if script is not None:
        words[:2] = [_PROGRAM, script[1]]
    if not words or words[0] != _PROGRAM:
        yield f"must begin with {_PROGRAM} (got {text[:80]!r})"
        return
    for word in words:
        if read := sorted(set(word) & set(_SHELL)):
            yield f"{word!r} has {' '.join(read)}, which a shell reads; settings with it belong into the settings file"
            return
    with tempfile.TemporaryDirectory() as folder:
        at = {name: Path(folder) / f"{number}.yaml" for number, name in enumerate(files)}
        for name, file in at.items():
            file.write_text(files[name], encoding="utf-8")
        arguments = [str(at.get(word, word)) for word in words[1:]]
        message = _refusal(lambda: _settings(arguments))
        if message:
            for name, file in at.items():
                message = message.replace(str(file), name)
            yield message


def _settings(arguments: list[str]) -> object:
    """The settings of a command line, checked as the command itself checks them before it looks at any store."""
    from fakescan.cli.main import cli
    from fakescan.cli.scan import scan_config
    from fakescan.cli.train import train_config

    name, *rest = arguments or [""]
    command = cli.commands.get(name)
    if command is None:
        raise click.UsageError(f"{_PROGRAM} has no command {name!r}")
    context = command.make_context(name, rest, parent=click.Context(cli), resilient_parsing=False)
    flags: dict[str, Any] = dict(context.params)
    if name == "train":
        return train_config(flags["config"], flags["changes"])
    if name == "nightly":
        return scan_config(flags["config"], {**flags, "output": f"{flags['runs'].rstrip('/')}/2026-01-01"})
    if name == "scan":
        return scan_config(flags["config"], flags)
    return flags


def _serve_file(text: str, mounts: set[str]) -> Iterator[str]:
    """`fakescan serve` reads it, and so does Ray's own REST interface, to which KubeRay sends it."""
    from ray.serve.schema import ServeDeploySchema

    from fakescan.cli.serve import server_of

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "serve.yaml"
        file.write_text(text, encoding="utf-8")
        message = _refusal(lambda: server_of(file, {}))
        if message:
            yield message.replace(f"{file}", "the Serve file")
            return
        server = server_of(file, {})
    message = _refusal(lambda: ServeDeploySchema.model_validate(yaml.safe_load(text)))
    if message:
        yield f"Ray refuses it: {message}"
    if server.host in ("127.0.0.1", "localhost", "::1"):
        yield f"http_options.host: {server.host} is reached by nobody outside the pod; use 0.0.0.0"
    keys = server.config.keys
    if keys is not None and str(Path(keys).parent) not in mounts:
        yield f"args.keys: {keys} is not mounted in every pod"


def _refusal(check: Callable[[], object]) -> str:
    """The line with which a check fails; empty where it passes."""
    from pydantic import ValidationError

    from fakevlm.errors import UserError

    try:
        check()
    except UserError as error:
        return str(error)
    except click.ClickException as error:
        return " ".join(error.format_message().split())
    except ValidationError as error:
        return " ".join(str(error).split())[:300]
    return ""
