"""What a request is for, found out and not configured: THE RULES, of which the first that holds decides.

Nobody's editor says how urgent a request is. But a keystroke's looks unlike an agent's: by its route, by a hole to be
filled, by tools, by how long the answer may become, and by how fast it follows the one before. Pure.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from backends.request import ChatPrompt, GenerateRequest, Intent, TextPrompt
from gateway.buffer import buffer_of
from gateway.rhythm import Pace

MAX_TYPED_TOKENS = 128
"""A completion of plain text is no longer than that, unless it is seen to be typed."""

MAX_AT_ONCE = 8
"""More of them at once than editors ask for, or a person reads."""

MAX_PROMPTS = 4

AGENTS = ("claude-cli", "codex", "opencode", "aider", "qwencode", "goose", "openhands", "crush")
"""Parts of the user agents of programs that go on by themselves, in lower case."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What the rules look at. agent: the User-Agent in lower case."""

    request: GenerateRequest
    agent: str
    pace: Pace

    @property
    def chat(self) -> ChatPrompt | None:
        prompt = self.request.prompts[0]
        return prompt if isinstance(prompt, ChatPrompt) else None


@dataclass(frozen=True, slots=True)
class Verdict:
    intent: Intent
    reason: str


@dataclass(frozen=True, slots=True)
class Rule:
    intent: Intent
    reason: str
    holds: Callable[[Asked], bool]


def _scores_a_prompt(asked: Asked) -> bool:
    request = asked.request
    return request.prompt_logprobs is not None or (request.echo and request.max_tokens in (0, 1))


def _has_a_hole(asked: Asked) -> bool:
    buffer = buffer_of(asked.request.prompts[0])
    return buffer is not None and buffer.is_infill


def _has_tools(asked: Asked) -> bool:
    return asked.chat is not None and bool(asked.chat.tools) and asked.chat.tool_choice != "none"


def _has_used_tools(asked: Asked) -> bool:
    return asked.chat is not None and any(m.role == "tool" or m.tool_calls for m in asked.chat.messages)


def _is_short(asked: Asked) -> bool:
    request = asked.request
    is_text = isinstance(request.prompts[0], TextPrompt)
    return is_text and request.max_tokens is not None and request.max_tokens <= MAX_TYPED_TOKENS


RULES: tuple[Rule, ...] = (
    Rule(Intent.BULK, "many prompts in one request", lambda asked: len(asked.request.prompts) > MAX_PROMPTS),
    Rule(Intent.BULK, "the prompt's own log-probabilities are wanted", _scores_a_prompt),
    Rule(Intent.COMPLETION, "a hole is to be filled", _has_a_hole),
    Rule(Intent.AGENT, "it may call tools", _has_tools),
    Rule(Intent.AGENT, "tools were called before", _has_used_tools),
    Rule(Intent.AGENT, "its client is an agent", lambda asked: any(name in asked.agent for name in AGENTS)),
    Rule(Intent.AGENT, "its client asks for many at once", lambda asked: asked.pace.num_running > MAX_AT_ONCE),
    Rule(Intent.AGENT, "the chat went on faster than a person reads", lambda asked: asked.pace.is_immediate),
    Rule(Intent.COMPLETION, "the prompt grows as somebody types", lambda asked: asked.pace.is_typed),
    Rule(Intent.COMPLETION, "a few tokens of plain text", _is_short),
)
OTHERWISE = Verdict(Intent.CHAT, "nothing speaks against a person who reads")

_BULK_VERBS = ("embed", "rerank")


def intent_of(request: GenerateRequest, agent: str, pace: Pace) -> Verdict:
    asked = Asked(request, agent.lower(), pace)
    return next((Verdict(rule.intent, rule.reason) for rule in RULES if rule.holds(asked)), OTHERWISE)


def verdict_of_verb(verb: str, overruled: Verdict | None) -> Verdict | None:
    """Of a verb that answers without generating; None for one that gives the device no work. overruled: what the
    request is for, where somebody knows better."""
    is_bulk = any(part in verb.partition(".")[2] for part in _BULK_VERBS)
    return (overruled or Verdict(Intent.BULK, "embeddings")) if is_bulk else None


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the operator knows better. header: in which a request may say what it is for; None: in none. classes: by a
    part of who the client is, as the log writes it."""

    header: str | None = "X-Priority"
    classes: Mapping[str, Intent] = field(default_factory=dict)

    def verdict(self, client: str, headers: Mapping[str, str]) -> Verdict | None:
        """headers: case-insensitive. A word in the header that is no class says nothing."""
        for part, intent in self.classes.items():
            if part in client:
                return Verdict(intent, f"the config says so of '{part}'")
        said = headers.get(self.header, "").strip().upper() if self.header else ""
        return Verdict(Intent[said], f"its {self.header} says so") if said in Intent.__members__ else None
