"""The engine as a backend: requests in, events out, over a real event loop and the engine's own thread."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from backends.base import Backend, BackendState, ModelInfo, Slot
from backends.engine.backend import EngineBackend, EngineOptions
from backends.engine.runner import ModelRunner, Say, Traits
from backends.errors import BackendFailed, Busy, InvalidField, InvalidRequest, NotReady, PromptTooLong, Unsupported
from backends.events import Completion, Event, Started, Text, fold
from backends.request import (
    ChatPrompt,
    Choice,
    EmbedRequest,
    GenerateRequest,
    Image,
    InfillPrompt,
    JsonSchema,
    Message,
    Sampling,
    TextPrompt,
)
from tests.backends.engine.card_runner import CardRunner
from tests.backends.engine.fake_runner import FakeRunner
from tests.backends.engine.toy_tokenizers import byte_level
from tests.fakes.card import fake_card

END = "<|im_end|>"
TOKENIZER = byte_level(["<|im_start|>", END], settings={"eos_token": END})
EOS = TOKENIZER.token_id(END) or 0
LETTERS = TOKENIZER.encode("abcdefghij", add_special=False)
TEMPLATE = (
    "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
GREEDY = Sampling(temperature=0.0)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tokenizer.json").write_text(TOKENIZER.to_json())
    (tmp_path / "tokenizer_config.json").write_text(f'{{"eos_token": "{END}"}}')
    (tmp_path / "chat_template.jinja").write_text(TEMPLATE)
    return tmp_path


class Lab:
    """An engine over a FakeRunner that writes letters. new_runner: of so many sequences."""

    new_runner: Callable[[int], FakeRunner | CardRunner]

    def __init__(self, folder: Path, **options: Any) -> None:
        self.options = EngineOptions(folder, **{"max_batch_size": 8, "block_size": 4, **options})
        self.runner = self.new_runner(self.options.max_batch_size)
        self.runner.likes = dict.fromkeys(LETTERS, 100.0)
        self.backend = EngineBackend(self.options, self.load_runner)

    def load_runner(self, options: EngineOptions, say: Say) -> tuple[ModelRunner, ModelInfo]:
        return self.runner, ModelInfo(window=self.runner.window, path=str(options.folder))

    def answer_to(self, text: str, num_tokens: int) -> str:
        return TOKENIZER.decode(self.runner.answer_to(encode(text), num_tokens))


KINDS = ["in-thread", "asynchronous", "card"]
not_on_a_card = pytest.mark.parametrize("every_kind_of_runner", KINDS[:2], indirect=True)
"""What a Generator doesn't give: embeddings, and chunks of any length."""


@pytest.fixture(params=KINDS, autouse=True)
def every_kind_of_runner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """All of this holds whether or not the engine goes on while a device works, and on a Tenstorrent card."""

    def fake(_self: Lab, max_batch_size: int) -> FakeRunner:
        runner = FakeRunner(TOKENIZER.vocab_size, max_batch_size=max_batch_size)
        runner.traits = Traits(is_asynchronous=request.param == "asynchronous")
        return runner

    def on_a_card(_self: Lab, max_batch_size: int) -> CardRunner:
        return CardRunner(card, TOKENIZER.vocab_size, 256, max_batch_size)

    with fake_card() as card:
        monkeypatch.setattr(Lab, "new_runner", on_a_card if request.param == "card" else fake, raising=False)
        yield


@pytest.fixture
async def lab(folder: Path) -> AsyncIterator[Lab]:
    async with running(Lab(folder)) as lab:
        yield lab


@contextlib.asynccontextmanager
async def running(lab: Lab) -> AsyncIterator[Lab]:
    await lab.backend.start()
    try:
        yield lab
    finally:
        lab.runner.let_go()
        await lab.backend.stop()


def encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special=False)


def ask(text: str = "hello", **options: Any) -> GenerateRequest:
    return GenerateRequest(
        **{"id": "r", "prompts": (TextPrompt((text,)),), "sampling": GREEDY, "max_tokens": 8, **options}
    )


