from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.engine.gbnf import parse
from backends.engine.gbnf_automaton import TooLarge, extensions
from backends.engine.gbnf_rules import Rules

WORDS = ["".join(letters) for length in range(6) for letters in itertools.product("ab", repeat=length)]
SEEN_BY_ALL = ' | "a" | "b"'  # cuts the alphabet, whatever the rest says


def extending(grammar: str) -> set[str]:
    """The letters that can make a text of `root` longer."""
    rules = Rules(parse(f"{grammar}\ncuts ::= [^a-z]{SEEN_BY_ALL}", lambda _: None))
    found = extensions(rules.bodies["root"], rules)
    return {letter for letter in "ab" if found & rules.alphabet.char(letter)}


@pytest.mark.parametrize(
    ("grammar", "letters"),
    [
        ('root ::= "ab"', ""),
        ("root ::= [ab]+", "ab"),
        ('root ::= "a" "b"*', "b"),
        ('root ::= "a" x\nx ::= "b"? "a"?', "ab"),
        ('root ::= ("a" | "ab") "b"', "b"),  # "ab" and "abb" are both complete
        ('root ::= "\\"" [^"]* "\\""', ""),
    ],
)
def test_what_makes_a_complete_text_longer(grammar: str, letters: str) -> None:
    assert extending(grammar) == set(letters)


expressions = st.recursive(
    st.sampled_from(['"a"', '"b"', '"ab"', '"ba"', "[ab]"]),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("*+?")).map(lambda pair: f"({pair[0]}){pair[1]}"),
        st.lists(inner, min_size=2, max_size=3).map(" ".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({' | '.join(options)})"),
    ),
    max_leaves=6,
)


@given(expressions)
def test_no_letter_that_makes_a_text_longer_is_missed(expression: str) -> None:
    """Regular expressions are spelt alike, but for quotes and blanks."""
    pattern = re.compile(re.sub('[" ]', "", expression))
    complete = {word for word in WORDS if pattern.fullmatch(word)}
    longer = {long[len(short)] for short in complete for long in complete if long != short and long.startswith(short)}
    assert longer <= extending(f"root ::= {expression}")


@pytest.mark.parametrize(
    "grammar",
    [
        "\n".join(["root ::= r0 r0", *(f"r{n} ::= r{n + 1} r{n + 1}" for n in range(20)), 'r20 ::= "a"']),
        "\n".join(["root ::= r0", *(f"r{n} ::= r{n + 1}" for n in range(900)), 'r900 ::= "a"']),
        "root ::= " + "[ab] " * 10 + "([ab] " * 12 + ")*" * 12 + ' "a"' + " [ab]" * 16,
    ],
    ids=["too many places", "too deep", "too many states"],
)
def test_a_part_that_is_too_large_is_given_up(grammar: str) -> None:
    with pytest.raises(TooLarge):
        extending(grammar)
