"""What clients ask the server about itself, and how the dialect fails."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from adapters.base import Call, Reply, Totals
from adapters.llamacpp.dialect import DIALECT
from backends.base import BackendState, Slot
from backends.errors import (
    BackendFailed,
    Busy,
    DragomanError,
    Forbidden,
    InvalidField,
    MissingField,
    NotFound,
    NotReady,
    PromptTooLong,
    TooLarge,
    Unauthorized,
    UnknownModel,
    Unsupported,
)
from tests.adapters.llamacpp_tools import ask, keys, models_of, recorded, refusal
from tests.fakes import INFO, FakeModels, ScriptedBackend, answer, call


async def probe(verb: str, *, backend: ScriptedBackend | None = None, body: object = None, **more: Any) -> Any:
    return orjson.loads((await probed(verb, backend=backend, body=body, **more)).body)


async def probed(verb: str, *, backend: ScriptedBackend | None = None, body: object = None, **more: Any) -> Reply:
    asked = call("GET", f"/{verb}", body, models=models_of(backend or ScriptedBackend()), persona="llamacpp", **more)
    outcome = await DIALECT.verbs[verb](asked)
    assert isinstance(outcome, Reply)
    assert outcome.status == 200
    return outcome


def told(case: str) -> Any:
    return orjson.loads(recorded(case).body)


async def test_health_follows_the_default_model() -> None:
    assert await probe("health") == {"status": "ok"}
    assert await probe("health", backend=ScriptedBackend(state=BackendState.STOPPED)) == {"status": "ok"}
    loading = ScriptedBackend(state=BackendState.STARTING)
    assert await refusal("health", backend=loading) == (503, "unavailable_error", "Loading model")
    assert (await refusal("health", backend=ScriptedBackend(state=BackendState.FAILED)))[0] == 500


async def test_models_in_both_forms() -> None:
    ours, theirs = await probe("models"), told("small_v1_models")
    assert keys(ours) == keys(theirs)
    assert keys(ours["models"][0]) == keys(theirs["models"][0])
    assert keys(ours["data"][0]) == keys(theirs["data"][0])
    assert keys(ours["data"][0]["meta"]) == keys(theirs["data"][0]["meta"])
    assert ours["data"][0]["aliases"] == ["tiny", "gpt-3.5-turbo"]
    assert ours["data"][0]["meta"]["n_ctx"] == INFO.window
    assert ours["models"][0]["capabilities"] == ["completion", "embedding"]


async def test_props_have_the_recorded_keys() -> None:
    ours, theirs = await probe("props"), told("noslots_props")
    assert keys(ours) == keys(theirs)
    assert ours["default_generation_settings"]["params"] == theirs["default_generation_settings"]["params"]
    assert keys(ours["chat_template_caps"]) == keys(theirs["chat_template_caps"])
    assert keys(ours["modalities"]) == keys(theirs["modalities"])
    assert ours["default_generation_settings"]["n_ctx"] == INFO.window
    assert (ours["total_slots"], ours["model_path"], ours["model_alias"]) == (2, INFO.path, "tiny")
    assert (ours["chat_template"], ours["bos_token"]) == (INFO.chat_template, "<s>")


async def test_props_of_the_model_that_is_asked_for() -> None:
    """llama.vscode asks `/props?model=…&autoload=false`."""
    assert (await probe("props", query={"model": "gpt-3.5-turbo", "autoload": "false"}))["model_alias"] == "tiny"


async def test_props_cannot_be_set() -> None:
    status, kind, message = await refusal("props_set", {})
    assert (status, kind) == (501, "not_supported_error")
    assert message == "This server does not support changing global properties. Start it with `--props`"


async def test_slots_idle_and_busy() -> None:
    busy = Slot(1, "request", num_prompt_tokens=5, num_generated_tokens=2, num_remaining_tokens=8)
    idle, working = await probe("slots", backend=ScriptedBackend(slots=[Slot(0), busy]))
    assert idle == {"id": 0, "n_ctx": 4096, "speculative": False, "is_processing": False}
    (theirs,) = told("busy_slots")
    assert keys(working) == keys(theirs)
    assert keys(working["params"]) == keys(theirs["params"])
    assert working["n_prompt_tokens"] == 7
    assert working["params"]["n_predict"] == 10
    assert working["next_token"] == [
        {"has_next_token": True, "has_new_line": False, "n_remain": 8, "n_decoded": 2}
    ]  # fmt: skip


async def test_a_request_without_a_limit_has_none_in_its_slot() -> None:
    (slot,) = await probe("slots", backend=ScriptedBackend(slots=[Slot(0, "r", 5, 2, -1)]))
    assert slot["params"]["n_predict"] == -1


async def test_no_slot_is_free() -> None:
    full = ScriptedBackend(slots=[Slot(0, "r")])
    asked = {"fail_on_no_slot": "1"}
    assert await refusal("slots", backend=full, query=asked) == (503, "unavailable_error", "no slot available")
    assert len(await probe("slots", backend=ScriptedBackend(), query=asked)) == 2


async def test_slots_cannot_be_saved() -> None:
    reply = DIALECT.error((await caught("slot_action")), call("POST", "/slots/0"))
    assert (reply.status, reply.body) == (recorded("slots_erase").status, recorded("slots_erase").body)


async def caught(verb: str) -> DragomanError:
    with pytest.raises(DragomanError) as failure:
        await DIALECT.verbs[verb](call("POST", "/x", {}, models=models_of(ScriptedBackend())))
    return failure.value


async def test_adapters() -> None:
    assert await probe("lora_adapters") == []
    assert await probe("lora_adapters_set", body=[{"id": 7, "scale": 1.0}]) == {"success": True}
    assert (await refusal("lora_adapters_set", {"a": 1}))[2] == "Request body must be an array"


async def test_control() -> None:
    assert await probe("control", body={"id": "x", "action": "reasoning_end"}) == told("chat_control_noid")
    assert (await refusal("control", {"action": "reasoning_end"}))[2] == "missing completion id"
    assert (await refusal("control", {"id": "x", "action": "banana"}))[2] == "unknown control action"


async def test_what_is_off_by_default() -> None:
    outcome = await DIALECT.verbs["disabled"](call("GET", "/tools"))
    assert isinstance(outcome, Reply)
    assert outcome.status == 403
    assert orjson.loads(outcome.body)["error"]["type"] == "feature_disabled"


async def test_metrics_have_the_recorded_names_and_the_gateways_numbers() -> None:
    totals = Totals(since=100.5, prompt_tokens=30, cached_tokens=4, completion_tokens=20, prefill_s=2, decode_s=4,
                    num_steps=10, longest_sequence=50, num_waiting=3)  # fmt: skip
    backend = ScriptedBackend(slots=[Slot(0, "r"), Slot(1)])
    asked = call("GET", "/metrics", models=models_of(backend))
    asked.totals = totals
    outcome = await DIALECT.verbs["metrics"](asked)
    assert isinstance(outcome, Reply)
    theirs = recorded("full_metrics_fresh").body.decode().splitlines()
    lines = outcome.body.decode().splitlines()
    assert [line for line in lines if line.startswith("#")] == [line for line in theirs if line.startswith("#")]
    values = dict(line.split() for line in lines if not line.startswith("#"))
    assert values["llamacpp:prompt_tokens_total"] == "30"
    assert values["llamacpp:predicted_tokens_seconds"] == "5"
    assert values["llamacpp:requests_processing"] == "1"
    assert values["llamacpp:requests_deferred"] == "3"
    assert values["llamacpp:n_busy_slots_per_decode"] == "2"
    assert outcome.headers["Process-Start-Time-Unix"] == "100"
    assert outcome.content_type == "text/plain; version=0.0.4"


async def test_without_counting_there_are_no_metrics() -> None:
    reply = DIALECT.error(await caught("metrics"), call("GET", "/metrics"))
    assert (reply.status, reply.body) == (recorded("metrics").status, recorded("metrics").body)


async def test_fresh_metrics_are_zero() -> None:
    asked = call("GET", "/metrics", models=models_of(ScriptedBackend()))
    asked.totals = Totals(since=1.0)
    outcome = await DIALECT.verbs["metrics"](asked)
    assert isinstance(outcome, Reply)
    assert outcome.body == recorded("full_metrics_fresh").body


# errors


@pytest.mark.parametrize(
    ("error", "status", "body"),
    [
        (Unauthorized("no"), 401, {"message": "Invalid API Key", "type": "authentication_error", "code": 401}),
        (NotReady("no"), 503, {"message": "Loading model", "type": "unavailable_error", "code": 503}),
        (Busy("full"), 503, {"code": 503, "message": "full", "type": "unavailable_error"}),
        (Forbidden("no"), 403, {"code": 403, "message": "no", "type": "permission_error"}),
        (NotFound("no"), 404, {"code": 404, "message": "no", "type": "not_found_error"}),
        (UnknownModel("x"), 400, {"code": 400, "message": "model 'x' not found", "type": "invalid_request_error"}),
        (TooLarge("big"), 413, {"code": 413, "message": "big", "type": "invalid_request_error"}),
        (BackendFailed("broke"), 500, {"code": 500, "message": "broke", "type": "server_error"}),
        (MissingField("a"), 400, {"code": 400, "message": "'a' is required", "type": "invalid_request_error"}),
        (InvalidField("a", "bad"), 400, {"code": 400, "message": "Field 'a': bad", "type": "invalid_request_error"}),
        (
            InvalidField("grammar", "line 1"),
            400,
            {"code": 400, "message": "Failed to initialize samplers: failed to parse grammar",
             "type": "invalid_request_error"},
        ),
        (
            PromptTooLong(9, 8),
            400,
            {"code": 400,
             "message": "request (9 tokens) exceeds the available context size (8 tokens), try increasing it",
             "type": "exceed_context_size_error", "n_prompt_tokens": 9, "n_ctx": 8},
        ),
        (
            Unsupported("x", feature="images"),
            500,
            {"code": 500, "message": "image input is not supported - hint: if this is unexpected, you may need to "
             "provide the mmproj", "type": "server_error"},
        ),
        (
            Unsupported("no embeddings", feature="embeddings"),
            501,
            {"code": 501, "message": "This server does not support embeddings. Start it with `--embeddings`",
             "type": "not_supported_error"},
        ),
        (Unsupported("no x", feature="x"), 400, {"code": 400, "message": "no x", "type": "invalid_request_error"}),
    ],
)  # fmt: skip
def test_every_error_has_the_servers_shape(error: DragomanError, status: int, body: dict[str, Any]) -> None:
    reply = DIALECT.error(error, call("POST", "/completion"))
    assert reply.status == status
    assert list(orjson.loads(reply.body)["error"].items()) == list(body.items())
    assert reply.content_type == "application/json; charset=utf-8"


def test_a_wrong_method_is_an_unknown_route() -> None:
    asked: Call = call("PUT", "/v1/chat/completions")
    for reply in (DIALECT.unknown_route(asked, None), DIALECT.wrong_method(asked, ["POST"])):
        assert (reply.status, reply.body) == (404, recorded("put_v1_chat").body)
    near = DIALECT.unknown_route(asked, "POST /completion")
    assert orjson.loads(near.body)["error"]["message"] == "File Not Found: did you mean POST /completion?"


def test_any_page_may_call() -> None:
    assert DIALECT.cors("https://example.com") == {"Access-Control-Allow-Origin": "https://example.com"}
    assert DIALECT.cors(None) == {"Access-Control-Allow-Origin": ""}
    answer, theirs = DIALECT.preflight(call("OPTIONS", "/nope")), recorded("options_unknown")
    assert (answer.status, answer.body, answer.content_type) == (200, b"", "text/html")
    assert all(theirs.header(name) == value for name, value in answer.headers.items())
    assert DIALECT.headers == {"Server": "llama.cpp"}


async def test_an_unknown_model_is_refused_when_the_gateway_says_so() -> None:
    models = FakeModels.of(refuses=True)
    assert (await refusal("completion", {"prompt": "a", "model": "x"}, models=models))[2] == "model 'x' not found"
    nameless = await refusal("completion", {"prompt": [], "model": ""}, models=models)
    assert nameless[2] == '"prompt" must not be empty'


async def test_no_stream_is_kept() -> None:
    found = await answer(DIALECT.verbs["stream"], call("GET", "/v1/stream", query={"conv_id": "abc"}))
    assert found.reply is not None
    assert (found.reply.status, found.reply.body) == (404, recorded("v1_stream_get_id").body)
    gone = await answer(DIALECT.verbs["stream_delete"], call("DELETE", "/v1/stream", query={"conv_id": "abc"}))
    assert gone.reply is not None
    assert (gone.reply.status, gone.reply.body) == (204, b"")
    assert await ask("streams_lookup", {"conversation_ids": ["abc"]}) == []


@pytest.mark.parametrize("verb", ["stream", "stream_delete"])
async def test_a_stream_has_an_id(verb: str) -> None:
    assert await refusal(verb) == (400, "invalid_request_error", "Missing conversation id in path")


async def test_nobody_hears() -> None:
    said = (501, "not_supported_error", "The current model does not support audio input.")
    assert await refusal("transcriptions") == said
