"""How settings become flags, and flags settings: each option is made from the field that it sets."""

from collections.abc import Iterable, Iterator
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from fakescan.cli.options.defaults import default_in_words, help_and_default
from fakescan.cli.options.option import Option
from fakescan.cli.options.store_flags import store_options
from fakescan.settings.flag import Flag
from fakescan.settings.yaml_file import check_job_output, first_mistake
from fakescan.storage.store import Store
from fakevlm.errors import UserError

Settings = TypeVar("Settings", bound=BaseModel)

_WORDS: dict[str, Any] = {"true": True, "false": False, "none": None, "null": None}
"""What words mean as the value of an option; everything else is text, as keys and secrets are."""
_STORE_FIELDS = {"endpoint": "endpoint_url", "profile": "profile", "region": "region", "anon": "anon"}


def options_of(model: type[BaseModel], without: Iterable[str] = ()) -> Iterator[Option]:
    """The options of a settings class: its own fields first, then inherited ones, then stores."""
    own = [name for name in model.model_fields if name in model.__annotations__]
    inherited = [name for name in model.model_fields if name not in model.__annotations__]
    stores = []
    for name in (*own, *inherited):
        field = model.model_fields[name]
        if name in without:
            continue
        if field.annotation is Store:
            stores.append((name.removesuffix("_store"), _subject(field.description)))
        for flag in field.metadata:
            if isinstance(flag, Flag):
                yield _option(name, flag, field)
        yield from _options_inside(name, field)
    for name, subject in stores:
        yield from store_options(name, subject)


