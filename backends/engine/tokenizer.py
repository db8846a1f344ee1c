"""Text to token ids and back, for one model's folder. Knows nothing of sequences, templates or sampling."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import orjson
import tokenizers

from backends.engine.vocabulary import token_bytes
from backends.errors import BackendFailed, InvalidField

SHORT = 1000
"""Characters that are encoded on the event loop: about 0.4 ms. More goes to a thread, which costs 0.1 ms."""

TURN_ENDS = ("<|im_end|>", "<|eot_id|>", "<|eom_id|>", "<end_of_turn>", "<|end|>", "<|endoftext|>")
"""They end an answer wherever they are in the vocabulary, whatever the config says: many base models' doesn't name
the end of a turn that their own chat template writes (llama.cpp src/llama-vocab.cpp, `special_eog_ids`)."""

LOOKS_SPECIAL = re.compile(
    r"<[|\uff5c].*[|\uff5c]>|</?(?:tool|think|fim|repo|file)[\w-]*>|▁?<[A-Z]{3}>|\[[A-Z_]+\]|<\[[\w-]+\]>"
)
"""Added tokens that steer a model although their tokenizer.json doesn't call them special, such as Qwen's `<tool_call>`
(llama.cpp convert_hf_to_gguf.py, `does_token_look_special`). Added tokens of blanks or of HTML don't steer."""


