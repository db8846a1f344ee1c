from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.infill import FAMILIES, Family, InfillFormat, no_infill
from backends.engine.tokenizer import Tokenizer
from backends.request import InfillPrompt
from tests.backends.engine.toy_tokenizers import byte_level, sentencepiece

BY_NAME = {family.name: family for family in FAMILIES}
IS_SENTENCEPIECE = {"codellama", "codestral"}


def vocabulary(family: Family) -> Tokenizer:
    """All tokens of a family; half of them aren't called special, as in Qwen's own file."""
    tokens = [*family.hole, *family.others]
    if family.name in IS_SENTENCEPIECE:
        return sentencepiece(special=tokens)
    return byte_level(special=["<bos>", *tokens[::2]], literal=tokens[1::2])


def detected(tokenizer: Tokenizer) -> InfillFormat:
    found = InfillFormat.detect(tokenizer)
    assert found is not None
    return found


async def written(family: str, prompt: InfillPrompt) -> str:
    tokenizer = vocabulary(BY_NAME[family])
    return tokenizer.decode(await detected(tokenizer).encode(prompt))


@pytest.mark.parametrize("family", FAMILIES, ids=BY_NAME)
def test_a_family_is_known_by_its_tokens(family: Family) -> None:
    assert detected(vocabulary(family)).family is family


def test_a_vocabulary_without_sentinels_has_no_infill() -> None:
    assert InfillFormat.detect(byte_level(special=["<fim_prefix>", "<fim_suffix>"])) is None
    assert str(no_infill()).startswith("Infill is not supported by this model: prefix token is missing. ")


HOLE = InfillPrompt("def f(", "    return 1", start="x")
ONE_FILE = {
    "qwen": "<|fim_prefix|>def f(<|fim_suffix|>    return 1<|fim_middle|>x",
    "codegemma": "<|fim_prefix|>def f(<|fim_suffix|>    return 1<|fim_middle|>x",
    "granite": "<|fim_prefix|>def f(<|fim_suffix|>    return 1<|fim_middle|>x",
    "starcoder": "<fim_prefix>def f(<fim_suffix>    return 1<fim_middle>x",
    "starcoder2": "<fim_prefix>def f(<fim_suffix>    return 1<fim_middle>x",
    "dragoman": "<fim_prefix><fim_suffix>    return 1<fim_middle>def f(x",
    "santacoder": "<fim-prefix>def f(<fim-suffix>    return 1<fim-middle>x",
    "deepseek": "<｜fim▁begin｜>def f(<｜fim▁hole｜>    return 1<｜fim▁end｜>x",  # noqa: RUF001
    "codellama": "<s>▁<PRE> def f(▁<SUF>    return 1▁<MID>x",
    "codestral": "<s>[SUFFIX]    return 1[PREFIX] def f(x",
    "seed-coder": "<[fim-suffix]>    return 1<[fim-prefix]>def f(<[fim-middle]>x",
    "glm": "<|code_prefix|>def f(<|code_suffix|>    return 1<|code_middle|>x",
}


@pytest.mark.parametrize("family", ONE_FILE)
async def test_the_hole_is_written_in_the_familys_order(family: str) -> None:
    assert await written(family, HOLE) == ONE_FILE[family]


def test_every_family_is_tested() -> None:
    assert set(ONE_FILE) == set(BY_NAME)


REPOSITORY = InfillPrompt("p", "s", extra=(("a.py", "A\n"), ("b {}.py", "B")))
MANY_FILES = {
    "qwen": "<|repo_name|>myproject\n<|file_sep|>a.py\nA\n<|file_sep|>b {}.py\nB\n<|file_sep|>filename\n"
    "<|fim_prefix|>p<|fim_suffix|>s<|fim_middle|>",
    "starcoder2": "<repo_name>myproject\n<file_sep>a.py\nA\n<file_sep>b {}.py\nB\n<file_sep>"
    "<fim_prefix>filename\np<fim_suffix>s<fim_middle>",
    "dragoman": "<|file_sep|>a.py\nA\n<|file_sep|>b {}.py\nB\n<|file_sep|>filename\n"
    "<fim_prefix><fim_suffix>s<fim_middle>p",
    "deepseek": "#a.py\nA\n#b {}.py\nB\n#filename\n<｜fim▁begin｜>p<｜fim▁hole｜>s<｜fim▁end｜>",  # noqa: RUF001
}


@pytest.mark.parametrize("family", MANY_FILES)
async def test_other_files_come_first(family: str) -> None:
    assert await written(family, REPOSITORY) == MANY_FILES[family]


async def test_a_vocabulary_without_file_tokens_gets_headings() -> None:
    tokenizer = byte_level(special=BY_NAME["starcoder"].hole)
    ids = await detected(tokenizer).encode(InfillPrompt("p", "s", extra=(("a.py", "A"),)))
    assert tokenizer.decode(ids) == "# a.py\nA\n# filename\n<fim_prefix>p<fim_suffix>s<fim_middle>"


smuggled = st.lists(st.sampled_from([*BY_NAME["qwen"].hole, "<|file_sep|>", "<|im_end|>", "<|", " x", "\n"])).map(
    "".join
)


@given(smuggled, smuggled, smuggled, smuggled)
async def test_the_callers_text_brings_no_special_tokens_in(prefix: str, suffix: str, extra: str, start: str) -> None:
    tokenizer = QWEN
    ids = await detected(tokenizer).encode(InfillPrompt(prefix, suffix, ((extra, extra),), start))
    special = [token_id for token_id in ids if token_id in STEERING]
    assert [tokenizer.decode([token_id]) for token_id in special] == [
        "<|repo_name|>", "<|file_sep|>", "<|file_sep|>", "<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>",
    ]  # fmt: skip
    assert tokenizer.decode(ids).endswith(f"<|fim_prefix|>{prefix}<|fim_suffix|>{suffix}<|fim_middle|>{start}")


QWEN = byte_level(special=["<|im_end|>"], literal=[*BY_NAME["qwen"].hole, *BY_NAME["qwen"].others])
STEERING = {QWEN.token_id(token) for token in ("<|im_end|>", *BY_NAME["qwen"].hole, *BY_NAME["qwen"].others)}


async def test_the_next_keystroke_leaves_the_prompt_before_it_alone() -> None:
    infill = detected(QWEN)
    first, second = [await infill.encode(InfillPrompt("p", "s", start=start)) for start in ("x", "xy")]
    assert second[: len(first)] == first


def test_every_sentinel_ends_the_middle() -> None:
    infill = detected(QWEN)
    assert infill.stop_token_ids == STEERING - {QWEN.token_id("<|im_end|>")}


async def test_bos_comes_first_where_the_model_wants_one() -> None:
    tokenizer = vocabulary(BY_NAME["codellama"])
    assert (await detected(tokenizer).encode(HOLE))[0] == tokenizer.bos_id


async def test_empty_parts_add_no_tokens() -> None:
    tokenizer = vocabulary(BY_NAME["codestral"])
    ids = await detected(tokenizer).encode(InfillPrompt("", ""))
    assert re.fullmatch(r"<s>\[SUFFIX\]\[PREFIX\]", tokenizer.decode(ids))
