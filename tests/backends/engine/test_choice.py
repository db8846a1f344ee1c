"""One choice: what its tokens become, and what ends it."""

from __future__ import annotations

from collections.abc import Sequence as SequenceOf
from typing import Any

import numpy as np
import pytest

from backends.engine.choice import Choice, Ending
from backends.engine.detokenizer import Detokenizer
from backends.engine.logprobs import Logprobs
from backends.engine.parsers import PlainParser
from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.sampler_row import SamplerRow
from backends.engine.sequence import Sequence
from backends.events import Event, Finished, Started, Text
from backends.request import Sampling
from tests.backends.engine.toy_tokenizers import byte_level

TOKENIZER = byte_level(["<end>", "<turn>"], settings={"eos_token": "<end>"})
END, TURN = TOKENIZER.token_id("<end>") or 0, TOKENIZER.token_id("<turn>") or 0
PROMPT = TOKENIZER.encode("ab", add_special=False)


class CountingParser(PlainParser):
    """Claims calls and thoughts."""

    def __init__(self) -> None:
        super().__init__(0)
        self.num_calls = 1
        self.num_reasoning_tokens = 2


class ThreeTokens:
    """A grammar that is finished after three tokens."""

    def __init__(self) -> None:
        self.accepted: list[int] = []

    @property
    def is_finished(self) -> bool:
        return len(self.accepted) == 3

    def mask(self) -> np.ndarray[Any, np.dtype[np.bool_]]:
        return np.ones(TOKENIZER.vocab_size, np.bool_)

    def accept(self, token_id: int) -> None:
        self.accepted.append(token_id)


def choice(
    *, stops: tuple[str, ...] = (), max_tokens: int = 100, ending: Ending | None = None, **options: Any
) -> Choice:
    ending = ending or Ending(TOKENIZER.eos_token_ids)
    return Choice(
        index=0,
        sequence=Sequence(np.array(PROMPT, np.int32), max_tokens, 4),
        sampler_row=SamplerRow(ResolvedSampling.of(Sampling(), {}), np.array(PROMPT, np.int32), 0),
        detokenizer=Detokenizer(
            TOKENIZER, stops=stops, include_stop=ending.includes_stop, skip_ids=TOKENIZER.special_ids
        ),
        parser=options.pop("parser", PlainParser(0)),
        ending=ending,
        tokenizer=TOKENIZER,
        prompt_text="ab",
        **options,
    )


def say(to: Choice, *words: str | int, seconds: float = 0.0) -> list[Event]:
    """Texts and ids become tokens, each `seconds` after the last; stops at the end of the answer."""
    tokens = [token for word in words for token in ([word] if isinstance(word, int) else _encode(word))]
    events: list[Event] = []
    for place, token in enumerate(tokens):
        to.accept(token)
        events += to.take(token, None, place * seconds)
        if events and isinstance(events[-1], Finished):
            break
    return events


def _encode(text: str) -> list[int]:
    return TOKENIZER.encode(text, add_special=False)


def text_of(events: SequenceOf[Event]) -> str:
    return "".join(event.text for event in events if isinstance(event, Text))


def end_of(events: SequenceOf[Event]) -> tuple[str, str | None]:
    last = events[-1]
    assert isinstance(last, Finished)
    return last.reason, last.stop_text


def test_the_models_own_end_is_no_text() -> None:
    each = choice()
    events = say(each, "xyz", END)
    assert (text_of(events), end_of(events)) == ("xyz", ("end", None))
    assert each.sampler_row.num_generated == 4


def test_a_stop_string_across_tokens_is_cut_off_and_named() -> None:
    events = say(choice(stops=("STOP",)), "one STOP two")
    assert (text_of(events), end_of(events)) == ("one ", ("stop_string", "STOP"))