class Tokenizer:
    """bos_id: None where the model has none. eos_token_ids: every id that ends an answer. special_ids: control tokens,
    which are no part of an answer's text. vocab_size: one more than the highest id (a model may have more logits).
    adds_bos: the model wants BOS in front. chat_templates: by name; the usual one is `default`.
    texts: by id, each token's text, or None where its bytes alone aren't UTF-8."""

    def __init__(self, hf: tokenizers.Tokenizer, settings: dict[str, Any], eos_ids: Iterable[int] = ()) -> None:
        """settings: tokenizer_config.json. eos_ids: those of the model's configs."""
        self._hf = hf
        added = hf.get_added_tokens_decoder()
        vocabulary = hf.get_vocab(with_added_tokens=True)
        self._bytes = token_bytes(
            vocabulary, {key: token.content for key, token in added.items()}, _part(hf.decoder), _part(hf.pre_tokenizer)
        )
        self.texts = [_text_or_none(piece) for piece in self._bytes]
        self.vocab_size = len(self._bytes)
        self.special_ids = frozenset(key for key, token in added.items() if token.special)
        steering = [
            token.content for token in added.values() if token.special or LOOKS_SPECIAL.fullmatch(token.content)
        ]
        self._steering = re.compile("|".join(map(re.escape, steering)) or r"(?!)")
        self.bos_token = _content(settings.get("bos_token"))
        self.eos_token = _content(settings.get("eos_token"))
        self.bos_id = self.token_id(self.bos_token)
        turn_ends = {self.token_id(token) for token in (*TURN_ENDS, self.eos_token)}
        self.eos_token_ids = frozenset(
            token_id for token_id in {*eos_ids, *turn_ends} if token_id is not None and 0 <= token_id < self.vocab_size
        )
        self.adds_bos = self._adds_bos(settings.get("add_bos_token"))
        self.chat_templates = _templates(settings.get("chat_template"))

    @classmethod
    def load(cls, folder: Path) -> Tokenizer:
        """Reads tokenizer.json and its neighbours. Raises BackendFailed naming the file that is missing or bad."""
        path = folder / "tokenizer.json"
        if not path.is_file():
            raise BackendFailed(f"{path} is missing (a tokenizer.model alone can't be read)")
        try:
            hf = tokenizers.Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises nothing narrower
            raise BackendFailed(f"{path}: {error}") from None
        hf.no_truncation()
        hf.no_padding()
        eos_ids = [*_eos_ids(folder / "generation_config.json"), *_eos_ids(folder / "config.json")]
        tokenizer = cls(hf, _read_object(folder / "tokenizer_config.json"), eos_ids)
        tokenizer.chat_templates.update(_template_files(folder))
        return tokenizer

    def _adds_bos(self, wanted: object) -> bool:
        if self.bos_id is None:
            return False
        if isinstance(wanted, bool):
            return wanted
        return bool(self._hf.encode("a").ids[:1] == [self.bos_id])

    def encode(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        """For short text: holds the GIL. add_special: put BOS in front, where the model wants one.

        parse_special False: nothing that `text` says is taken for a special token.
        """
        encoder = self._encoder(text, parse_special)
        return self._with_bos(encoder.encode(text, add_special_tokens=False).ids, add_special)

    async def encode_async(self, text: str, *, add_special: bool, parse_special: bool = True) -> list[int]:
        """For text of any length: never holds the event loop (a batch is encoded without the GIL, `encode` isn't)."""
        if len(text) <= SHORT:
            return self.encode(text, add_special=add_special, parse_special=parse_special)
        return await asyncio.to_thread(self._encode_long, text, add_special, parse_special)

    def _encode_long(self, text: str, add_special: bool, parse_special: bool) -> list[int]:
        (encoding,) = self._encoder(text, parse_special).encode_batch_fast([text], add_special_tokens=False)
        return self._with_bos(encoding.ids, add_special)

    def _encoder(self, text: str, parse_special: bool) -> tokenizers.Tokenizer:
        return self._hf if parse_special or not self._steering.search(text) else self._literal

    @cached_property
    def _literal(self) -> tokenizers.Tokenizer:
        """The same tokenizer, blind to special tokens. Rarely needed, so it is made when it first is."""
        spec = orjson.loads(self._hf.to_str())
        for token in spec["added_tokens"]:
            token["special"] = bool(self._steering.fullmatch(token["content"]))
        literal = tokenizers.Tokenizer.from_str(orjson.dumps(spec).decode())
        literal.encode_special_tokens = True
        return literal

    def _with_bos(self, ids: list[int], add_special: bool) -> list[int]:
        return [self.bos_id, *ids] if add_special and self.adds_bos and self.bos_id is not None else ids

    @cached_property
    def prepends_blank(self) -> bool:
        """Does text get a blank in front before it is cut (SentencePiece's dummy prefix)?"""
        return self._join(self.encode("a", add_special=False), skip_special=False).startswith(" ")

    def decode(self, ids: Sequence[int], skip_special: bool = False) -> str:
        """The inverse of `encode`; bytes that aren't UTF-8 become U+FFFD. Raises InvalidField for an unknown id."""
        text = self._join(ids, skip_special)
        return text[1:] if self.prepends_blank and text.startswith(" ") else text

    def _join(self, ids: Sequence[int], skip_special: bool) -> str:
        kept = (key for key in ids if not (skip_special and key in self.special_ids))
        return b"".join(map(self.token_bytes, kept)).decode("utf-8", "replace")

    def token_bytes(self, token_id: int) -> bytes:
        """Raises InvalidField for an id outside the vocabulary."""
        if not 0 <= token_id < self.vocab_size:
            raise InvalidField("tokens", f"{token_id} is no token of this model's {self.vocab_size}", token_id)
        return self._bytes[token_id]

    def token_id(self, piece: str) -> int | None:
        """The id of a token written exactly so in the vocabulary, such as `<|im_end|>`."""
        found: int | None = self._hf.token_to_id(piece) if piece else None
        return found

    def to_json(self) -> str:
        """tokenizer.json, as other libraries read it."""
        return str(self._hf.to_str())


def _part(part: Any) -> Any:
    """A part of a tokenizer as it stands in tokenizer.json."""
    return None if part is None else orjson.loads(part.__getstate__())


def _text_or_none(piece: bytes) -> str | None:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return None


def _content(token: Any) -> str:
    """A special token's text: some configs write a string, some an object."""
    return str((token.get("content") if isinstance(token, dict) else token) or "")


def _read_object(path: Path) -> dict[str, Any]:
    """A JSON object; empty where there is no such file."""
    if not path.is_file():
        return {}
    try:
        value = orjson.loads(path.read_bytes())
    except orjson.JSONDecodeError as error:
        raise BackendFailed(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise BackendFailed(f"{path}: not a JSON object")
    return value


def _eos_ids(path: Path) -> list[int]:
    ids = _read_object(path).get("eos_token_id")
    return ids if isinstance(ids, list) else [] if ids is None else [ids]


def _templates(setting: Any) -> dict[str, str]:
    """tokenizer_config.json holds one template, or a list of named ones."""
    if isinstance(setting, list):
        return {named["name"]: named["template"] for named in setting}
    return {"default": setting} if setting else {}


def _template_files(folder: Path) -> dict[str, str]:
    """They go before what tokenizer_config.json says."""
    files = {path.stem: path for path in (folder / "additional_chat_templates").glob("*.jinja")}
    files |= {"default": folder / "chat_template.jinja"}
    return {name: path.read_text("utf-8") for name, path in files.items() if path.is_file()}
