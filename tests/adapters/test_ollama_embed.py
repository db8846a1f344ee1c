"""/api/embed, the older /api/embeddings, and /v1/embeddings."""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Sequence

import pytest

from backends.base import BackendState, Embeddings
from backends.errors import PromptTooLong, Unsupported
from backends.request import EmbedRequest
from tests.adapters.ollama_tools import JSON, JSON_UTF8, Said, ask
from tests.fakes import FakeModels, ScriptedBackend


class Measuring(ScriptedBackend):
    """Its vectors are [3 · tokens, 4 · tokens, 0]; more than `window` tokens are too many. Notes what it was given."""

    def __init__(self, window: int = 100) -> None:
        super().__init__()
        self.window = window
        self.given: list[str | Sequence[int]] = []

    async def embed(self, request: EmbedRequest) -> Embeddings:
        self.given += request.inputs
        counts = tuple(map(len, request.inputs))
        if max(counts) > self.window:
            raise PromptTooLong(max(counts), self.window)
        return Embeddings(tuple((3.0 * n, 4.0 * n, 0.0) for n in counts), counts, "mean")


async def embed(verb: str, body: object, backend: ScriptedBackend | None = None) -> Said:
    models = FakeModels.of(backend or Measuring(), name="m", refuses=True)
    return await ask(verb, body, models=models)


# /api/embed


async def test_vectors_have_length_one_and_32_bits() -> None:
    said = await embed("embed", {"model": "m", "input": ["ab", "abc"]})
    assert said.content_type == JSON_UTF8
    assert b'"embeddings":[[0.6,0.8,0.0],[0.6,0.8,0.0]]' in said.body
    assert list(said.json) == ["model", "embeddings", "total_duration", "load_duration", "prompt_eval_count"]
    assert said.json["prompt_eval_count"] == 5


async def test_a_single_text_is_a_list_of_one() -> None:
    assert len((await embed("embed", {"model": "m", "input": "ab"})).json["embeddings"]) == 1


async def test_fewer_dimensions_are_the_first_ones_made_length_one_again() -> None:
    assert (await embed("embed", {"model": "m", "input": "ab", "dimensions": 1})).json["embeddings"] == [[1.0]]
    assert len((await embed("embed", {"model": "m", "input": "ab", "dimensions": 9})).json["embeddings"][0]) == 3


@pytest.mark.parametrize("nothing", [{}, {"input": ""}, {"input": []}, {"input": None}])
async def test_no_input_loads_the_model(nothing: dict[str, object]) -> None:
    said = await ask("embed", {"model": "m"} | nothing, state=BackendState.STOPPED)
    assert said.json == {"model": "m", "embeddings": []}
    assert said.models.served[0].backend.state is BackendState.READY


@pytest.mark.parametrize("bad", [5, True, {"a": 1}, [5], [["a"]]])
async def test_an_input_is_text(bad: object) -> None:
    assert (await embed("embed", {"model": "m", "input": bad})).error == (400, "invalid input type")


async def test_an_input_that_is_too_long_is_refused_with_both_numbers() -> None:
    said = await embed("embed", {"model": "m", "input": "abcdef"}, Measuring(window=4))
    assert said.error == (400, "the input length exceeds the context length: 6 tokens, but 4 fit")


async def test_told_not_to_truncate_it_is_refused_in_ollamas_words() -> None:
    said = await embed("embed", {"model": "m", "input": "abcdef", "truncate": False}, Measuring(window=4))
    assert said.error == (400, "the input length exceeds the context length")


async def test_told_to_truncate_the_window_is_filled() -> None:
    backend = Measuring(window=4096)
    said = await embed("embed", {"model": "m", "input": "a" * 5000, "truncate": True}, backend)
    assert [len(given) for given in backend.given] == [4096]
    assert said.json["prompt_eval_count"] == 4096


async def test_unknown_models() -> None:
    said = await embed("embed", {"model": "nope", "input": "x"})
    assert said.error == (404, 'model "nope" not found, try pulling it first')
    assert (await embed("embed", {"input": "x"})).error == (404, "model '' not found")


async def test_a_model_without_embeddings_says_so() -> None:
    class Without(ScriptedBackend):
        async def embed(self, inputs: Sequence[str | Sequence[int]], *, key: str | None = None) -> Embeddings:
            raise Unsupported("the model makes no embeddings", feature="embeddings")

    assert (await embed("embed", {"model": "m", "input": "x"}, Without())).error == (
        400,
        "the model makes no embeddings",
    )


# /api/embeddings


async def test_the_older_route_gives_one_vector_as_the_model_made_it() -> None:
    assert (await embed("embeddings", {"model": "m", "prompt": "ab"})).json == {"embedding": [6.0, 8.0, 0.0]}
    assert (await embed("embeddings", {"model": "m"})).body == b'{"embedding":[]}'
    assert (await embed("embeddings", {"prompt": "x"})).error == (400, "model is required")


async def test_keep_alive_counts_here_too() -> None:
    assert (await embed("embeddings", {"model": "m", "prompt": "ab", "keep_alive": "1m"})).models.kept_s == {"m": 60.0}
    assert (await embed("embed", {"model": "m", "input": "ab", "keep_alive": 5})).models.kept_s == {"m": 5.0}


# /v1/embeddings


async def test_openais_shape() -> None:
    said = await embed("embeddings_v1", {"model": "m", "input": ["ab", "abc"]})
    assert said.content_type == JSON
    assert said.body.endswith(b"\n")
    assert list(said.json) == ["object", "data", "model", "usage"]
    assert [list(item) for item in said.json["data"]] == [["object", "embedding", "index"]] * 2
    assert said.json["data"][1] == {"object": "embedding", "embedding": [0.6, 0.8, 0.0], "index": 1}
    assert said.json["usage"] == {"prompt_tokens": 5, "total_tokens": 5}


async def test_base64_when_it_is_asked_for() -> None:
    said = await embed("embeddings_v1", {"model": "m", "input": "ab", "encoding_format": "base64"})
    vector = struct.unpack("<3f", base64.b64decode(said.json["data"][0]["embedding"]))
    assert all(math.isclose(a, b, rel_tol=1e-6) for a, b in zip(vector, (0.6, 0.8, 0.0), strict=True))


@pytest.mark.parametrize(
    ("body", "message", "content_type"),
    [
        ({}, "invalid input", JSON_UTF8),
        ({"input": []}, "invalid input", JSON_UTF8),
        ({"input": [1, 2]}, "invalid input type", JSON),
        (
            {"input": "x", "encoding_format": "int8"},
            "Invalid value for 'encoding_format' = int8. Supported values: ['float', 'base64'].",
            JSON_UTF8,
        ),
    ],
)
async def test_refusals_have_openais_shape(body: dict[str, object], message: str, content_type: str) -> None:
    said = await embed("embeddings_v1", {"model": "m"} | body)
    error = {"message": message, "type": "invalid_request_error", "param": None, "code": None}
    assert (said.error, said.content_type) == ((400, error), content_type)
    assert said.body.endswith(b"\n") is (content_type == JSON)
