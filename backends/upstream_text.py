"""Tokens and text of a model that a server runs: from its folder where that is at hand, else by asking the server.

Wire facts: vllm entrypoints/serve/tokenize/protocol.py; llama.cpp tools/server/README.md (POST /tokenize, /detokenize,
/apply-template).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from typing_extensions import assert_never

from backends.accent import VLLM
from backends.errors import InvalidField, Unsupported
from backends.model_folder import ModelFolder
from backends.request import ChatPrompt, InfillPrompt, Prompt, TextPrompt
from backends.source import Lease
from backends.upstream_chat import chat_body
from backends.upstream_errors import WorkerLost


class UpstreamText:
    """Of one server. key: the client's."""

    def __init__(self, lease: Lease, folder: ModelFolder | None, *, key: str | None = None) -> None:
        self._upstream = lease.upstream
        self._accent = lease.facts.accent
        self._model = lease.facts.model
        self._folder = folder
        self._key = key

    async def plain(self, prompt: Prompt) -> tuple[Prompt, frozenset[int]]:
        """The prompt as the server takes it, and the tokens that end its answer besides the model's own.

        A hole becomes the model's sentinels; text and ids in turn become ids.
        """
        match prompt:
            case InfillPrompt() if self._folder is not None and self._folder.infill is not None:
                ids = await self._folder.infill.encode(prompt)
                return TextPrompt((tuple(ids),), add_special=False), self._folder.infill.stop_token_ids
            case TextPrompt(parts) if len(parts) != 1 or (not isinstance(parts[0], str) and not parts[0]):
                return await self._joined(prompt), frozenset()
            case ChatPrompt() | TextPrompt() | InfillPrompt():
                return prompt, frozenset()
            case _:
                assert_never(prompt)

    async def _joined(self, prompt: TextPrompt) -> TextPrompt:
        ids: list[int] = []
        for place, part in enumerate(prompt.parts):
            if isinstance(part, str):
                ids += await self.tokenize(part, add_special=prompt.add_special and place == 0)
            else:
                ids += part
        if not ids:
            raise InvalidField("prompt", "must not be empty", "")
        return TextPrompt((tuple(ids),), add_special=False)

    async def tokenize(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        if self._folder is not None:
            return await self._folder.tokenizer.encode_async(text, add_special=add_special, parse_special=parse_special)
        match self._accent.text_routes:
            case "vllm":
                body = {"model": self._model, "prompt": text, "add_special_tokens": add_special}
            case "llamacpp":
                body = {"content": text, "add_special": add_special, "parse_special": parse_special}
            case "none":
                raise _no_tokens()
            case _:
                assert_never(self._accent.text_routes)
        return [int(each) for each in await self._asked("/tokenize", body, "tokens")]

    async def token_bytes(self, token_id: int) -> bytes:
        """Raises InvalidField for an id outside the vocabulary."""
        if self._folder is not None:
            return self._folder.tokenizer.token_bytes(token_id)
        return (await self.detokenize([token_id])).encode()

    async def detokenize(self, token_ids: Sequence[int]) -> str:
        if self._folder is not None:
            return self._folder.tokenizer.decode(token_ids)
        match self._accent.text_routes:
            case "vllm":
                body = {"model": self._model, "tokens": list(token_ids)}
                return str(await self._asked("/detokenize", body, "prompt"))
            case "llamacpp":
                return str(await self._asked("/detokenize", {"tokens": list(token_ids)}, "content"))
            case "none":
                raise _no_tokens()
            case _:
                assert_never(self._accent.text_routes)

    async def render(self, prompt: ChatPrompt) -> str:
        if self._folder is not None:
            return await self._folder.render(prompt)
        body = chat_body(prompt, None, VLLM)
        match self._accent.text_routes:
            case "vllm":  # it renders no text, but tells the tokens of a chat
                body.pop("tool_choice", None)
                return await self.detokenize(await self._asked("/tokenize", {"model": self._model, **body}, "tokens"))
            case "llamacpp":
                return str(await self._asked("/apply-template", body, "prompt"))
            case "none":
                raise Unsupported("this model's server doesn't tell its chat template", feature="template")
            case _:
                assert_never(self._accent.text_routes)

    async def _asked(self, path: str, body: dict[str, Any], field: str) -> Any:
        answer = await self._upstream.ask("POST", path, body, key=self._key)
        if not isinstance(answer, dict) or field not in answer:
            raise WorkerLost(f"{self._upstream.url}{path} doesn't answer with '{field}'")
        return answer[field]


def _no_tokens() -> Unsupported:
    return Unsupported("this model's server tells nothing of its tokens", feature="tokens")
