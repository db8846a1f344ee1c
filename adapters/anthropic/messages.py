"""Anthropic's messages → chat messages. Knows content blocks; no route and no answer.

One message of Anthropic's may be several of a chat: the results of tools come in the user's turn, and become messages
of their own. The other way round, several turns of one side in a row are one, as the API has it. Wire facts:
anthropic-sdk-python `types/message_param.py`, `types/message_create_params.py`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from typing import Literal

from adapters.anthropic.content import Block, Blocks, read_content
from adapters.body import Fields
from adapters.framing import to_json
from adapters.openai.response_input import unseal
from backends.errors import InvalidField, Unsupported
from backends.request import FunctionCall, Message

_BILLING_STAMP = re.compile(r"\A(x-anthropic-billing-header:.*?\bcch=)[0-9a-fA-F]+")


class WireMessage(Fields):
    role: Literal["user", "assistant", "system"]
    content: Blocks

    def to_messages(self, param: str) -> Iterator[Message]:
        """Raises InvalidField or Unsupported."""
        match self.role:
            case "user":
                yield from self._user_messages(f"{param}.content")
            case "assistant":
                yield self._assistant_message(f"{param}.content")
            case "system":
                yield Message("system", read_content(self.content, f"{param}.content")[0])

    def _user_messages(self, param: str) -> Iterator[Message]:
        """The tools' results, and what the user says before, between and after them."""
        said: list[Block] = []
        for index, block in enumerate(self.content):
            if block.type == "tool_result":
                yield from _user_message(said, param)
                said.clear()
                text, images = read_content(block.content, f"{param}.{index}.content")
                yield Message("tool", text, images, tool_call_id=block.tool_use_id)
            else:
                said.append(block)
        yield from _user_message(said, param)

    def _assistant_message(self, param: str) -> Message:
        texts: list[str] = []
        thoughts: list[str] = []
        calls: list[FunctionCall] = []
        for index, block in enumerate(self.content):
            match block.type:
                case "text":
                    texts.append(block.text)
                case "thinking":
                    thoughts.append(block.thinking or unseal(block.signature))
                case "redacted_thinking":  # sealed by Anthropic, who alone can read it
                    pass
                case "tool_use":
                    calls.append(_call(block, f"{param}.{index}"))
                case kind:
                    raise Unsupported(
                        f"content blocks of type '{kind}' are not supported in an assistant's message",
                        feature=kind,
                        param=f"{param}.{index}.type",
                    )
        reasoning = "\n".join(filter(None, thoughts)) or None
        return Message("assistant", "\n".join(texts), reasoning=reasoning, tool_calls=tuple(calls))


def _user_message(blocks: Sequence[Block], param: str) -> Iterator[Message]:
    if blocks:
        text, images = read_content(blocks, param)
        yield Message("user", text, images)


def _call(block: Block, param: str) -> FunctionCall:
    if not block.name:
        raise InvalidField(f"{param}.name", "a tool_use block needs the tool's name")
    return FunctionCall(block.id, block.name, to_json(block.input).decode())


def to_chat(system: Sequence[Block], messages: Iterable[WireMessage]) -> tuple[Message, ...]:
    """Raises InvalidField or Unsupported."""
    said = [turn for index, message in enumerate(messages) for turn in message.to_messages(f"messages.{index}")]
    text = "\n".join(read_system(system))
    return tuple(_combined([Message("system", text), *said] if text else said))


def read_system(blocks: Sequence[Block]) -> Iterator[str]:
    """The texts of a system prompt. Raises Unsupported for other blocks."""
    for index, block in enumerate(blocks):
        yield without_stamp(read_content((block,), f"system.{index}")[0])


def without_stamp(text: str) -> str:
    """Claude Code stamps its system prompt anew for each request (`cch=a5145`), so that no cached prefix would ever
    fit; llama.cpp neutralises the stamp too (tools/server/server-chat.cpp, normalize_anthropic_billing_header)."""
    return _BILLING_STAMP.sub(r"\g<1>fffff", text)


def _combined(messages: Sequence[Message]) -> Iterator[Message]:
    """Turns of one side in a row become one."""
    said = [*messages[:1], *map(_as_said, messages[1:])]
    for role, group in groupby(said, lambda message: message.role):
        turns = list(group)
        yield from turns if role == "tool" else (_joined(turns),)


def _as_said(message: Message) -> Message:
    """A system message in the middle, which Claude Code sends, is said in the user's turn: templates of many models
    refuse one that isn't first. The tags are those by which Claude Code marks such text itself."""
    if message.role != "system":
        return message
    return Message("user", f"<system-reminder>\n{message.content}\n</system-reminder>")


def _joined(turns: Sequence[Message]) -> Message:
    if len(turns) == 1:
        return turns[0]
    return Message(
        turns[0].role,
        "\n".join(turn.content for turn in turns if turn.content),
        images=tuple(image for turn in turns for image in turn.images),
        reasoning="\n".join(turn.reasoning for turn in turns if turn.reasoning) or None,
        tool_calls=tuple(call for turn in turns for call in turn.tool_calls),
    )
