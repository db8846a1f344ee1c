"""From a request to a Job: one sequence for each choice or input, and refusals of what can't be answered.

Knows nothing of the engine's thread, or of who else is being answered.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from collections.abc import Sequence as SequenceOf
from dataclasses import dataclass

from backends.engine.blocks import ROOT, root
from backends.engine.choice import Choice, Ending
from backends.engine.detokenizer import Detokenizer
from backends.engine.dry import Breakers, BreakerTable
from backends.engine.job import Job
from backends.engine.logit_bias import LogitBias
from backends.engine.mean_pooling import MeanPooling
from backends.engine.prompt_encoder import Encoded, PromptEncoder
from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.sampler_row import SamplerRow
from backends.engine.sequence import Sequence
from backends.engine.token_logprobs import PromptLogprobs
from backends.engine.tokenizer import Tokenizer
from backends.errors import InvalidField, PromptTooLong, Unsupported
from backends.request import EmbedRequest, GenerateRequest

NEVER = 2**62
"""More tokens than any answer has."""

MAX_SEED = 2**63 - 1


def num_candidates(request: GenerateRequest) -> int:
    """Sequences for each prompt."""
    return request.n if request.best_of is None else request.best_of


@dataclass(frozen=True, slots=True)
class _Sampling:
    """What all choices of a request have in common. seed: of the first choice of each prompt."""

    resolved: ResolvedSampling
    bias: LogitBias
    breakers: Breakers
    seed: int
    is_seeded: bool


class Intake:
    """defaults: the model's own sampling. window: tokens of prompt and answer together. gives_all_logits: the runner
    does, of a prompt."""

    def __init__(
        self,
        tokenizer: Tokenizer,
        encoder: PromptEncoder,
        *,
        defaults: Mapping[str, float],
        window: int,
        block_size: int,
        num_logits: int,
        gives_all_logits: bool,
    ) -> None:
        self._tokenizer = tokenizer
        self._encoder = encoder
        self._defaults = defaults
        self._window = window
        self._block_size = block_size
        self._num_logits = num_logits
        self._gives_all_logits = gives_all_logits
        self._breakers = BreakerTable(tokenizer.texts, self._encode_plain)

    async def job(self, request: GenerateRequest) -> Job:
        """Candidate i of prompt p is choice `p * num_candidates + i`. Raises InvalidRequest and its kin."""
        if num_candidates(request) < request.n:
            raise InvalidField("best_of", f"must be at least n, which is {request.n}", request.best_of)
        if request.prompt_logprobs is not None and not self._gives_all_logits:
            raise Unsupported("this device gives no log-probabilities of a prompt", feature="prompt_logprobs")
        if request.reasoning and not self._encoder.template.supports_thinking:
            request.ignored.append("reasoning")
        sampling = await self._sampling(request)
        choices: list[Choice] = []
        for prompt in request.prompts:
            encoded = await self._encoder.encode(prompt, output=request.output, reasoning=request.reasoning)
            if len(encoded.ids) >= self._window:
                raise PromptTooLong(len(encoded.ids), self._window)
            choices += self._candidates(request, encoded, sampling, len(choices))
        return Job(request.id, choices)

    async def embedding(
        self, request: EmbedRequest, inputs: SequenceOf[str | SequenceOf[int]]
    ) -> tuple[Job, list[MeanPooling]]:
        """Of some of the request's inputs: for each a choice that generates nothing, and what holds its vector at its
        end. Raises PromptTooLong, and InvalidField for an id that is no token's."""
        plain = GenerateRequest(
            id=request.id,
            prompts=(),
            max_tokens=0,
            cache_prompt=False,  # what is in the cache has no hidden states
            intent=request.intent,
            client=request.client,
        )
        sampling = await self._sampling(plain)
        choices: list[Choice] = []
        poolings: list[MeanPooling] = []
        for text_or_ids in inputs:
            encoded = await self._encoder.encode_input(text_or_ids)
            if len(encoded.ids) > self._window:
                raise PromptTooLong(len(encoded.ids), self._window)
            (choice,) = self._candidates(plain, encoded, sampling, len(choices))
            choice.pooling, choice.sequence.wants_hidden_states = MeanPooling(), True
            choices.append(choice)
            poolings.append(choice.pooling)
        return Job(request.id, choices), poolings

    async def _sampling(self, request: GenerateRequest) -> _Sampling:
        wanted = request.sampling
        return _Sampling(
            resolved=ResolvedSampling.of(wanted, self._defaults),
            bias=LogitBias.resolve(wanted.logit_bias, self._encode_plain, self._num_logits),
            breakers=await asyncio.to_thread(self._breakers.resolve, wanted.dry.breakers) if wanted.dry else {},
            seed=secrets.randbits(63) if wanted.seed is None else wanted.seed & MAX_SEED,
            is_seeded=wanted.seed is not None,
        )

    def _candidates(
        self, request: GenerateRequest, encoded: Encoded, sampling: _Sampling, first_index: int
    ) -> list[Choice]:
        """For one prompt. The first evaluates it, the others take its blocks."""
        shared_logprobs = self._prompt_logprobs(request, encoded)
        ending = self._ending(request, encoded)
        leader: Sequence | None = None
        choices: list[Choice] = []
        for i in range(num_candidates(request)):
            sequence = self._sequence(request, encoded, leader)
            choice = Choice(
                index=first_index + i,
                sequence=sequence,
                sampler_row=self._sampler_row(request, encoded, sampling, i),
                detokenizer=self._detokenizer(request, encoded),
                parser=encoded.parser(first_index + i),
                ending=ending,
                tokenizer=self._tokenizer,
                prompt_text=encoded.text,
                echoes=request.echo,
                grammar=encoded.grammar if i == 0 or encoded.grammar is None else encoded.grammar.copy(),
                num_top_logprobs=request.top_logprobs,
                prompt_logprobs=shared_logprobs,
                is_ranked=num_candidates(request) > request.n,
            )
            choices.append(choice)
            if leader is None and (request.cache_prompt or shared_logprobs is not None):
                leader = sequence
        return choices

    def _sequence(self, request: GenerateRequest, encoded: Encoded, leader: Sequence | None) -> Sequence:
        room = self._window - len(encoded.ids)
        return Sequence(
            prompt=encoded.ids,
            max_tokens=room if request.max_tokens is None else min(request.max_tokens, room),
            block_size=self._block_size,
            intent=request.intent,
            client=request.client,
            paid_by=request.paid_by,
            priority=request.priority,
            uses_cache=request.cache_prompt,
            cache_root=ROOT if request.cache_salt is None else root(request.cache_salt),
            wants_all_logits=leader is None and request.prompt_logprobs is not None,
            leader=leader,
        )

    def _sampler_row(self, request: GenerateRequest, encoded: Encoded, sampling: _Sampling, i: int) -> SamplerRow:
        """Choice i gets what a request for one choice gets with the seed + i."""
        own_ends = [] if request.ignore_eos else request.stop_token_ids
        return SamplerRow(
            sampling.resolved,
            encoded.ids,
            sampling.seed + i,
            is_seeded=sampling.is_seeded,
            bias=sampling.bias,
            breakers=sampling.breakers,
            end_ids=sorted({*encoded.end_ids, *own_ends}),
            min_tokens=NEVER if request.ignore_eos else request.min_tokens,
        )

    def _detokenizer(self, request: GenerateRequest, encoded: Encoded) -> Detokenizer:
        return Detokenizer(
            self._tokenizer,
            stops=request.stop,
            include_stop=request.include_stop,
            skip_ids=encoded.skip_ids,
            min_tokens=request.min_tokens,
        )

    def _ending(self, request: GenerateRequest, encoded: Encoded) -> Ending:
        """A stop string that is a special token never comes as text, so it is looked for as a token."""
        stop_ids: dict[int, str | None] = dict.fromkeys(request.stop_token_ids)
        for stop in request.stop:
            token_id = self._tokenizer.token_id(stop)
            if token_id is not None and token_id in encoded.skip_ids:
                stop_ids[token_id] = stop
        return Ending(
            end_ids=encoded.end_ids,
            stop_ids=stop_ids,
            includes_stop=request.include_stop,
            min_tokens=request.min_tokens,
            deadline_s=request.deadline_s,
        )

    def _prompt_logprobs(self, request: GenerateRequest, encoded: Encoded) -> PromptLogprobs | None:
        if request.prompt_logprobs is None:
            return None
        return PromptLogprobs(encoded.ids, request.prompt_logprobs, self._tokenizer)

    def _encode_plain(self, text: str) -> list[int]:
        return self._tokenizer.encode(text, add_special=False, parse_special=False)
