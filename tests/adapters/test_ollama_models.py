"""What Ollama's listener tells about itself and its models."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

from adapters.base import Served
from adapters.ollama.models import VERSION, human_number
from backends.base import BackendState
from tests.adapters.ollama_tools import JSON_UTF8, PLAIN, ask
from tests.fakes import CREATED, INFO, FakeModels, ScriptedBackend

DETAILS = {
    "parent_model": "",
    "format": "safetensors",
    "family": "llama",
    "families": ["llama"],
    "parameter_size": "1.1B",
    "quantization_level": "F16",
}


async def show(body: object, **options: Any) -> Any:
    return (await ask("show", body, **options)).json


# version


async def test_the_version_is_dotted_numbers_and_new_enough() -> None:
    said = await ask("version")
    assert said.body == b'{"version":"%s"}' % VERSION.encode()
    assert re.fullmatch(r"\d+\.\d+\.\d+", VERSION)
    assert tuple(map(int, VERSION.split("."))) >= (0, 13, 4)


# tags


async def test_every_name_that_a_client_may_use_is_listed() -> None:
    models = (await ask("tags")).json["models"]
    assert [(model["name"], model["model"]) for model in models] == [("m", "m"), ("gpt-3.5-turbo", "gpt-3.5-turbo")]
    assert [model["details"]["parent_model"] for model in models] == ["", "m"]


async def test_a_listed_model() -> None:
    said = await ask("tags")
    assert said.content_type == JSON_UTF8
    assert said.json["models"][0] == {
        "name": "m",
        "model": "m",
        "modified_at": "2023-11-14T22:13:20.5Z",
        "size": 2_200_000_000,
        "digest": INFO.digest,
        "details": DETAILS,
        "capabilities": ["completion", "tools", "insert", "embedding", "thinking"],
    }


async def test_what_a_backend_does_not_know() -> None:
    """The command line client cuts twelve characters off every digest."""
    unknown = replace(INFO, digest="", modified_at=0.0, path="", num_parameters=0)
    (model, _) = (await ask("tags", info=unknown)).json["models"]
    assert re.fullmatch(r"[0-9a-f]{64}", model["digest"])
    assert model["modified_at"] == "2023-11-14T22:13:21.5Z"
    assert model["details"]["parameter_size"] == "0"
    assert "general.parameter_count" not in (await show({"model": "m"}, info=unknown))["model_info"]


async def test_a_gateway_without_models_lists_none() -> None:
    assert (await ask("tags", models=FakeModels([]))).body == b'{"models":[]}'
    assert (await ask("ps", models=FakeModels([]))).body == b'{"models":[]}'


# ps


async def test_only_what_is_loaded_runs() -> None:
    assert (await ask("ps", state=BackendState.STOPPED)).json == {"models": []}


async def test_the_one_that_stays_longest_comes_first() -> None:
    models = FakeModels([Served(name, ScriptedBackend(), CREATED) for name in ("a", "b", "c")])
    models.keep_alive(models.served[0], 60)
    models.keep_alive(models.served[1], 3600)
    running = (await ask("ps", models=models)).json["models"]
    assert [model["name"] for model in running] == ["c", "b", "a"]
    assert running[2] == {
        "name": "a",
        "model": "a",
        "size": 2_200_000_000,
        "digest": INFO.digest,
        "details": DETAILS,
        "expires_at": "2023-11-14T22:14:21.5Z",
        "size_vram": 0,
        "context_length": 4096,
    }
    assert running[0]["expires_at"] > "2300", "for ever is some centuries away, as in Ollama"


# show


@pytest.mark.parametrize("body", [{"model": "m"}, {"name": "m"}, {"name": "m:latest", "verbose": True}])
async def test_a_model_is_shown_by_either_name_of_the_field(body: dict[str, object]) -> None:
    assert (await show(body))["details"] == DETAILS


async def test_what_is_shown_has_gos_keys_in_gos_order() -> None:
    assert list(await show({"model": "m"})) == [
        "modelfile", "parameters", "template", "details", "model_info", "capabilities", "modified_at",
    ]  # fmt: skip


async def test_model_info_says_how_much_fits() -> None:
    info = (await show({"model": "m"}))["model_info"]
    assert info == {
        "general.architecture": "llama",
        "general.basename": "m",
        "general.parameter_count": 1_100_000_000,
        "llama.context_length": 4096,
        "llama.embedding_length": 4,
        "llama.vocab_size": 258,
    }
    assert list(info) == sorted(info)


async def test_copilot_is_told_the_name_it_asked_for() -> None:
    headers = {"User-Agent": "GitHubCopilotChat/0.30"}
    shown = await show({"model": "gpt-3.5-turbo"}, headers=headers)
    assert shown["model_info"]["general.basename"] == "gpt-3.5-turbo"
    assert (await show({"model": "gpt-3.5-turbo"}))["model_info"]["general.basename"] == "m"


async def test_continue_learns_from_the_template_whether_a_model_fills_in() -> None:
    assert ".Suffix" in (await show({"name": "m"}))["template"]
    assert ".Suffix" not in (await show({"name": "m"}, info=PLAIN))["template"]
    assert (await show({"name": "m"}, info=replace(PLAIN, chat_template="")))["template"] == "{{ .Prompt }}"


async def test_parameters_are_lines_of_a_name_and_a_value() -> None:
    lines = (await show({"name": "m"}))["parameters"].split("\n")
    assert [line.split() for line in lines] == [["num_ctx", "4096"], ["stop", '"</s>"']]
    assert lines[0].index("4096") == 31


async def test_the_modelfile_could_be_written_by_hand() -> None:
    modelfile = (await show({"name": "m"}))["modelfile"]
    assert "\nFROM /models/fake.safetensors\n" in modelfile
    assert modelfile.endswith('PARAMETER num_ctx 4096\nPARAMETER stop "</s>"\n')


async def test_what_can_not_be_shown() -> None:
    assert (await ask("show", {"model": "nope"})).error == (404, "model 'nope' not found")
    assert (await ask("show", {})).error == (400, "model is required")
    assert (await ask("show")).error == (400, "missing request body")


async def test_a_look_up_never_falls_back_to_the_default_model() -> None:
    models = FakeModels.of(name="m", refuses=False)
    assert (await ask("show", {"model": "nope"}, models=models)).status == 404


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (999, "999"),
        (1500, "2K"),
        (2_400_000, "2.40M"),
        (3_000_000, "3M"),
        (1_100_000_000, "1.1B"),
        (8 * 10**9, "8B"),
    ],
)
def test_parameter_sizes_read_like_ollamas(number: int, text: str) -> None:
    assert human_number(number) == text
