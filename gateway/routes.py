"""THE TABLE: which path is which verb of which dialect. Open this first.

Who is asking is told in this order: the listener's persona, where it has a verb of its own for the path; a path that
only one family has; a header, then a key of the body, that only one family's clients send; else the path's default.
The verb that comes of it is the family's: its default for `stream`, its samplers, its errors.

Paths match in any case, with doubled or trailing slashes and with the prefixes below; and nothing is ever redirected,
because many clients drop the body of a redirected POST.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from adapters.base import Call
from gateway.signs import Header, Keys, Sign


@dataclass(frozen=True, slots=True)
class Route:
    """verb: `dialect.verb`, as in the adapters' DIALECTs. personas: other verbs, by the listener's persona. signs: what
    tells that another family's client is asking, headers before bodies.

    `{name}` in a path stands for one or more segments: model names have slashes in them.
    """

    method: str
    path: str
    verb: str
    personas: Mapping[str, str] = field(default_factory=dict)
    signs: Sequence[Sign] = ()

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def verbs(self) -> Iterator[str]:
        """All that it may mean."""
        yield self.verb
        yield from self.personas.values()
        yield from (sign.verb for sign in self.signs)

    def verb_for(self, call: Call) -> str:
        own = self.personas.get(call.persona)
        for sign in self.signs:
            if (own is None or sign.outweighs_persona) and sign.fits(call):
                return sign.verb
        return own or self.verb


def _post(*paths: str, verb: str, signs: Sequence[Sign] = (), **personas: str) -> list[Route]:
    return [Route("POST", path, verb, _by_persona(personas), signs) for path in paths]


def _get(*paths: str, verb: str, signs: Sequence[Sign] = (), **personas: str) -> list[Route]:
    return [Route("GET", path, verb, _by_persona(personas), signs) for path in paths]


def _by_persona(verbs: Mapping[str, str]) -> Mapping[str, str]:
    return {name.replace("_", "-"): verb for name, verb in verbs.items()}


def _openai_clients(verb: str) -> list[Sign]:
    """Of OpenAI's SDKs, and of others that send its fields and none of llama.cpp's, where a base URL lacks `/v1`."""
    native = {"n_predict", "id_slot", "slot_id", "cache_prompt", "n_probs", "samplers", "t_max_predict_ms", "n_keep",
              "mirostat", "repeat_penalty", "repeat_last_n", "content"}  # fmt: skip
    return [
        Header("x-stainless-lang", verb),
        Header("user-agent", verb, begins="openai/"),
        Keys(verb, any_of={"max_tokens", "encoding_format", "dimensions"}, all_of={"model"}, without=native),
    ]


_SUBJECTS = frozenset({"content", "input", "inputs", "prompt", "messages"})


def _only(subject: str, verb: str) -> Sign:
    """The one key that says what the request is about, where other families have other keys for it."""
    return Keys(verb, any_of={subject}, without=_SUBJECTS - {subject}, outweighs_persona=True)


def _tabby_agent(verb: str) -> Sign:
    return Header("user-agent", verb, part="tabby-agent", outweighs_persona=True)


PREFIXES = (
    "",
    "/v1/v1",
    "/api/v1",
    "/api/v0",
    "/openai/v1",
    "/v1/openai",
    "/v1beta/openai",
    "/openai",
    "/v0",
    "/ollama",
    "/v1",
)
"""What clients write in front of a path, because a base URL is easily given with too much of a path or too little, or
after another server's fashion (OpenRouter, Groq, DeepInfra, Gemini, Azure, Lemonade, Open WebUI). Where a path has no
route as it is written, each of these is exchanged for `/v1`, then for nothing."""

ROUTES: tuple[Route, ...] = (
    # OpenAI, whose paths other servers speak with an accent of their own
    *_post("/v1/chat/completions", "/api/chat/completions", verb="openai.chat",
           llamacpp="llamacpp.chat", ollama="ollama.chat_v1", llamacpp_python="llamacpp-python.chat", tgi="tgi.chat",
           tabby="tabby.chat", signs=[_tabby_agent("tabby.chat")]),
    *_post("/v1/completions", verb="openai.completions",
           llamacpp="llamacpp.completions", ollama="ollama.completions_v1",
           llamacpp_python="llamacpp-python.completions", tgi="tgi.completions",
           fauxpilot="fauxpilot.completions", tabby="tabby.completions", textgen="textgen.completions",
           signs=[Keys("tabby.completions", any_of={"segments", "debug_options"}, without={"prompt"},
                       outweighs_persona=True)]),
    # the longer pattern first: a model's name may have slashes in it
    *_post("/v1/engines/{model}/chat/completions", "/openai/deployments/{model}/chat/completions", verb="openai.chat"),
    *_post("/v1/engines/codegen/completions", verb="fauxpilot.completions"),
    *_post("/v1/engines/copilot-codex/completions", "/v1/engines/gpt-4o-copilot/completions",
           "/v1/engines/gpt-41-copilot/completions", verb="copilot.completions",
           llamacpp_python="llamacpp-python.completions", fauxpilot="fauxpilot.completions"),
    *_post("/v1/engines/{model}/completions", "/openai/deployments/{model}/completions", verb="openai.completions",
           llamacpp_python="llamacpp-python.completions"),
    *_post("/v1/embeddings", verb="openai.embeddings", signs=[_only("content", "llamacpp.embedding")],
           llamacpp="llamacpp.v1_embeddings", ollama="ollama.embeddings_v1",
           llamacpp_python="llamacpp-python.embeddings"),
    *_post("/v1/engines/{model}/embeddings", "/openai/deployments/{model}/embeddings", verb="openai.embeddings"),
    *_post("/v1/responses", verb="openai.responses",
           llamacpp="llamacpp.responses", ollama="ollama.responses_v1"),
    *_post("/v1/responses/input_tokens", verb="openai.response_input_tokens",
           llamacpp="llamacpp.input_tokens"),
    *_post("/v1/chat/completions/input_tokens", verb="llamacpp.input_tokens"),
    *_post("/v1/responses/{id}/cancel", verb="openai.response_cancel"),
    *_get("/v1/responses/{id}/input_items", verb="openai.response_input_items"),
    *_get("/v1/responses/{id}", verb="openai.response"),
    Route("DELETE", "/v1/responses/{id}", "openai.response_delete"),
    *_post("/v1/edits", verb="openai.edits"),
    *_get("/v1/models", verb="openai.models", signs=[Header("anthropic-version", "anthropic.models")],
          llamacpp="llamacpp.models", ollama="ollama.models_v1", llamacpp_python="llamacpp-python.models",
          tgi="tgi.models", textgen="textgen.models"),
    *_get("/v1/models/{model}", verb="openai.model",
          signs=[Header("anthropic-version", "anthropic.model")], ollama="ollama.model_v1"),
    *_get("/v1/engines", verb="openai.engines"),
    *_get("/v1/engines/{model}", verb="openai.engine"),
    # llama.cpp's server. /v1/completion is what a base URL ending in /v1 makes of /completion (and what coLLaMA was
    # seen to post to), /vi/completion how its user wrote it
    *_post("/completion", "/v1/completion", "/vi/completion", verb="llamacpp.completion"),
    *_post("/completions", verb="llamacpp.completion", signs=_openai_clients("llamacpp.bilingual")),
    *_post("/infill", verb="llamacpp.infill"),
    *_post("/tokenize", verb="llamacpp.tokenize", openai="openai.tokenize", tgi="tgi.tokenize",
           signs=[_only("content", "llamacpp.tokenize"), _only("inputs", "tgi.tokenize"),
                  _only("prompt", "openai.tokenize"), _only("messages", "openai.tokenize")]),
    *_post("/detokenize", verb="llamacpp.detokenize", openai="openai.detokenize"),
    *_post("/apply-template", verb="llamacpp.apply_template"),
    *_post("/embedding", verb="llamacpp.embedding"),
    *_post("/embeddings", verb="llamacpp.embedding", openai="openai.embeddings",
           signs=[_only("content", "llamacpp.embedding"), *_openai_clients("llamacpp.v1_embeddings")]),
    *_post("/rerank", "/reranking", verb="llamacpp.rerank"),
    *_get("/props", verb="llamacpp.props"),
    *_post("/props", verb="llamacpp.props_set"),
    *_get("/slots", verb="llamacpp.slots"),
    *_post("/slots/{slot}", verb="llamacpp.slot_action"),
    *_get("/health", verb="openai.health", llamacpp="llamacpp.health", ollama="llamacpp.health",
          tgi="tgi.health", tenstorrent="tenstorrent.health"),
    *_get("/v1/health", verb="openai.health", llamacpp="llamacpp.health", ollama="llamacpp.health",
          tgi="tgi.health", tabby="tabby.health", signs=[_tabby_agent("tabby.health")]),
    *_get("/metrics", verb="llamacpp.metrics"),
    *_get("/lora-adapters", verb="llamacpp.lora_adapters"),
    *_post("/lora-adapters", verb="llamacpp.lora_adapters_set"),
    *_post("/v1/chat/completions/control", verb="llamacpp.control"),
    *_post("/v1/audio/transcriptions", "/audio/transcriptions", verb="llamacpp.transcriptions"),
    *_get("/v1/stream", verb="llamacpp.stream"),
    Route("DELETE", "/v1/stream", "llamacpp.stream_delete"),
    *_post("/v1/streams/lookup", verb="llamacpp.streams_lookup"),
    *_get("/tools", "/cors-proxy", verb="llamacpp.disabled"),
    *_post("/tools", "/cors-proxy", verb="llamacpp.disabled"),
    # Anthropic
    *_post("/v1/messages", verb="anthropic.messages",
           llamacpp="llamacpp.messages", ollama="ollama.messages_v1"),
    *_post("/v1/complete", verb="anthropic.complete"),
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
    *_get("/", verb="ollama.root", tgi="tgi.health", kobold="kobold.root",
          lmstudio="lmstudio.root"),
    *_get("/api/version", verb="ollama.version"),
    *_get("/api/status", verb="ollama.status"),
    *_post("/api/me", verb="ollama.me"),
    *_post("/api/signout", verb="ollama.signout"),
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
    *_post("/", "/models/{model}", verb="tgi.compat"),
    *_post("/generate", verb="tgi.generate"),
    *_post("/generate_stream", verb="tgi.generate_stream"),
    *_post("/chat_tokenize", verb="tgi.chat_tokenize"),
    *_get("/info", verb="tgi.info"),
    # KoboldCpp; `latest` is what KoboldAI calls its newest version
    *_post("/api/v1/generate", verb="kobold.generate", textgen="textgen.generate",
           signs=[Keys("textgen.generate", any_of={"max_new_tokens", "stopping_strings"}, without={"max_length"},
                       outweighs_persona=True)]),
    *_post("/api/latest/generate", verb="kobold.generate"),
    *_post("/api/extra/generate/stream", verb="kobold.stream"),
    *_get("/api/extra/generate/check", verb="kobold.check"),
    *_post("/api/extra/generate/check", verb="kobold.check"),
    *_post("/api/extra/abort", verb="kobold.abort"),
    *_post("/api/extra/tokencount", "/api/extra/tokenize", verb="kobold.tokencount"),
    *_post("/api/extra/detokenize", verb="kobold.detokenize"),
    *_get("/api/extra/last_logprobs", verb="kobold.last_logprobs"),
    *_post("/api/extra/last_logprobs", verb="kobold.last_logprobs"),
    *_get("/api/v1/model", verb="kobold.model", textgen="textgen.legacy_model"),
    *_get("/api/latest/model", verb="kobold.model"),
    *_get("/api/v1/config/max_length", "/api/latest/config/max_length", verb="kobold.max_length"),
    *_get("/api/v1/config/max_context_length", "/api/latest/config/max_context_length",
          "/api/extra/true_max_context_length", verb="kobold.max_context_length"),
    *_get("/api/v1/config/soft_prompt", "/api/latest/config/soft_prompt", verb="kobold.soft_prompt"),
    *_get("/api/v1/config/soft_prompts_list", "/api/latest/config/soft_prompts_list", verb="kobold.soft_prompts_list"),
    *_get("/api/v1/info/version", "/api/latest/info/version", verb="kobold.united_version"),
    *_get("/api/extra/version", verb="kobold.version"),
    *_get("/api/extra/perf", verb="kobold.perf"),
    # LM Studio. /api/v1/models is OpenAI's list to others; the answer is both
    *_get("/api/v0/models", verb="lmstudio.models"),
    *_get("/api/v0/models/{model}", verb="lmstudio.model"),
    *_post("/api/v0/chat/completions", verb="lmstudio.chat"),
    *_post("/api/v0/completions", verb="lmstudio.completions"),
    *_post("/api/v0/embeddings", verb="lmstudio.embeddings"),
    *_post("/api/v1/chat", verb="lmstudio.chat_v1", textgen="textgen.chat",
           signs=[Keys("textgen.chat", any_of={"user_input"}, without={"input"}, outweighs_persona=True)]),
    *_get("/api/v1/models", verb="lmstudio.models_v1"),
    *_post("/api/v1/models/load", verb="lmstudio.load"),
    *_post("/api/v1/models/unload", verb="lmstudio.unload"),
    *_post("/api/v1/models/download", verb="lmstudio.download"),
    *_get("/api/v1/models/download/status", "/api/v1/models/download/status/{job}", verb="lmstudio.download_status"),
    # text-generation-webui, of 2023 and of today
    *_post("/api/v1/model", verb="textgen.legacy_model_action"),
    *_post("/api/v1/token-count", verb="textgen.legacy_token_count"),
    *_post("/api/v1/stop-stream", verb="textgen.stop_stream"),
    *_get("/api/v1/stream", verb="textgen.stream"),
    *_get("/api/v1/chat-stream", verb="textgen.chat_stream"),
    *_get("/v1/internal/health", verb="textgen.health"),
    *_post("/v1/internal/encode", verb="textgen.encode"),
    *_post("/v1/internal/decode", verb="textgen.decode"),
    *_post("/v1/internal/token-count", verb="textgen.token_count"),
    *_post("/v1/internal/logits", verb="textgen.logits"),
    *_post("/v1/internal/chat-prompt", verb="textgen.chat_prompt"),
    *_post("/v1/internal/stop-generation", verb="textgen.stop_generation"),
    *_get("/v1/internal/model/info", verb="textgen.model_info"),
    *_get("/v1/internal/model/list", verb="textgen.model_list"),
    *_post("/v1/internal/model/load", verb="textgen.model_load"),
    *_post("/v1/internal/model/unload", verb="textgen.model_unload"),
    *_get("/v1/internal/lora/list", verb="textgen.lora_list"),
    # Tabby
    *_post("/v1/health", verb="tabby.health"),
    *_post("/v1/events", verb="tabby.events"),
    *_post("/v1beta/chat/completions", verb="tabby.chat"),
    *_get("/v1beta/models", verb="tabby.models"),
    *_get("/v1beta/server_setting", verb="tabby.server_setting"),
    # Mistral's Codestral, Copilot's service, and the server of Tenstorrent's lesson
    *_post("/v1/fim/completions", verb="mistral.fim"),
    *_get("/copilot_internal/v2/token", verb="copilot.token"),
    *_get("/copilot_internal/user", verb="copilot.user"),
    *_post("/chat", verb="tenstorrent.chat"),
)  # fmt: skip
