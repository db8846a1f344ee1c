"""The whole sampler: what it chooses from, that it chooses in proportion, and that nobody else matters."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from backends.engine.candidates import NO_TOKEN, Mask
from backends.engine.logit_bias import LogitBias
from backends.engine.resolved_sampling import ResolvedSampling
from backends.engine.runner import Floats
from backends.engine.sampler import Sampler, distribution
from backends.engine.sampler_row import SamplerRow
from backends.request import TEMPERATURE_FIRST, TEMPERATURE_LAST, Dry, Mirostat, SamplerName, Sampling, Xtc
from tests.backends.engine import sampling_reference as reference
from tests.backends.engine.sampling_reference import Logits

END = 2

UNDERFLOW = 1e-35
"""Probabilities that float32 may take for 0."""

KINDS = [
    Sampling(temperature=0),
    Sampling(),
    Sampling(temperature=0.7),
    Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05),
    Sampling(temperature=0.8, top_k=40, top_p=0.95, min_p=0.05, order=TEMPERATURE_FIRST),
    Sampling(top_p=0.9),
    Sampling(temperature=1.3, min_p=0.02),
    Sampling(top_n_sigma=1.0),
    Sampling(typical_p=0.8),
    Sampling(top_k=30, xtc=Xtc(0.5, 0.05)),
    Sampling(temperature_range=0.4, top_k=50),
    Sampling(mirostat=Mirostat(1)),
    Sampling(mirostat=Mirostat(2, tau=3)),
    Sampling(repetition_penalty=1.3, presence_penalty=0.4, frequency_penalty=0.2, penalty_window=16),
    Sampling(dry=Dry(0.8), top_k=40),
    Sampling(logit_bias={7: 4.0, 8: False}),
    # the same samplers as above with other values: handled together, each by its own
    Sampling(temperature=1.4),
    Sampling(temperature=1.5, top_k=400, top_p=0.999, min_p=0.001),
    Sampling(temperature=0.3, top_k=5, top_p=0.5, min_p=0.2, order=TEMPERATURE_FIRST),
    Sampling(top_p=0.2),
    Sampling(temperature=0.6, min_p=0.3),
    Sampling(top_k=300, xtc=Xtc(0.9, 0.01)),
    Sampling(repetition_penalty=0.9, presence_penalty=1.0, frequency_penalty=0.5, penalize_prompt=True),
]


def row(
    sampling: Sampling | None = None, seed: int = 0, *, end_ids: tuple[int, ...] = (), min_tokens: int = 0
) -> SamplerRow:
    """A sequence whose prompt is 1, 2, 3."""
    resolved = ResolvedSampling.of(sampling or Sampling(), {})
    bias = LogitBias.resolve(sampling.logit_bias if sampling else {}, lambda text: [len(text)], 1 << 20)
    prompt = np.array([1, 2, 3], np.int32)
    return SamplerRow(resolved, prompt, seed, bias=bias, end_ids=end_ids, min_tokens=min_tokens)


def one(logits: Floats, sequence: SamplerRow, mask: Mask | None = None) -> int:
    return int(Sampler().sample(logits[None].copy(), [sequence], [mask])[0])


def chances(logits: Floats, sequence: SamplerRow, mask: Mask | None = None) -> dict[int, float]:
    tokens, probabilities = distribution(logits, sequence, mask)
    assert (np.diff(probabilities) <= 0).all(), "likeliest first"
    return dict(zip(tokens.tolist(), probabilities.tolist(), strict=True))


def floats(values: Sequence[float]) -> Floats:
    return np.array(values, np.float32)


def random_logits(seed: int, vocab_size: int, spread: float = 3.0) -> Floats:
    return (np.random.default_rng(seed).standard_normal(vocab_size) * spread).astype(np.float32)


# --- what it chooses from


def by_the_book(logits: Logits, sampling: Sampling, xtc_applies: bool) -> Logits:
    """The reference chain for samplings that set everything."""
    for name in sampling.order:
        match name:
            case "top_n_sigma":
                logits = reference.top_n_sigma(logits, sampling.top_n_sigma or 0)
            case "top_k":
                logits = reference.top_k(logits, sampling.top_k or 0)
            case "typical_p":
                logits = reference.typical_p(logits, sampling.typical_p or 0)
            case "top_p":
                logits = reference.top_p(logits, sampling.top_p or 0)
            case "min_p":
                logits = reference.min_p(logits, sampling.min_p or 0)
            case "xtc":
                logits = reference.xtc(logits, sampling.xtc.threshold) if sampling.xtc and xtc_applies else logits
            case "temperature":
                logits = reference.temperature(logits, sampling.temperature or 1)
    return logits


orders = st.lists(st.sampled_from(TEMPERATURE_LAST), unique=True).map(tuple)
samplings = st.builds(
    Sampling,
    temperature=st.floats(0.3, 3),
    top_k=st.integers(1, 60),
    top_p=st.floats(0.05, 0.99),
    min_p=st.floats(0.001, 0.9),
    typical_p=st.floats(0.05, 0.99),
    top_n_sigma=st.floats(0.1, 3),
    xtc=st.floats(0.001, 0.5).map(lambda threshold: Xtc(1.0, threshold)),
    order=orders,
)


def nudged(sampling: Sampling, factor: float) -> Sampling:
    return Sampling(
        temperature=sampling.temperature,
        top_k=sampling.top_k,
        top_p=(sampling.top_p or 0) * factor,
        min_p=(sampling.min_p or 0) * factor,
        typical_p=(sampling.typical_p or 0) * factor,
        top_n_sigma=(sampling.top_n_sigma or 0) * factor,
        xtc=Xtc(1.0, sampling.xtc.threshold * factor) if sampling.xtc else None,
        order=sampling.order,
    )


@settings(deadline=None, max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from([3, 40, 700]), st.floats(0.3, 5), samplings)
def test_any_chain_in_any_order_leaves_what_the_formulas_leave(
    seed: int, vocab_size: int, spread: float, sampling: Sampling
) -> None:
    logits = random_logits(seed, vocab_size, spread)
    expected = by_the_book(dict(enumerate(map(float, logits))), sampling, xtc_applies=True)
    noise = random_logits(seed + 1, vocab_size, 1e-5)
    for factor in (0.9998, 1, 1.0002):
        near = by_the_book(dict(enumerate(map(float, logits + noise))), nudged(sampling, factor), xtc_applies=True)
        assume(near.keys() == expected.keys())  # else rounding decides
    found = chances(logits, row(sampling))
    wanted = reference.softmax(expected)
    assert sum(found.values()) == pytest.approx(1, abs=1e-5)
    assert found == pytest.approx({token: wanted[token] for token in found}, abs=1e-4)
    assert all(wanted[token] < UNDERFLOW for token in wanted.keys() - found.keys())


@settings(deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([9, 300, 2053]), st.sampled_from(KINDS), st.booleans())
def test_the_token_is_one_of_the_distribution_and_none_is_banned(
    seed: int, vocab_size: int, sampling: Sampling, has_mask: bool
) -> None:
    mask = np.random.default_rng(seed).random(vocab_size) < 0.3 if has_mask else None
    assume(mask is None or mask.any())
    logits = random_logits(seed, vocab_size)
    sequence = row(sampling, seed)
    for _ in range(3):
        found = chances(logits, sequence, mask)
        token = one(logits, sequence, mask)
        assert sum(found.values()) == pytest.approx(1, abs=1e-5)
        assert token in found
        assert mask is None or mask[[*found]].all()
        sequence.accept(token)


def test_dynamic_temperature_acts_where_temperature_would() -> None:
    logits = random_logits(4, 50)
    sampling = Sampling(temperature=1.0, temperature_range=0.5, temperature_exponent=2.0, top_k=10)
    left = reference.top_k(dict(enumerate(map(float, logits))), 10)
    expected = reference.softmax(reference.dynamic_temperature(left, 1.0, 0.5, 2.0))
    assert chances(logits, row(sampling)) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("vocab_size", [40, 4096])
def test_greedy_takes_the_likeliest_whatever_the_seed_and_the_truncation(vocab_size: int) -> None:
    logits = random_logits(1, vocab_size)
    for sampling in (Sampling(temperature=0), Sampling(temperature=0, top_p=0.1, typical_p=0.1, xtc=Xtc(1.0, 0.01))):
        assert {one(logits, row(sampling, seed)) for seed in range(20)} == {int(logits.argmax())}
        assert chances(logits, row(sampling)) == {int(logits.argmax()): 1.0}


def test_of_equals_greedy_and_top_k_1_take_the_first() -> None:
    logits = floats([0, 3, 1, 3])
    assert one(logits, row(Sampling(temperature=0))) == 1
    assert one(logits, row(Sampling(top_k=1))) == 1


# --- in proportion


def chi_square_bound(degrees: int) -> float:
    """What one in a hundred thousand samples of the right distribution exceeds (Wilson and Hilferty)."""
    return degrees * (1 - 2 / (9 * degrees) + 4.265 * math.sqrt(2 / (9 * degrees))) ** 3


@pytest.mark.parametrize("vocab_size", [12, 900])
@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(),
        Sampling(temperature=0.7),
        Sampling(temperature=0.8, top_k=8, top_p=0.9, min_p=0.02),
        Sampling(temperature=1.2, top_p=0.8, order=TEMPERATURE_FIRST),
        Sampling(min_p=0.05, temperature=1.5),
    ],
)
def test_tokens_come_as_often_as_they_should(sampling: Sampling, vocab_size: int) -> None:
    logits = random_logits(9, vocab_size, 2.0)
    neutral = Sampling(
        temperature=sampling.temperature or 1,
        top_k=sampling.top_k or vocab_size,
        top_p=sampling.top_p or 1,
        min_p=sampling.min_p or 0,
        order=("temperature", "min_p", "top_k", "top_p") if sampling.order == TEMPERATURE_FIRST else SHORT_ORDER,
    )
    expected = reference.softmax(by_the_book(dict(enumerate(map(float, logits))), neutral, xtc_applies=False))
    sequences = [row(sampling, seed) for seed in range(32)]
    batch = np.repeat(logits[None], 32, axis=0)
    counts = np.zeros(vocab_size)
    num_steps = 400
    for _ in range(num_steps):
        tokens = Sampler().sample(batch.copy(), sequences, [None] * 32)
        np.add.at(counts, tokens, 1)
        for sequence, token in zip(sequences, tokens.tolist(), strict=True):
            sequence.accept(token)
    assert {token for token in range(vocab_size) if counts[token]} <= set(expected)
    wanted = {token: p * 32 * num_steps for token, p in expected.items()}
    common = [token for token, count in wanted.items() if count >= 8]
    rest = sum(count for count in wanted.values() if count < 8)
    statistic = sum((counts[token] - wanted[token]) ** 2 / wanted[token] for token in common)
    if rest:
        statistic += (counts.sum() - counts[common].sum() - rest) ** 2 / rest
    assert statistic < chi_square_bound(len(common) - (not rest))


SHORT_ORDER: tuple[SamplerName, ...] = ("top_k", "top_p", "min_p", "temperature")


def test_xtc_applies_as_often_as_its_probability() -> None:
    logits = floats([math.log(0.5), math.log(0.3), math.log(0.2)])
    sequence = row(Sampling(xtc=Xtc(0.3, 0.25)))
    num_applied = 0
    for _ in range(2000):
        num_applied += 0 not in chances(logits, sequence)
        sequence.accept(0)
    assert num_applied / 2000 == pytest.approx(0.3, abs=0.04)


# --- whoever else is there


def transcript(seeds_and_kinds: Sequence[tuple[int, Sampling]], batches: Sequence[Sequence[int]]) -> list[list[int]]:
    """Each sequence's tokens, where batches says who is in each step, and in which order."""
    vocab_size = 1500
    table = np.random.default_rng(0).standard_normal((64, vocab_size)).astype(np.float32) * 3
    sequences = [row(sampling, seed, end_ids=(END,), min_tokens=5) for seed, sampling in seeds_and_kinds]
    written: list[list[int]] = [[] for _ in sequences]
    for batch in batches:
        last = [written[index][-1] if written[index] else 0 for index in batch]
        logits = table[[(token + len(written[index])) % 64 for token, index in zip(last, batch, strict=True)]]
        masks = [table[index] > -3 if index % 4 == 0 else None for index in batch]
        tokens = Sampler().sample(logits, [sequences[index] for index in batch], masks)
        for index, token in zip(batch, tokens.tolist(), strict=True):
            sequences[index].accept(token)
            written[index].append(token)
    return written