def embed(*inputs: str | list[int]) -> EmbedRequest:
    return EmbedRequest(id="e", inputs=inputs)


async def complete(lab: Lab, request: GenerateRequest) -> Completion:
    return await fold(lab.backend.generate(request), request.n)


async def settle(lab: Lab) -> None:
    """Until the engine has heard and done everything so far: an answer comes after all that was sent before it."""
    await complete(lab, ask("x", max_tokens=1, cache_prompt=False))


# answering


async def test_an_answer_is_what_the_model_alone_gives(lab: Lab) -> None:
    completion = await complete(lab, ask("hello world", max_tokens=12))
    (choice,) = completion.ordered
    assert choice.text == lab.answer_to("hello world", 12)
    assert choice.end.reason == "length"
    assert completion.usage.prompt_tokens == len(encode("hello world"))
    assert completion.usage.completion_tokens == 12


async def test_32_at_once_each_get_what_they_would_get_alone(folder: Path) -> None:
    async with running(Lab(folder, max_batch_size=32)) as lab:
        texts = [f"prompt {i} " * (i % 5 + 1) for i in range(32)]
        completions = await asyncio.gather(*(complete(lab, ask(text, max_tokens=20)) for text in texts))
        for text, completion in zip(texts, completions, strict=True):
            assert completion.ordered[0].text == lab.answer_to(text, 20)


async def test_seeds_give_the_same_text_alone_or_among_others(lab: Lab) -> None:
    seeded = ask(sampling=Sampling(temperature=1.0, seed=7), max_tokens=30)
    alone = await complete(lab, seeded)
    others = [ask(f"other {i}", sampling=Sampling(temperature=1.0, seed=i), max_tokens=30) for i in range(7)]
    among, *_ = await asyncio.gather(*(complete(lab, request) for request in (seeded, *others)))
    different = await complete(lab, replace(seeded, sampling=Sampling(temperature=1.0, seed=8)))
    assert alone.ordered[0].text == among.ordered[0].text != different.ordered[0].text


async def test_a_request_is_accepted_before_its_prompt_is_read(lab: Lab) -> None:
    lab.runner.hold()
    async with contextlib.aclosing(lab.backend.generate(ask("hello"))) as events:
        first = await anext(events)
        lab.runner.let_go()
    assert [*first] == [Started(0, 2, "hello", tuple(encode("hello")))]


async def test_several_prompts_and_choices_are_numbered_and_share_prefixes(lab: Lab) -> None:
    prompts = (TextPrompt(("first " * 6,)), TextPrompt(("second " * 6,)))
    completion = await complete(lab, ask(prompts=prompts, n=2))
    assert [choice.index for choice in completion.ordered] == [0, 1, 2, 3]
    assert [choice.started.prompt_text[:5] for choice in completion.ordered] == ["first", "first", "secon", "secon"]
    cached = [choice.end.usage.cached_tokens for choice in completion.ordered]
    assert cached[0] == cached[2] == 0
    assert cached[1] > 0
    assert cached[3] > 0


async def test_choices_of_a_seeded_request_differ_and_repeat(lab: Lab) -> None:
    request = ask(n=3, sampling=Sampling(temperature=1.0, seed=5), max_tokens=20)
    first, second = await complete(lab, request), await complete(lab, request)
    texts = [choice.text for choice in first.ordered]
    assert len(set(texts)) == 3
    assert texts == [choice.text for choice in second.ordered]


async def test_the_best_of_several_has_the_best_mean_logprob(lab: Lab) -> None:
    sampling = Sampling(temperature=1.0, seed=5)
    every = await complete(lab, ask(n=4, sampling=sampling, max_tokens=10, top_logprobs=0))
    best = await complete(lab, ask(n=1, best_of=4, sampling=sampling, max_tokens=10))
    means = {choice.text: np.mean([each.logprob for each in choice.logprobs]) for choice in every.ordered}
    assert [choice.text for choice in best.ordered] == [max(means, key=lambda text: means[text])]


