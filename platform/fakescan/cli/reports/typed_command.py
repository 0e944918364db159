"""Commands for people to copy: the one that they have typed, with more, and flags that reach the same store."""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from pydantic import JsonValue

from fakescan.storage.store import Store
from fakescan.storage.url import redact

_WORDS = {True: "true", False: "false", None: "none"}
"""What `--NAME-option` takes for values that are no text."""


class UnshowableError(Exception):
    """A command holds what may not be shown, or what cannot be typed."""


def program() -> list[str]:
    """How this program is started from a shell: by its name where that finds this very script."""
    script = Path(sys.executable).with_name("fakescan")
    found = shutil.which("fakescan")
    if not script.exists():
        return [sys.executable, "-m", "fakescan.cli"]
    if found is not None and os.path.samefile(found, script):
        return ["fakescan"]
    return [os.path.relpath(script) if script.is_relative_to(Path.cwd()) else str(script)]


def typed_again(context: click.Context, *more: str, without: Sequence[str] = ()) -> str | None:
    """The command that was typed, ready to be pasted, with flags added and some left out.

    Secrets in store options are replaced by names of variables. None for a command that cannot be pasted: one with a
    secret in an address, with settings from a pipe, or of a Ray job.
    """
    if "RAY_JOB_CONFIG_JSON_ENV_VAR" in os.environ:
        return None
    words = program()
    contexts = [context]
    while contexts[0].parent is not None:
        contexts.insert(0, contexts[0].parent)
    try:
        for level in contexts:
            words += [str(level.command.name)] if level.parent is not None else []
            for parameter in level.command.get_params(level):
                given = level.get_parameter_source(str(parameter.name)) is ParameterSource.COMMANDLINE
                if given and parameter.name in level.params:  # -v and --log-file say how it was watched
                    words += _words_of(parameter, level.params[str(parameter.name)], {*without, *more})
    except UnshowableError:
        return None
    return pasteable([*words, *more])


def pasteable(words: Sequence[str]) -> str | None:
    """The words as a shell reads them; None for names that a terminal would obey or change."""
    line = shlex.join(words)
    return line if line.isprintable() else None


def _words_of(parameter: click.Parameter, value: Any, without: set[str]) -> Iterator[str]:
    name = max(parameter.opts, key=len)
    if name in without:
        return
    is_option = isinstance(parameter, click.Option)
    values = value if isinstance(value, tuple) else (value,)
    for one in values:
        if is_option:
            yield name
        if isinstance(one, bool):
            continue
        text = str(one)
        if is_option and name.endswith("-option"):
            key, _, secret = text.partition("=")
            text = f"{key}={_shown(name.removeprefix('--').removesuffix('-option'), key, secret)}"
        elif redact(text) != text or text.startswith("/dev/"):
            raise UnshowableError
        yield text


def store_flags(name: str, store: Store) -> list[str]:
    """The flags `--NAME-...` of a store. Raises UnshowableError for one that flags cannot say."""
    if store.endpoint_url and redact(store.endpoint_url) != store.endpoint_url:
        raise UnshowableError
    plain = {"endpoint": store.endpoint_url, "profile": store.profile, "region": store.region}
    flags = [word for flag, value in plain.items() if value for word in (f"--{name}-{flag}", value)]
    if store.anon:
        flags.append(f"--{name}-anon")
    for key, secret in store.options.items():
        flags += [f"--{name}-option", f"{key}={_shown(name, key, secret.get_secret_value())}"]
    return flags


def _shown(name: str, key: str, value: JsonValue) -> str:
    """An option's value; for text, which may be a secret, the name of a variable that may hold it."""
    if isinstance(value, dict | list):
        raise UnshowableError
    if value is None or isinstance(value, bool):
        return _WORDS[value]
    if isinstance(value, int | float) or value.startswith("env:") or value.lower() in _WORDS.values():
        return str(value)
    variable = "".join(char if char.isalnum() else "_" for char in f"{name}_{key}").upper()
    return f"env:{variable}"


def unset_variables(commands: str) -> list[str]:
    """Variables that commands name as `env:NAME` and that are not set, each once."""
    names = dict.fromkeys(re.findall(r"=env:(\w+)", commands))
    return [name for name in names if name not in os.environ]
