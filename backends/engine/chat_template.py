"""A model's chat template: messages become the text that the model gets.

Owns what a template sees: the names, shapes and functions that Hugging Face's templates are written for (transformers
utils/chat_template_utils.py). Templates come from the model's folder only, never from a request.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from datetime import datetime
from typing import Any

import jinja2
from jinja2 import nodes
from jinja2.ext import Extension, loopcontrols
from jinja2.parser import Parser

from backends.engine.reasoning import find_tags
from backends.engine.sandbox import BUDGET, Budget, Sandbox
from backends.engine.tokenizer import Tokenizer
from backends.errors import BackendFailed, InvalidRequest, Unsupported
from backends.request import ChatPrompt, FunctionCall, Message, Tool

MAX_CHARS = 64_000_000
"""No window is as long; a template that writes more is broken."""

FINAL = "THE-FINAL-MESSAGE-ENDS-HERE "
"""Its blank tells whether the template trims messages."""


class ChatTemplate:
    """supports_tools, supports_thinking: does the template speak of them?"""

    def __init__(self, tokenizer: Tokenizer) -> None:
        """Raises BackendFailed for a template that isn't jinja."""
        sources = tokenizer.chat_templates
        self.source = sources.get("default", "")
        self.supports_tools = "tool_use" in sources or re.search(r"\btools\b", self.source) is not None
        self.supports_thinking = find_tags(self.source) is not None
        self._constants = {"bos_token": tokenizer.bos_token, "eos_token": tokenizer.eos_token}
        self._plain = _compile(self.source) if self.source else None
        self._with_tools = _compile(sources["tool_use"]) if "tool_use" in sources else self._plain
        self._call_id = _short_call_id if "[TOOL_CALLS]" in self.source else str

    def render(self, prompt: ChatPrompt, reasoning: bool | None) -> str:
        """reasoning: False asks the model not to think, True to think, None leaves it to the template.

        Raises InvalidRequest with the template's own message, Unsupported where there is no template or where it
        can't have what the prompt holds.
        """
        tools = prompt.tools if prompt.tool_choice != "none" else ()
        template = self._with_tools if tools else self._plain
        if template is None:
            raise Unsupported("this model has no chat template", feature="chat")
        if tools and not self.supports_tools:
            raise Unsupported("this model's chat template has no place for tools", feature="tools", param="tools")
        variables = self._variables(prompt, tools, reasoning)
        if not prompt.continue_final:
            return _render(template, variables)
        variables["messages"][-1]["content"] += FINAL
        return _up_to_the_final_text(_render(template, variables))

    def _variables(self, prompt: ChatPrompt, tools: tuple[Tool, ...], reasoning: bool | None) -> dict[str, Any]:
        # Qwen3 and its kin ask for `enable_thinking`, DeepSeek V3.1 and Granite for `thinking`.
        thinking = {} if reasoning is None else {"enable_thinking": reasoning, "thinking": reasoning}
        return {
            **self._constants,
            **thinking,
            **prompt.template_args,
            "messages": [_message(message, self._call_id) for message in prompt.messages],
            "tools": [_tool(tool) for tool in tools] or None,
            "documents": None,
            "add_generation_prompt": prompt.add_generation_prompt and not prompt.continue_final,
        }


def _render(template: jinja2.Template, variables: dict[str, Any]) -> str:
    pieces, num_chars = [], 0
    try:
        for piece in template.generate({**variables, BUDGET: Budget()}):
            pieces.append(piece)
            num_chars += len(piece)
            if num_chars > MAX_CHARS:
                raise jinja2.TemplateError("the chat template writes without end")
    except jinja2.TemplateError as error:
        raise InvalidRequest(str(error), param="messages") from None
    except Exception as error:  # whatever a template does wrong, such as adding None to a string
        raise InvalidRequest(f"the chat template fails on these messages: {error}", param="messages") from None
    return "".join(pieces)


def _up_to_the_final_text(text: str) -> str:
    """Without what closes the final message: the model goes on right after its text."""
    end = text.rfind(FINAL.strip())
    if end < 0:
        raise InvalidRequest("the chat template drops the final message, so that it can't be continued")
    return text[:end] if text.startswith(FINAL, end) else text[:end].rstrip()


def _message(message: Message, call_id: Callable[[str], str]) -> dict[str, Any]:
    if message.images:
        raise Unsupported("this model reads text only, no images", feature="images", param="messages")
    fields: dict[str, Any] = {"role": message.role, "content": message.content}
    if message.reasoning is not None:
        fields |= {"reasoning_content": message.reasoning, "thinking": message.reasoning}
    if message.tool_calls:
        fields["tool_calls"] = [_tool_call(call, call_id) for call in message.tool_calls]
    if message.tool_call_id is not None:
        fields["tool_call_id"] = call_id(message.tool_call_id)
    if message.name is not None:
        fields["name"] = message.name
    return fields


def _tool_call(call: FunctionCall, call_id: Callable[[str], str]) -> dict[str, Any]:
    function = {"name": call.name, "arguments": _arguments(call.arguments)}
    return {"id": call_id(call.id), "type": "function", "function": function}


def _short_call_id(call_id: str) -> str:
    """Mistral's templates refuse ids other than nine letters and digits; clients bring ids of every kind."""
    if re.fullmatch("[A-Za-z0-9]{9}", call_id):
        return call_id
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]


class _Arguments(dict[str, Any]):
    """A call's arguments: an object to templates that want one (`arguments | tojson`, as Qwen's), and JSON text to
    those that add it to a string (DeepSeek's)."""

    def __str__(self) -> str:
        return _tojson(self)

    def __add__(self, other: str) -> str:
        return str(self) + other

    def __radd__(self, other: str) -> str:
        return other + str(self)


def _arguments(text: str) -> _Arguments | str:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return _Arguments(value) if isinstance(value, dict) else text


def _tool(tool: Tool) -> dict[str, Any]:
    function = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": function}


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """jinja's own escapes `<`, `>`, `&` and `'` for HTML, which a model has never seen."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(pattern: str) -> str:
    return datetime.now().strftime(pattern)


class _Generation(Extension):
    """`{% generation %}` marks the assistant's words for training; here it changes nothing."""

    tags = {"generation"}  # noqa: RUF012  (jinja reads it from the class)

    def parse(self, parser: Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


def _compile(source: str) -> jinja2.Template:
    environment = Sandbox(trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, _Generation])
    environment.filters["tojson"] = _tojson
    environment.pay_for_filters()
    environment.globals.update(raise_exception=_raise_exception, strftime_now=_strftime_now)
    try:
        return environment.from_string(source)
    except jinja2.TemplateSyntaxError as error:
        raise BackendFailed(f"the chat template can't be read: line {error.lineno}: {error.message}") from None
