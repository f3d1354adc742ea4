"""What is wrong with the settings, in one line per mistake: file, key, value, problem and fix."""

import difflib
import json
from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

LONGEST_VALUE = 80  # characters of a value shown: enough to recognise it, one line stays one line


class ConfigError(Exception):
    """The settings cannot be used. `problems` holds one finished line for each mistake; the text is all of them."""

    def __init__(self, problems: Iterable[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(self.problems))


def format_problem(source: str, key: str, value: object, text: str) -> str:
    """One line: where it stands (file or environment variable), the key, its value, what is wrong and how to mend it.

    A value of None is not shown: the key is missing.
    """
    return f"{source}: {key}: {text}" if value is None else f"{source}: {key} = {format_value(value)}: {text}"


def format_value(value: object) -> str:
    """The value as TOML would spell it, cut to one short line."""
    match value:
        case Mapping():
            return "{…}"
        case float():
            text = f"{value:g}"
        case bool() | int() | list() | tuple():
            text = json.dumps(value, ensure_ascii=False, default=str)
        case _:
            text = json.dumps(str(value), ensure_ascii=False)
    return text if len(text) <= LONGEST_VALUE else text[: LONGEST_VALUE - 1] + "…"


def example_of(field: FieldInfo) -> object:
    """A value that is right for this field: its example where it has one, else its default."""
    return field.examples[0] if field.examples else field.get_default(call_default_factory=False)


def findings(
    model: type[BaseModel], section: str, failure: ValidationError, elsewhere: Mapping[str, Sequence[str]]
) -> list[tuple[str, object, str]]:
    """Every finding of pydantic in one section as (key, value, problem and fix).

    `elsewhere` names the keys of the other sections: a key written under the wrong heading is told its right one.
    """
    return [_explain(model, section, error, elsewhere) for error in failure.errors(include_url=False)]


def _explain(
    model: type[BaseModel], section: str, error: ErrorDetails, elsewhere: Mapping[str, Sequence[str]]
) -> tuple[str, object, str]:
    location, value = error["loc"], error["input"]
    if not location:
        heading = f"[[{section}]]" if section in ("listener", "trunk") else f"[{section}]"
        return "", value, f"must be a table; write its keys under {heading}"
    key = str(location[0])
    field = model.model_fields.get(key)
    if field is None:
        return key, value, unknown_key(key, section, tuple(model.model_fields), elsewhere)
    kind, context = error["type"], error.get("ctx", {})
    if kind == "value_error":
        return key, value, str(context["error"])
    fix = f"write, for example, {key} = {format_value(example_of(field))}"
    if kind == "missing":
        return key, None, f"is missing; {fix}"
    return key, value, f"{_problem(kind, context, error['msg'])}; {fix}"


def _problem(kind: str, context: Mapping[str, object], message: str) -> str:
    match kind:
        case "int_type" | "int_from_float":
            return "must be a whole number, without quotes"
        case "float_type" | "finite_number":
            return "must be a number, without quotes"
        case "bool_type" | "bool_parsing":
            return "must be true or false, without quotes"
        case "string_type" | "path_type":
            return "must be text in quotes"
        case "tuple_type" | "list_type":
            return "must be a list in brackets"
        case "greater_than_equal":
            return f"must be {format_value(context['ge'])} or more"
        case "greater_than":
            return f"must be more than {format_value(context['gt'])}"
        case "less_than_equal":
            return f"must be {format_value(context['le'])} or less"
        case "enum" | "literal_error":
            return f"must be {context['expected']}"
        case _:
            return message[:1].lower() + message[1:]


def unknown_key(key: str, section: str, known: Sequence[str], elsewhere: Mapping[str, Sequence[str]]) -> str:
    """What to say of a key nobody reads: the section it belongs to, the nearest name, or all the names there are."""
    for other, keys in elsewhere.items():
        if key in keys:
            return f"unknown key in [{section}]; it belongs to [{other}]"
    near = difflib.get_close_matches(key, known, n=1)
    if near:
        return f"unknown key; did you mean {near[0]}?"
    return f"unknown key; [{section}] knows {', '.join(known)}"
