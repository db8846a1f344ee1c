"""The requests of text-generation-webui's API of 2023, and of its `logits`: the same settings, with many names.

Wire facts: text-generation-webui extensions/api/util.py (build_parameters) and blocking_api.py, as they were in
November 2023; modules/api/typing.py (LogitsRequest).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from pydantic import Field, StrictStr

from adapters.base import Call
from adapters.body import Body, Fields
from adapters.openai.common import MAX_SEED, Stop
from backends.errors import InvalidField
from backends.request import (
    TEMPERATURE_FIRST,
    TEMPERATURE_LAST,
    ChatPrompt,
    Gbnf,
    GenerateRequest,
    Message,
    Mirostat,
    Sampling,
    TextPrompt,
)

_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "tfs": (1,), "top_a": (0,), "epsilon_cutoff": (0,), "eta_cutoff": (0,), "no_repeat_ngram_size": (0,),
    "num_beams": (1,), "penalty_alpha": (0,), "length_penalty": (1,), "early_stopping": (False,),
    "encoder_repetition_penalty": (1,), "guidance_scale": (1,), "negative_prompt": ("",), "preset": ("None", ""),
    "skip_special_tokens": (True,), "max_tokens_second": (0,), "auto_max_new_tokens": (False,), "stream": (False,),
}  # fmt: skip
"""What nobody honours, with the values that ask for nothing: clients send every setting."""
_FOR_FORM = frozenset({"truncation_length", "max_context_length"})
_BEGIN = "<|BEGIN-VISIBLE-CHAT|>"
"""Stands in a history for the user's words before the character's greeting."""


class Settings(Body):
    """Some have a second name, KoboldAI's: the first one counts."""

    max_new_tokens: int | None = Field(default=None, ge=1)
    max_length: int = Field(default=200, ge=1)
    min_length: int = Field(default=0, ge=0)
    do_sample: bool = True
    temperature: float = Field(default=0.5, ge=0)
    temperature_last: bool = False
    top_p: float = 1.0
    min_p: float = 0.0
    top_k: int = 0
    typical_p: float | None = None
    typical: float = 1.0
    repetition_penalty: float | None = Field(default=None, gt=0)
    rep_pen: float = Field(default=1.1, gt=0)
    repetition_penalty_range: int = 0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    mirostat_mode: int = 0
    mirostat_tau: float = 5.0
    mirostat_eta: float = 0.1
    grammar_string: str = ""
    seed: int = -1
    add_bos_token: bool = True
    custom_token_bans: str = ""
    ban_eos_token: bool = False
    stopping_strings: Stop = ()

    @classmethod
    def parse(cls, call: Call) -> Any:
        body = super().parse(call)
        extra = body.model_extra or {}
        asks_nothing = {name for name, value in extra.items() if name in _FOR_FORM or value in _NEUTRAL.get(name, ())}
        call.ignored[:] = [name for name in call.ignored if name not in asks_nothing]
        return body

    def request_for(self, request_id: str, prompt: TextPrompt | ChatPrompt) -> GenerateRequest:
        return GenerateRequest(
            id=request_id,
            prompts=(prompt,),
            max_tokens=self.max_length if self.max_new_tokens is None else self.max_new_tokens,
            min_tokens=self.min_length,
            stop=tuple(text for text in self.stopping_strings if text),
            ignore_eos=self.ban_eos_token,
            sampling=self.sampling(),
            output=Gbnf(self.grammar_string) if self.grammar_string.strip() else None,
        )

    def sampling(self) -> Sampling:
        banned = (token.strip() for token in self.custom_token_bans.split(","))
        versions: dict[int, Literal[1, 2]] = {1: 1, 2: 2}
        version = versions.get(self.mirostat_mode)
        return Sampling(
            temperature=self.temperature if self.do_sample else 0.0,
            top_k=self.top_k,
            top_p=self.top_p,
            min_p=self.min_p,
            typical_p=self.typical if self.typical_p is None else self.typical_p,
            repetition_penalty=self.rep_pen if self.repetition_penalty is None else self.repetition_penalty,
            presence_penalty=self.presence_penalty,
            frequency_penalty=self.frequency_penalty,
            penalty_window=self.repetition_penalty_range or -1,
            penalize_prompt=True,
            mirostat=Mirostat(version, self.mirostat_tau, self.mirostat_eta) if version else None,
            order=TEMPERATURE_LAST if self.temperature_last else TEMPERATURE_FIRST,
            logit_bias={int(token): False for token in banned if token.isdecimal()},
            seed=None if self.seed < 0 else self.seed & MAX_SEED,
        )


class GenerateBody(Settings):
    prompt: StrictStr

    def request(self, request_id: str) -> GenerateRequest:
        return self.request_for(request_id, TextPrompt((self.prompt,), add_special=self.add_bos_token))


class LogitsBody(Settings):
    """use_samplers: reported as ignored; what is told is the model's own distribution."""

    tolerated = frozenset({"use_samplers"})

    prompt: StrictStr
    top_logits: int = Field(default=50, ge=1, le=1000)
    use_samplers: bool = False

    def request(self, request_id: str) -> GenerateRequest:
        """One token more, whichever."""
        request = self.request_for(request_id, TextPrompt((self.prompt,), add_special=self.add_bos_token))
        return replace(request, max_tokens=1, stop=(), ignore_eos=True, top_logprobs=self.top_logits, output=None)


Turn = tuple[str, str]


class History(Fields):
    """Turns of user and character: as the model sees them, and as they are shown."""

    internal: tuple[Turn, ...] = ()
    visible: tuple[Turn, ...] = ()


class ChatBody(Settings):
    """The chat is put by the model's own template: characters and instruction templates are reported as ignored.

    regenerate: the last answer anew; _continue: the last answer goes on.
    """

    user_input: str
    history: History = History()
    regenerate: bool = False
    continues: bool = Field(default=False, alias="_continue")
    context: str = ""
    context_instruct: str = ""
    mode: Literal["chat", "chat-instruct", "instruct"] = "chat"

    @property
    def kept(self) -> tuple[Sequence[Turn], Sequence[Turn]]:
        """The turns before the one that is answered, internal and visible."""
        redoes = self.regenerate or self.continues
        internal, visible = self.history.internal, self.history.visible
        return (internal[:-1], visible[:-1]) if redoes else (internal, visible)

    @property
    def asked(self) -> str:
        """What the user says in the turn that is answered. Raises InvalidField."""
        if not (self.regenerate or self.continues):
            return self.user_input
        if not self.history.internal:
            raise InvalidField("history.internal", "has no turn to go on with")
        return self.history.internal[-1][0]

    @property
    def begun(self) -> str:
        """What there is of the answer already."""
        return self.history.internal[-1][1] if self.continues and self.history.internal else ""

    def history_with(self, text: str) -> dict[str, list[Any]]:
        """The history when so much has been generated."""
        turn = [self.asked, self.begun + text]
        internal, visible = self.kept
        return {"internal": [*internal, turn], "visible": [*visible, turn]}

    def request(self, request_id: str) -> GenerateRequest:
        """Raises InvalidField."""
        context = self.context_instruct if self.mode == "instruct" else self.context
        messages = [Message("system", context)] if context else []
        for user, answer in self.kept[0]:
            messages += [Message("user", user)] if user and user != _BEGIN else []
            messages += [Message("assistant", answer)] if answer else []
        messages.append(Message("user", self.asked))
        if self.begun:
            messages.append(Message("assistant", self.begun))
        prompt = ChatPrompt(tuple(messages), continue_final=bool(self.begun), add_generation_prompt=not self.begun)
        return self.request_for(request_id, prompt)
