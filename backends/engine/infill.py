"""Fill in the middle: which sentinel tokens a model has, and the prompt that they make.

Owns the families' spellings and orders. Knows nothing of windows: a prompt is as long as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from backends.engine.tokenizer import Tokenizer
from backends.errors import Unsupported
from backends.request import InfillPrompt

REPOSITORY = "myproject\n"
LINE_BREAK = "\n"
CURRENT_FILE = "filename"
"""Requests name neither; llama.cpp writes these (tools/server/server-common.cpp, `format_prompt_infill`)."""


@dataclass(frozen=True, slots=True)
class Text:
    """Nothing in it is special. continues: SentencePiece mustn't put its blank in front."""

    text: str
    continues: bool = False


Part: TypeAlias = int | Text
"""A sentinel is its token id."""


@dataclass(frozen=True, slots=True)
class Family:
    """How a family of models spells its sentinels; empty where it has none.

    order: `psm` is prefix, suffix, middle; `spm` is suffix, prefix, middle; `joined` is suffix, then prefix and middle
    in one piece after the middle's sentinel (the joined SPM of Bavarian et al. 2022). file, repository: stand before a
    file's name and before the repository's. heading: a file's name, where no token stands before it. is_named_inside:
    the edited file's name comes after the prefix sentinel, not before. pad: what else may come out instead of an end.
    """

    name: str
    prefix: str
    suffix: str
    middle: str
    order: Literal["psm", "spm", "joined"] = "psm"
    file: str = ""
    repository: str = ""
    heading: str = "# {name}\n"
    is_named_inside: bool = False
    pad: str = ""

    @property
    def hole(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.prefix, self.suffix, self.middle)))

    @property
    def others(self) -> tuple[str, ...]:
        return tuple(filter(None, (self.file, self.repository, self.pad)))


FAMILIES = (
    Family(  # QwenLM/Qwen2.5-Coder README, "Repository Level Code Completion"
        "qwen", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
        file="<|file_sep|>", repository="<|repo_name|>", pad="<|fim_pad|>",
    ),
    Family(  # google/codegemma-7b model card
        "codegemma", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", file="<|file_separator|>",
    ),
    Family(  # ibm-granite/granite-4.0 model cards
        "granite", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>", file="<|filename|>",
        repository="<|reponame|>", pad="<|fim_pad|>",
    ),
    Family(  # bigcode/starcoder2: arXiv 2402.19173, section 5.2
        "starcoder2", "<fim_prefix>", "<fim_suffix>", "<fim_middle>",
        file="<file_sep>", repository="<repo_name>", is_named_inside=True, pad="<fim_pad>",
    ),
    Family(  # bigcode/starcoder: arXiv 2305.06161, section 3; Granite Code is spelt so, too
        "starcoder", "<fim_prefix>", "<fim_suffix>", "<fim_middle>",
        file="<filename>", repository="<reponame>", pad="<fim_pad>",
    ),
    Family(  # the embedded model
        "dragoman", "<fim_prefix>", "<fim_suffix>", "<fim_middle>", order="joined", file="<|file_sep|>",
        pad="<fim_pad>",
    ),
    Family(  # bigcode/santacoder model card
        "santacoder", "<fim-prefix>", "<fim-suffix>", "<fim-middle>", pad="<fim-pad>",
    ),
    Family(  # deepseek-ai/DeepSeek-Coder README, "Code Insertion" and "Repository Level Code Completion"
        "deepseek", "<\uff5cfim▁begin\uff5c>", "<\uff5cfim▁hole\uff5c>", "<\uff5cfim▁end\uff5c>", heading="#{name}\n",
    ),
    Family(  # meta-llama/codellama llama/generation.py, `infilling_prompt_tokens`
        "codellama", "▁<PRE>", "▁<SUF>", "▁<MID>", pad="▁<EOT>",
    ),
    Family(  # mistralai/mistral-common tokens/tokenizers/instruct.py, `encode_fim`
        "codestral", "[PREFIX]", "[SUFFIX]", "", order="spm", pad="[MIDDLE]",
    ),
    Family(  # ByteDance-Seed/Seed-Coder-8B-Base model card
        "seed-coder", "<[fim-prefix]>", "<[fim-suffix]>", "<[fim-middle]>", order="spm",
    ),
    Family(  # zai-org/GLM-4.5 tokenizer_config.json
        "glm", "<|code_prefix|>", "<|code_suffix|>", "<|code_middle|>",
    ),
)  # fmt: skip