async def test_a_prompt_of_text_and_ids_in_turn(lab: Lab) -> None:
    mixed = ask(prompts=(TextPrompt(("he", tuple(encode("llo")), " you")),))
    completion = await complete(lab, mixed)
    started = completion.ordered[0].started
    assert started.prompt_token_ids == (*encode("he"), *encode("llo"), *encode(" you"))
    assert started.prompt_text == "hello you"


async def test_an_empty_prompt_is_the_beginning_of_a_text(lab: Lab) -> None:
    completion = await complete(lab, ask(""))
    assert completion.ordered[0].started.prompt_token_ids == (EOS,)


async def test_a_chat_goes_through_the_models_template(lab: Lab) -> None:
    prompt = ChatPrompt((Message("user", "hi"),))
    rendered = f"<|im_start|>user\nhi{END}\n<|im_start|>assistant\n"
    assert await lab.backend.render_chat(prompt) == rendered
    completion = await complete(lab, ask(prompts=(prompt,)))
    assert completion.ordered[0].started.prompt_text == rendered
    assert completion.ordered[0].text == lab.answer_to(rendered, 8)


async def test_echo_says_the_prompt_first(lab: Lab) -> None:
    completion = await complete(lab, ask("hello", echo=True, n=2, best_of=3))
    assert all(choice.text.startswith("hello") for choice in completion.ordered)
    assert all(len(choice.token_ids) == 8 for choice in completion.ordered)


@not_on_a_card
async def test_prompt_logprobs_and_top_logprobs(lab: Lab) -> None:
    completion = await complete(lab, ask("hello world", n=2, prompt_logprobs=1, top_logprobs=3, echo=True))
    for choice in completion.ordered:
        told = choice.started.prompt_logprobs
        assert told[0] is None
        assert [each.id for each in told[1:] if each] == encode("hello world")[1:]
        assert [each.id for each in choice.logprobs] == choice.token_ids
        assert all(len(each.top) == 3 for each in choice.logprobs)
        assert choice.text.startswith("hello world")


async def test_stop_strings_stop_tokens_and_least_tokens(lab: Lab) -> None:
    whole = lab.answer_to("hello", 30)
    stop = whole[10:13]
    place = whole.index(stop)
    (cut,) = (await complete(lab, ask(max_tokens=30, stop=(stop,)))).ordered
    assert (cut.text, cut.end.reason, cut.end.stop_text) == (whole[:place], "stop_string", stop)
    (kept,) = (await complete(lab, ask(max_tokens=30, stop=(stop,), include_stop=True))).ordered
    assert kept.text == whole[: place + 3]
    lab.runner.likes[EOS] = 200.0
    (forced,) = (await complete(lab, ask(min_tokens=5))).ordered
    assert (len(forced.text), forced.end.reason) == (5, "end")
    (endless,) = (await complete(lab, ask(ignore_eos=True))).ordered
    assert (len(endless.text), endless.end.reason) == (8, "length")
    (halted,) = (await complete(lab, ask(stop_token_ids=tuple(LETTERS), ignore_eos=True))).ordered
    assert (halted.text, halted.end.reason) == ("", "stop_string")


async def test_a_special_token_as_a_stop_string_stops(lab: Lab) -> None:
    lab.runner.likes[TOKENIZER.token_id("<|im_start|>") or 0] = 200.0
    (choice,) = (await complete(lab, ask(stop=("<|im_start|>",)))).ordered
    assert (choice.text, choice.end.reason, choice.end.stop_text) == ("", "stop_string", "<|im_start|>")


async def test_output_follows_its_grammar(lab: Lab) -> None:
    options = ("xyz", "zyx")
    completion = await complete(lab, ask(output=Choice(options), n=2, sampling=Sampling(temperature=2.0, seed=1)))
    assert all(choice.text in options and choice.end.reason == "end" for choice in completion.ordered)
    (cut,) = (await complete(lab, ask(output=JsonSchema({"type": "string", "minLength": 50}), max_tokens=5))).ordered
    assert cut.end.reason == "length"


