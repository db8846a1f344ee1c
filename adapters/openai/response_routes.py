"""The routes of /v1/responses: create one, and find it again."""

from __future__ import annotations

from typing import Any

from adapters.base import Call, Reply
from adapters.framing import to_json
from adapters.openai.common import resolve
from adapters.openai.response_body import ResponseBody
from adapters.openai.response_input import InputItem, listed
from adapters.openai.response_store import ResponseStore, StoredResponse
from adapters.openai.responses import ResponsesExchange
from backends.errors import InvalidField, InvalidRequest, Unsupported

MAX_LISTED = 100


class Responses:
    """Verbs around one store. `{id}` in a path is the response's."""

    def __init__(self, store: ResponseStore) -> None:
        self._store = store

    async def create(self, call: Call) -> ResponsesExchange:
        """`background` changes nothing but what is repeated: the answer is ready when it is first polled."""
        body = ResponseBody.read(call)
        history = self._store.previous(body.previous_response_id)
        request = body.request(call.id, history, self._store.item)

        def keep(response: dict[str, Any]) -> None:
            if not body.store:
                return
            items = body.input or ()
            answer = (InputItem.model_validate(item) for item in response["output"])
            size = len(call.body) + len(to_json(response))
            self._store.put(StoredResponse(response, items, (*history, *items, *answer), size))

        return ResponsesExchange(call, resolve(call, body.model), request, body, keep)

    async def count(self, call: Call) -> Reply:
        """How many tokens the input of a response would have."""
        body = ResponseBody.read(call)
        backend = resolve(call, body.model).backend
        history = self._store.previous(body.previous_response_id)
        text = await backend.render_chat(body.chat((*history, *(body.input or ())), self._store.item))
        tokens = await backend.tokenize(text, add_special=False)
        return Reply(to_json({"object": "response.input_tokens", "input_tokens": len(tokens)}))

    async def retrieve(self, call: Call) -> Reply:
        """Raises NotFound."""
        if call.query.get("stream", "").lower() == "true":
            raise Unsupported("a finished response can't be streamed again", feature="stream", param="stream")
        return Reply(to_json(self._store.get(call.params["id"]).response))

    async def delete(self, call: Call) -> Reply:
        """Raises NotFound."""
        self._store.delete(call.params["id"])
        return Reply(to_json({"id": call.params["id"], "object": "response", "deleted": True}))

    async def cancel(self, call: Call) -> Reply:
        """What is stored is finished, so there is never anything to stop. Raises NotFound or InvalidRequest."""
        response = self._store.get(call.params["id"]).response
        if not response["background"]:
            raise InvalidRequest("Cannot cancel a synchronous response.")
        return Reply(to_json(response))

    async def input_items(self, call: Call) -> Reply:
        """Newest first unless `order=asc`. Raises NotFound or InvalidField."""
        stored = self._store.get(call.params["id"])
        items = [listed(item, f"item_{index}_{call.params['id']}") for index, item in enumerate(stored.input)]
        if call.query.get("order", "desc") == "desc":
            items.reverse()
        page, has_more = _page(items, call.query.get("after"), _limit(call))
        ids = [item["id"] for item in page] or [""]
        return Reply(
            to_json({"object": "list", "data": page, "first_id": ids[0], "last_id": ids[-1], "has_more": has_more})
        )


def _limit(call: Call) -> int:
    asked = call.query.get("limit", "20")
    if not asked.isdecimal() or not 1 <= int(asked) <= MAX_LISTED:
        raise InvalidField("limit", f"expected an integer from 1 to {MAX_LISTED}", asked)
    return int(asked)


def _page(items: list[dict[str, Any]], after: str | None, limit: int) -> tuple[list[dict[str, Any]], bool]:
    ids = [item["id"] for item in items]
    start = ids.index(after) + 1 if after in ids else 0
    return items[start : start + limit], len(items) > start + limit
