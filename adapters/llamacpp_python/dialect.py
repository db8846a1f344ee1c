"""The dialect of llama-cpp-python's server: its verbs, its errors, and what a browser may do.

Where it differs from the server on purpose:

- Every model that has embeddings makes one vector for each text; the server has one for each token where the model's
  pooling is `none`.
- `/health` and other families' paths are answered, as on every listener.
- Pings (`: ping - …`) break a silence only: editors that read each chunk as an event stumble over them.
- An error in the middle of a stream is told; the server breaks the connection off.
"""

from __future__ import annotations

from adapters.base import Dialect
from adapters.llamacpp_python.chat import chat
from adapters.llamacpp_python.completions import completions
from adapters.llamacpp_python.errors import error_reply
from adapters.llamacpp_python.extras import count, detokenize, embeddings, models, tokenize
from adapters.llamacpp_python.http import admit, cors, preflight, unknown_route, wrong_method

DIALECT = Dialect(
    name="llamacpp-python",
    verbs={
        "chat": chat,
        "completions": completions,
        "count": count,
        "detokenize": detokenize,
        "embeddings": embeddings,
        "models": models,
        "tokenize": tokenize,
    },
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
    headers={"Server": "uvicorn"},
    admit=admit,
)
