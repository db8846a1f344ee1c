"""`backend: ttnn` end to end through HTTP: on the contract fake, and with `make test-ttnn` on the real Generator.

The real one runs on a card if there is one, and else on ttnn's mock device, which computes nothing: there our calls are
accepted, answers have their length, and text is not looked at.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from backends.engine import demo
from tests.e2e.gateway_process import Gateway, Response, running_gateway, sse_data
from tests.fakes.card import HOME as FAKE

IS_REAL = os.environ.get("DRAGOMAN_TTNN") == "1"  # set by `make test-ttnn`
HAS_CARD = Path("/dev/tenstorrent").exists()
MOCK = Path(__file__).parent / "mock_n150.yaml"
COMPUTES = not IS_REAL or HAS_CARD
pytestmark = [pytest.mark.ttnn] if IS_REAL else []

CONFIG = """
models:
  card:
    backend: ttnn
    hf_model: {model}
    mesh_device: {mesh}
    max_batch_size: 4
    max_seq_len: 512
    block_size: 32
    trace: {trace}
    sampling: {sampling}
    step_deadline_s: {deadline_s}
    restart: {restart}
  engine: {{backend: engine}}
"""
NUM_TOKENS = 24
PROMPTS = ("def add(a, b):\n", "import os\n\n\nclass Reader:\n", "for i in range(10):\n    ", "# Sort a list.\n")


def config(*, sampling: str = "auto", deadline_s: float = 120.0, restart: str = "false") -> str:
    trace = "all" if COMPUTES else "none"  # a mock device has none
    mesh = os.environ.get("MESH_DEVICE", "N150")
    return CONFIG.format(
        model=demo.FOLDER, mesh=mesh, trace=trace, sampling=sampling, deadline_s=deadline_s, restart=restart
    )


@pytest.fixture(autouse=True, scope="module")
def environment() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        if not IS_REAL:
            patch.setenv("TT_METAL_HOME", str(FAKE))
            patch.setenv("PYTHONPATH", str(FAKE))
        elif not HAS_CARD:
            patch.setenv("TT_METAL_MOCK_CLUSTER_DESC_PATH", str(MOCK))
            patch.setenv("TT_METAL_SLOW_DISPATCH_MODE", "1")
            patch.setenv("TT_LOGGER_LEVEL", "error")  # it logs to stdout, which nobody reads
        yield patch


@pytest.fixture(scope="module", params=["auto", "host"])
def gateway(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, environment: pytest.MonkeyPatch
) -> Iterator[Gateway]:
    folder = tmp_path_factory.mktemp("ttnn")
    environment.setenv("TT_CACHE_PATH", str(folder / "cache"))
    with running_gateway(folder, config(sampling=request.param), load_s=300, only_our_log=not IS_REAL) as running:
        yield running


def complete(gateway: Gateway, prompt: str, **fields: Any) -> Response:
    body = {"prompt": prompt, "n_predict": NUM_TOKENS, "temperature": 0, "ignore_eos": True, "cache_prompt": False}
    return gateway.ask("llamacpp", "POST", "/completion", {**body, "model": "card", **fields})


def slots(gateway: Gateway) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = gateway.ask("llamacpp", "GET", "/slots?model=card").json
    return found


def log_of(gateway: Gateway) -> list[dict[str, Any]]:
    return [json.loads(line) for line in gateway.log.read_text().splitlines() if line.startswith("{")]


def wait_until(is_so: Callable[[], bool], timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_it_says_what_it_found_and_what_it_does(gateway: Gateway) -> None:
    lines = log_of(gateway)
    (environment,) = [line for line in lines if line["event"] == "tenstorrent environment"]
    assert environment["HF_MODEL"] == str(demo.FOLDER)
    (found,) = [line for line in lines if line["event"] == "tt-metal's Generator"]
    assert "ttnn 0.67" in found["is_that_of"]
    phases = [line["phase"] for line in lines if line["event"] == "loading"]
    assert "opening the device" in phases
    assert any(phase.startswith("compiling prefill of 1024 tokens") for phase in phases)


def test_more_clients_than_rows_each_get_their_answer(gateway: Gateway) -> None:
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda i: complete(gateway, PROMPTS[i % 4]), range(10)))
    for place, answer in enumerate(answers):
        assert answer.status == 200, answer.text
        assert answer.json["tokens_predicted"] == NUM_TOKENS
        if not IS_REAL:
            assert answer.json["content"] == complete(gateway, PROMPTS[place % 4], model="engine").json["content"]
        elif HAS_CARD:
            reference = complete(gateway, PROMPTS[place % 4], model="engine").json["content"]
            assert answer.json["content"][:4] == reference[:4]  # weights of 8 bits part from those of 32 before long


def test_a_long_prompt_is_read_in_pieces_and_kept(gateway: Gateway) -> None:
    prompt = "x = 1\n" * 60
    first = complete(gateway, prompt, cache_prompt=True, n_predict=8)
    second = complete(gateway, prompt + "y", cache_prompt=True, n_predict=8)
    assert first.json["tokens_evaluated"] > 128
    assert second.json["timings"]["cache_n"] >= 32, second.text
    if not IS_REAL:
        expected = complete(gateway, prompt + "y", n_predict=8, model="engine").json["content"]
        assert second.json["content"] == expected


def test_an_agents_short_prompt_goes_through_the_decodes_of_others(gateway: Gateway) -> None:
    """Without a ban of the end tokens are chosen on the device, which must not go on with its own then."""
    long = {"n_predict": 200, "ignore_eos": not COMPUTES}  # to the mock every token is one that ends
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(complete, gateway, prompt, **long) for prompt in PROMPTS[:3]]
        wait_until(lambda: sum(slot["is_processing"] for slot in slots(gateway)) == 3)
        answers = [
            gateway.ask("llamacpp", "POST", "/completion", {**body, "model": model}, {"X-Priority": "agent"})
            for body in (
                {"prompt": [97, 98], "n_predict": 12, "temperature": 0, "ignore_eos": ignore_eos}
                for ignore_eos in (False, True)
            )
            for model in ("card", "engine")
        ]
        finished = [other.result().json for other in others]
    assert [answer.status for answer in answers] == [200] * 4
    if not IS_REAL:
        texts = [answer.json["content"] for answer in answers]
        assert texts[0::2] == texts[1::2]
        for prompt, each in zip(PROMPTS, finished, strict=False):
            assert each["content"] == complete(gateway, prompt, **long, model="engine").json["content"]


@pytest.mark.parametrize(
    "fields",
    [
        {"temperature": 0.8, "top_k": 20, "top_p": 0.9},
        {"temperature": 0.8, "top_k": 40, "min_p": 0.05, "seed": 7},
        {"temperature": 0.7, "repeat_penalty": 1.2, "n_probs": 3},
        {"temperature": 0, "grammar": 'root ::= "yes" | "no"', "ignore_eos": False},
    ],
    ids=["plain", "seeded", "penalties", "grammar"],
)
def test_every_way_of_sampling_is_answered(gateway: Gateway, fields: dict[str, Any]) -> None:
    with ThreadPoolExecutor(3) as pool:
        beside = pool.submit(complete, gateway, PROMPTS[0])
        answer = complete(gateway, PROMPTS[1], **fields)
        assert answer.status == 200, answer.text
        assert beside.result().json["tokens_predicted"] == NUM_TOKENS
    if "grammar" in fields:
        assert answer.json["content"] in ("yes", "no")


def test_seeds_give_the_same_text_alone_or_among_others(gateway: Gateway) -> None:
    fields = {"temperature": 0.9, "top_k": 20, "seed": 5}
    alone = complete(gateway, PROMPTS[2], **fields).json["content"]
    with ThreadPoolExecutor(4) as pool:
        others = [pool.submit(complete, gateway, prompt, temperature=0.9) for prompt in PROMPTS[:3]]
        assert complete(gateway, PROMPTS[2], **fields).json["content"] == alone
        assert all(other.result().status == 200 for other in others)


def test_streams_come_token_by_token(gateway: Gateway) -> None:
    body = {
        "model": "card",
        "prompt": PROMPTS[0],
        "max_tokens": 8,
        "temperature": 0,
        "stream": True,
        "ignore_eos": True,
    }
    answer = gateway.ask("openai", "POST", "/v1/completions", body)
    assert answer.status == 200
    chunks = sse_data(answer.body)
    assert chunks[-1]["choices"][0]["finish_reason"] == "length"
    assert not COMPUTES or len(chunks) >= 8  # the mock's token 0 is no text


@pytest.mark.parametrize(
    ("path", "body", "word"),
    [
        ("/v1/embeddings", {"model": "card", "input": "x"}, "embeddings"),
        ("/v1/completions", {"model": "card", "prompt": "x", "prompt_logprobs": 1}, "log-probabilities of a prompt"),
    ],
)
def test_what_the_device_cant_is_refused_by_name(gateway: Gateway, path: str, body: dict[str, Any], word: str) -> None:
    answer = gateway.ask("openai", "POST", path, body)
    assert answer.status == 400
    assert word in answer.text


def test_the_device_is_closed_when_the_gateway_is_told_to_end(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    environment.setenv("TT_CACHE_PATH", str(tmp_path / "cache"))
    one = ThreadPoolExecutor(1)
    with one, running_gateway(tmp_path, config(), load_s=300, only_our_log=not IS_REAL) as gateway:
        running = one.submit(complete, gateway, PROMPTS[0], n_predict=400)
        wait_until(lambda: gateway.ask("llamacpp", "GET", "/slots?model=card").json[0]["is_processing"])
        os.kill(gateway.pid, signal.SIGTERM)
        running.exception()  # or its answer: it isn't left hanging
    assert "the device is closed" in [line["event"] for line in log_of(gateway)]


def test_the_gateway_is_open_while_it_loads_and_says_how_far_it_is(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("FAKE_TT_PACE", "0.1,0.4")
    with running_gateway(tmp_path, config(), load_s=0, only_our_log=not IS_REAL) as gateway:
        told = gateway.ask("openai", "GET", "/health")
        assert told.status == 503
        assert "s since the start" in told.text
        environment.delenv("FAKE_TT_PACE")
        assert complete(gateway, PROMPTS[0], n_predict=2).status == 200  # it has waited
        assert gateway.ask("openai", "GET", "/health").status == 200
        names = [model["name"] for model in gateway.ask("ollama", "GET", "/api/ps").json["models"]]
        assert "card" in names


def test_who_waits_while_it_loads_is_told_how_long_it_took_the_last_time(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    environment.setenv("XDG_CACHE_HOME", str(tmp_path))
    environment.setenv("FAKE_TT_PACE", "0.1,0.1")
    told = []
    for _ in range(2):
        with running_gateway(tmp_path, config(), load_s=0, only_our_log=not IS_REAL) as gateway:
            phase = gateway.ask("openai", "GET", "/health")
            answer = complete(gateway, PROMPTS[0], n_predict=2)
            told.append((phase.text, answer.headers["X-Dragoman-Queue"], phase.headers.get("Retry-After")))
    environment.delenv("FAKE_TT_PACE")
    (first, its_place, no_time), (second, place, some_time) = told
    assert "nothing tells yet how long it takes" in first
    assert (its_place, no_time) == ("position=1", None)
    assert "s to go" in second
    assert float(place.removeprefix("position=1;estimate=")) > 0
    assert int(some_time or 0) > 0


def test_a_hang_is_told_to_everyone_and_the_gateway_begins_anew_but_not_for_ever(
    tmp_path: Path, environment: pytest.MonkeyPatch
) -> None:
    """The real Generator's steps end, but not within a deadline of nothing."""
    environment.setenv("FAKE_TT_FAULT", "hang")
    deadline_s = 0.0001 if IS_REAL else 1.0
    with running_gateway(
        tmp_path, config(deadline_s=deadline_s, restart="true"), load_s=300, only_our_log=not IS_REAL
    ) as gateway:
        first = complete(gateway, PROMPTS[0])
        second = complete(gateway.begun_anew(), PROMPTS[0])
        last = gateway.begun_anew()
        third = complete(last, PROMPTS[0])
        assert [answer.status for answer in (first, second, third)] == [500, 500, 500]
        assert all("hangs" in answer.text for answer in (first, second, third))
        assert ["3 times within an hour" in answer.text for answer in (first, second, third)] == [False, False, True]
        assert "3 times within an hour" in complete(last, PROMPTS[0]).text, "it stays so"
        assert complete(last, PROMPTS[0], model="engine").status == 200
        last.configure(config(deadline_s=60.0))
        last.ask("openai", "POST", "/gateway/reload")
        anew = complete(last, PROMPTS[0])
        assert anew.status == 200 if IS_REAL else "holds the device already" in anew.text
        assert [line["event"] for line in log_of(gateway)].count("the process begins anew") == 2
    environment.delenv("FAKE_TT_FAULT")


@pytest.mark.skipif(IS_REAL and HAS_CARD, reason="there is a card")
def test_a_card_that_cant_be_used_leaves_the_others_in_peace(tmp_path: Path, environment: pytest.MonkeyPatch) -> None:
    with environment.context() as there_is_none:
        there_is_none.setenv("FAKE_TT_CHIPS", "0")
        there_is_none.delenv("TT_METAL_MOCK_CLUSTER_DESC_PATH", raising=False)
        with running_gateway(tmp_path, config(), load_s=0, only_our_log=not IS_REAL) as gateway:
            answer = complete(gateway, PROMPTS[0])
            assert answer.status == 500
            assert "no Tenstorrent device was found" in answer.text
            assert complete(gateway, PROMPTS[0], model="engine").status == 200
