"""How a JSON body becomes typed fields, in every dialect.

`null` is absent; `16.0` is an int; a field that the model doesn't declare is ignored and reported; a field of the
wrong type is an InvalidField that names it.
"""

from __future__ import annotations

import re
from typing import Any, ClassVar

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from typing_extensions import Self

from adapters.base import Call
from backends.errors import InvalidField, MalformedBody, MissingField


class Fields(BaseModel):
    """A JSON object inside a body: unknown keys are kept apart, null keys are dropped."""

    model_config = ConfigDict(extra="allow", protected_namespaces=())

    @model_validator(mode="before")
    @classmethod
    def _null_is_absent(cls, value: Any) -> Any:
        if isinstance(value, dict):
            return {key: item for key, item in value.items() if item is not None}
        return value

    def __contains__(self, name: str) -> bool:
        """Did the client send this field?"""
        return name in self.model_fields_set


class Body(Fields):
    """A whole request body. tolerated: declared fields that are accepted for form's sake and have no effect."""

    tolerated: ClassVar[frozenset[str]] = frozenset()

    @classmethod
    def parse(cls, call: Call) -> Self:
        """Raises MalformedBody, MissingField or InvalidField; notes the ignored fields on the call."""
        value = call.json()
        if not isinstance(value, dict):
            raise MalformedBody("the body must be a JSON object", body=call.body)
        return cls.parse_object(value, call)

    @classmethod
    def parse_object(cls, value: dict[str, Any], call: Call) -> Self:
        try:
            body = cls.model_validate(value)
        except ValidationError as invalid:
            raise _as_error(invalid) from None
        call.ignored += [*(body.model_extra or ()), *(cls.tolerated & body.model_fields_set)]
        return body


def _as_error(invalid: ValidationError) -> InvalidField | MissingField:
    """The first complaint only: the one about the outermost, leftmost field."""
    first = invalid.errors(include_url=False, include_context=False)[0]
    where = [str(part) for part in first["loc"] if not _is_union_label(part)]
    param = ".".join(where) or "body"
    if first["type"] == "missing":
        return MissingField(param)
    return InvalidField(param, _in_json_words(first["msg"]), first["input"])


def _in_json_words(message: str) -> str:
    """pydantic speaks of Python's types."""
    for python, json in (("tuple", "array"), ("Tuple", "Array"), ("list", "array"), ("List", "Array")):
        message = re.sub(rf"\b{python}\b", json, message)
    return message.replace("dictionary", "object")


def _is_union_label(part: object) -> bool:
    """pydantic names the branch of a union that failed (`list[str]`, `function-after[…]`); clients don't."""
    return isinstance(part, str) and (part in {"str", "int", "float", "bool"} or "[" in part)
