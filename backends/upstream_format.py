"""What an answer must look like, in a server's own fields. Pure. Raises Unsupported for what it can't hold to.

Wire facts: vllm sampling_params.py (StructuredOutputsParams), openai-python types/shared_params/response_format_*.py,
llama.cpp tools/server/README.md (`grammar`), sglang srt/entrypoints/openai/protocol.py (`regex`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from typing_extensions import assert_never

from backends.accent import Accent
from backends.errors import Unsupported
from backends.request import AnyJson, Choice, Gbnf, JsonSchema, OutputFormat, Regex


def constraint(output: OutputFormat | None, accent: Accent) -> dict[str, Any]:
    if output is None:
        return {}
    match accent.constraints:
        case "vllm":
            return {"structured_outputs": _vllm_constraint(output)}
        case "sglang" if isinstance(output, Regex):
            return {"regex": output.pattern}
        case "llamacpp" if isinstance(output, Gbnf):
            return {"grammar": output.grammar}
        case _:
            return {"response_format": _response_format(output)}


def _vllm_constraint(output: OutputFormat) -> Mapping[str, Any]:
    match output:
        case JsonSchema(bool(allows)):
            if not allows:
                raise Unsupported("no JSON fits the schema 'false'", feature="response_format", param="response_format")
            return {"json": {}}
        case JsonSchema(schema):
            return {"json": schema}
        case AnyJson():
            return {"json_object": True}
        case Regex():
            return {"regex": output.pattern}
        case Choice():
            return {"choice": list(output.options)}
        case Gbnf():
            return {"grammar": output.grammar}
        case _:
            assert_never(output)


def _response_format(output: OutputFormat) -> Mapping[str, Any]:
    match output:
        case JsonSchema(dict() as schema):
            return {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}
        case AnyJson() | JsonSchema(True):
            return {"type": "json_object"}
        case Choice():
            raise Unsupported("this model's server can't choose among texts", feature="choice", param="choice")
        case _:
            raise Unsupported(
                "this model's server can't hold the answer to this grammar", feature="grammar", param="grammar"
            )