def test_the_same_seed_gives_the_same_text_alone_and_among_31_others() -> None:
    """In batches that are shuffled at each step, with sequences that come later or sit some steps out."""
    everyone = [(seed, KINDS[seed % len(KINDS)]) for seed in range(32)]
    num_tokens = 70
    rng = np.random.default_rng(6)
    left = dict.fromkeys(range(32), num_tokens)
    batches = []
    while left:
        present = [index for index in left if rng.random() < 0.8] or [*left]
        batches.append(rng.permutation(present).tolist())
        left = {index: count - (index in present) for index, count in left.items() if count > (index in present)}
    together = transcript(everyone, batches)
    assert {len(text) for text in together} == {num_tokens}
    for index in range(32):
        alone = transcript(everyone, [[index]] * num_tokens)[index]
        assert together[index] == alone, f"sequence {index}: {everyone[index][1]}"


def test_another_seed_gives_another_text() -> None:
    texts = transcript([(seed, Sampling()) for seed in range(8)], [[*range(8)]] * 20)
    assert len({tuple(text) for text in texts}) == 8


@pytest.mark.parametrize("sampling", KINDS)
def test_sampling_again_before_accepting_gives_the_same(sampling: Sampling) -> None:
    logits = random_logits(3, 800)
    once, twice = row(sampling), row(sampling)
    for _ in range(10):
        token = one(logits, once)
        assert [one(logits, twice), one(logits, twice)] == [token, token]
        once.accept(token)
        twice.accept(token)


