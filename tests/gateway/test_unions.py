"""Probes that several families send and nothing tells apart: the answer holds what each of them looks for, on every
listener that doesn't play one of them to the letter. Numbers are those of the catalogue of conflicts (C1 to C25)."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from adapters.registry import DIALECTS
from gateway.config import Key
from tests.fakes import ScriptedBackend
from tests.gateway.conftest import Connect

EVERYBODY = tuple(DIALECTS)


async def test_c6_detokenize_has_llama_cpps_key_and_vllms(connect: Connect) -> None:
    for persona in set(EVERYBODY) - {"llamacpp"}:
        client = await connect(ScriptedBackend(), persona)
        answer = await (await client.post("/detokenize", json={"tokens": [72, 105]})).json()
        assert answer == {"content": "Hi", "prompt": "Hi"}, persona


@pytest.mark.parametrize("persona", EVERYBODY)
async def test_c7_the_root_is_a_sign_of_life(connect: Connect, persona: str) -> None:
    client = await connect(ScriptedBackend(), persona)
    assert (await client.get("/")).status == 200
    assert (await client.head("/")).status == 200


@pytest.mark.parametrize("persona", EVERYBODY)
@pytest.mark.parametrize("path", ["/v1/models", "/models", "/v1/v1/models", "/openai/v1/models"])
async def test_c8_c9_a_list_of_models_is_openais_whoever_asks(connect: Connect, persona: str, path: str) -> None:
    client = await connect(ScriptedBackend(), persona)
    listed = await (await client.get(path)).json()
    assert "demo" in [model["id"] for model in listed["data"]]


async def test_c8_codex_and_anthropic_get_their_own(connect: Connect) -> None:
    client = await connect(ScriptedBackend())
    codex = await (await client.get("/v1/models?client_version=0.169")).json()
    assert {"data", "models"} <= codex.keys()
    theirs = await (await client.get("/v1/models", headers={"anthropic-version": "2023-06-01"})).json()
    assert {"data", "has_more", "first_id", "last_id"} <= theirs.keys()


@pytest.mark.parametrize("persona", sorted({*EVERYBODY} - {"tgi", "tabby"}))
async def test_c10_health_is_json_with_a_status(connect: Connect, persona: str) -> None:
    client = await connect(ScriptedBackend(), persona)
    for path in ("/health", "/v1/health"):
        answer = await client.get(path)
        assert answer.status == 200
        assert "status" in await answer.json()


@pytest.mark.parametrize("persona", EVERYBODY)
async def test_c11_models_under_api_v1_are_lm_studios_and_openais(connect: Connect, persona: str) -> None:
    client = await connect(ScriptedBackend(), persona)
    listed = await (await client.get("/api/v1/models")).json()
    assert [model["key"] for model in listed["models"]] == ["demo"]
    assert [model["id"] for model in listed["data"]] == ["demo"]


@pytest.mark.parametrize("persona", EVERYBODY)
async def test_c15_c16_versions_are_dotted_numbers(connect: Connect, persona: str) -> None:
    client = await connect(ScriptedBackend(), persona)
    for path, least in (("/api/version", (0, 13, 4)), ("/version", (0, 6))):
        version = (await (await client.get(path)).json())["version"]
        assert tuple(map(int, version.split("."))) >= least


@pytest.mark.parametrize("persona", sorted({*EVERYBODY} - {"tgi"}))
async def test_c20_ping_is_healthy(connect: Connect, persona: str) -> None:
    client = await connect(ScriptedBackend(), persona)
    assert await (await client.get("/ping")).json() == {"status": "healthy"}


@pytest.mark.parametrize("persona", EVERYBODY)
async def test_c21_props_slots_and_metrics_are_llama_cpps(connect: Connect, persona: str) -> None:
    client = await connect(ScriptedBackend(), persona)
    props = await (await client.get("/props")).json()
    assert props["default_generation_settings"]["n_ctx"] > 0
    assert len(await (await client.get("/slots")).json()) == 2
    assert "llamacpp:" in await (await client.get("/metrics")).text()


async def test_c24_a_page_may_ask_first_without_a_key(connect: Connect) -> None:
    """But for servers that know no CORS: nobody's page can call those."""
    page = "vscode-webview://1a2b"
    asked = {"Origin": page, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    key = Key(key=SecretStr("sesame"))
    for persona in set(EVERYBODY) - {"fauxpilot", "copilot", "tenstorrent"}:
        client = await connect(ScriptedBackend(), persona, keys={"me": key})
        answer = await client.options("/v1/chat/completions", headers=asked)
        assert answer.status in {200, 204}, persona
        assert answer.headers["Access-Control-Allow-Origin"] in {"*", page}, persona
