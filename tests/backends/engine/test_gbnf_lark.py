"""The translation says the same as the grammar: compared with a reading of GBNF that knows nothing of lexemes."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st
from llguidance import LLMatcher, LLTokenizer

from backends.engine.gbnf import parse
from backends.engine.gbnf_lark import gbnf_to_lark
from backends.engine.gbnf_tree import Alternatives, Chars, GbnfError, Literal, Node, Reference, Repeat, Sequence
from backends.errors import InvalidField
from tests.backends.engine.toy_tokenizers import byte_level

TOKENIZER = byte_level(special=["<end>", "<think>", "</think>"])
VOCABULARY = LLTokenizer(TOKENIZER.to_json(), eos_token=TOKENIZER.token_id("<end>"))
WORDS = ["".join(letters) for length in range(4) for letters in itertools.product("abc", repeat=length)]


def matcher(grammar: str) -> LLMatcher:
    lark = "start: output\n" + gbnf_to_lark(grammar, "output", TOKENIZER.token_id)
    made = LLMatcher(VOCABULARY, LLMatcher.grammar_from_lark(lark))
    assert not made.is_error(), made.get_error()
    return made


def accepts(grammar: LLMatcher, text: str) -> bool:
    """Text in single bytes, so that it can be anything; special tokens as themselves."""
    grammar.reset()
    ids = TOKENIZER.encode(text, add_special=False)
    return bool(grammar.try_consume_tokens(ids) == len(ids) and grammar.is_accepting())


def language(grammar: str) -> set[str]:
    """Those of the words that the grammar describes, by trying everything."""
    rules = parse(grammar, TOKENIZER.token_id)
    return {word for word in WORDS if len(word) in ends_of_root(rules, word)}


def ends_of_root(rules: dict[str, Node], word: str) -> set[int]:
    """Where `root` can end that begins at 0. Rules may call themselves at once, so the table grows until it doesn't."""
    known: dict[tuple[str, int], set[int]] = {(name, start): set() for name in rules for start in range(len(word) + 1)}
    has_grown = True
    while has_grown:
        has_grown = False
        for (name, start), found in known.items():
            more = ends(rules[name], start, word, known)
            has_grown |= not more <= found
            found.update(more)
    return known["root", 0]


def ends(node: Node, start: int, word: str, known: dict[tuple[str, int], set[int]]) -> set[int]:
    match node:
        case Chars(ranges):
            fits = start < len(word) and any(low <= ord(word[start]) <= high for low, high in ranges)
            return {start + 1} if fits else set()
        case Literal(text):
            return {start + len(text)} if word.startswith(text, start) else set()
        case Reference(name):
            return known[name, start]
        case Sequence(items):
            places = {start}
            for item in items:
                places = {end for place in places for end in ends(item, place, word, known)}
            return places
        case Alternatives(options):
            return {end for option in options for end in ends(option, start, word, known)}
        case Repeat(item, least, most):
            return ends_of_repeat(item, least, most, start, word, known)
        case _:
            raise AssertionError(node)


def ends_of_repeat(
    item: Node, least: int, most: int | None, start: int, word: str, known: dict[tuple[str, int], set[int]]
) -> set[int]:
    places, found = {start}, set()
    for count in range(least + len(word) + 1 if most is None else most + 1):
        if count >= least:
            found |= places
        places = {end for place in places for end in ends(item, place, word, known)}
    return found


NAMES = ["root", "x", "y"]
leaves = st.sampled_from(['"a"', '"b"', '"ab"', '"abc"', '"ca"', "[ab]", "[^a]", "[a-c]", '""', "x", "y", "root"])
expressions = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["*", "+", "?", "{2}", "{1,2}", "{0,2}"])).map(
            lambda pair: f"({pair[0]}){pair[1]}"
        ),
        st.lists(inner, min_size=2, max_size=3).map(" ".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda options: f"({' | '.join(options)})"),
    ),
    max_leaves=6,
)
# A grammar that never comes back to `root` is one regular expression, in which no lexeme can be wrong.
grammars = st.tuples(*[expressions] * 5).map(
    lambda parts: "root ::= {} | {} root {}\nx ::= {}\ny ::= {}".format(*parts)
)
REST = '\nx ::= "a"\ny ::= "a"'


@given(grammars)
@example('root ::= "c" | [ab]* root "a"' + REST)
@example('root ::= "c" | [ab]+ root | [ab] "c" root "a"' + REST)  # the longest match would take the last letter
@example('root ::= "b" | ("ab" | "a") root "c"' + REST)  # the longer literal would hide the shorter
@example('root ::= x* "a" | "c" root "c"\nx ::= [ab]\ny ::= "a"')
@example('root ::= "c" | root "ab" | root [ab]' + REST)
@example('root ::= "a" root "b" | ""' + REST)
def test_the_translation_describes_the_same_words(grammar: str) -> None:
    try:
        translated = matcher(grammar)
    except InvalidField:
        assume(False)
    assert {word for word in WORDS if accepts(translated, word)} == language(grammar)