def test_logits_that_may_not_be_written_are_left_as_they_were() -> None:
    logits = np.stack([random_logits(seed, 700) for seed in range(len(KINDS))])
    before = logits.copy()
    logits.setflags(write=False)
    masks = [np.arange(700) % 2 == index % 2 if index % 3 else None for index in range(len(KINDS))]
    sequences = [row(kind, end_ids=(END,), min_tokens=3) for kind in KINDS]
    tokens = Sampler().sample(logits, sequences, masks)
    assert (logits == before).all()
    assert Sampler().sample(before, sequences, masks).tolist() == tokens.tolist()


def test_a_row_of_nonsense_chooses_nothing_and_leaves_the_others_alone() -> None:
    good = random_logits(2, 600)
    for sampling in KINDS:
        expected = one(good, row(sampling))
        bad = [np.full(600, value, np.float32) for value in (np.nan, -np.inf, np.inf)]
        bad.append(np.where(np.arange(600) == 300, np.float32(np.nan), good))
        found = Sampler().sample(np.stack([*bad, good]), [row(sampling) for _ in range(5)], [None] * 5)
        assert found.tolist() == [NO_TOKEN] * 4 + [expected], sampling


# --- bans, bias, masks and penalties


def test_a_bias_is_added_before_everything_else() -> None:
    logits = floats([1.0, 0.5, -3.0, 0.0])
    assert one(logits, row(Sampling(temperature=0, logit_bias={2: 5.0}))) == 2
    assert one(logits, row(Sampling(temperature=0, logit_bias={0: False}))) == 1
    found = chances(logits, row(Sampling(logit_bias={0: False, 3: 0.5})))
    assert found == pytest.approx(reference.softmax({1: 0.5, 2: -3.0, 3: 0.5}), abs=1e-6)


