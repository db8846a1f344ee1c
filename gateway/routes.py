"""THE TABLE: which path is which verb of which dialect. Open this first.

A path that belongs to one family means the same on every listener. Where several servers claim a path, the listener's
persona decides: its own column if it has one, else the default. Paths match in any case, with doubled or trailing
slashes, and nothing is ever redirected, because many clients drop the body of a redirected POST.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache


@dataclass(frozen=True, slots=True)
class Route:
    """verb: `dialect.verb`, as in the adapters' DIALECTs. personas: other verbs, by the listener's persona. headers:
    other verbs, by a header that only one family's clients send, where the persona has no verb of its own.

    `{name}` in a path stands for one or more segments: model names have slashes in them.
    """

    method: str
    path: str
    verb: str
    personas: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def verb_for(self, persona: str, headers: Mapping[str, str]) -> str:
        if persona in self.personas:
            return self.personas[persona]
        return next((verb for name, verb in self.headers.items() if name in headers), self.verb)


def _post(*paths: str, verb: str, **personas: str) -> list[Route]:
    return [Route("POST", path, verb, _by_persona(personas)) for path in paths]


def _get(*paths: str, verb: str, headers: Mapping[str, str] | None = None, **personas: str) -> list[Route]:
    return [Route("GET", path, verb, _by_persona(personas), headers or {}) for path in paths]


def _by_persona(verbs: Mapping[str, str]) -> Mapping[str, str]:
    return {name.replace("_", "-"): verb for name, verb in verbs.items()}


ROUTES: tuple[Route, ...] = (
    # OpenAI, whose paths other servers speak with an accent of their own
    *_post("/v1/chat/completions", "/chat/completions", verb="openai.chat",
           llamacpp="llamacpp.chat", ollama="ollama.chat_v1", llamacpp_python="llamacpp-python.chat", tgi="tgi.chat"),
    *_post("/v1/completions", verb="openai.completions",
           llamacpp="llamacpp.completions", ollama="ollama.completions_v1",
           llamacpp_python="llamacpp-python.completions", tgi="tgi.completions"),
    # the longer pattern first: a model's name may have slashes in it
    *_post("/v1/engines/{model}/chat/completions", "/engines/{model}/chat/completions",
           "/openai/deployments/{model}/chat/completions", verb="openai.chat"),
    *_post("/v1/engines/{model}/completions", "/engines/{model}/completions",
           "/openai/deployments/{model}/completions", verb="openai.completions",
           llamacpp_python="llamacpp-python.completions"),
    *_post("/v1/embeddings", verb="openai.embeddings",
           llamacpp="llamacpp.v1_embeddings", ollama="ollama.embeddings_v1",
           llamacpp_python="llamacpp-python.embeddings"),
    *_post("/v1/engines/{model}/embeddings", "/engines/{model}/embeddings",
           "/openai/deployments/{model}/embeddings", verb="openai.embeddings"),
    *_post("/v1/responses", "/responses", verb="openai.responses",
           llamacpp="llamacpp.responses", ollama="ollama.responses_v1"),
    *_post("/v1/responses/input_tokens", "/responses/input_tokens", verb="openai.response_input_tokens",
           llamacpp="llamacpp.input_tokens"),
    *_post("/v1/chat/completions/input_tokens", "/chat/completions/input_tokens", verb="llamacpp.input_tokens"),
    *_post("/v1/responses/{id}/cancel", verb="openai.response_cancel"),
    *_get("/v1/responses/{id}/input_items", verb="openai.response_input_items"),
    *_get("/v1/responses/{id}", verb="openai.response"),
    Route("DELETE", "/v1/responses/{id}", "openai.response_delete"),
    *_post("/v1/edits", "/edits", verb="openai.edits"),
    *_get("/v1/models", "/models", verb="openai.models", headers={"anthropic-version": "anthropic.models"},
          llamacpp="llamacpp.models", ollama="ollama.models_v1", llamacpp_python="llamacpp-python.models",
          tgi="tgi.models"),
    *_get("/v1/models/{model}", "/models/{model}", verb="openai.model",
          headers={"anthropic-version": "anthropic.model"}, ollama="ollama.model_v1"),
    *_get("/v1/engines", "/engines", verb="openai.engines"),
    *_get("/v1/engines/{model}", "/engines/{model}", verb="openai.engine"),
    # llama.cpp's server. /v1/completion is what a base URL ending in /v1 makes of /completion (and what coLLaMA was
    # seen to post to), /vi/completion how its user wrote it
    *_post("/completion", "/completions", "/v1/completion", "/vi/completion", verb="llamacpp.completion"),
    *_post("/infill", verb="llamacpp.infill"),
    *_post("/tokenize", verb="llamacpp.tokenize", openai="openai.tokenize", tgi="tgi.tokenize"),
    *_post("/detokenize", verb="llamacpp.detokenize", openai="openai.detokenize"),
    *_post("/apply-template", verb="llamacpp.apply_template"),
    *_post("/embedding", verb="llamacpp.embedding"),
    *_post("/embeddings", verb="llamacpp.embeddings", openai="openai.embeddings"),
    *_post("/rerank", "/reranking", "/v1/rerank", "/v1/reranking", verb="llamacpp.rerank"),
    *_get("/props", verb="llamacpp.props"),
    *_post("/props", verb="llamacpp.props_set"),
    *_get("/slots", verb="llamacpp.slots"),
    *_post("/slots/{slot}", verb="llamacpp.slot_action"),
    *_get("/health", "/v1/health", verb="openai.health", llamacpp="llamacpp.health", ollama="llamacpp.health",
          tgi="tgi.health"),
    *_get("/metrics", verb="llamacpp.metrics"),
    *_get("/lora-adapters", verb="llamacpp.lora_adapters"),
    *_post("/lora-adapters", verb="llamacpp.lora_adapters_set"),
    *_post("/v1/chat/completions/control", verb="llamacpp.control"),
    *_get("/tools", "/cors-proxy", verb="llamacpp.disabled"),
    *_post("/tools", "/cors-proxy", verb="llamacpp.disabled"),
    # Anthropic
    *_post("/v1/messages", "/messages", verb="anthropic.messages",
           llamacpp="llamacpp.messages", ollama="ollama.messages_v1"),
    *_post("/v1/messages/count_tokens", verb="anthropic.count_tokens", llamacpp="llamacpp.count_tokens"),
    # llama-cpp-python
    *_post("/extras/tokenize", verb="llamacpp-python.tokenize"),
    *_post("/extras/tokenize/count", verb="llamacpp-python.count"),
    *_post("/extras/detokenize", verb="llamacpp-python.detokenize"),
    # vLLM
    *_get("/version", verb="openai.version"),
    *_get("/ping", verb="openai.ping", tgi="tgi.health"),
    *_post("/ping", verb="openai.ping"),
    # Ollama
    *_get("/", verb="ollama.root", tgi="tgi.health"),
    *_get("/api/version", verb="ollama.version"),
    *_get("/api/tags", verb="ollama.tags"),
    *_get("/api/ps", verb="ollama.ps"),
    *_post("/api/show", verb="ollama.show"),
    *_post("/api/generate", verb="ollama.generate"),
    *_post("/api/chat", verb="ollama.chat"),
    *_post("/api/embed", verb="ollama.embed"),
    *_post("/api/embeddings", verb="ollama.embeddings"),
    *_post("/api/pull", verb="ollama.pull"),
    *_post("/api/push", verb="ollama.push"),
    *_post("/api/create", verb="ollama.create"),
    *_post("/api/copy", verb="ollama.copy"),
    Route("DELETE", "/api/delete", "ollama.delete"),
    Route("HEAD", "/api/blobs/{digest}", "ollama.blob_head"),
    *_post("/api/blobs/{digest}", verb="ollama.blob_create"),
    # Hugging Face's text-generation-inference; its InferenceClient posts to the base URL itself
    *_post("/", verb="tgi.compat"),
    *_post("/generate", verb="tgi.generate"),
    *_post("/generate_stream", verb="tgi.generate_stream"),
    *_post("/chat_tokenize", verb="tgi.chat_tokenize"),
    *_get("/info", verb="tgi.info"),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Match:
    """route: the path as the table has it, for logs and counts. params: what its braces stand for."""

    route: str
    verb: str
    params: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class WrongMethod:
    """The path exists, with these methods."""

    allowed: Sequence[str]


@dataclass(frozen=True, slots=True)
class Unknown:
    """nearest: the most similar route that exists, as `POST /v1/completions`, or None when nothing comes close."""

    nearest: str | None


class RouteTable:
    """Finds the verb for a request. Fixed once built; static paths are one dictionary look-up."""

    def __init__(self, routes: Sequence[Route] = ROUTES) -> None:
        self._static: dict[str, dict[str, Route]] = {}
        self._patterns: list[Route] = []
        for route in routes:
            if "{" in route.path:
                self._patterns.append(route)
            else:
                self._static.setdefault(route.path, {})[route.method] = route

    def find(self, method: str, path: str, persona: str, headers: Mapping[str, str]) -> Match | WrongMethod | Unknown:
        """headers: case-insensitive. HEAD asks for what GET would answer, unless it has a route of its own."""
        tidy = normalise(path)
        routes = self._static.get(tidy.lower()) or self._matching(tidy)
        for wanted in ("HEAD", "GET") if method == "HEAD" else (method,):
            if wanted in routes:
                route = routes[wanted]
                params = _pattern(route.path).fullmatch(tidy)
                return Match(
                    f"{route.method} {route.path}",
                    route.verb_for(persona, headers),
                    params.groupdict() if params else {},
                )
        return WrongMethod(sorted(routes)) if routes else Unknown(self._nearest(method, tidy.lower()))

    def _matching(self, path: str) -> dict[str, Route]:
        """By method; of several patterns that fit, the first in the table."""
        found: dict[str, Route] = {}
        for route in self._patterns:
            if _pattern(route.path).fullmatch(path):
                found.setdefault(route.method, route)
        return found

    def _nearest(self, method: str, path: str) -> str | None:
        """Same method first: a POST that went astray was hardly meant to be a GET."""
        for methods in ({method}, {"GET", "POST"} - {method}):
            paths = [path for path, routes in self._static.items() if methods & set(routes)]
            near = difflib.get_close_matches(path, paths, n=1, cutoff=0.6)
            if near:
                return f"{next(iter(methods & set(self._static[near[0]])))} {near[0]}"
        return None


def normalise(path: str) -> str:
    """`//v1//models/` → `/v1/models`."""
    return "/" + "/".join(part for part in path.split("/") if part)


@cache
def _pattern(path: str) -> re.Pattern[str]:
    parts = re.split(r"\{(\w+)\}", path)
    names = (f"(?P<{name}>.+)" for name in parts[1::2])
    fixed = (re.escape(text) for text in parts[::2])
    return re.compile("".join(x for pair in zip(fixed, [*names, ""], strict=True) for x in pair), re.IGNORECASE)
