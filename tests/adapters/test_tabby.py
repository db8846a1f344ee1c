from __future__ import annotations

from typing import Any

import pytest

from adapters.tabby.dialect import DIALECT
from backends.errors import InvalidField
from backends.request import GenerateRequest, InfillPrompt, TextPrompt
from tests.fakes import FakeModels, Script, ScriptedBackend, answer, call, said


async def ask(body: dict[str, Any], script: Script | None = None) -> tuple[Any, GenerateRequest]:
    backend = ScriptedBackend(script) if script else ScriptedBackend()
    asked = call("POST", "/v1/completions", body, models=FakeModels.of(backend))
    got = (await answer(DIALECT.verbs["completions"], asked)).json
    return got, backend.requests[0]


async def test_code_is_filled_in_between_the_segments_and_after_other_files() -> None:
    segments = {"prefix": "a", "suffix": "b", "declarations": [{"filepath": "d.py", "body": "D"}],
                "relevant_snippets_from_recently_opened_files": [{"filepath": "r.py", "body": "R"}]}  # fmt: skip
    _, request = await ask({"language": "python", "segments": segments, "seed": 3})
    assert request.prompts == (InfillPrompt("a", "b", (("d.py", "D"), ("r.py", "R"))),)
    assert (request.max_tokens, request.sampling.temperature, request.sampling.seed) == (64, 0.1, 3)


async def test_an_answer_ends_where_its_language_begins_something_new() -> None:
    _, request = await ask({"language": "python", "segments": {"prefix": "a"}})
    assert request.prompts == (TextPrompt(("a",)),)
    assert request.stop == ("\n\n", "\n#", "\ndef", "\nfrom", "\nclass", "\nimport")
    _, request = await ask({"segments": {"prefix": "a"}})
    assert request.stop == ("\n\n",)


async def test_a_file_with_crlf_gets_crlf_back() -> None:
    body = {"segments": {"prefix": "a\r\nb", "suffix": "c"}}
    got, request = await ask(body, Script(said("x\ny")))
    assert request.prompts == (InfillPrompt("a\nb", "c"),)
    assert got["choices"][0]["text"] == "x\r\ny"


async def test_a_raw_prompt_goes_to_the_model_as_it_is() -> None:
    _, request = await ask({"segments": {"prefix": "a"}, "debug_options": {"raw_prompt": "<PRE>x"}})
    assert request.prompts == (TextPrompt(("<PRE>x",)),)


async def test_a_mode_that_needs_another_model_is_refused_by_name() -> None:
    with pytest.raises(InvalidField, match="mode"):
        await ask({"segments": {"prefix": "a"}, "mode": "next_edit_suggestion"})
