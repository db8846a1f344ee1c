"""GET /v1/models and /v1/models/{model}, POST /v1/embeddings on Ollama's listener.

Wire facts: ollama middleware/openai.go (ListWriter, RetrieveWriter, EmbeddingsMiddleware), openai/openai.go (ToModel,
ToListCompletion, ToEmbeddingList).
"""

from __future__ import annotations

import base64
from typing import Any, ClassVar

import orjson

from adapters.base import Call, Reply, Served
from adapters.ollama.body import GoInt
from adapters.ollama.embed import EmbedBody, embedded
from adapters.ollama.errors import Rejected
from adapters.ollama.models import all_names, modified_s
from adapters.ollama.names import namespace
from adapters.ollama.openai import OpenAIBody, encoded
from backends.errors import UnknownModel


class OpenAIEmbedBody(OpenAIBody):
    go_struct: ClassVar[str] = "EmbedRequest"

    input: Any = None
    dimensions: GoInt = 0
    encoding_format: str = ""

    def to_native(self) -> EmbedBody:
        """Raises Rejected."""
        if self.encoding_format.lower() not in ("", "float", "base64"):
            raise Rejected(
                f"Invalid value for 'encoding_format' = {self.encoding_format}. Supported values: ['float', 'base64'].",
                param="encoding_format",
            )
        if self.input is None or self.input == []:
            raise Rejected("invalid input", param="input")
        return EmbedBody(model=self.model, input=self.input or [""], dimensions=self.dimensions)


async def models_v1(call: Call) -> Reply:
    data = [_described(name, served) for name, served in all_names(call)]
    return encoded({"object": "list", "data": data or None})  # an empty list of Go's is null


async def model_v1(call: Call) -> Reply:
    name = call.params["model"]
    served = call.models.find(name)
    if served is None:
        raise UnknownModel(name)
    return encoded(_described(name, served))


def _described(name: str, served: Served) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(modified_s(served)), "owned_by": namespace(name)}


async def embeddings_v1(call: Call) -> Reply:
    body = OpenAIEmbedBody.parse(call)
    native = body.to_native()
    made = await embedded(call, native, native.inputs())
    is_base64 = body.encoding_format.lower() == "base64"
    data = [
        {
            "object": "embedding",
            "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()
            if is_base64
            else orjson.Fragment(orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY)),
            "index": index,
        }
        for index, vector in enumerate(made.vectors)
    ]
    usage = {"prompt_tokens": made.num_tokens, "total_tokens": made.num_tokens}
    return encoded({"object": "list", "data": data, "model": body.model, "usage": usage})
