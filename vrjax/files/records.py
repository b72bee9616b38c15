"""Configs from JSON, strictly: a wrong type is one line that names the field.

values = writing.to_dict(config)                       # a frozen dataclass as JSON, and back
config = records.from_dict(TrainConfig, values)
"""

import collections.abc
import dataclasses
import functools
import json
import math
import types
import typing
from typing import Any, Literal, TypeVar

T = TypeVar("T")

_SAID = {bool: "true or false", int: "a whole number", float: "a number", str: "text", type(None): "null"}


def from_dict(cls: type[T], values: Any, where: str = "config") -> T:
    """The inverse of `writing.to_dict`: rebuilds dataclass `cls`, lists becoming tuples again.

    Raises:
        ValueError: no object, an unknown or missing field, or a value of another type; names the field with its place,
            what was found and what was expected. And what the class itself refuses.
    """
    if not isinstance(values, dict):
        raise _wrong(where, values, f"an object with the fields of {cls.__name__}")
    hints = _hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls) if f.init}  # type: ignore[arg-type]
    if unknown := sorted(set(values) - set(fields)):
        raise ValueError(f"{where}: unknown fields {unknown}, expected some of {sorted(fields)}")
    nothing = dataclasses.MISSING
    needed = {name for name, f in fields.items() if f.default is nothing and f.default_factory is nothing}
    if missing := sorted(needed - set(values)):
        raise ValueError(f"{where}: missing fields {missing} of {cls.__name__}")
    return cls(**{name: _convert(hints[name], value, f"{where}.{name}") for name, value in values.items()})


def field(cls: type, name: str, value: Any, place: str) -> Any:
    """A JSON value as the field `name` of a dataclass has it; sizes are at least 1, other numbers finite.

    Raises:
        ValueError: a value of another type or range; names the place, what was found and what was expected.
    """
    found = _convert(_hints(cls)[name], value, place)
    for part in found if isinstance(found, tuple) else (found,):
        if type(part) is int and part < 1:
            raise _wrong(place, part, "at least 1")
        if type(part) is float and not math.isfinite(part):
            raise _wrong(place, part, "a finite number")
    return found


_hints = functools.cache(functools.partial(typing.get_type_hints, include_extras=True))


def _convert(hint: Any, value: Any, place: str) -> Any:
    """A JSON value as the annotation has it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint is Any or isinstance(hint, TypeVar):
        return value
    if dataclasses.is_dataclass(hint):
        return from_dict(hint, value, place)  # type: ignore[arg-type]
    if origin is typing.Annotated:
        if isinstance(inner[1], types.FunctionType):  # reads what the annotation alone does not say
            return inner[1](value, place)
        return _convert(inner[0], value, place)
    if origin in (typing.Union, types.UnionType):
        return _either(inner, value, place)
    if origin is Literal:
        if not any(type(value) is type(option) and value == option for option in inner):
            raise _wrong(place, value, _name(hint))
        return value
    if (origin or hint) in (tuple, list, collections.abc.Sequence):
        return _sequence(hint, value, place)
    if (origin or hint) in (dict, collections.abc.Mapping):
        if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
            raise _wrong(place, value, "an object")
        return {name: _convert(inner[1], v, f"{place}.{name}") if inner else v for name, v in value.items()}
    if hint is float and type(value) is int:
        return value
    if hint in _SAID and type(value) is not hint:
        raise _wrong(place, value, _SAID[hint])
    return value


def _either(options: tuple[Any, ...], value: Any, place: str) -> Any:
    errors = []
    for option in options:
        try:
            return _convert(type(None) if option is None else option, value, place)
        except ValueError as error:
            errors.append((option, error))
    told = [error for option, error in errors if option is not type(None)]
    if value is not None and len(told) == 1 and isinstance(value, (dict, list)):
        raise told[0]  # says what is wrong inside
    raise _wrong(place, value, " or ".join(_name(option) for option in options))


def _sequence(hint: Any, value: Any, place: str) -> Any:
    inner = typing.get_args(hint)
    if not isinstance(value, (list, tuple)):
        raise _wrong(place, value, "a list")
    if typing.get_origin(hint) is not tuple or inner[-1:] == (Ellipsis,):
        inner = inner[:1] * len(value)
    elif len(inner) != len(value):
        raise _wrong(place, value, f"a list of {len(inner)}")
    hints = inner or (Any,) * len(value)
    made = [_convert(h, v, f"{place}[{i}]") for i, (h, v) in enumerate(zip(hints, value, strict=True))]
    return made if list in (hint, typing.get_origin(hint)) else tuple(made)


def _name(hint: Any) -> str:
    if typing.get_origin(hint) is Literal:
        return "one of " + ", ".join(repr(option) for option in typing.get_args(hint))
    if dataclasses.is_dataclass(hint):
        return f"an object with the fields of {hint.__name__}"  # type: ignore[union-attr]
    origin = typing.get_origin(hint) or hint
    return _SAID.get(origin) or {tuple: "a list", list: "a list", dict: "an object"}.get(origin) or str(hint)


def _wrong(place: str, value: Any, expected: str) -> ValueError:
    shown = json.dumps(value) if isinstance(value, (bool, int, float, str, type(None))) else type(value).__name__
    shown = {"list": "a list", "tuple": "a list", "dict": "an object"}.get(shown, shown)
    return ValueError(f"{place}: found {shown:.80}, expected {expected}")