JSON = r"""
root   ::= object
value  ::= object | array | string | number | ("true" | "false" | "null") ws
object ::= "{" ws ( string ":" ws value ("," ws string ":" ws value)* )? "}" ws
array  ::= "[" ws ( value ("," ws value)* )? "]" ws
string ::=
  "\"" (
    [^"\\\x7F\x00-\x1F] |
    "\\" (["\\bfnrt] | "u" [0-9a-fA-F]{4}) # escapes
  )* "\"" ws
number ::= ("-"? ([0-9] | [1-9] [0-9]{0,15})) ("." [0-9]+)? ([eE] [-+]? [0-9] [1-9]{0,15})? ws
ws ::= | " " | "\n" [ \t]{0,20}
"""
OLD_SPACE = 'root ::= "[" ws "]"\nws ::= ([ \\t\\n] ws)?'
CHESS = """# the first move is "1. "
root ::= (
    # a move and its answer
    "1. " move " " move "\\n"

    ([1-9] [0-9]? ". " move " " move "\\n")+
)
move ::= (pawn | castle) [+#]?   # check or mate
pawn ::= ([a-h] "x")? [a-h] [1-8] ("=" [NBKQR])?
castle ::= "O-O" "-O"?
"""
ARITHMETIC = """root  ::= (expr "=" ws term "\\n")+
expr  ::= term ([-+*/] term)*
term  ::= ident | num | "(" ws expr ")" ws
ident ::= [a-z] [a-z0-9_]* ws
num   ::= [0-9]+ ws
ws    ::= [ \\t\\n]*
"""
ITEMS = 'root ::= item+\nitem ::= "- " [^\\r\\n\\x0b\\x0c\\x85\\u2028\\u2029]+ "\\n"'


@pytest.mark.parametrize(
    ("grammar", "text", "is_accepted"),
    [
        (JSON, '{"a": [1, -2.5e3, "x\\n\\u00e9 é"], "b": {"c": null}}\n    ', True),
        (JSON, '{"a" :1}', True),
        (JSON, '{"a":1,}', False),
        (JSON, '{"a":01}', False),
        (JSON, "{", False),
        (OLD_SPACE, "[" + " \n" * 500 + "]", True),
        (CHESS, "1. e4 O-O+\n2. axb5 e8=Q#\n", True),
        (CHESS, "1. e4 e5\n", False),
        (ARITHMETIC, "(a+b)*c = 12 \n\nx=3\n", True),
        (ARITHMETIC, "x=3", False),
        (ITEMS, "- ä 🎉\n- b\n", True),
        (ITEMS, "- a\u2028b\n", False),
        ('root ::= "\\x41\\u00e9\\U0001F389\\"\\\\\\[" [\\]\\-x] [^\\t]', 'Aé🎉"\\[-\n', True),
        ("root ::= . . .", "a\n🎉", True),
        ('root ::= [a-c-]{2,3} "]" [-x]', "a-b]-", True),
        ('root ::= "a"{0} "b"{2,}', "bbb", True),
        ('root ::= one-two_3 | UPPER\none-two_3 ::= "x"\nUPPER ::= "y"', "y", True),
        ("root ::= <think> !</think>* </think> [a]", "<think>hello</think>a", True),
        ("root ::= <think> !</think>* </think> [a]", "<think>hello</think>b", False),
        ('root ::= ""', "", True),
        ("root ::=", "", True),
    ],
)
def test_grammars_of_llama_cpps_kind(grammar: str, text: str, is_accepted: bool) -> None:
    assert accepts(matcher(grammar), text) is is_accepted


def test_json_keeps_large_lexemes() -> None:
    """Strings, numbers and words are one lexeme each: with characters instead, masks take seventy times as long."""
    lark = gbnf_to_lark(JSON, "output", TOKENIZER.token_id)
    assert lark.count("GBNF_LEXEME") < 40


def test_a_token_can_be_named_by_its_number() -> None:
    think = TOKENIZER.token_id("<think>")
    assert accepts(matcher(f'root ::= <[{think}]> "a"'), "<think>a")


@pytest.mark.parametrize(
    ("grammar", "complaint"),
    [
        ("", "no rule named 'root'"),
        ('start ::= "a"', "no rule named 'root'"),
        ("root ::= other", "line 1: there is no rule named 'other'"),
        ('root ::= "a"\nx = "b"', "line 2: expected '::='"),
        ('root ::= "a', "line 1: the grammar ends inside"),
        ('root ::= ("a"', "line 1: expected ')'"),
        ('root ::= "a")', "line 1: expected the end of the line"),
        ('root ::= "\\q"', "unknown escape '\\q'"),
        ('root ::= "\\ud800"', "0xd800 is no character"),
        ("root ::= []", "a class needs a character"),
        ("root ::= [z-a]", "goes backwards"),
        ('root ::= "a"{', "expected {m}"),
        ('root ::= "a"{3,2}', "second number is smaller"),
        ('root ::= "a"{5000}', "at most 2000 repetitions"),
        ("root ::= * ", "expected the end of the line"),
        ("root ::= <nothing>", "<nothing> is no single token"),
        ('root ::= "a" root', "'root' can never come to its end"),
        ('root ::= "a"\nx ::= y\ny ::= x', "can never come to its end"),
        ("root ::= " + "(" * 200 + '"a"' + ")" * 200, "too many parentheses"),
        ("\n".join(f'r{index} ::= "a"' for index in range(3000)), "at most 2000 rules"),
    ],
)
def test_a_wrong_grammar_is_refused_with_its_line(grammar: str, complaint: str) -> None:
    with pytest.raises(InvalidField) as refused:
        gbnf_to_lark(grammar, "output", TOKENIZER.token_id)
    assert refused.value.param == "grammar"
    assert complaint in refused.value.message


def test_a_long_chain_of_rules_is_read() -> None:
    rules = ["root ::= r0", *(f"r{index} ::= r{index + 1}" for index in range(1500)), 'r1500 ::= "a"']
    assert accepts(matcher("\n".join(rules)), "a")


@given(st.text('root:=abx "[]()|*+?{}\\-^#<>!\n1,', max_size=30))
def test_nothing_but_a_complaint_comes_of_rubbish(text: str) -> None:
    try:
        parse(f"root ::= {text}", TOKENIZER.token_id)
    except GbnfError:
        return
