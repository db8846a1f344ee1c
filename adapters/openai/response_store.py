"""What `previous_response_id` and `GET /v1/responses/{id}` find again. Kept in memory; the least recently used go."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

from adapters.openai.response_input import InputItem
from backends.errors import InvalidRequest, NotFound


class UnknownPreviousResponse(InvalidRequest):
    """It never was, was deleted or not stored, or has made room for others."""

    code = "previous_response_not_found"

    def __init__(self, response_id: str) -> None:
        super().__init__(f"Previous response with id '{response_id}' not found.", param="previous_response_id")


@dataclass(frozen=True, slots=True)
class StoredResponse:
    """response: as it was answered. input: what the request itself brought. conversation: everything up to here, the
    answer included. size: bytes of it all, roughly."""

    response: dict[str, Any]
    input: tuple[InputItem, ...]
    conversation: tuple[InputItem, ...]
    size: int


class ResponseStore:
    """Holds at most so many responses, of at most so many bytes together."""

    def __init__(self, max_responses: int = 512, max_bytes: int = 64 * 2**20) -> None:
        self._max_responses = max_responses
        self._max_bytes = max_bytes
        self._responses: OrderedDict[str, StoredResponse] = OrderedDict()
        self._items: dict[str, InputItem] = {}  # of the answers, by id
        self._num_bytes = 0

    def put(self, stored: StoredResponse) -> None:
        self._responses[stored.response["id"]] = stored
        self._items |= {item.id: item for item in _answer(stored) if item.id}
        self._num_bytes += stored.size
        while len(self._responses) > self._max_responses or self._num_bytes > self._max_bytes:
            self.delete(next(iter(self._responses)))

    def get(self, response_id: str) -> StoredResponse:
        """Raises NotFound."""
        stored = self._responses.get(response_id)
        if stored is None:
            raise NotFound(f"Response with id '{response_id}' not found.")
        self._responses.move_to_end(response_id)
        return stored

    def previous(self, response_id: str | None) -> tuple[InputItem, ...]:
        """The conversation to go on with. Raises UnknownPreviousResponse."""
        if response_id is None:
            return ()
        try:
            return self.get(response_id).conversation
        except NotFound:
            raise UnknownPreviousResponse(response_id) from None

    def item(self, item_id: str) -> InputItem | None:
        return self._items.get(item_id)

    def delete(self, response_id: str) -> None:
        """Raises NotFound."""
        stored = self.get(response_id)
        del self._responses[response_id]
        self._num_bytes -= stored.size
        for item in _answer(stored):
            self._items.pop(item.id or "", None)


def _answer(stored: StoredResponse) -> tuple[InputItem, ...]:
    return stored.conversation[len(stored.conversation) - len(stored.response["output"]) :]
