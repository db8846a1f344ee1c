"""GET /v1/models and /v1/models/{id} as Anthropic's clients read them.

Wire facts: anthropic-sdk-python `types/model_info.py`, `types/model_list_params.py`, `pagination.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from adapters.anthropic.errors import request_headers
from adapters.base import Call, Reply, Served
from adapters.framing import to_json
from backends.errors import InvalidField, UnknownModel

MAX_LISTED = 1000


async def models(call: Call) -> Reply:
    """A page of them: `limit`, and `after_id` or `before_id`. Raises InvalidField."""
    cards = [model_card(served) for served in call.models.all()]
    page, has_more = _page(cards, call)
    ids = [card["id"] for card in page] or [None]
    body = {"data": page, "has_more": has_more, "first_id": ids[0], "last_id": ids[-1]}
    return Reply(to_json(body), headers=request_headers(call))


async def model(call: Call) -> Reply:
    """Raises UnknownModel."""
    name = call.params["model"]
    served = call.models.find(name)
    if served is None:
        raise UnknownModel(name)
    return Reply(to_json(model_card(served)), headers=request_headers(call))


def model_card(served: Served) -> dict[str, Any]:
    created = datetime.fromtimestamp(int(served.created), timezone.utc)
    return {
        "type": "model",
        "id": served.name,
        "display_name": served.name,
        "created_at": f"{created:%Y-%m-%dT%H:%M:%SZ}",
        "lifecycle": "active",
        "max_input_tokens": served.info.window,
        "max_tokens": served.info.window,
    }


def _page(cards: Sequence[dict[str, Any]], call: Call) -> tuple[Sequence[dict[str, Any]], bool]:
    """An id that isn't there is as good as none."""
    asked = call.query.get("limit", "20")
    if not asked.isdecimal() or not 1 <= int(asked) <= MAX_LISTED:
        raise InvalidField("limit", f"Input should be an integer from 1 to {MAX_LISTED}", asked)
    limit = int(asked)
    ids = [card["id"] for card in cards]
    if call.query.get("before_id") in ids:
        before = cards[: ids.index(call.query["before_id"])]
        return before[-limit:], len(before) > limit
    start = ids.index(call.query["after_id"]) + 1 if call.query.get("after_id") in ids else 0
    return cards[start : start + limit], len(cards) > start + limit
