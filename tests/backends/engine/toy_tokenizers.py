"""Small tokenizers of the two kinds that models have, with the special tokens that a test asks for."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import tokenizers
from tokenizers import AddedToken, decoders, models, normalizers, pre_tokenizers, processors

from backends.engine.tokenizer import Tokenizer


def byte_level(
    special: Iterable[str] = (), literal: Iterable[str] = (), settings: dict[str, Any] | None = None
) -> Tokenizer:
    """As GPT-2, Qwen and Llama 3 have it. literal: added tokens that aren't called special."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    merges = [("h", "e"), ("l", "l"), ("Ġ", "w"), ("Ġw", "o"), ("he", "ll"), ("Ċ", "Ċ"), ("ã", "ģ")]
    words = [*alphabet, *("".join(pair) for pair in merges)]
    hf = tokenizers.Tokenizer(models.BPE({word: index for index, word in enumerate(words)}, merges))
    hf.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    hf.decoder = decoders.ByteLevel()
    return _finish(hf, special, literal, settings or {})


def sentencepiece(
    special: Iterable[str] = (), literal: Iterable[str] = (), settings: dict[str, Any] | None = None
) -> Tokenizer:
    """As Llama 2, CodeLlama and Codestral have it: `▁` for a blank, one before the text, bytes as a last resort."""
    letters = [chr(code) for code in range(ord("!"), ord("~") + 1)]
    bytes_ = [f"<0x{byte:02X}>" for byte in range(256)]
    merges = [("h", "e"), ("l", "l"), ("▁", "w"), ("he", "ll"), ("▁", "he")]
    unknown = "<unk>"
    words = [unknown, "<s>", "</s>", *bytes_, "▁", *letters, *("".join(pair) for pair in merges)]
    vocabulary = {word: index for index, word in enumerate(words)}
    hf = tokenizers.Tokenizer(models.BPE(vocabulary, merges, unk_token=unknown, byte_fallback=True, fuse_unk=True))
    hf.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    hf.decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    hf.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 1)])
    settings = {"bos_token": "<s>", "eos_token": "</s>", **(settings or {})}
    return _finish(hf, ["<unk>", "<s>", "</s>", *special], literal, settings)


def _finish(
    hf: tokenizers.Tokenizer, special: Iterable[str], literal: Iterable[str], settings: dict[str, Any]
) -> Tokenizer:
    hf.add_special_tokens([AddedToken(token, normalized=False) for token in special])
    hf.add_tokens([AddedToken(token, normalized=False) for token in literal])
    return Tokenizer(hf, settings)