class InfillFormat:
    """A family, in one model's tokens. stop_token_ids: tokens that end the middle, besides EOS."""

    def __init__(self, family: Family, tokenizer: Tokenizer) -> None:
        self.family = family
        self.stop_token_ids = frozenset(_ids(tokenizer, (*family.hole, *family.others)))
        self._tokenizer = tokenizer
        self._has_file_token = bool(self._sentinel(family.file))
        self._is_named_inside = family.is_named_inside and self._has_file_token

    @classmethod
    def detect(cls, tokenizer: Tokenizer) -> InfillFormat | None:
        """Of families that spell the hole alike, the one that has more of its other tokens in the vocabulary.

        None for a model without sentinels.
        """
        complete = [family for family in FAMILIES if len(_ids(tokenizer, family.hole)) == len(family.hole)]
        if not complete:
            return None
        return cls(max(complete, key=lambda family: len(_ids(tokenizer, family.others))), tokenizer)

    async def encode(self, prompt: InfillPrompt) -> list[int]:
        """Token ids, BOS and all. Special tokens written in the caller's text are plain text."""
        ids = [self._tokenizer.bos_id] if self._tokenizer.adds_bos and self._tokenizer.bos_id is not None else []
        for part in [*self._repository(prompt), *self._hole(prompt)]:
            ids += [part] if isinstance(part, int) else await self._encode_text(part)
        return ids

    def _repository(self, prompt: InfillPrompt) -> Iterator[Part]:
        """The other files, and the name of the edited one; nothing where there are no others."""
        if not prompt.extra:
            return
        for repository in self._sentinel(self.family.repository):
            yield from (repository, Text(REPOSITORY))
        for name, text in prompt.extra:
            yield from self._sentinel(self.family.file)
            yield Text(f"{self._heading(name)}{text.removesuffix(LINE_BREAK)}\n")
        yield from self._sentinel(self.family.file)
        if not self._is_named_inside:
            yield Text(self._heading(CURRENT_FILE))

    def _hole(self, prompt: InfillPrompt) -> list[Part]:
        """`start` comes last, so that the next keystroke changes nothing before it and the prefix cache holds."""
        family = self.family
        name = self._heading(CURRENT_FILE) if prompt.extra and self._is_named_inside else ""
        if family.order == "joined":
            sentinels = [*self._sentinel(family.prefix), *self._sentinel(family.suffix)]
            suffix_part, typed = Text(prompt.suffix, continues=True), Text(name + prompt.prefix + prompt.start)
            return [*sentinels, suffix_part, *self._sentinel(family.middle), typed]
        start = "" if family.middle else prompt.start
        prefix: list[Part] = [*self._sentinel(family.prefix), Text(name + prompt.prefix + start)]
        suffix: list[Part] = [*self._sentinel(family.suffix), Text(prompt.suffix, continues=True)]
        ends = [*prefix, *suffix] if family.order == "psm" else [*suffix, *prefix]
        if family.middle:
            ends += [*self._sentinel(family.middle), Text(prompt.start, continues=True)]
        return ends

    def _heading(self, name: str) -> str:
        return f"{name}\n" if self._has_file_token else self.family.heading.format(name=name)

    def _sentinel(self, token: str) -> list[int]:
        return _ids(self._tokenizer, [token])

    async def _encode_text(self, part: Text) -> list[int]:
        if not part.text:
            return []
        if part.continues and self._tokenizer.prepends_blank:
            line_break = self._tokenizer.encode(LINE_BREAK, add_special=False)
            ids = await self._encode_literally(LINE_BREAK + part.text)
            if ids[: len(line_break)] == line_break:
                return ids[len(line_break) :]
        return await self._encode_literally(part.text)

    async def _encode_literally(self, text: str) -> list[int]:
        return await self._tokenizer.encode_async(text, add_special=False, parse_special=False)


def _ids(tokenizer: Tokenizer, tokens: Iterable[str]) -> list[int]:
    """Of those that the vocabulary has."""
    return [token_id for token_id in map(tokenizer.token_id, tokens) if token_id is not None]


def no_infill() -> Unsupported:
    """What a model without sentinels answers, in llama.cpp's words (tools/server/server-context.cpp)."""
    missing = "".join(f"{part} token is missing. " for part in ("prefix", "suffix", "middle"))
    return Unsupported(f"Infill is not supported by this model: {missing}".rstrip(), feature="infill")
