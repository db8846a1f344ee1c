"""How large a request may be in each of its dimensions. Pure: it is told the limits, and knows no dialect.

A request that is too large somewhere is refused by the name that its client gave the field: the same thing is
`stop_sequences` to Anthropic and `options.stop` to Ollama.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import Any, TypeAlias

import orjson
from typing_extensions import assert_never

from adapters.framing import to_json
from backends.errors import FieldTooLarge, InvalidField
from backends.request import (
    AnyJson,
    ChatPrompt,
    Choice,
    Gbnf,
    GenerateRequest,
    InfillPrompt,
    JsonSchema,
    Message,
    OutputFormat,
    Prompt,
    Regex,
    TextPrompt,
)
from gateway.config import Limits

Names: TypeAlias = tuple[str, ...]
PROMPT: Names = ("messages", "prompt", "input", "inputs", "input_prefix", "input_suffix", "template")
STOP: Names = ("stop", "stop_sequences", "options.stop", "parameters.stop", "stop_sequence", "stopping_strings")
COUNT: Names = ("n", "best_of", "n_cmpl", "parameters.best_of")
SCHEMA: Names = (
    "response_format", "json_schema", "format", "grammar", "text.format", "structured_outputs", "guided_json",
    "guided_regex", "guided_choice", "guided_grammar", "parameters.grammar", "output_config", "tools",
)  # fmt: skip


def check_depth(body: bytes, max_depth: int) -> None:
    """Raises FieldTooLarge for JSON whose arrays and objects are nested deeper. What isn't JSON is the adapter's
    affair, unless it is so deep that nobody should try to read it."""
    if body.count(b"[") + body.count(b"{") <= max_depth:
        return
    try:
        is_deep = _is_deeper(orjson.loads(body), max_depth)
    except orjson.JSONDecodeError:
        is_deep = max(accumulate(map(_step, body))) > max_depth
    if is_deep:
        raise FieldTooLarge("body", f"arrays and objects may be nested {max_depth} deep")


def _step(byte: int) -> int:
    """How much deeper the byte leads. Those in strings count too: it is a guess."""
    return (byte in b"[{") - (byte in b"]}")


def _is_deeper(value: Any, max_depth: int) -> bool:
    level = [value]
    for _ in range(max_depth):
        children = (child for item in level for child in (item.values() if isinstance(item, dict) else item))
        level = [child for child in children if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def check_images(request: GenerateRequest) -> None:
    """Raises InvalidField for an image that somebody would have to fetch: a request could have anything fetched that
    this machine reaches."""
    prompts = (prompt for prompt in request.prompts if isinstance(prompt, ChatPrompt))
    images = (image for prompt in prompts for message in prompt.messages for image in message.images)
    if any(image.data is None for image in images):
        reason = "images are sent as data: no URL is fetched unless the config says `access: {image_urls: fetch}`"
        raise InvalidField("messages", reason)


def check_request(request: GenerateRequest, limits: Limits, body: bytes) -> None:
    """Raises FieldTooLarge. body: as the client sent it, for the field's name."""
    for names, size, limit, unit in _sizes(request, limits):
        if size > limit:
            raise FieldTooLarge(_spelled(names, body), f"{size:,} {unit} are more than the {limit:,} that are allowed")


def _sizes(request: GenerateRequest, limits: Limits) -> Iterator[tuple[Names, int, int, str]]:
    yield PROMPT, len(request.prompts), limits.max_prompts, "prompts"
    yield PROMPT, sum(map(_num_chars, request.prompts)), limits.max_prompt_chars, "characters"
    yield COUNT, max(request.n, request.best_of or 0), limits.max_n, "answers"
    yield STOP, len(request.stop) + len(request.stop_token_ids), limits.max_stops, "stop strings"
    yield STOP, max(map(len, request.stop), default=0), limits.max_stop_chars, "characters"
    yield SCHEMA, _schema_chars(request), limits.max_schema_chars, "characters"


def _num_chars(prompt: Prompt) -> int:
    """A token counts as a character."""
    match prompt:
        case ChatPrompt():
            return sum(map(_message_chars, prompt.messages))
        case TextPrompt():
            return sum(map(len, prompt.parts))
        case InfillPrompt():
            files = sum(len(name) + len(text) for name, text in prompt.extra)
            return len(prompt.prefix) + len(prompt.suffix) + len(prompt.start) + files
        case _:
            assert_never(prompt)


def _message_chars(message: Message) -> int:
    calls = sum(len(call.name) + len(call.arguments) for call in message.tool_calls)
    return len(message.content) + len(message.reasoning or "") + calls


def _schema_chars(request: GenerateRequest) -> int:
    tools = (tool for prompt in request.prompts if isinstance(prompt, ChatPrompt) for tool in prompt.tools)
    return _format_chars(request.output) + sum(len(to_json(tool.parameters)) for tool in tools)


def _format_chars(output: OutputFormat | None) -> int:
    match output:
        case None | AnyJson():
            return 0
        case JsonSchema(schema):
            return len(to_json(schema))
        case Regex(pattern):
            return len(pattern)
        case Choice(options):
            return sum(map(len, options))
        case Gbnf(grammar):
            return len(grammar)
        case _:
            assert_never(output)


def _spelled(names: Names, body: bytes) -> str:
    """The first of the names that the body has; the first of all where the adapter found it elsewhere."""
    try:
        fields = orjson.loads(body)
    except orjson.JSONDecodeError:
        return names[0]
    return next((name for name in names if _has(fields, name)), names[0])


def _has(fields: Any, name: str) -> bool:
    for key in name.split("."):
        if not isinstance(fields, dict) or fields.get(key) is None:
            return False
        fields = fields[key]
    return True
