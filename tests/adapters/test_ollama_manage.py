"""pull, push, create, copy, delete and blobs."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import pytest

from tests.adapters.ollama_tools import JSON, JSON_UTF8, NDJSON, ask
from tests.fakes import INFO, FakeModels

NOTHING_TO_LOAD = [
    {"status": "pulling manifest"},
    {
        "status": "pulling 0123456789ab",
        "digest": f"sha256:{INFO.digest}",
        "total": 2_200_000_000,
        "completed": 2_200_000_000,
    },
    {"status": "verifying sha256 digest"},
    {"status": "writing manifest"},
    {"status": "success"},
]
NOT_THERE = {"error": "pull model manifest: file does not exist"}
BLOB = f"sha256:{INFO.digest}"


@pytest.mark.parametrize("body", [{"model": "m"}, {"name": "m:latest", "insecure": True}])
async def test_pulling_what_is_here_ends_in_success(body: dict[str, object]) -> None:
    said = await ask("pull", body)
    assert said.content_type == NDJSON
    assert said.lines == NOTHING_TO_LOAD


async def test_a_size_that_is_not_known_is_left_out() -> None:
    said = await ask("pull", {"model": "m"}, info=replace(INFO, size_bytes=0))
    assert list(said.lines[1]) == ["status", "digest"]


async def test_pulling_without_a_stream_is_the_last_line() -> None:
    said = await ask("pull", {"model": "m", "stream": False})
    assert (said.status, said.content_type, said.body) == (200, JSON, b'{"status":"success"}')


async def test_pulling_what_is_not_here_fails_as_at_an_empty_registry() -> None:
    said = await ask("pull", {"model": "nope"})
    assert (said.status, said.lines) == (200, [{"status": "pulling manifest"}, NOT_THERE])
    said = await ask("pull", {"model": "nope", "stream": False})
    assert (said.error, said.content_type) == ((500, NOT_THERE["error"]), JSON)


async def test_pull_and_push_need_a_name() -> None:
    assert (await ask("pull", {})).error == (400, "invalid model name")
    assert (await ask("push", {})).error == (400, "model is required")


async def test_nothing_can_be_pushed() -> None:
    lines = (await ask("push", {"model": "m"})).lines
    assert lines[0] == {"status": "retrieving manifest"}
    assert "can't be pushed" in lines[1]["error"]
    assert (await ask("push", {"model": "nope"})).lines[1:] == [
        {"status": "couldn't retrieve manifest"},
        {"error": "model 'nope' not found"},
    ]


async def test_a_copy_is_another_name() -> None:
    models = FakeModels.of(name="m", refuses=True)
    said = await ask("copy", {"source": "m:latest", "destination": "n:latest"}, models=models)
    assert (said.status, said.body, said.content_type) == (200, b"", "")
    assert models.find("n") == models.find("m")
    assert [model["name"] for model in (await ask("tags", models=models)).json["models"]] == ["m", "gpt-3.5-turbo", "n"]
    assert (await ask("generate", {"model": "n"}, models=models)).json["model"] == "n"


async def test_what_can_not_be_copied() -> None:
    assert (await ask("copy", {"source": "nope", "destination": "b"})).error == (404, 'model "nope" not found')
    assert (await ask("copy", {"source": "", "destination": "b"})).error == (400, 'source "" is invalid')
    assert (await ask("copy", {"source": "m", "destination": "b b"})).error == (400, 'destination "b b" is invalid')
    status, _ = (await ask("copy", {"source": "m", "destination": "gpt-3.5-turbo"})).error
    assert status == 403


@pytest.mark.parametrize("field", ["model", "name"])
async def test_a_name_that_was_given_can_be_taken_away(field: str) -> None:
    models = FakeModels.of(name="m", refuses=True)
    await ask("copy", {"source": "m", "destination": "n"}, models=models)
    said = await ask("delete", {field: "n:latest"}, models=models)
    assert (said.status, said.body) == (200, b"")
    assert models.find("n") is None


async def test_what_can_not_be_deleted() -> None:
    assert (await ask("delete", {"name": "nope"})).error == (404, "model 'nope' not found")
    assert (await ask("delete", {})).error == (400, "model is required")
    assert (await ask("delete", {"model": "m"})).status == 403


async def test_a_model_made_from_another_is_another_name() -> None:
    models = FakeModels.of(name="m", refuses=True)
    said = await ask("create", {"model": "n", "from": "m"}, models=models)
    assert said.lines[0] == {"status": f"using existing layer sha256:{INFO.digest}"}
    assert said.lines[-1] == {"status": "success"}
    assert models.find("n") is not None


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"model": "n n", "from": "m"}, (400, "invalid model name")),
        ({"model": "n"}, (400, "neither 'from' or 'files' was specified")),
        (
            {"model": "n", "from": "m", "system": "You are Mario."},
            (400, "'system' can't be set here: a model made by a request is another name for an existing one"),
        ),
    ],
)
async def test_what_can_not_be_created(body: dict[str, object], error: tuple[int, str]) -> None:
    assert (await ask("create", body)).error == error


async def test_a_model_can_not_be_made_from_what_is_not_here() -> None:
    assert (await ask("create", {"model": "n", "from": "nope"})).lines[-1] == NOT_THERE


async def test_the_weights_of_what_is_served_are_here() -> None:
    for verb in ("blob_head", "blob_create"):
        said = await ask(verb, params={"digest": BLOB})
        assert (said.status, said.body) == (200, b"")


async def test_other_blobs_are_not_and_can_not_be() -> None:
    other = f"sha256:{hashlib.sha256(b'x').hexdigest()}"
    assert (await ask("blob_head", params={"digest": other})).error == (404, f'blob "{other}" not found')
    status, message = (await ask("blob_create", b"x", params={"digest": other})).error
    assert (status, "can't be kept" in message) == (400, True)
    status, message = (await ask("blob_create", b"y", params={"digest": other})).error
    assert (status, message.startswith(f'digest mismatch, expected "{other}", got "sha256:')) == (400, True)
    for verb in ("blob_head", "blob_create"):
        said = await ask(verb, params={"digest": "sha256:beef"})
        assert (said.error, said.content_type) == ((400, "invalid digest format"), JSON_UTF8)
