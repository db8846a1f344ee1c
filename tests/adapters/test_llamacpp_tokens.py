"""/tokenize and /detokenize, /infill, and the embedding routes."""

from __future__ import annotations

import base64
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import orjson
import pytest

from adapters.llamacpp.dialect import DIALECT
from adapters.llamacpp.embeddings import normalised
from backends.base import BackendState, Embeddings
from backends.errors import PromptTooLong
from backends.request import EmbedRequest, InfillPrompt
from tests.adapters.llamacpp_tools import ask, events, keys, models_of, parsed, recorded, refusal
from tests.fakes import INFO, ScriptedBackend, answer, call

# /tokenize, /detokenize


async def test_tokenize() -> None:
    assert await ask("tokenize", {"content": "Hi"}) == {"tokens": [72, 105]}
    assert await ask("tokenize", {"content": "Hi", "add_special": True}) == {"tokens": [256, 72, 105]}
    assert await ask("tokenize", {"content": ["H", 300, "i"], "add_special": True}) == {"tokens": [256, 72, 300, 105]}
    assert await ask("tokenize", {"content": ""}) == {"tokens": []}
    assert await ask("tokenize", {}) == {"tokens": []}


async def test_pieces_that_are_not_utf8_are_bytes() -> None:
    whole = await ask("tokenize", {"content": "Hé", "with_pieces": True})
    assert whole["tokens"] == [{"id": 72, "piece": "H"}, {"id": 195, "piece": [195]}, {"id": 169, "piece": [169]}]


async def test_detokenize() -> None:
    assert await ask("detokenize", {"tokens": [72, 105.0]}) == {"content": "Hi"}
    assert await ask("detokenize", {}) == {"content": ""}


async def test_vllms_name_for_the_text_where_it_may_be_asked_for() -> None:
    asked = call("POST", "/detokenize", {"tokens": [72]}, models=models_of(ScriptedBackend()), persona="openai")
    outcome: Any = await DIALECT.verbs["detokenize"](asked)
    assert orjson.loads(outcome.body) == {"content": "H", "prompt": "H"}


@pytest.mark.parametrize(
    ("verb", "body", "message"),
    [
        ("tokenize", {"content": None}, "[json.exception.type_error.302] type must be string, but is null"),
        ("tokenize", {"content": 5}, "[json.exception.type_error.302] type must be string, but is number"),
        ("detokenize", {"tokens": "x"}, "[json.exception.type_error.302] type must be array, but is string"),
        ("detokenize", {"tokens": ["x"]}, "[json.exception.type_error.302] type must be number, but is string"),
        (
            "detokenize",
            {"tokens": [999999]},
            "vector::_M_range_check: __n (which is 999999) >= this->size() (which is 258)",
        ),
    ],
)
async def test_wrong_types_are_server_errors(verb: str, body: object, message: str) -> None:
    assert await refusal(verb, body) == (500, "server_error", message)


# /infill


FILL = {"input_prefix": "def f(", "input_suffix": "return x"}


async def test_infill() -> None:
    body = FILL | {"prompt": "x", "input_extra": [{"text": "a", "filename": "b.py", "time": [1, 2]}, {"text": "c"}]}
    (prompt,) = (await parsed("infill", body)).prompts
    assert prompt == InfillPrompt("def f(", "return x", (("b.py", "a"), ("tmp", "c")), "x")
    assert (await ask("infill", body))["content"] == "Hello world"
    assert [event["stop"] for event in await events("infill", FILL)] == [False, False, False, True]