def test_the_end_may_not_come_before_its_time() -> None:
    logits = floats([0.0, 1.0, 9.0])
    sequence = row(Sampling(temperature=0), end_ids=(END,), min_tokens=2)
    written = []
    for _ in range(3):
        written.append(one(logits, sequence))
        sequence.accept(written[-1])
    assert written == [1, 1, END]


def test_an_end_that_the_model_does_not_have_is_nothing_to_it() -> None:
    """A client's stop tokens may be another model's."""
    logits = floats([0.0, 1.0, 9.0])
    sequence = row(Sampling(temperature=0), end_ids=(-1, END, 50256), min_tokens=2)
    assert one(logits, sequence) == 1


def test_ignoring_the_end_means_that_it_never_comes() -> None:
    logits = floats([0.0, 1.0, 9.0])
    sequence = row(Sampling(), end_ids=(END,), min_tokens=sys.maxsize)
    for _ in range(100):
        token = one(logits, sequence)
        assert token != END
        sequence.accept(token)


def test_a_mask_wins_over_bans_that_leave_nothing_of_it() -> None:
    logits = floats([0.0, 1.0, 9.0])
    sequence = row(Sampling(logit_bias={1: False}), end_ids=(END,), min_tokens=9)
    assert one(logits, sequence, np.array([False, False, True])) == END
    assert chances(logits, sequence, np.array([False, True, True])) == pytest.approx(
        reference.softmax({1: 1.0, 2: 9.0}), abs=1e-6
    )
    assert one(logits, sequence, np.array([True, True, False])) == 0


