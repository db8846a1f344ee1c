"""Chats that `previous_response_id` goes on with. Kept in memory; the oldest make room."""

from __future__ import annotations

from collections import OrderedDict

from backends.errors import InvalidField
from backends.request import Message

_MAX_CHATS = 512


class Chats:
    def __init__(self) -> None:
        self._chats: OrderedDict[str, tuple[Message, ...]] = OrderedDict()

    def put(self, response_id: str, messages: tuple[Message, ...]) -> None:
        """messages: everything up to here, the answer included, the system prompt left out."""
        self._chats[response_id] = messages
        if len(self._chats) > _MAX_CHATS:
            self._chats.popitem(last=False)

    def get(self, response_id: str | None) -> tuple[Message, ...]:
        """Raises InvalidField for one that isn't known, or not any more."""
        if response_id is None:
            return ()
        if response_id not in self._chats:
            raise InvalidField("previous_response_id", f"there is no response '{response_id}'", response_id)
        self._chats.move_to_end(response_id)
        return self._chats[response_id]
