"""Structured output: which tokens may come next, by llguidance.

Owns the compiling, off the event loop, and one sequence's place in a grammar. What a grammar says is written in
`grammar_source`.
"""

from __future__ import annotations

import asyncio
from functools import cached_property

import numpy as np
import numpy.typing as npt
from llguidance import LLMatcher, LLParserLimits, LLTokenizer

from backends.engine.grammar_source import output_field, output_rules, thought_rules, tool_rules
from backends.engine.parsers import OutputSyntax
from backends.engine.tokenizer import Tokenizer
from backends.errors import BackendFailed, InvalidField, Unsupported
from backends.request import ChatPrompt, NamedTool, OutputFormat


class Grammar:
    """One sequence's place in a grammar. Used by the engine's thread only."""

    def __init__(self, matcher: LLMatcher, num_logits: int, num_masked: int) -> None:
        """num_masked: how many tokens llguidance knows of, which may be more than there are logits."""
        self._matcher = matcher
        self._num_logits = num_logits
        self._bits = np.zeros((num_masked + 31) // 32, dtype=np.uint32)

    def mask(self) -> npt.NDArray[np.bool_]:
        """[num_logits]: may this token come next? EOS is among them where the output may end.

        Raises BackendFailed where the grammar is too ambiguous to go on.
        """
        self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
        if self._matcher.is_error():
            raise BackendFailed(f"the grammar can't be followed: {self._matcher.get_error()}")
        return np.unpackbits(self._bits.view(np.uint8), count=self._num_logits, bitorder="little").view(np.bool_)

    def accept(self, token_id: int) -> None:
        """Move on by a token that the mask allows. Raises BackendFailed for one that it doesn't."""
        if not self._matcher.consume_token(token_id):
            raise BackendFailed(f"token {token_id} is against the grammar: {self._matcher.get_error()}")

    @property
    def is_finished(self) -> bool:
        """Nothing but EOS can come."""
        return bool(self._matcher.is_stopped())

    def copy(self) -> Grammar:
        """For another choice of the same request."""
        return Grammar(self._matcher.deep_copy(), self._num_logits, len(self._bits) * 32)


class GrammarCompiler:
    """num_logits: the width of the masks (the runner's vocab_size)."""

    def __init__(self, tokenizer: Tokenizer, syntax: OutputSyntax, num_logits: int) -> None:
        self._tokenizer = tokenizer
        self._syntax = syntax
        self._num_logits = num_logits
        self._num_masked = max(num_logits, tokenizer.vocab_size)

    @cached_property
    def _vocabulary(self) -> LLTokenizer:
        """Takes a while (0.2 s for 32,000 tokens), so it is made in a thread, when the first grammar comes."""
        eos_ids = sorted(self._tokenizer.eos_token_ids)
        if not eos_ids:
            raise Unsupported("this model has no token that ends an answer, so no grammar either", feature="grammar")
        return LLTokenizer(self._tokenizer.to_json(), n_vocab=self._num_masked, eos_token=eos_ids)

    async def compile(self, output: OutputFormat) -> Grammar:
        """Off the loop. Raises InvalidField that names `json_schema`, `regex`, `choice` or `grammar`, and Unsupported
        for a model without EOS."""
        return await asyncio.to_thread(self._compile_output, output)

    async def compile_chat(self, prompt: ChatPrompt, output: OutputFormat | None, prompt_text: str) -> Grammar | None:
        """What a chat demands: its output format, or a tool call where tool_choice does; after the reasoning, if any.

        None where nothing is demanded. prompt_text: as the template rendered it. Raises InvalidField, also one that
        names `tools` or `tool_choice`.
        """
        must_call = prompt.tool_choice == "required" or isinstance(prompt.tool_choice, NamedTool)
        if must_call and not prompt.tools:
            raise InvalidField("tool_choice", "there are no tools to choose from", prompt.tool_choice)
        if output is None and not must_call:
            return None
        return await asyncio.to_thread(self._compile_chat, prompt, None if must_call else output, prompt_text)

    def _compile_output(self, output: OutputFormat) -> Grammar:
        return self._matcher(f"start: output\n{output_rules(output, self._tokenizer)}", output_field(output))

    def _compile_chat(self, prompt: ChatPrompt, output: OutputFormat | None, prompt_text: str) -> Grammar:
        may_call = bool(prompt.tools) and prompt.tool_choice != "none"
        rules = [output_rules(output, self._tokenizer)] if output else []
        rules += [tool_rules(prompt, self._syntax.tool_format, self._tokenizer)] if may_call else []
        answer = " | ".join([*(["output"] if output else []), *(["calls"] if may_call else [])])
        thought = ""
        if self._syntax.tags:
            is_thinking = self._syntax.is_thinking(prompt, prompt_text)
            rules.append(thought_rules(self._syntax.tags, self._tokenizer, is_thinking=is_thinking))
            thought = "thought "
        return self._matcher(f"start: {thought}answer\nanswer: {answer}\n" + "\n".join(rules), _field(output))

    def _matcher(self, source: str, field: str) -> Grammar:
        matcher = LLMatcher(
            self._vocabulary,
            LLMatcher.grammar_from_lark(source),
            log_level=0,
            limits=LLParserLimits(verbose_errors=False),
        )
        if matcher.is_error():
            raise InvalidField(field, _complaint(matcher.get_error()))
        return Grammar(matcher, self._num_logits, self._num_masked)


def _complaint(error: str) -> str:
    """Without the excerpt of our own source that stands between llguidance's first line and a regex's last."""
    lines = error.strip().splitlines()
    return " ".join([lines[0], *(line for line in lines[1:] if line.startswith("error:"))])


def _field(output: OutputFormat | None) -> str:
    return output_field(output) if output else "tools"
