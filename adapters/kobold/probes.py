"""KoboldCpp's other routes: what it is and serves, its tokenizer, how it is doing, and a hold on running answers.

Wire facts: koboldcpp.py 1.115 (do_GET, do_POST, get_capabilities).
"""

from __future__ import annotations

import time
from typing import Any

import orjson
from pydantic import Field

from adapters.base import Call, Reply
from adapters.body import Body
from adapters.generations import Generation, Generations, owner_of
from adapters.kobold.generate import logprobs
from adapters.kobold.http import json_reply
from adapters.openai.messages import WireMessage, to_messages
from backends.errors import InvalidRequest
from backends.events import Finished, FinishReason
from backends.request import ChatPrompt

VERSION = "1.115.1"
"""Whose API this is: SillyTavern allows itself streaming, min_p and grammars by it."""
_UNITED_VERSION = "1.2.5"
_MAX_LENGTH = 1024
_STOP_CODES: dict[FinishReason, int] = {"length": 0, "end": 1, "tool_calls": 1, "stop_string": 2}


class CountBody(Body):
    """special: with the model's begin of text. messages: counted as its chat template writes them."""

    prompt: str = ""
    special: bool = True
    messages: tuple[WireMessage, ...] = ()


class DetokenizeBody(Body):
    ids: tuple[int, ...] = Field(default=())
    special: bool = True


async def model(call: Call) -> Reply:
    return json_reply({"result": f"koboldcpp/{call.models.resolve(None).name}"})


async def max_length(_call: Call) -> Reply:
    return json_reply({"value": _MAX_LENGTH})


async def max_context_length(call: Call) -> Reply:
    return json_reply({"value": call.models.resolve(None).info.window})


async def soft_prompt(_call: Call) -> Reply:
    return json_reply({"value": ""})


async def soft_prompts_list(_call: Call) -> Reply:
    return json_reply({"values": []})


async def united_version(_call: Call) -> Reply:
    """KoboldAI United's, which KoboldCpp took over."""
    return json_reply({"result": _UNITED_VERSION})


async def version(call: Call) -> Reply:
    capabilities = call.models.resolve(None).info.capabilities
    missing = dict.fromkeys(("transcribe", "multiplayer", "websearch", "tts"), False)
    shape: dict[str, Any] = {
        "result": "KoboldCpp",
        "version": VERSION,
        "protected": False,
        "llm": True,
        "txt2img": False,
        "vision": "vision" in capabilities,
        "audio": False,
        **missing,
        "embeddings": "embedding" in capabilities,
        "music": False,
        "savedata": False,
        "admin": 0,
        "router": False,
        "guidance": False,
        "jinja": True,
        "mcp": False,
    }
    return json_reply(shape)


async def root(_call: Call) -> Reply:
    """A page of our own: KoboldAI Lite isn't served."""
    text = "KoboldCpp API is running!<br>It is served by Dragoman, without KoboldAI Lite."
    return Reply(text.encode(), content_type="text/html")


async def tokencount(call: Call) -> Reply:
    """A body that can't be counted has the value -1."""
    try:
        body = CountBody.parse(call)
    except InvalidRequest:
        return json_reply({"value": -1}, 400)
    async with call.models.acquire(call.models.resolve(None)) as backend:
        text = body.prompt
        if body.messages and not text:
            text = await backend.render_chat(ChatPrompt(to_messages(body.messages)))
        token_ids = await backend.tokenize(text, add_special=body.special)
    return json_reply({"value": len(token_ids), "ids": token_ids, "prompt": text})


async def detokenize(call: Call) -> Reply:
    try:
        body = DetokenizeBody.parse(call)
        async with call.models.acquire(call.models.resolve(None)) as backend:
            text = await backend.detokenize(body.ids)
    except InvalidRequest:
        return json_reply({"result": "", "success": False}, 400)
    return json_reply({"result": text, "success": True})


class Watching:
    """The verbs that look at answers in the making. Any body will do for a name: without one it is ""."""

    def __init__(self, generations: Generations) -> None:
        self._generations = generations
        self._since = time.monotonic()

    async def check(self, call: Call) -> Reply:
        generation = self._found(call)
        return json_reply({"results": [{"text": generation.text if generation else ""}]})

    async def abort(self, call: Call) -> Reply:
        """The values are strings. Where nothing is named there is always something to end."""
        generation = self._found(call)
        if generation is not None:
            generation.end()
        told = "true" if generation is not None or not _key(call) else "false"
        return json_reply({"success": told, "done": told})

    async def last_logprobs(self, call: Call) -> Reply:
        generation = self._found(call)
        choice = generation.first if generation else None
        return json_reply({"logprobs": logprobs(choice.logprobs) if choice and choice.logprobs else None})

    def _found(self, call: Call) -> Generation | None:
        return self._generations.find((owner_of(call), _key(call)))

    async def perf(self, _call: Call) -> Reply:
        """Of the last answer. last_process and last_eval: milliseconds for each token."""
        last = self._generations.last
        end = last.first.finished if last and last.first else None
        shape = _speeds(end or Finished(0, "length")) | {
            "last_seed": last.seed or -1 if last else -1,
            "last_draft_success": 0,
            "last_draft_failed": 0,
            "total_gens": self._generations.total,
            "stop_reason": _STOP_CODES[end.reason] if end else -1,
            "total_img_gens": 0,
            "total_tts_gens": 0,
            "total_transcribe_gens": 0,
            "queue": 0,
            "idle": int(self._generations.is_idle),
            "hordeexitcounter": 0,
            "uptime": time.monotonic() - self._since,
            "idletime": 0.0,
            "quiet": False,
        }
        return json_reply(shape)


def _speeds(end: Finished) -> dict[str, float]:
    usage, timings = end.usage, end.timings
    num_read, num_written = usage.prompt_tokens - usage.cached_tokens, usage.completion_tokens
    return {
        "last_process": 1000 * timings.prefill_s / max(1, num_read),
        "last_eval": 1000 * timings.decode_s / max(1, num_written),
        "last_token_count": num_written,
        "last_input_count": num_read,
        "last_process_time": timings.prefill_s,
        "last_eval_time": timings.decode_s,
        "last_process_speed": num_read / timings.prefill_s if timings.prefill_s > 0 else 0,
        "last_eval_speed": num_written / timings.decode_s if timings.decode_s > 0 else 0,
    }


def _key(call: Call) -> str:
    try:
        body = orjson.loads(call.body)
    except orjson.JSONDecodeError:
        return ""
    key = body.get("genkey", "") if isinstance(body, dict) else ""
    return key if isinstance(key, str) else ""
