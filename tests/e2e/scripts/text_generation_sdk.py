"""Drives the `text-generation` package (TGI's own client); prints as JSON what it understood. Arguments: base URL.

Its streamed chat is left out: this version can't read that of any TGI since 2.0.
"""

from __future__ import annotations

import json
import sys
from typing import Any

from text_generation import Client
from text_generation.errors import ValidationError

client = Client(sys.argv[1], timeout=60)


def refused() -> str:
    try:
        client.generate("def add(a, b):", best_of=2, seed=1, do_sample=True)
    except (ValidationError, ValueError) as error:
        return type(error).__name__
    return ""


def too_long() -> str:
    try:
        client.generate("x " * 40_000)
    except ValidationError as error:
        return str(error)
    return ""


def main() -> dict[str, Any]:
    whole = client.generate("def add(a, b):", max_new_tokens=12, decoder_input_details=True, top_n_tokens=2)
    events = list(client.generate_stream("def add(a, b):", max_new_tokens=12))
    best = client.generate("def add(a, b):", max_new_tokens=6, best_of=2, do_sample=True)
    chat = client.chat([{"role": "user", "content": "What are you?"}], max_tokens=12)
    return {
        "text": whole.generated_text,
        "reason": whole.details.finish_reason.value,
        "tokens": "".join(token.text for token in whole.details.tokens),
        "num_top": [len(tokens) for tokens in whole.details.top_tokens],
        "prefill": [token.logprob is None for token in whole.details.prefill],
        "streamed": "".join(event.token.text for event in events if not event.token.special),
        "generated": [event.generated_text for event in events],
        "num_others": len(best.details.best_of_sequences or ()),
        "chat": chat.choices[0].message.content,
        "refused": refused(),
        "too_long": too_long(),
    }


print(json.dumps(main()))
