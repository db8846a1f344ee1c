"""The request of llama.cpp's chat routes: messages, tools and format on one side, the native fields on the other.

The routes differ from OpenAI's in what they refuse and in which words, so these checks come in the server's order.
Source: llama.cpp tools/server/server-common.cpp (oaicompat_chat_params_parse) and common/chat.cpp.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from adapters.base import Call, Served
from adapters.body import Body
from adapters.llamacpp.conversation import check_messages, check_tools, parse_messages
from adapters.llamacpp.errors import Refusal, wrong_type
from adapters.llamacpp.fields import REASONING_FORMATS
from adapters.llamacpp.request import Asked, read_fields, to_request
from adapters.openai.messages import WireMessage, WireTool, to_messages, to_tools
from backends.base import BackendState
from backends.errors import InvalidField, MissingField
from backends.request import ChatPrompt, NamedTool, Tool, ToolChoice

_KNOWN = frozenset({
    "messages", "tools", "tool_choice", "parallel_tool_calls", "response_format", "add_generation_prompt",
    "continue_final_message", "chat_template_kwargs", "reasoning_effort", "reasoning_budget_tokens",
    "thinking_budget_tokens", "top_logprobs",
})  # fmt: skip
"""What is honoured beside the native fields."""


@dataclass(frozen=True, slots=True)
class Chat:
    """native: the body as the native fields are to be read from it. reasoning: as in GenerateRequest."""

    prompt: ChatPrompt
    native: Mapping[str, Any]
    reasoning: bool | None = None

    @property
    def prefill(self) -> str:
        """The beginning of the answer, when the client sent it."""
        return self.prompt.messages[-1].content if self.prompt.continue_final else ""


class _Conversation(Body):
    messages: tuple[WireMessage, ...]


class _Toolbox(Body):
    tools: tuple[WireTool, ...] = ()


def read_chat(call: Call, body: Mapping[str, Any], served: Served) -> Chat:
    """Raises Refusal, or Unsupported for media."""
    native = _with_format(body)
    check_messages(body, has_vision=_may_see(served))
    parse_messages(body["messages"])
    messages = to_messages(_read_conversation(call, body["messages"]).messages)
    tools = _read_tools(call, body.get("tools"))
    choice = _tool_choice(body.get("tool_choice"), tools)
    continues = _continues_final(body)
    _check_reasoning_format(body)
    if tools and choice != "none" and body.get("grammar") is not None:
        raise Refusal("Cannot use custom grammar constraints with tools.")
    template_args = body.get("chat_template_kwargs") or {}
    prompt = ChatPrompt(
        messages=messages,
        tools=tools,
        tool_choice=choice,
        parallel_tool_calls=body.get("parallel_tool_calls") is not False,
        continue_final=continues,
        add_generation_prompt=body.get("add_generation_prompt") is not False and not continues,
        template_args=template_args if isinstance(template_args, dict) else {},
    )
    return Chat(prompt, native | _num_probs(body, has_tools=bool(tools)), _reasoning(body, prompt.template_args))


async def read_request(call: Call, body: Mapping[str, Any], served: Served) -> Asked:
    """A whole chat request. Raises as read_chat does."""
    chat = read_chat(call, body, served)
    fields = await read_fields(call, chat.native, served, _KNOWN)
    request = to_request(call, (chat.prompt,), fields, served)
    request.reasoning = chat.reasoning
    return Asked(served, request, fields, chat.prefill)


def _with_format(body: Mapping[str, Any]) -> dict[str, Any]:
    """`response_format` becomes `json_schema`."""
    if body.get("json_schema") is not None and body.get("grammar"):
        raise Refusal("Cannot use both json_schema and grammar", "server_error")
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    match kind if isinstance(kind, str) else None, wanted:
        case "json_object", {"schema": schema}:
            return dict(body) | {"json_schema": schema}
        case "json_object", _:
            return {"json_schema": {}} | dict(body)
        case "json_schema", {"json_schema": {"schema": schema}}:
            return dict(body) | {"json_schema": schema}
        case "json_schema", _:
            return dict(body) | {"json_schema": {}}
        case None | "" | "text", _:
            return dict(body)
        case _:
            raise Refusal(f'response_format type must be one of "text" or "json_object", but got: {kind}')


def _may_see(served: Served) -> bool:
    """Before a model is loaded nobody knows."""
    return served.backend.state is not BackendState.READY or "vision" in served.info.capabilities


def _read_conversation(call: Call, messages: list[Any]) -> _Conversation:
    """Roles that nobody knows pass as the user's, as a template has nothing else to make of them."""
    named = [
        message if message.get("role", "") in (*WireMessage.roles, "") else {**message, "role": "user"}
        for message in messages
    ]
    try:
        return _Conversation.parse_object({"messages": named}, call)
    except (InvalidField, MissingField) as error:
        raise Refusal(f"Failed to parse messages: {error.message}", "server_error") from None


