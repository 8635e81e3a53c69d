"""What is wrong with settings, in words: the key, the value alone, who brought it, and what would be right."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args, get_origin

from pydantic import BaseModel
from pydantic_core import ErrorDetails

_LONGEST = 100
"""Characters of a value that are shown."""
_SECRET = "database.url"
_OF_A_SECTION = ("value_error", "assertion_error")
"""Faults that a section as a whole may have; their message has the values."""


@dataclass(frozen=True)
class Given:
    """A value somebody gave: its dotted place in parts, and who."""

    place: tuple[str, ...]
    source: str
    is_file: bool = False


def given_by(
    overrides: Mapping[str, Any], environment: Mapping[str, str], file: Mapping[str, Any], path: str
) -> list[Given]:
    """All that was given, in order of precedence: a run's overrides, variables (by dotted name), the file at `path`."""
    told = [
        Given(place, f"override {dotted}")
        for dotted, value in overrides.items()
        for place in _leaves(tuple(dotted.split(".")), value)
    ]
    told += [
        Given(place, f"environment variable {variable}")
        for variable, text in environment.items()
        for place in _leaves(tuple(variable.lower().split("__")[1:]), _parsed(text))
    ]
    return told + [Given(place, path, is_file=True) for place in _leaves((), file)]


def told(faults: Sequence[ErrorDetails], model: type[BaseModel], given: Sequence[Given], path: str) -> str:
    """Each fault below what brought it: a run's override, a variable of the environment, else the file at `path`."""
    by_source: dict[str, list[str]] = {}
    for fault in faults:
        by_source.setdefault(_source_of(fault, given) or path, []).append(_described(fault, model))
    return "\n".join(f"{source}:\n  " + "\n  ".join(lines) for source, lines in by_source.items())


def nearest(name: str, known: Iterable[str]) -> str:
    """A sentence with the one of `known` that `name` is most like, else with all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known here: {', '.join(names)}." if names else ""


def _leaves(place: tuple[str, ...], value: Any) -> Iterator[tuple[str, ...]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _leaves((*place, str(key)), inner)
    elif place:
        yield place


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return text


# -- who brought it


def _source_of(fault: ErrorDetails, given: Sequence[Given]) -> str | None:
    place = _place(fault)
    itself = [one for one in given if _holds(one.place, place)]
    within = [one for one in given if _holds(place, one.place)]
    if fault["type"] == "missing":
        # Whoever has opened the section without it: the file, where it has any of the section.
        beside = [one for one in given if _holds(place[:-1], one.place)]
        return next((one.source for one in (*(one for one in beside if one.is_file), *beside)), None)
    if itself:
        return itself[0].source
    if fault["type"] in _OF_A_SECTION:
        words = set(re.findall(r"\w+", fault["msg"]))
        within = [one for one in within if one.place[-1] in words] or within
    return " and ".join(dict.fromkeys(one.source for one in within)) or None


def _place(fault: ErrorDetails) -> tuple[str, ...]:
    return tuple(str(part) for part in fault["loc"])


def _holds(whole: Sequence[str], part: Sequence[str]) -> bool:
    """Whether `part` is `whole` or lies in it. Variables have no capitals."""
    return [one.lower() for one in whole] == [one.lower() for one in part[: len(whole)]]


# -- what it is


def _described(fault: ErrorDetails, model: type[BaseModel]) -> str:
    parts = _place(fault)
    place, parents, last = ".".join(parts), parts[:-1], parts[-1]
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key.{nearest(last, _fields_at(model, parents))}"
    if fault["type"] == "missing":
        section = f"[{'.'.join(parents)}]" if parents else "the top of the file"
        return f"{place}: {fault['msg']}. Set it, in the file under {section}.{_meaning(model, parts)}"
    said = fault["msg"].removeprefix("Value error, ")
    return f"{place}: {said}{_shown(place, fault)}.{_meaning(model, parts)}"


def _shown(place: str, fault: ErrorDetails) -> str:
    """The value; not a whole section, whose fault the message tells, and no password."""
    value = fault["input"]
    if isinstance(value, Mapping) and fault["type"] in _OF_A_SECTION:
        return ""
    if place.startswith(_SECRET):
        return "; the value given is not shown"
    text = repr(value)
    return f", got {text if len(text) <= _LONGEST else text[:_LONGEST] + '…'}"


def _meaning(model: type[BaseModel], parts: Sequence[str]) -> str:
    """The sentence that stands under the field, so that the reader knows what to set."""
    section = _model_at(model, parts[:-1])
    field = section.model_fields.get(parts[-1]) if section else None
    return f" {field.description}" if field and field.description else ""


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    section = _model_at(model, path)
    return list(section.model_fields) if section else []


def _model_at(model: type[BaseModel], path: Sequence[str]) -> type[BaseModel] | None:
    """The section at `path`; a free key (an event type's name, say) is stepped over."""
    parts = iter(path)
    for part in parts:
        if part not in model.model_fields:
            return None
        annotation = model.model_fields[part].annotation
        section = _section_of(annotation)
        if section is None:
            return None
        if get_origin(annotation) is dict:
            next(parts, None)
        model = section
    return model


def _section_of(annotation: Any) -> type[BaseModel] | None:
    for candidate in (annotation, *get_args(annotation)):
        if isinstance(candidate, type) and issubclass(candidate, BaseModel):
            return candidate
    return None