async def test_logit_bias_by_text_and_id(lab: Lab) -> None:
    bias: dict[int | str, Any] = {"q": 300.0, encode("r")[0]: False}
    (choice,) = (await complete(lab, ask(sampling=Sampling(temperature=0.0, logit_bias=bias)))).ordered
    assert choice.text == "q" * 8


# the prefix cache


async def test_a_second_turn_takes_the_first_from_the_cache(lab: Lab) -> None:
    (first,) = (await complete(lab, ask("hello world " * 4))).ordered
    (second,) = (await complete(lab, ask("hello world " * 4 + first.text + " and"))).ordered
    num_first = first.end.usage.prompt_tokens
    assert second.end.usage.cached_tokens >= num_first - num_first % 4


async def test_a_request_outside_the_cache_takes_nothing(lab: Lab) -> None:
    await complete(lab, ask("hello world " * 4))
    (second,) = (await complete(lab, ask("hello world " * 4, cache_prompt=False))).ordered
    assert second.end.usage.cached_tokens == 0


async def test_salted_prefixes_are_shared_with_the_same_salt_only(lab: Lab) -> None:
    cached = []
    for salt in (None, "mine", "yours", "mine"):
        (choice,) = (await complete(lab, ask("hello world " * 4, cache_salt=salt))).ordered
        cached.append(choice.end.usage.cached_tokens > 0)
    assert cached == [False, False, False, True]


async def test_the_more_urgent_request_is_served_first(folder: Path) -> None:
    async with running(Lab(folder, max_batch_size=1)) as lab:
        lab.runner.hold()  # nothing moves until all have come
        order: list[int] = []

        async def answer(priority: int) -> None:
            await complete(lab, ask(priority=priority))
            order.append(priority)

        answers = [asyncio.create_task(answer(priority)) for priority in (0, 3, 2, 1)]
        await asyncio.sleep(0)  # each of them runs until it waits for its first token
        assert lab.backend._capacity.num_taken == 4
        lab.runner.let_go()
        await asyncio.gather(*answers)
        assert order == [0, 1, 2, 3]


# refusing


async def test_a_prompt_as_long_as_the_window_is_refused_with_both_numbers(lab: Lab) -> None:
    with pytest.raises(PromptTooLong) as refused:
        await complete(lab, ask("a" * 256))
    assert (refused.value.num_prompt_tokens, refused.value.window) == (256, 256)


async def test_an_answer_ends_with_length_at_the_window(lab: Lab) -> None:
    for max_tokens in (None, 1000):
        (choice,) = (await complete(lab, ask("a" * 250, max_tokens=max_tokens))).ordered
        assert (len(choice.token_ids), choice.end.reason) == (6, "length")


async def test_what_the_model_cannot_do_is_refused_by_name(lab: Lab) -> None:
    with pytest.raises(Unsupported) as infill:
        await complete(lab, ask(prompts=(InfillPrompt("a", "b"),)))
    assert infill.value.feature == "infill"
    with pytest.raises(Unsupported) as images:
        await complete(lab, ask(prompts=(ChatPrompt((Message("user", "see", (Image(url="http://x"),)),)),)))
    assert images.value.feature == "images"
    with pytest.raises(InvalidField):
        await complete(lab, ask(prompts=(TextPrompt(((1, 99_999),)),)))
    with pytest.raises(InvalidRequest):
        await complete(lab, ask(n=3, best_of=2))


async def test_what_changes_nothing_is_ignored_and_said_so(lab: Lab) -> None:
    request = ask(prompts=(ChatPrompt((Message("user", "hi"),)),), reasoning=True)
    await complete(lab, request)
    assert request.ignored == ["reasoning"]


