"""POST /v1/embeddings. Wire facts: openai-python `types/embedding_create_params.py` and `create_embedding_response.py`.

The SDKs ask for base64 (little-endian float32) unless told otherwise, and decode it unseen by their users.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any, Literal

from adapters.base import Call, Reply
from adapters.body import Body
from adapters.framing import to_json
from adapters.openai.common import resolve
from adapters.openai.prompts import Prompts
from backends.errors import InvalidField, Unsupported


class EmbeddingBody(Body):
    input: Prompts
    model: str | None = None
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


async def embeddings(call: Call) -> Reply:
    """Raises Unsupported where the model has no embeddings, or none of these dimensions."""
    body = EmbeddingBody.parse(call)
    if not body.input:
        raise InvalidField("input", "expected at least one text")
    served = resolve(call, body.model)
    async with call.models.acquire(served) as backend:
        made = await call.models.embed(served, backend, body.input)
    width = len(made.vectors[0])
    if body.dimensions not in (None, width):
        raise Unsupported(
            f"this model's embeddings have {width} dimensions, not {body.dimensions}",
            feature="dimensions",
            param="dimensions",
        )
    data = [
        {"object": "embedding", "index": index, "embedding": _encoded(vector, body.encoding_format)}
        for index, vector in enumerate(made.vectors)
    ]
    total = sum(made.num_tokens)
    usage = {"prompt_tokens": total, "total_tokens": total}
    return Reply(to_json({"object": "list", "data": data, "model": body.model or served.name, "usage": usage}))


def _encoded(vector: Sequence[float], encoding: Literal["float", "base64"]) -> Any:
    if encoding == "float":
        return vector
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