async def test_what_llama_vim_sends() -> None:
    """Its warm-up, and its request with flat keys."""
    warm_up = {"model": "", "input_prefix": "", "input_suffix": "", "input_extra": [], "prompt": "", "n_predict": 0,
               "temperature": 0.0, "stream": False, "samplers": [], "cache_prompt": True, "t_max_prompt_ms": 1,
               "t_max_predict_ms": 1, "response_fields": [""]}  # fmt: skip
    assert await ask("infill", warm_up) == {}
    wanted = {"n_indent": 4, "top_k": 40, "top_p": 0.9, "samplers": ["top_k", "top_p", "infill"],
              "response_fields": ["content", "timings/prompt_n", "tokens_cached"]}  # fmt: skip
    whole = await ask("infill", FILL | wanted)
    assert list(whole) == ["content", "timings/prompt_n", "tokens_cached"]


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"input_prefix": "a"}, 500, "[json.exception.out_of_range.403] key 'input_suffix' not found"),
        ({"input_suffix": "a"}, 500, "[json.exception.out_of_range.403] key 'input_prefix' not found"),
        ({}, 500, "[json.exception.out_of_range.403] key 'input_suffix' not found"),
        ([], 500, "[json.exception.type_error.305] cannot use operator[] with a string argument with array"),
        (
            FILL | {"input_extra": None},
            400,
            '"input_extra" must be an array of {"filename": string, "text": string}',
        ),
        (
            FILL | {"input_extra": {}},
            400,
            '"input_extra" must be an array of {"filename": string, "text": string}',
        ),
        (
            FILL | {"input_extra": [{"filename": "x"}]},
            400,
            'extra_context chunk must contain a "text" field with a string value',
        ),
        (
            FILL | {"input_extra": [{"text": "x", "filename": 5}]},
            400,
            'extra_context chunk\'s "filename" field must be a string',
        ),
    ],
)
async def test_infill_refuses_in_the_servers_words(body: object, status: int, message: str) -> None:
    refused = await refusal("infill", body)
    assert (refused[0], refused[2]) == (status, message)


async def test_a_model_without_the_middle_says_so() -> None:
    plain = ScriptedBackend(info=replace(INFO, capabilities=frozenset({"completion"})))
    status, kind, message = await refusal("infill", FILL, backend=plain)
    assert (status, kind) == (501, "not_supported_error")
    assert message.startswith("Infill is not supported by this model: prefix token is missing.")


async def test_extra_context_beyond_the_window_is_left_out_and_told() -> None:
    """Editors send more than fits; the last chunks are the nearest."""
    small = ScriptedBackend(info=replace(INFO, window=200))
    chunks = [{"text": letter * 30, "filename": letter} for letter in "abcdef"]
    asked = call("POST", "/infill", FILL | {"input_extra": chunks}, models=models_of(small))
    outcome: Any = await DIALECT.verbs["infill"](asked)
    (prompt,) = outcome.request.prompts
    assert [name for name, _ in prompt.extra] == ["e", "f"]
    assert asked.ignored == ["input_extra"]
    (fits,) = (await parsed("infill", FILL | {"input_extra": chunks})).prompts
    assert isinstance(fits, InfillPrompt)
    assert len(fits.extra) == 6


# embeddings


VECTOR = [0.5, -0.5, 0.5, -0.5]


async def test_native_embeddings() -> None:
    one = [{"index": 0, "embedding": [VECTOR]}]
    assert await ask("embedding", {"content": "a"}) == one
    assert await ask("embedding", {"input": "a"}) == one
    assert await ask("v1_embeddings", {"content": "a"}) == one
    assert len(await ask("embedding", {"content": ["a", [1, 2], "b"]})) == 3


async def test_openai_embeddings() -> None:
    whole = await ask("v1_embeddings", {"input": ["ab", [1, 2, 3]], "model": "x"})
    theirs = orjson.loads(recorded("embd_oai_list").body)
    assert keys(whole) == keys(theirs)
    assert keys(whole["data"][0]) == keys(theirs["data"][0])
    assert (whole["model"], whole["usage"]) == ("tiny", {"prompt_tokens": 5, "total_tokens": 5})
    assert whole["data"][1] == {"embedding": VECTOR, "index": 1, "object": "embedding"}


async def test_base64_only_when_asked_for() -> None:
    whole = await ask("v1_embeddings", {"input": "a", "encoding_format": "base64"})
    (item,) = whole["data"]
    assert list(item) == ["embedding", "index", "object", "encoding_format"]
    assert list(struct.unpack("<4f", base64.b64decode(item["embedding"]))) == VECTOR


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ({"model": "tiny"}, 400, '"input" or "content" must be provided'),
        ({"input": []}, 400, '"input" must not be empty'),
        (
            {"input": None},
            500,
            '"prompt" elements must be a string, a list of tokens, a JSON object containing a prompt string, '
            "or a list of mixed strings & tokens.",
        ),
        (
            {"input": "a", "encoding_format": "hex"},
            400,
            "The format to return the embeddings in. Can be either float or base64",
        ),
        (
            {"input": "a", "encoding_format": 5},
            500,
            "[json.exception.type_error.302] type must be string, but is number",
        ),
        (
            {"input": "a", "embd_normalize": "x"},
            500,
            "[json.exception.type_error.302] type must be number, but is string",
        ),
    ],
)
async def test_embeddings_refuse_in_the_servers_words(body: object, status: int, message: str) -> None:
    refused = await refusal("v1_embeddings", body)
    assert (refused[0], refused[2]) == (status, message)


