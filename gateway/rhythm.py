"""How each client's requests follow each other: how many at once, and how its prompts grow.

Keeps hashes of prompts, and the text of the last one that may be typed on. Told the time; reads no clock.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

from backends.request import ChatPrompt, Message, Prompt
from gateway.buffer import Buffer, buffer_of, is_typed_on

_MAX_CLIENTS = 1000

TYPING_S = 10.0
"""Between two keystrokes of one who is typing, at most."""

READING_S = 2.0
"""An answer takes a person longer than that to read and answer."""


@dataclass(frozen=True, slots=True)
class Pace:
    """num_running: of the client's requests, with this one. is_typed: the prompt is its last one, a few keystrokes
    later. is_immediate: the chat goes on sooner after the last answer than a person could have read it."""

    num_running: int = 1
    is_typed: bool = False
    is_immediate: bool = False


@dataclass(slots=True)
class _Client:
    """chat: number and hash of the last chat's messages."""

    num_running: int = 0
    buffer: Buffer | None = None
    asked_at: float = 0.0
    chat: tuple[int, int] = (0, 0)
    answered_at: float = 0.0


class Rhythm:
    def __init__(self) -> None:
        self._clients: OrderedDict[str, _Client] = OrderedDict()  # who was seen last comes last

    def begin(self, client: str, prompt: Prompt, now: float) -> Pace:
        known = self._clients.setdefault(client, _Client())
        self._clients.move_to_end(client)
        known.num_running += 1
        pace = Pace(
            num_running=known.num_running,
            is_typed=self._note_buffer(known, buffer_of(prompt), now),
            is_immediate=isinstance(prompt, ChatPrompt) and self._note_chat(known, prompt.messages, now),
        )
        self._forget()
        return pace

    def end(self, client: str, now: float) -> None:
        known = self._clients.get(client)
        if known is not None:
            known.num_running -= 1
            known.answered_at = now

    def _note_buffer(self, known: _Client, buffer: Buffer | None, now: float) -> bool:
        if buffer is None:
            return False
        old, asked_at = known.buffer, known.asked_at
        known.buffer, known.asked_at = buffer, now
        return old is not None and now - asked_at <= TYPING_S and is_typed_on(old, buffer)

    def _note_chat(self, known: _Client, messages: tuple[Message, ...], now: float) -> bool:
        num_messages, digest = known.chat
        known.chat = (len(messages), hash(messages))
        goes_on = 0 < num_messages < len(messages) and hash(messages[:num_messages]) == digest
        return goes_on and now - known.answered_at <= READING_S

    def _forget(self) -> None:
        while len(self._clients) > _MAX_CLIENTS and not next(iter(self._clients.values())).num_running:
            self._clients.popitem(last=False)
