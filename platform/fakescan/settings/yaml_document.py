"""YAML as settings are written in it: names come once, and a mistake is one line with its place."""

from typing import Any

import yaml


class YamlMistakeError(ValueError):
    """Why a text is not YAML, and where."""


def parse_yaml(text: str) -> Any:
    """The value that a YAML text stands for, with text for every name. Raises YamlMistakeError."""
    try:
        return _with_text_names(yaml.load(text, _Loader), {})
    except yaml.MarkedYAMLError as error:
        raise YamlMistakeError(_line(error)) from None
    except yaml.YAMLError as error:
        raise YamlMistakeError(" ".join(str(error).split())) from None
    except ValueError as error:  # such as a date in a thirteenth month
        raise YamlMistakeError(" ".join(str(error).split())) from None
    except RecursionError:
        raise YamlMistakeError("it is nested too deeply") from None


class _Loader(yaml.SafeLoader):
    """Refuses a name that comes twice; YAML's own rule, which the library does not check."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        names: list[Any] = []
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if name in names:
                raise yaml.constructor.ConstructorError(None, None, f"{name} is there twice", key.start_mark)
            names.append(name)
        return super().construct_mapping(node, deep)


def _line(error: yaml.MarkedYAMLError) -> str:
    found = [" ".join(str(part).split()) for part in (error.context, error.problem) if part]
    problem = ", ".join(found) or "it cannot be read"
    if "'\\t'" in problem:
        problem = "a tab; indent with spaces"
    mark = error.problem_mark or error.context_mark
    return problem if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: {problem}"


def _with_text_names(value: Any, done: dict[int, Any]) -> Any:
    """The same with text for every name; a part that stands in several places stays one part."""
    if id(value) in done:
        return done[id(value)]
    if isinstance(value, dict):
        named: dict[str, Any] = {}
        done[id(value)] = named
        named.update((str(name), _with_text_names(item, done)) for name, item in value.items())
        return named
    if isinstance(value, list):
        items: list[Any] = []
        done[id(value)] = items
        items.extend(_with_text_names(item, done) for item in value)
        return items
    return value
