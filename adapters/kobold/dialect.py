"""The dialect of KoboldCpp and KoboldAI: its verbs, its errors, and what a browser may do.

Where it differs from the server on purpose:

- A prompt that is too long is refused with both numbers; the server cuts its beginning off without a word.
- A field of the wrong type is refused by name; the server takes its default instead.
- Of `banned_tokens` those that are one token are kept out, and the others reported; the server takes a phrase back that
  it has written already.
- `n` makes several results, as KoboldAI's own server does.
- Several answers of one gateway are in the making at once; `queue` is always 0.
"""

from __future__ import annotations

from adapters.base import Dialect
from adapters.generations import Generations
from adapters.kobold.generate import Generating
from adapters.kobold.http import HEADERS, admit, cors, error_reply, preflight, unknown_route, wrong_method
from adapters.kobold.probes import (
    Watching,
    detokenize,
    max_context_length,
    max_length,
    model,
    root,
    soft_prompt,
    soft_prompts_list,
    tokencount,
    united_version,
    version,
)


def make_dialect(generations: Generations) -> Dialect:
    """generations: what /api/extra/generate/check and abort find."""
    generating, watching = Generating(generations), Watching(generations)
    return Dialect(
        name="kobold",
        verbs={
            "abort": watching.abort,
            "check": watching.check,
            "detokenize": detokenize,
            "generate": generating.generate,
            "last_logprobs": watching.last_logprobs,
            "max_context_length": max_context_length,
            "max_length": max_length,
            "model": model,
            "perf": watching.perf,
            "root": root,
            "soft_prompt": soft_prompt,
            "soft_prompts_list": soft_prompts_list,
            "stream": generating.stream,
            "tokencount": tokencount,
            "united_version": united_version,
            "version": version,
        },
        error=error_reply,
        unknown_route=unknown_route,
        wrong_method=wrong_method,
        preflight=preflight,
        cors=cors,
        headers=HEADERS,
        admit=admit,
        public=frozenset(
            {
                "max_context_length",
                "max_length",
                "perf",
                "root",
                "soft_prompt",
                "soft_prompts_list",
                "united_version",
                "version",
            }
        ),
    )


DIALECT = make_dialect(Generations())
