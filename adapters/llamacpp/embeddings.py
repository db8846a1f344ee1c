"""POST /embedding, /embeddings, /v1/embeddings and the rerank routes, as llama.cpp's server answers them.

The native answer is an array with a list of vectors for each input; OpenAI's is its own object. A body with `content`
instead of `input` gets the native one on every route. Source: llama.cpp tools/server/server-context.cpp
(handle_embeddings_impl, post_rerank) and common/common.cpp (common_embd_normalize).
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from adapters.base import Call, Reply, Served
from adapters.llamacpp.common import json_reply
from adapters.llamacpp.conversation import check_parts
from adapters.llamacpp.errors import Refusal, read_keys, wrong_type
from adapters.llamacpp.prompt import to_prompts
from adapters.llamacpp.request import resolve
from backends.base import Backend, Embeddings
from backends.errors import PromptTooLong, Unsupported
from backends.request import TextPrompt

_EUCLIDEAN = 2


async def embedding(call: Call) -> Reply:
    """Always native."""
    return await _embed(call, is_native=True)


async def v1_embeddings(call: Call) -> Reply:
    return await _embed(call, is_native=False)


async def rerank(_call: Call) -> Reply:
    """Needs a model that was trained for it; none here is."""
    raise Refusal("This server does not support reranking. Start it with `--reranking`", "not_supported_error")


async def _embed(call: Call, *, is_native: bool) -> Reply:
    body = read_keys(call)
    served = resolve(call, body)
    async with call.models.acquire(served) as backend:
        if "embedding" not in backend.info.capabilities:
            raise Unsupported("the model makes no embeddings", feature="embeddings")
        return await _answer(call, body, served, backend, is_native=is_native)


async def _answer(call: Call, body: dict[str, Any], served: Served, backend: Backend, *, is_native: bool) -> Reply:
    key = next((key for key in ("input", "content") if key in body), None)
    if key is None:
        raise Refusal('"input" or "content" must be provided')
    is_base64 = _wants_base64(body)
    known = {"model", "input", "content", "encoding_format", "embd_normalize"}
    call.ignored += [name for name in body if name not in known]
    made = await _vectors(call, served, backend, body[key])
    vectors = [normalised(np.array(vector, np.float32), _norm(body)) for vector in made.vectors]
    if is_native or key == "content":
        return json_reply([{"index": i, "embedding": [vector.tolist()]} for i, vector in enumerate(vectors)])
    num_tokens = sum(made.num_tokens)
    return json_reply({
        "model": served.name,
        "object": "list",
        "usage": {"prompt_tokens": num_tokens, "total_tokens": num_tokens},
        "data": [_data_item(index, vector, is_base64) for index, vector in enumerate(vectors)],
    })  # fmt: skip


def _wants_base64(body: dict[str, Any]) -> bool:
    match body.get("encoding_format", "float"):
        case "float":
            return False
        case "base64":
            return True
        case str():
            raise Refusal("The format to return the embeddings in. Can be either float or base64")
        case other:
            raise wrong_type("string", other, "server_error")


def _norm(body: dict[str, Any]) -> int:
    norm = body.get("embd_normalize", _EUCLIDEAN)
    if not isinstance(norm, int | float):
        raise wrong_type("number", norm, "server_error")
    return int(norm)


async def _vectors(call: Call, served: Served, backend: Backend, value: object) -> Embeddings:
    """The forms are those of a prompt; what is wrong with them is answered with 500 here."""
    if value == []:
        raise Refusal('"input" must not be empty')
    value = [_joined(item) for item in value] if isinstance(value, list) else _joined(value)
    try:
        prompts = to_prompts(value, 0)
    except Refusal as refusal:
        raise Refusal(refusal.message, "server_error") from None
    to_prompts(value, served.info.vocab_size)  # only now are ids looked at
    try:
        inputs = [await _as_input(backend, prompt) for prompt in prompts]
        return await call.models.embed(served, backend, inputs)
    except PromptTooLong as error:
        raise Refusal(
            f"input ({error.num_prompt_tokens} tokens) is too large to process. increase the physical batch size "
            f"(current batch size: {error.window})",
            "server_error",
        ) from None


def _joined(value: Any) -> Any:
    """A content of parts, as a chat has it, is the text of its parts."""
    if not isinstance(value, dict) or "content" not in value:
        return value
    if not isinstance(value["content"], list):
        raise Refusal('"content" must be an array')
    check_parts(value["content"], has_vision=False)
    return "".join(part["text"] for part in value["content"] if isinstance(part.get("text"), str))


async def _as_input(backend: Backend, prompt: TextPrompt) -> str | Sequence[int]:
    """Only a prompt that mixes text and ids has to be tokenized first."""
    if len(prompt.parts) == 1:
        return prompt.parts[0]
    token_ids: list[int] = []
    for number, part in enumerate(prompt.parts):
        is_first = number == 0 and prompt.add_special
        token_ids += await backend.tokenize(part, add_special=is_first) if isinstance(part, str) else part
    return token_ids


def normalised(vector: npt.NDArray[np.float32], norm: int) -> npt.NDArray[np.float32]:
    """norm: -1 none, 0 the greatest becomes 32760, 1 taxicab, 2 Euclidean, more: the p-norm."""
    if norm < 0:
        return vector
    if norm == 0:
        length = float(np.abs(vector).max(initial=0.0)) / 32760
    else:
        length = float(np.linalg.norm(vector.astype(np.float64), ord=norm))
    return np.asarray(vector / length if length else np.zeros_like(vector), np.float32)


def _data_item(index: int, vector: npt.NDArray[np.float32], is_base64: bool) -> dict[str, Any]:
    if not is_base64:
        return {"embedding": vector.tolist(), "index": index, "object": "embedding"}
    text = base64.b64encode(vector.astype("<f4").tobytes()).decode()
    return {"embedding": text, "index": index, "object": "embedding", "encoding_format": "base64"}
