from __future__ import annotations

import asyncio
from pathlib import Path

import orjson
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.tokenizer import Tokenizer
from backends.errors import BackendFailed, InvalidField
from tests.backends.engine.toy_tokenizers import byte_level, sentencepiece

BYTES = byte_level(special=["<|im_end|>"], literal=["<|fim_prefix|>", "    "], settings={"eos_token": "<|im_end|>"})
PIECES = sentencepiece(special=["▁<PRE>"])


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_decode_is_the_inverse_of_encode(text: str) -> None:
    for tokenizer in (BYTES, PIECES):
        ids = tokenizer.encode(text, add_special=False, parse_special=False)
        if tokenizer is BYTES or "▁" not in text:  # SentencePiece can't tell this letter from a blank
            assert tokenizer.decode(ids) == text


@given(st.lists(st.sampled_from([*"<|im_end|>", "<|im_end|>", "<|fim_prefix|>", " ", "a"])).map("".join))
def test_user_text_never_becomes_a_special_token(text: str) -> None:
    ids = BYTES.encode(text, add_special=False, parse_special=False)
    assert not set(ids) & {BYTES.token_id("<|im_end|>"), BYTES.token_id("<|fim_prefix|>")}
    assert BYTES.decode(ids) == text


def test_special_tokens_are_recognised_by_default() -> None:
    end, prefix = BYTES.token_id("<|im_end|>"), BYTES.token_id("<|fim_prefix|>")
    assert BYTES.encode("<|im_end|><|fim_prefix|>", add_special=False) == [end, prefix]


def test_tokens_of_blanks_are_text_even_where_special_tokens_are_not_parsed() -> None:
    blanks = BYTES.token_id("    ")
    assert BYTES.encode("<|im_end|>    ", add_special=False, parse_special=False)[-1] == blanks


def test_the_bytes_of_the_tokens_are_the_bytes_of_the_text() -> None:
    text = "hello wörld, 日本語 🎉\n\n"
    for tokenizer in (BYTES, PIECES):
        ids = tokenizer.encode(text, add_special=False)
        assert b"".join(map(tokenizer.token_bytes, ids)).removeprefix(b" ") == text.encode()


def test_a_token_outside_the_vocabulary_has_no_bytes() -> None:
    for token_id in (-1, BYTES.vocab_size):
        with pytest.raises(InvalidField, match="is no token"):
            BYTES.token_bytes(token_id)


def test_bos_goes_in_front_where_the_model_wants_one() -> None:
    assert PIECES.encode("he", add_special=True) == [1, *PIECES.encode("he", add_special=False)]
    assert BYTES.encode("he", add_special=True) == BYTES.encode("he", add_special=False)
    refusing = sentencepiece(settings={"add_bos_token": False})
    assert refusing.encode("he", add_special=True)[0] != 1
    insisting = byte_level(["<bos>"], settings={"bos_token": {"content": "<bos>"}, "add_bos_token": True})
    assert insisting.encode("he", add_special=True)[0] == insisting.token_id("<bos>")


def test_special_tokens_can_be_left_out_of_the_text() -> None:
    ids = BYTES.encode("hello<|im_end|>", add_special=False)
    assert (BYTES.decode(ids), BYTES.decode(ids, skip_special=True)) == ("hello<|im_end|>", "hello")


async def test_long_text_is_encoded_as_short_text_is() -> None:
    text = "hello world\n" * 500
    assert await PIECES.encode_async(text, add_special=True) == PIECES.encode(text, add_special=True)


async def test_encoding_long_text_never_holds_the_loop() -> None:
    """The loop must go round many times meanwhile; plain `encode` in a thread lets it go round once or twice."""
    encoding = asyncio.create_task(BYTES.encode_async("hello world\n" * 50_000, add_special=False))
    num_rounds = 0
    while not encoding.done():
        await asyncio.sleep(0)
        num_rounds += 1
    assert num_rounds > 100
    assert len(await encoding) > 50_000


def write_folder(folder: Path, tokenizer: Tokenizer = BYTES, **files: object) -> None:
    (folder / "tokenizer.json").write_text(tokenizer.to_json())
    for name, value in files.items():
        (folder / f"{name}.json").write_bytes(orjson.dumps(value))


def test_everything_that_ends_an_answer_is_found(tmp_path: Path) -> None:
    tokenizer = byte_level(special=["<|im_end|>", "<stop>", "<a>", "<b>"])
    ids = {name: tokenizer.token_id(name) for name in ("<|im_end|>", "<stop>", "<a>", "<b>")}
    write_folder(
        tmp_path,
        tokenizer,
        tokenizer_config={"eos_token": {"content": "<stop>"}},
        config={"eos_token_id": ids["<a>"]},
        generation_config={"eos_token_id": [ids["<b>"], 999_999]},
    )
    assert Tokenizer.load(tmp_path).eos_token_ids == frozenset(ids.values())


def test_the_template_file_goes_before_the_config(tmp_path: Path) -> None:
    write_folder(tmp_path, tokenizer_config={"chat_template": [{"name": "default", "template": "old"}]})
    assert Tokenizer.load(tmp_path).chat_templates == {"default": "old"}
    (tmp_path / "chat_template.jinja").write_text("new")
    (tmp_path / "additional_chat_templates").mkdir()
    (tmp_path / "additional_chat_templates" / "tool_use.jinja").write_text("tools")
    assert Tokenizer.load(tmp_path).chat_templates == {"default": "new", "tool_use": "tools"}


def test_a_folder_that_cannot_be_read_says_which_file(tmp_path: Path) -> None:
    with pytest.raises(BackendFailed, match=r"tokenizer\.json is missing"):
        Tokenizer.load(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(BackendFailed, match=r"tokenizer\.json: "):
        Tokenizer.load(tmp_path)
    write_folder(tmp_path, tokenizer_config=[])
    with pytest.raises(BackendFailed, match=r"tokenizer_config\.json: not a JSON object"):
        Tokenizer.load(tmp_path)


def test_a_tokenizer_whose_tokens_cannot_be_joined_is_refused() -> None:
    hf = tokenizers.Tokenizer(tokenizers.models.WordPiece({"[UNK]": 0}))
    hf.decoder = tokenizers.decoders.WordPiece()
    with pytest.raises(BackendFailed, match="WordPiece"):
        Tokenizer(hf, {})


def test_truncation_and_padding_of_the_file_are_off(tmp_path: Path) -> None:
    hf = tokenizers.Tokenizer.from_str(BYTES.to_json())
    hf.enable_truncation(2)
    hf.enable_padding(length=8)
    hf.save(str(tmp_path / "tokenizer.json"))
    assert len(Tokenizer.load(tmp_path).encode("abc", add_special=False)) == 3