def _options_inside(name: str, field: FieldInfo) -> Iterator[Option]:
    """The options of a part's own fields, such as an engine's; the parameter has the names of both."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, BaseModel) and kind is not Store:
            for inner, inner_field in kind.model_fields.items():
                yield from (
                    _option(f"{name}_{inner}", flag, inner_field)
                    for flag in inner_field.metadata
                    if isinstance(flag, Flag)
                )


def _option(name: str, flag: Flag, field: FieldInfo) -> Option:
    names = [*(flag.name or f"--{name.replace('_', '-')}").split("/"), name]
    words, unset = help_and_default(field)
    common: dict[str, Any] = {"help": flag.help or words, "group": flag.group}
    if field.annotation is bool and field.default is True:  # a switch turns it off
        return Option(
            [f"--no-{name.replace('_', '-')}", name], is_flag=True, flag_value=False, default=None, unset="no", **common
        )
    if field.annotation is bool:
        return Option(names, is_flag=True, **common)
    kinds = [kind for kind in (int, float) if kind is field.annotation or kind in get_args(field.annotation)]
    return Option(
        names,
        type=kinds[0] if kinds else str,
        metavar=flag.metavar,
        multiple=flag.multiple,
        unset=unset or default_in_words(field),
        needed=field.is_required(),
        **common,
    )


def _subject(description: str | None) -> str:
    """`the source` from `Credentials and endpoint of the source.`"""
    return (description or "").partition(" of ")[2].partition(".")[0].partition(";")[0]


def settings_of(
    model: type[Settings],
    flags: dict[str, Any],
    *,
    command: str,
    file: dict[str, Any] | None = None,
    required: dict[str, str] | None = None,
) -> Settings:
    """The checked settings of a file, with the flags that were given in place of the file's.

    `required` names each setting that must be there, and how it is given. Every mistake is one line that names the
    setting. Raises UserError.
    """
    settings = dict(file or {})
    for name, field in model.model_fields.items():
        if field.annotation is Store:
            given = store_settings(name.removesuffix("_store"), flags)
            if given:
                settings[name] = joined_store(settings.get(name), given)
    plain = {name: value for name, value in flags.items() if name in model.model_fields}
    if "extensions" in plain:
        plain["extensions"] = split_extensions(plain["extensions"])
    if "keep_columns" in plain:
        plain["keep_columns"] = split_names(plain["keep_columns"])
    if "engine" in model.model_fields:
        arguments = engine_arguments(flags.get("engine_arguments") or ())
        plain["engine"] = engine_setting(settings.get("engine"), flags.get("engine"), arguments)
    # Not `in`: 0 equals False, and `--limit 0` must be refused, not ignored.
    settings |= {
        name: value
        for name, value in plain.items()
        if value is not None and value != () and (value is not False or model.model_fields[name].default is True)
    }
    is_misspelt = bool(settings.keys() - model.model_fields.keys())  # which is then what is wrong
    for name, way in (required or {}).items():
        if not settings.get(name) and not is_misspelt:
            raise UserError(f"{name}: missing; name it with {way}")
    if "output" in model.model_fields and settings.get("output"):
        check_job_output("output", str(settings["output"]))
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise UserError(first_mistake(error, command=command, model=model)) from None


def store_from_flags(name: str, flags: dict[str, Any]) -> Store:
    """The store that the flags `--NAME-…` describe."""
    try:
        return Store.model_validate(store_settings(name, flags))
    except ValidationError as error:
        raise UserError(f"{name} store: {first_mistake(error, model=Store)}") from None


def split_extensions(text: str | None) -> tuple[str, ...] | None:
    """`jpg,png` as a tuple; None when not given. Raises UserError where nothing is named."""
    if not text:
        return None
    names = tuple(part.strip() for part in text.split(",") if part.strip())
    if not names:
        raise UserError(f"extensions: {text!r} names none; write them as jpg,png")
    return names


def split_names(text: str | None) -> tuple[str, ...] | None:
    """`id,label` as a tuple, empty names included, which are refused where they are used; None when not given."""
    return tuple(part.strip() for part in text.split(",")) if text is not None else None


def store_settings(name: str, flags: dict[str, Any]) -> dict[str, Any]:
    """The settings of a `Store` that the flags `--NAME-…` give."""
    found = {field: flags.get(f"{name}_{flag}") for flag, field in _STORE_FIELDS.items()}
    settings: dict[str, Any] = {field: value for field, value in found.items() if value}
    options = {}
    for option in flags.get(f"{name}_option") or ():
        key, equals, value = option.partition("=")
        if not equals or not key:
            raise UserError(f"--{name}-option: {option!r} is not KEY=VALUE")
        options[key] = _WORDS.get(value.lower(), value)
    return {**settings, "options": options} if options else settings


def joined_store(from_file: Any, given: dict[str, Any]) -> Any:
    """A store of the file with what flags say in place of its settings; options are replaced one by one."""
    if not isinstance(from_file, dict):
        return from_file or given
    options = from_file.get("options")
    if isinstance(options, dict) and "options" in given:
        given = {**given, "options": {**options, **given["options"]}}
    return {**from_file, **given}


def engine_setting(from_file: Any, flag: str | None, arguments: dict[str, Any] | None = None) -> Any:
    """`--engine fake` chooses the kind; the file's further settings of the same kind stay.

    `arguments` for vLLM are joined to those of the file, and take precedence.
    """
    if isinstance(from_file, str):
        from_file = {"kind": from_file}
    if isinstance(from_file, dict):
        from_file = {"kind": "vllm", **from_file}
    if flag is not None and not (isinstance(from_file, dict) and from_file["kind"] == flag):
        from_file = {"kind": flag}
    if not arguments:
        return from_file
    if not isinstance(from_file, dict):
        from_file = {"kind": "vllm"}
    if from_file["kind"] != "vllm":
        raise UserError(f"--engine-argument: only vLLM takes arguments, and engine is {from_file['kind']}")
    before = from_file.get("arguments") or {}
    return {**from_file, "arguments": {**before, **arguments} if isinstance(before, dict) else before}


def engine_arguments(given: Iterable[str]) -> dict[str, Any]:
    """`kv_cache_dtype=fp8` and `hf_overrides={a: 1}` as names and values; a value is what YAML makes of it."""
    from fakescan.settings.yaml_document import YamlMistakeError, parse_yaml

    arguments: dict[str, Any] = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.strip():
            raise UserError(f"--engine-argument: {text!r} is not NAME=VALUE")
        try:
            arguments[name.strip().replace("-", "_")] = parse_yaml(value)
        except YamlMistakeError as error:
            raise UserError(f"--engine-argument: {text!r}: {error}") from None
    return arguments