def test_what_might_have_been_a_stop_string_is_said_at_the_end() -> None:
    events = say(choice(stops=("STOP",)), "one STO", END)
    assert (text_of(events), end_of(events)) == ("one STO", ("end", None))


def test_a_stop_token_is_no_text_unless_it_is_wanted() -> None:
    silent, loud = (Ending(TOKENIZER.eos_token_ids, {TURN: "<turn>"}, includes_stop=wanted) for wanted in (False, True))
    events = say(choice(ending=silent), "xy", TURN)
    assert (text_of(events), end_of(events)) == ("xy", ("stop_string", "<turn>"))
    events = say(choice(ending=loud, stops=("yz",)), "xy", TURN)
    assert (text_of(events), end_of(events)) == ("xy<turn>", ("stop_string", "<turn>"))


def test_a_stop_token_before_the_least_number_of_tokens_ends_nothing() -> None:
    (comma,) = _encode(",")
    events = say(choice(ending=Ending(TOKENIZER.eos_token_ids, {comma: None}, min_tokens=3)), "a,b,c")
    assert text_of(events) == "a,b"


def test_the_length_ends_an_answer_and_nothing_is_lost() -> None:
    cafe = _encode("café")
    events = say(choice(max_tokens=len(cafe) - 1), *cafe)
    assert (text_of(events), end_of(events)) == ("caf\ufffd", ("length", None))


def test_the_deadline_counts_from_the_first_token() -> None:
    events = say(choice(ending=Ending(TOKENIZER.eos_token_ids, deadline_s=2.0)), "abcdefgh", seconds=1.0)
    assert (text_of(events), end_of(events)) == ("abc", ("length", None))


def test_a_finished_grammar_ends_an_answer() -> None:
    grammar = ThreeTokens()
    events = say(choice(grammar=grammar), "abcdef")
    assert (text_of(events), end_of(events)) == ("abc", ("end", None))
    assert grammar.accepted == _encode("abc")


def test_an_answer_with_calls_ends_with_them_and_counts_its_thoughts() -> None:
    events = say(choice(parser=CountingParser()), "abc", END)
    last = events[-1]
    assert isinstance(last, Finished)
    assert (last.reason, last.usage.reasoning_tokens, last.usage.completion_tokens) == ("tool_calls", 2, 4)
    assert end_of(say(choice(parser=CountingParser(), max_tokens=2), "abc"))[0] == "length"


def test_the_prompt_is_echoed_before_everything_else() -> None:
    started, echo = choice(echoes=True).open()
    assert isinstance(started, Started)
    assert (started.prompt_tokens, started.prompt_text, started.prompt_token_ids) == (2, "ab", tuple(PROMPT))
    assert echo == Text(0, "ab")


def test_logprobs_stay_with_their_tokens_when_text_is_held_back() -> None:
    each = choice(stops=("bcd",), num_top_logprobs=1)
    events: list[Event] = []
    for token in _encode("abcx"):
        found = Logprobs(-float(token), np.array([token, 0], np.int32), np.array([-1.0, -2.0], np.float32))
        each.accept(token)
        events += each.take(token, found, 0.0)
    texts = [event for event in events if isinstance(event, Text)]
    assert text_of(events) == "abcx"
    for event in texts:
        assert [told.id for told in event.logprobs] == list(event.token_ids)
        assert all(told.logprob == -told.id and told.text in "abcx" for told in event.logprobs)
        assert all(told.top[0].bytes == told.bytes for told in event.logprobs)


def test_a_ranked_choice_knows_its_mean_logprob_without_telling_it() -> None:
    each = choice(is_ranked=True)
    none = np.zeros(0, np.int32)
    for value in (-1.0, -3.0):
        each.accept(_encode("a")[0])
        (event,) = each.take(_encode("a")[0], Logprobs(value, none, none.astype(np.float32)), 0.0)
        assert isinstance(event, Text)
        assert event.logprobs == ()
    assert each.mean_logprob == pytest.approx(-2.0)
