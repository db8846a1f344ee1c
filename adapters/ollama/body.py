"""How a body becomes typed fields in Ollama: as Go's encoding/json does it, complaints included.

Only the first JSON value of a body is read; keys match in any case; nothing is converted, but 16.0 is an int here too.
Wire facts: Go's encoding/json (decode.go), gin's ShouldBindJSON, ollama api/types.go.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, TypeAlias, Union, get_args, get_origin

import orjson
from pydantic import BeforeValidator, ConfigDict
from typing_extensions import Self

from adapters.base import Call
from adapters.body import Body, Fields
from adapters.ollama.json import FOREVER, parse_duration
from adapters.ollama.syntax import end_of_value
from backends.errors import InvalidField, InvalidRequest, MalformedBody

NO_BODY = "missing request body"

_GO_TYPES: Mapping[object, str] = {
    str: "string",
    bool: "bool",
    int: "int",
    float: "float64",
    dict: "map[string]interface {}",
}
_NOT_BASE64 = re.compile(r"[^A-Za-z0-9+/]")


@dataclass(frozen=True, slots=True)
class GoType:
    """Annotates a field whose Go type can't be told from ours."""

    name: str


class GoFields(Fields):
    """A Go struct. go_struct: its name; go_package: where it is declared; own_decoder: it has an UnmarshalJSON, so
    that complaints about what is inside name the struct around it."""

    model_config = ConfigDict(strict=True)
    go_struct: ClassVar[str]
    go_package: ClassVar[str] = "api"
    own_decoder: ClassVar[bool] = False


class GoBody(GoFields, Body):
    """no_body: what is said of an empty body."""

    no_body: ClassVar[str] = NO_BODY

    @classmethod
    def parse(cls, call: Call) -> Self:
        """Raises InvalidRequest or MalformedBody in Go's words; notes the ignored fields on the call."""
        value = decode(call.body, cls.no_body)
        if value is None:
            value = {}
        if not isinstance(value, dict):
            raise InvalidRequest(f"json: cannot unmarshal {_kind(value)} into Go value of type {_go_type(cls)}")
        try:
            return cls.parse_object(cls._in_declared_case(value), call)
        except InvalidField as error:
            raise InvalidRequest(_complaint(cls, error), param=error.param) from None

    @classmethod
    def _in_declared_case(cls, value: dict[str, Any]) -> dict[str, Any]:
        declared = {field.alias or name for name, field in cls.model_fields.items()}
        return {key if key in declared or key.lower() not in declared else key.lower(): value[key] for key in value}


def decode(body: bytes, no_body: str = NO_BODY) -> Any:
    """The first value of the body. Invalid UTF-8 and lone surrogates become U+FFFD. Raises MalformedBody, and
    InvalidRequest for an empty body."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError:
        if not body.strip(b" \t\r\n"):
            raise InvalidRequest(no_body) from None
    first = body[: end_of_value(body)].decode("utf-8", "replace")
    try:
        text = json.dumps(json.loads(first), ensure_ascii=False)
    except RecursionError:
        raise MalformedBody("exceeded max depth", body=body) from None
    return json.loads(text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))


def _whole(value: Any) -> Any:
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _seconds(value: Any) -> Any:
    """A number of seconds or Go's notation; below zero: for ever."""
    match value:
        case bool() | list() | dict():
            kind = {bool: "bool", list: "[]interface {}", dict: "map[string]interface {}"}[type(value)]
            raise InvalidRequest(f"Unsupported type: '{kind}'", param="keep_alive")
        case str():
            try:
                seconds = parse_duration(value)
            except ValueError as error:
                raise InvalidRequest(str(error), param="keep_alive") from None
        case _:
            seconds = float(value)
    return FOREVER if seconds < 0 else seconds


def from_base64(value: Any) -> Any:
    """Text → bytes. Raises InvalidRequest as Go's encoding/base64 puts it."""
    if not isinstance(value, str):
        return value
    text = value.replace("\r", "").replace("\n", "")
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        bad = _NOT_BASE64.search(text.rstrip("="))
        position = bad.start() if bad else len(text)
        raise InvalidRequest(f"illegal base64 data at input byte {position}", param="images") from None


GoInt: TypeAlias = Annotated[int, BeforeValidator(_whole)]
KeepAlive: TypeAlias = Annotated[float, BeforeValidator(_seconds)]
Base64: TypeAlias = Annotated[bytes, BeforeValidator(from_base64), GoType("api.ImageData")]


def _complaint(root: type[GoFields], error: InvalidField) -> str:
    """Go's UnmarshalTypeError: the struct around the field, the path without indexes, and both types."""
    struct, path, wanted = root.go_struct, [], _go_type(root)
    holder, has_own_decoder = root, False
    for name, annotation in _walk(root, (error.param or "").split(".")):
        if name is not None:
            path.append(name)
            struct = struct if has_own_decoder else holder.go_struct
        wanted = _go_type(annotation)
        if isinstance(annotation, type) and issubclass(annotation, GoFields):
            holder, has_own_decoder = annotation, has_own_decoder or annotation.own_decoder
            wanted = (
                f"{holder.go_package}.Alias" if holder.own_decoder else wanted
            )  # what its UnmarshalJSON decodes into
    kind = _kind(error.value)
    if kind == "number" and wanted == "int":
        kind = f"number {orjson.dumps(error.value).decode()}"
    return f"json: cannot unmarshal {kind} into Go struct field {struct}.{'.'.join(path)} of type {wanted}"


def _walk(root: type[GoFields], parts: list[str]) -> Iterator[tuple[str | None, object]]:
    """The fields on the way, each with its type; an element of a list has no name."""
    inside: object = root
    for part in parts:
        if isinstance(inside, type) and issubclass(inside, GoFields):
            field = next((f for name, f in inside.model_fields.items() if part in (name, f.alias)), None)
            if field is None:
                return
            labels = [label for label in field.metadata if isinstance(label, GoType)]
            inside = labels[0] if labels else _bare(field.annotation)
            yield part, inside
        elif get_origin(inside) is list:
            inside = _bare(get_args(inside)[0])
            yield None, inside
        else:
            return


def _bare(annotation: object) -> object:
    """Without `| None`, and without Annotated unless it says what the Go type is."""
    origin = get_origin(annotation)
    if origin is Annotated:
        labels = [label for label in get_args(annotation)[1:] if isinstance(label, GoType)]
        return labels[0] if labels else _bare(get_args(annotation)[0])
    if origin in (Union, types.UnionType):
        return _bare(next(arg for arg in get_args(annotation) if arg is not type(None)))
    return annotation


def _go_type(annotation: object) -> str:
    if isinstance(annotation, GoType):
        return annotation.name
    if isinstance(annotation, type) and issubclass(annotation, GoFields):
        return f"{annotation.go_package}.{annotation.go_struct}"
    if get_origin(annotation) is list:
        return f"[]{_go_type(_bare(get_args(annotation)[0]))}"
    return _GO_TYPES.get(get_origin(annotation) or annotation, "interface {}")


def _kind(value: object) -> str:
    match value:
        case bool():
            return "bool"
        case int() | float():
            return "number"
        case str():
            return "string"
        case list():
            return "array"
        case _:
            return "object"