def _read_tools(call: Call, tools: object) -> tuple[Tool, ...]:
    if tools is None:
        return ()
    check_tools(tools)
    try:
        return to_tools(_Toolbox.parse_object({"tools": tools}, call).tools)
    except (InvalidField, MissingField) as error:
        raise Refusal(f"Failed to parse tools: {error.message}", "server_error") from None


def _tool_choice(choice: object, tools: tuple[Tool, ...]) -> ToolChoice:
    """A named function is more than the server understands: it takes any object for `auto`."""
    match choice:
        case "none":
            return "none"
        case "required":
            return "required" if tools else "auto"
        case {"function": {"name": str(name)}} if any(tool.name == name for tool in tools):
            return NamedTool(name)
        case str() if choice != "auto":
            raise Refusal(f"Invalid tool_choice: {choice}")
        case _:
            return "auto"


def _continues_final(body: Mapping[str, Any]) -> bool:
    """A last message of the assistant's is continued, asked for or not."""
    asked = body.get("continue_final_message") in (True, "content", "reasoning_content")
    roles = [message.get("role") for message in body["messages"]]
    if not asked and roles[-2:] == ["assistant", "assistant"]:
        raise Refusal("Cannot have 2 or more assistant messages at the end of the list.")
    if asked and body.get("add_generation_prompt") is not False:
        raise Refusal("Cannot set both add_generation_prompt and continue_final_message to true.")
    continues = roles[-1:] == ["assistant"]
    if continues and body["messages"][-1].get("tool_calls"):
        raise Refusal("Cannot continue an assistant message that contains tool calls.")
    return continues


def _check_reasoning_format(body: Mapping[str, Any]) -> None:
    wanted = body.get("reasoning_format")
    if wanted is not None and not isinstance(wanted, str):
        raise wrong_type("string", wanted, "server_error")
    if wanted is not None and wanted not in REASONING_FORMATS:
        raise Refusal(f"Unknown reasoning format: {wanted}", "server_error")


def _reasoning(body: Mapping[str, Any], template_args: Mapping[str, Any]) -> bool | None:
    """Should the model think? None: as it likes."""
    enabled = template_args.get("enable_thinking")
    if isinstance(enabled, str):
        raise Refusal('invalid type for "enable_thinking" (expected boolean, got string)')
    budget = body.get("reasoning_budget_tokens", body.get("thinking_budget_tokens"))
    if body.get("reasoning_effort") == "none" or budget == 0:
        return False
    return enabled if isinstance(enabled, bool) else None


def _num_probs(body: Mapping[str, Any], *, has_tools: bool) -> dict[str, int]:
    if body.get("logprobs") is True:
        if has_tools and body.get("stream") is True:
            raise Refusal("logprobs is not supported with tools + stream")
        wanted = body.get("top_logprobs")
        return {"n_probs": wanted if isinstance(wanted, int) else 20}
    if body.get("top_logprobs") is not None:
        raise Refusal("top_logprobs requires logprobs to be set to true")
    return {}
