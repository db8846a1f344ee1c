"""What an answer must look like: OpenAI's `response_format` and vLLM's `structured_outputs` → one OutputFormat.

Wire facts: openai-python `types/shared_params/response_format_*.py`, vllm sampling_params.py (StructuredOutputsParams).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any

import orjson
from pydantic import BeforeValidator, Field

from adapters.body import Fields
from backends.errors import InvalidField, Unsupported
from backends.request import AnyJson, Choice, Gbnf, JsonSchema, OutputFormat, Regex


def _as_json(value: Any) -> Any:
    """vLLM takes a schema as an object or as its JSON text."""
    if not isinstance(value, str):
        return value
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error}") from None


Schema = Annotated[dict[str, Any] | bool, BeforeValidator(_as_json)]


class NamedSchema(Fields):
    name: str = ""
    schema_: Schema | None = Field(default=None, alias="schema")


class ResponseFormat(Fields):
    """`schema` beside `type` is how llama.cpp and llama-cpp-python take it."""

    type: str
    json_schema: NamedSchema | None = None
    schema_: Schema | None = Field(default=None, alias="schema")

    def to_output(self, param: str = "response_format") -> OutputFormat | None:
        """param: the field's place in the body. Raises InvalidField or Unsupported."""
        schema = self.json_schema.schema_ if self.json_schema else None
        schema = self.schema_ if schema is None else schema
        match self.type:
            case "text":
                return None
            case "json_object":
                return AnyJson() if schema is None else JsonSchema(schema)
            case "json_schema":
                if schema is None:
                    raise InvalidField(f"{param}.json_schema", "a json_schema format needs its schema")
                return JsonSchema(schema)
            case kind:
                raise Unsupported(
                    f"the response format '{kind}' is not supported; 'text', 'json_object' and 'json_schema' are",
                    feature="response_format",
                    param=f"{param}.type",
                )


class StructuredOutputs(Fields):
    """vLLM's `structured_outputs`, and since 2023 the same with `guided_` before each name. One may be given."""

    json_: Schema | None = Field(default=None, alias="json")
    json_object: bool = False
    regex: str | None = None
    choice: tuple[str, ...] | None = None
    grammar: str | None = None
    structural_tag: Any = None

    def to_output(self) -> OutputFormat | None:
        """Raises InvalidField when several are given and Unsupported for structural tags."""
        if self.structural_tag is not None:
            raise Unsupported("structural tags are not supported", feature="structural_tag", param="structured_outputs")
        formats = list(self._formats())
        if len(formats) > 1:
            raise InvalidField("structured_outputs", "only one kind of constraint can hold at a time")
        return formats[0] if formats else None

    def _formats(self) -> Iterator[OutputFormat]:
        if self.json_ is not None:
            yield JsonSchema(self.json_)
        if self.json_object:
            yield AnyJson()
        if self.regex is not None:
            yield Regex(self.regex)
        if self.choice is not None:
            yield Choice(self.choice)
        if self.grammar is not None:
            yield Gbnf(self.grammar)