class Narrow(ScriptedBackend):
    async def embed(self, request: EmbedRequest) -> Embeddings:
        raise PromptTooLong(3002, 512)


async def test_an_input_that_is_too_long() -> None:
    theirs = orjson.loads(recorded("embd_too_long").body)["error"]
    assert await refusal("v1_embeddings", {"input": "a"}, backend=Narrow()) == (500, "server_error", theirs["message"])


async def test_a_model_without_embeddings_and_rerank() -> None:
    plain = ScriptedBackend(info=replace(INFO, capabilities=frozenset({"completion"})))
    theirs = orjson.loads(recorded("embedding_disabled").body)["error"]
    assert await refusal("embedding", {"content": "a"}, backend=plain) == (501, theirs["type"], theirs["message"])
    theirs = orjson.loads(recorded("rerank_disabled_1").body)["error"]
    assert await refusal("rerank", {"query": "a"}) == (501, theirs["type"], theirs["message"])


@pytest.mark.parametrize(
    ("verb", "body"),
    [
        ("tokenize", {"content": "a"}),
        ("detokenize", {"tokens": [72]}),
        ("apply_template", {"messages": []}),
        ("input_tokens", {"messages": []}),
        ("count_tokens", {"messages": []}),
        ("embedding", {"content": "a"}),
        ("infill", FILL),
    ],
)
async def test_what_asks_a_model_loads_it_first(verb: str, body: object) -> None:
    asleep = ScriptedBackend(state=BackendState.STOPPED)
    await ask(verb, body, backend=asleep)
    assert asleep.state is BackendState.READY


@pytest.mark.parametrize(
    ("norm", "vector"),
    [
        (-1, [3.0, -4.0]),
        (0, [24570.0, -32760.0]),
        (1, [3 / 7, -4 / 7]),
        (2, [0.6, -0.8]),
        (3, [3 / 91 ** (1 / 3), -4 / 91 ** (1 / 3)]),
    ],
)
def test_every_norm(norm: int, vector: list[float]) -> None:
    assert normalised(np.array([3, -4], np.float32), norm).tolist() == pytest.approx(vector)


def test_nothing_stays_nothing() -> None:
    assert normalised(np.zeros(2, np.float32), 2).tolist() == [0, 0]


async def test_ids_may_stand_in_what_surrounds_a_gap() -> None:
    request = await parsed("infill", FILL | {"input_prefix": ["a", 98], "input_suffix": []})
    assert request.prompts == (InfillPrompt("ab", ""),)


async def test_what_is_far_from_the_gap_is_left_out() -> None:
    backend = ScriptedBackend()
    asked = call("POST", "/infill", {"input_prefix": "a" * 2000 + "b", "input_suffix": "c" + "d" * 2000},
                 models=models_of(backend))  # fmt: skip
    await answer(DIALECT.verbs["infill"], asked)
    (prompt,) = backend.requests[0].prompts
    assert prompt == InfillPrompt("a" * 1535 + "b", "c" + "d" * 509)
    assert asked.ignored == ["input_prefix", "input_suffix"]


@pytest.mark.parametrize("body", ["[]", "null", "5", '"x"'])
async def test_what_is_no_object_has_no_keys(body: str) -> None:
    assert await ask("tokenize", body) == {"tokens": []}
    assert await ask("detokenize", body) == {"content": ""}
    assert (await refusal("embedding", body))[2] == '"input" or "content" must be provided'


async def test_the_parts_of_a_content_are_embedded_as_its_text() -> None:
    part = {"type": "text", "text": "ab"}
    assert len(await ask("embedding", {"input": [{"content": [part, part]}]})) == 1
    assert await refusal("embedding", {"input": {"content": "x"}}) == (
        400, "invalid_request_error", '"content" must be an array',
    )  # fmt: skip