async def test_more_than_may_wait_are_refused_until_someone_leaves(folder: Path) -> None:
    async with running(Lab(folder, max_batch_size=1, max_waiting=1)) as lab:
        streams = [lab.backend.generate(ask(max_tokens=None)) for _ in range(3)]
        await anext(streams[0])
        await anext(streams[1])
        with pytest.raises(Busy) as refused:
            await anext(streams[2])
        assert refused.value.retry_after_s
        await streams[0].aclose()
        again = lab.backend.generate(ask())
        await anext(again)
        await again.aclose()
        await streams[1].aclose()


# leaving


async def test_who_closes_the_stream_frees_place_and_blocks(lab: Lab) -> None:
    lab.runner.hold(num_calls=3)
    events = lab.backend.generate(ask("hello", max_tokens=None, cache_prompt=False))
    await _until_text(events)
    await events.aclose()
    lab.runner.let_go()
    await settle(lab)
    core = lab.backend._core
    assert core is not None
    assert core.scheduler.blocks.num_free == core.scheduler.blocks.num_blocks
    assert core.members == {}
    assert len(lab.runner.calls) <= 5, "the engine went on for nobody"


async def test_slots_tell_who_is_where(lab: Lab) -> None:
    lab.runner.hold(num_calls=3)
    async with contextlib.aclosing(lab.backend.generate(ask("hello", id="me", max_tokens=100))) as events:
        await _until_text(events)
        slot, *others = lab.backend.slots
        assert (slot.id, slot.request_id, slot.num_prompt_tokens) == (0, "me", 2)
        assert slot.num_generated_tokens > 0
        assert slot.num_generated_tokens + slot.num_remaining_tokens == 100
        assert others == [Slot(i) for i in range(1, 8)]
        lab.runner.let_go()
    await settle(lab)
    assert lab.backend.slots == [Slot(i) for i in range(8)]


# failing


async def test_a_failing_runner_fails_its_request_and_nothing_else(lab: Lab) -> None:
    lab.runner.faults["prefill"] = [ValueError("out of memory")]
    with pytest.raises(BackendFailed, match="out of memory"):
        await complete(lab, ask())
    assert lab.backend.state is BackendState.READY
    assert (await complete(lab, ask())).ordered[0].text == lab.answer_to("hello", 8)


async def test_a_step_that_hangs_is_reported_and_everyone_answered(folder: Path) -> None:
    lab = Lab(folder, step_deadline_s=0.05)
    async with running(lab):
        lab.runner.hold()
        others = [lab.backend.embed(embed("c"))] if lab.runner.traits.gives_hidden_states else []
        answers = await asyncio.gather(
            complete(lab, ask("a")), complete(lab, ask("b")), *others, return_exceptions=True
        )
        assert all(isinstance(answer, BackendFailed) for answer in answers)
        assert lab.backend.state is BackendState.FAILED
        assert "longer than 0.05 s" in lab.backend.phase
        with pytest.raises(BackendFailed, match="hangs"):
            await complete(lab, ask())


async def test_a_leak_fails_the_backend_with_a_number(lab: Lab) -> None:
    core = lab.backend._core
    assert core is not None
    core.scheduler.blocks.allocate(2)
    with contextlib.suppress(BackendFailed):  # the check comes after the last token, before or after we see it
        await complete(lab, ask(max_tokens=1))
    with pytest.raises(BackendFailed, match="2 blocks are owned by no sequence"):
        await complete(lab, ask())
    assert lab.backend.state is BackendState.FAILED


# life


async def test_stopping_answers_everyone_and_ends_the_threads(folder: Path) -> None:
    lab = Lab(folder)
    await lab.backend.start()
    events = lab.backend.generate(ask(max_tokens=None))
    await anext(events)
    reading = asyncio.create_task(_drain(events))
    await asyncio.sleep(0)
    await lab.backend.stop()
    with pytest.raises(BackendFailed, match="stopped"):
        await reading
    assert lab.backend.state is BackendState.STOPPED
    assert lab.runner.num_closed == 1
    for thread in threading.enumerate():
        if thread.name.startswith("engine"):
            thread.join(5)
            assert not thread.is_alive()
    await lab.backend.stop()
    with pytest.raises(NotReady):
        await complete(lab, ask())


