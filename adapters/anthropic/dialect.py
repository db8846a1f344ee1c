"""The dialect of Anthropic's Messages API: its verbs, its errors, and what a browser may do.

Where it differs from Anthropic on purpose:

- Thought is shown when the model thinks, asked for or not; `budget_tokens` has no effect and is reported.
- Tools of Anthropic's own (web search, bash, …) are left out and reported, because Claude Code sends them unasked.
- max_tokens beyond the window is clamped, where Anthropic refuses: Claude Code asks for 32000 blindly.
- A message may begin with the assistant's turn, and prefill may end with a blank.
- The model may be any name that the gateway takes, since clients are set to Anthropic's names.
"""

from __future__ import annotations

from adapters.anthropic.body import MessagesBody, PromptBody
from adapters.anthropic.complete import complete
from adapters.anthropic.errors import error_reply, request_headers, unknown_route, wrong_method
from adapters.anthropic.exchange import MessagesExchange
from adapters.anthropic.models import model, models
from adapters.base import Call, Dialect, Reply
from adapters.framing import to_json
from adapters.openai.dialect import cors, preflight


async def messages(call: Call) -> MessagesExchange:
    body = MessagesBody.read(call)
    served = call.models.resolve(body.model)
    shows_thought = body.thinking.display != "omitted"
    return MessagesExchange(
        call, served, body.request(call.id), model=body.model, streams=body.stream, shows_thought=shows_thought
    )


async def count_tokens(call: Call) -> Reply:
    """How many tokens the prompt of a message would have."""
    body = PromptBody.read(call)
    chat = body.chat()
    async with call.models.acquire(call.models.resolve(body.model)) as backend:
        text = await backend.render_chat(chat)
        tokens = await backend.tokenize(text, add_special=False)
    return Reply(to_json({"input_tokens": len(tokens)}), headers=request_headers(call))


DIALECT = Dialect(
    name="anthropic",
    verbs={
        "messages": messages,
        "count_tokens": count_tokens,
        "complete": complete,
        "model": model,
        "models": models,
    },
    error=error_reply,
    unknown_route=unknown_route,
    wrong_method=wrong_method,
    preflight=preflight,
    cors=cors,
)
