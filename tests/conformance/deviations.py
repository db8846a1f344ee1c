"""Where Dragoman differs from the servers it speaks for, and why: the only place where a check may be let off.

Four lists: what is served; keys that we add; answers that we give otherwise on purpose; cases that can't be compared.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from tests.conformance.shape import Allows

DIALECTS_SERVED = (
    "openai", "openai/embeddings", "openai/responses", "vllm", "azure", "codex",
    "llamacpp", "llamacpp/embeddings", "llamacpp/keys", "llamacpp/management", "llamacpp/responses",
    "llamacpp/sessions", "llamacpp/anthropic",
    "llamacpp-python", "llamacpp-python/embeddings", "llamacpp-python/extras", "llamacpp-python/keys",
    "ollama", "ollama/embeddings", "ollama/management", "ollama/anthropic", "copilot-byok", "anthropic",
    "tgi", "kobold", "tenstorrent", "mistral", "copilot-engines", "copilot", "fauxpilot", "tabby", "lmstudio",
    "lmstudio/embeddings", "lemonade", "textgen", "ooba",
)  # fmt: skip
"""What the gateway speaks; `<dialect>/<feature>` for parts that come by themselves. Add one, and its cases count."""


@dataclass(frozen=True, slots=True)
class ExtraKeys:
    """Keys that we send and the persona's own server doesn't. path, key: patterns, matched whole."""

    persona: str
    path: str
    key: str
    reason: str


EXTRA_KEYS = (
    ExtraKeys(
        "llamacpp", r"(/v1|/vi)?/completions?|/infill", r"\$(\[\])?\.stopped_(eos|limit|word)",
        "llama.cpp before December 2024 sent these; modelfusion and old scripts read nothing else",
    ),
    ExtraKeys(
        "llamacpp", r"(/v1|/vi)?/completions?|/infill",
        r"\$(\[\])?\.generation_settings\.(tfs_z|penalize_nl|n_ctx|model|penalty_prompt_tokens|use_penalty_prompt_tokens)",
        "llama.cpp of early 2024 sent these; Privy validates them, llama.vscode's status bar reads n_ctx",
    ),
    ExtraKeys(
        "llamacpp", r"/completions", r"\$\.(id|object|created|choices|usage)",
        "without /v1 this path is native to llama.cpp, but OpenAI clients post there too: one answer for both",
    ),
)  # fmt: skip


def allowed_extras(persona: str, path: str) -> Allows:
    route = path.partition("?")[0]
    patterns = [extra.key for extra in EXTRA_KEYS if extra.persona == persona and re.fullmatch(extra.path, route)]
    return lambda key: any(re.fullmatch(pattern, key) for pattern in patterns)


@dataclass(frozen=True, slots=True)
class Deviation:
    """An answer that we give otherwise, and mean it. case, problem: patterns, matched whole; others still count."""

    case: str
    reason: str
    problem: str = ".*"


_NO_TOOLS = "the recorded model's template knows no tools, so its server passed them over; ours are called as asked"

ON_PURPOSE = (
    Deviation(
        r"llama-server/(api_(tags|version|ps|show|generate)|v1_models_id_404|post_health)"
        r"|llama-cpp-python/(health|v1_models_id|engines_other_404)",
        "every listener answers every dialect: this path is another family's, and nobody needs its 404",
    ),
    Deviation(
        r"llama-server/((loading_)?root|auth_nokey_get_)",
        "recorded with --no-ui; clients probe GET / for a sign of life",
    ),
    Deviation(
        r"llama-server/metrics",
        "recorded without --metrics; ours are always on",
    ),
    Deviation(
        r"llama-server/chat_tools_(required|named)",
        _NO_TOOLS,
        r"\$\.choices\[\]\.message: 'tool_calls' is not sent by that server",
    ),
    Deviation(
        r"llama-server/rs_tool_required(_stream)?",
        _NO_TOOLS,
        r"\$\.output\[\].*|kinds of events: .*",
    ),
    Deviation(
        r"llama-server/an_tool_any(_stream)?",
        _NO_TOOLS,
        r"(event \d+: )?\$\.(content\[\]|content_block|delta).*",
    ),
    Deviation(
        r"llama-server/tc_messages_(any|named|mixed)",
        "the arguments are the model's own words: the recorded one filled in an optional field, ours doesn't",
        r"\$\.content\[\]\.input: no 'unit'",
    ),
    Deviation(
        r"llama-cpp-python/auth_nokey_badjson",
        "that server reads a body before it asks for the key; a stranger's may be large, so ours isn't read",
    ),
    Deviation(
        r"llama-cpp-python/embd_(basic|list|base64)",
        "one vector a token, as the recorded server has them, no OpenAI client can use: ours are pooled, and say so",
        r"\$\.data\[\]\.embedding\[\]: list expected, not float",
    ),
    Deviation(
        r"llama-cpp-python/method_foo",
        "a method that HTTP doesn't have: the HTTP library answers before Dragoman sees it",
    ),
    Deviation(
        r"vectors/ol-030",
        "Ollama lacks count_tokens; Claude Code asks for it, and an exact count serves it better than a 404",
    ),
    Deviation(
        r"vectors/cp-001",
        "the path is FauxPilot's, whose lines end in CRLF; Copilot's reader trims them",
        r"chunk \d+ is not exactly one event: .*",
    ),
    Deviation(
        r"vectors/tg-003",
        "TGI's source puts details into the last event only where they were asked for, and this vector doesn't ask",
        r"no last\.details\.finish_reason",
    ),
    Deviation(
        r"vectors/vl-008",
        "JSON is read whatever its Content-Type says: many clients send none, or text/plain",
    ),
)  # fmt: skip

_ROUTER = "router mode: starting other servers by name isn't what a persona can play"
_NOT_OURS = "an option of that server's command line that Dragoman doesn't have"
_NO_MODELS = "a gateway without a model doesn't start"
_UPSTREAM_STATUS = "a status that Ollama's own runner process invented; no backend of ours reports one"

NOT_COMPARED = {
    r"llama-server/router_.*": _ROUTER,
    r"llama-server/noslots_.*": f"--no-slots: {_NOT_OURS}",
    r"llama-server/embdnone_.*": f"--pooling none: {_NOT_OURS}",
    r"llama-server/shift_infinite": f"--context-shift: {_NOT_OURS}",
    r"llama-server/full_slot_.*": f"--slot-save-path: {_NOT_OURS}",
    r"llama-server/chat_conv_resume": "goes on with a stream that another request began; we keep none",
    r"llama-server/sw_js": "a file of that server's web page",
    r"llama-server/garbage_request_line": "not HTTP: the HTTP library answers before Dragoman sees it",
    r"llama-cpp-python/(interrupt|nointerrupt)_.*": "interrupt_requests: one request ends another's; we batch them",
    r"llama-cpp-python/x_request_id_bad": "not HTTP: the HTTP library answers before Dragoman sees it",
    r"llama-cpp-python/openapi_json": "that server's own description of itself",
    r"ollama/(tags|ps|v1_models)_empty": _NO_MODELS,
    r"ollama/(chat_nonstream_error|chat_stream_error_first|gen_status_error_stream)": _UPSTREAM_STATUS,
    r"ollama/v1_model_get_400_forwarded": "a handler's answer that only that server's own test can make",
    r"ollama/v1_embeddings_missing_input": "needs a model that embeds",
}
"""Pattern of the case → why there is nothing to compare."""


def reason_not_compared(case_id: str) -> str | None:
    return next((reason for pattern, reason in NOT_COMPARED.items() if re.fullmatch(pattern, case_id)), None)


def deviates(case_id: str) -> bool:
    return any(re.fullmatch(meant.case, case_id) for meant in ON_PURPOSE)


def deviation(case_id: str, problem: str) -> Deviation | None:
    """Why this problem of this case is none."""
    return next(
        (x for x in ON_PURPOSE if re.fullmatch(x.case, case_id) and re.fullmatch(x.problem, problem, re.DOTALL)), None
    )