def test_a_mask_that_allows_nothing_chooses_nothing() -> None:
    for sampling in KINDS:
        assert one(random_logits(0, 20), row(sampling), np.zeros(20, np.bool_)) == NO_TOKEN


def test_penalties_come_after_the_bias_and_before_the_truncation() -> None:
    logits = floats([4.0, 3.0, 2.0, 1.0, 0.0])
    sampling = Sampling(repetition_penalty=2.0, presence_penalty=0.25, logit_bias={1: 3.0}, top_k=2)
    sequence = row(sampling)  # 1, 2 and 3 are in the prompt
    sequence.accept(0)
    # 0: 4/2 - 0.25; 1: (3+3)/2; 2: 2/2; 3: 1/2
    assert chances(logits, sequence) == pytest.approx(reference.softmax({1: 3.0, 0: 1.75}), abs=1e-6)


def test_dry_punishes_the_token_that_would_go_on_with_a_run() -> None:
    logits = floats([0.0, 0.0, 0.0, 0.0])
    sequence = row(Sampling(dry=Dry(1.0)))
    for token in (1, 2):  # after the prompt 1, 2, 3
        sequence.accept(token)
    assert chances(logits, sequence) == pytest.approx(reference.softmax({0: 0, 1: 0, 2: 0, 3: -1.0}), abs=1e-6)


def test_mirostat_stands_in_for_truncation_and_penalties() -> None:
    logits = random_logits(8, 500)
    plain = row(Sampling(mirostat=Mirostat(2)), 5)
    crowded = row(Sampling(mirostat=Mirostat(2), top_k=1, repetition_penalty=2.0, presence_penalty=2.0), 5)
    for _ in range(20):
        token = one(logits, plain)
        assert one(logits, crowded) == token
        plain.accept(token)
        crowded.accept(token)


def test_mirostat_learns_from_what_was_accepted() -> None:
    logits = random_logits(8, 500, 1.0)
    sequence = row(Sampling(mirostat=Mirostat(2, tau=2.0, eta=0.3)))
    first = len(chances(logits, sequence))
    for _ in range(60):
        sequence.accept(one(logits, sequence))
    assert len(chances(logits, sequence)) != first