async def test_a_stopped_or_failed_engine_can_be_started_again(folder: Path) -> None:
    lab = Lab(folder)
    await lab.backend.start()
    await lab.backend.stop()
    async with running(lab):
        assert (await complete(lab, ask())).ordered[0].text


class SlowLab(Lab):
    """Its model is loaded when the test says so."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.is_loading, self.may_load = threading.Event(), threading.Event()

    def load_runner(self, options: EngineOptions, say: Say) -> tuple[ModelRunner, ModelInfo]:
        say("reading weights")
        self.is_loading.set()
        self.may_load.wait()
        return super().load_runner(options, say)


async def test_nothing_is_answered_before_the_model_is_loaded(folder: Path) -> None:
    lab = SlowLab(folder)
    starting = asyncio.create_task(lab.backend.start())
    await asyncio.to_thread(lab.is_loading.wait)
    assert lab.backend.state is BackendState.STARTING
    with pytest.raises(NotReady, match="reading weights, 0 s since the start"):
        await complete(lab, ask())
    lab.may_load.set()
    await starting
    assert lab.backend.phase == "ready"
    await complete(lab, ask())
    await lab.backend.stop()


async def test_a_model_whose_start_was_given_up_is_let_go_of(folder: Path) -> None:
    lab = SlowLab(folder)
    starting = asyncio.create_task(lab.backend.start())
    await asyncio.to_thread(lab.is_loading.wait)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    assert lab.backend.state is BackendState.STOPPED
    lab.may_load.set()
    await asyncio.to_thread(lab.runner.closed.wait)


async def test_a_folder_that_cannot_be_run_fails_with_the_cause(tmp_path: Path) -> None:
    backend: Backend = EngineBackend(EngineOptions(tmp_path))
    with pytest.raises(BackendFailed, match=r"tokenizer\.json"):
        await backend.start()
    assert backend.state is BackendState.FAILED
    assert "tokenizer.json" in backend.phase


# options


async def test_the_window_is_what_model_blocks_and_options_allow(folder: Path) -> None:
    for options, window in (({}, 256), ({"window": 100}, 100), ({"num_blocks": 20}, 80)):
        async with running(Lab(folder, **options)) as lab:
            assert lab.backend.info.window == window
            with pytest.raises(PromptTooLong):
                await complete(lab, ask("a" * window))
            await complete(lab, ask("a" * (window - 1), max_tokens=None))
    for options in ({"window": 257}, {"window": 81, "num_blocks": 20}):
        with pytest.raises(BackendFailed, match="window"):
            await Lab(folder, **options).backend.start()


async def test_the_batch_is_no_larger_than_it_may_be(folder: Path) -> None:
    async with running(Lab(folder, max_batch_size=2)) as lab:
        await asyncio.gather(*(complete(lab, ask(f"prompt {i}")) for i in range(6)))
        assert max(num_rows for _, num_rows in lab.runner.calls) <= 2
        assert len(lab.backend.slots) == 2


@not_on_a_card
async def test_a_step_reads_no_more_tokens_than_it_may(folder: Path) -> None:
    async with running(Lab(folder, step_tokens=16)) as lab:
        await complete(lab, ask("a" * 60, max_tokens=1))
        assert len([name for name, _ in lab.runner.calls if name == "prefill"]) == 4


async def test_prefixes_are_shared_in_whole_blocks(folder: Path) -> None:
    for block_size in (8, 32):
        async with running(Lab(folder, block_size=block_size)) as lab:
            await complete(lab, ask("a" * 45))
            (again,) = (await complete(lab, ask("a" * 45))).ordered
            assert again.end.usage.cached_tokens == 44 - 44 % block_size


async def test_few_blocks_make_requests_wait_or_give_way_but_all_are_answered(folder: Path) -> None:
    async with running(Lab(folder, num_blocks=16)) as lab:
        texts = [f"prompt number {i}" for i in range(8)]
        completions = await asyncio.gather(*(complete(lab, ask(text, max_tokens=30)) for text in texts))
        for text, completion in zip(texts, completions, strict=True):
            assert completion.ordered[0].text == lab.answer_to(text, 30)


# text and embeddings


async def test_tokens_and_text(lab: Lab) -> None:
    backend = lab.backend
    ids = await backend.tokenize(f"hello{END}", add_special=True)
    assert ids == [*encode("hello"), EOS]
    assert EOS not in await backend.tokenize(END, add_special=True, parse_special=False)
    assert await backend.detokenize(encode("héllo")) == "héllo"
    assert await backend.token_bytes(encode("h")[0]) == b"h"
    with pytest.raises(InvalidField):
        await backend.token_bytes(99_999)


@not_on_a_card
async def test_embeddings_of_texts_and_ids(lab: Lab) -> None:
    embeddings = await lab.backend.embed(embed("abc", encode("abcd")))
    assert embeddings.num_tokens == (3, 4)
    assert [list(vector) for vector in embeddings.vectors] == [
        lab.runner.embedding_of(encode("abc")), lab.runner.embedding_of(encode("abcd"))
    ]  # fmt: skip
    assert embeddings.pooled == "mean"
    with pytest.raises(PromptTooLong):
        await lab.backend.embed(embed("a" * 257))


@not_on_a_card
async def test_embeddings_are_the_same_whoever_else_is_there_and_however_few_blocks(folder: Path) -> None:
    async with running(Lab(folder, num_blocks=64)) as lab:  # for one window
        texts = ["a" * 256, *(f"text number {i}, " * (i % 7 + 1) for i in range(30))]
        asked = [lab.backend.embed(replace(embed(*texts), client=client)) for client in "ab"]
        answers = [complete(lab, ask(f"prompt {i}", max_tokens=30)) for i in range(8)]
        *made, _ = await asyncio.gather(*asked, asyncio.gather(*answers))
        expected = [lab.runner.embedding_of(encode(text)) for text in texts]
        for embeddings in made:
            assert [list(vector) for vector in embeddings.vectors] == expected


@not_on_a_card
async def test_who_leaves_while_it_is_embedded_frees_place_and_blocks(lab: Lab) -> None:
    lab.runner.hold()
    asked = asyncio.ensure_future(lab.backend.embed(embed(*["some text"] * 500)))
    await until(lambda: bool(lab.runner.calls))
    asked.cancel()
    await asyncio.wait([asked])
    lab.runner.let_go()
    await settle(lab)
    assert lab.runner.calls.count(("prefill", 8)) <= 1
    assert lab.backend.state is BackendState.READY


@not_on_a_card
async def test_more_embeddings_than_may_wait_are_refused(folder: Path) -> None:
    async with running(Lab(folder, max_batch_size=2, max_waiting=1)) as lab:
        lab.runner.hold()
        asked = asyncio.ensure_future(lab.backend.embed(embed(*["text"] * 50)))
        await until(lambda: bool(lab.runner.calls))
        with pytest.raises(Busy):
            await lab.backend.embed(embed("a", "b"))
        lab.runner.let_go()
        assert len((await asked).vectors) == 50


@not_on_a_card
async def test_the_model_says_what_it_can_do(lab: Lab) -> None:
    assert lab.backend.info.capabilities == {"completion", "embedding"}
    assert lab.backend.info.eos_token == END
    assert lab.backend.info.chat_template == TEMPLATE


async def until(holds: Callable[[], bool]) -> None:
    for _ in range(1000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it never comes to be")


async def _until_text(events: Any) -> None:
    async for batch in events:
        if any(isinstance(event, Text) for event in batch):
            return


async def _drain(events: Any) -> list[Event]:
    return [event async for batch in events for event in batch]
