"""What a chat template must not get at, and must not go on with for ever."""

from __future__ import annotations

import asyncio

import pytest

from backends.engine import sandbox
from backends.errors import InvalidRequest
from backends.request import ChatPrompt, Message
from tests.backends.engine.test_chat_template import USER, render, template


@pytest.mark.parametrize(
    "source",
    [
        "{{ ''.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''['__class__']['__mro__'] }}",
        "{{ cycler.__init__.__globals__ }}",
        "{{ joiner.__init__.__globals__['os'] }}",
        "{{ strftime_now.__code__.co_consts }}",
        "{{ self.__init__.__globals__ }}",
        "{{ '{0.__class__.__mro__}'.format('') }}",
        "{{ '{x.__init__.__globals__}'.format_map({'x': cycler}) }}",
        "{% set f = '{0.__class__.__base__}'.format %}{{ f(messages) }}",
        "{{ ['{0.__class__.__base__}'] | map('format', '') | first | attr('__class__') | attr('mro') }}",
        "{% for x in messages %}{{ loop.__class__.__init__.__globals__ }}{% endfor %}",
        "{% include '/etc/passwd' %}",
        "{% import 'os' as os %}",
    ],
)
def test_what_is_python_s_is_out_of_reach(source: str) -> None:
    with pytest.raises(InvalidRequest):
        render(source, USER)


@pytest.mark.parametrize("name", ["''|attr('__class__')", "raise_exception.__globals__", "cycler.__init__"])
def test_a_name_of_python_s_is_undefined(name: str) -> None:
    assert render(f"{{{{ {name} }}}}", USER) == ""
    assert render(f"{{{{ ({name}) is defined }}}}", USER) == "False"


@pytest.mark.parametrize(
    "source",
    [
        "{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
        "{% for a in range(99999) %}{% for b in range(99999) if false %}{% endfor %}{% endfor %}",
        "{% macro f(n) %}{% if n %}{{ f(n - 1) }}{{ f(n - 1) }}{% endif %}{% endmacro %}{{ f(60) }}",
        "{% for a in range(99999) %}{{ range(99999) | sum }}{% endfor %}",
        "{{ 'a' * 10**9 }}",
        "{{ 10**9 * 'a' }}",
        "{{ ([0] * 10**9) | length }}",
        "{{ (10 ** (10 ** 8)) % 7 }}",
        "{% set ns = namespace(x=3) %}{% for _ in range(99) %}{% set ns.x = ns.x * ns.x %}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for _ in range(99) %}{% set ns.x = ns.x + ns.x %}{% endfor %}",
        "{% set ns = namespace(x='a') %}{% for _ in range(99) %}{% set ns.x = ns.x ~ ns.x %}{% endfor %}",
        "{{ 'a' | center(10**9) }}",
        "{{ 'a' | center(1000000000) }}",
        "{{ 'a'.center(10**9) }}",
        "{{ 'a'.ljust(10**9) }}",
        "{{ 'a'.rjust(10**9, 'b') }}",
        "{{ 'a'.zfill(10**9) }}",
        "{{ '\t'.expandtabs(10**9) }}",
        "{{ 'a'.encode().center(10**9) | length }}",
        "{{ (1).to_bytes(10**9, 'big') | length }}",
        "{{ ['a'] | map('center', 10**9) | first }}",
        "{% set x = 'a' * 10**6 %}{{ x | replace('a', x) }}",
        "{% set x = 'a' * 10**6 %}{{ x.replace('a', x) }}",
        "{% set x = 'a' * 10**6 %}{{ x.translate({97: x}) }}",
        "{% set x = '\n' * 10**6 %}{{ x | indent(10**6) }}",
        "{{ 'a' | indent(10**9, first=true) }}",
        "{% set x = 'a b ' * 10**6 %}{{ x | wordwrap(1, wrapstring='b' * 10**6) }}",
        "{{ ['a'] | batch(10**9, 'b') | list | length }}",
        "{{ ['a'] | slice(10**9) | list | length }}",
        "{{ [1] | tojson(indent=10**9) }}",
        "{{ '%1000000000d' | format(1) }}",
        "{{ '%*d' | format(10**9, 1) }}",
        "{{ '%1000000000d' % 1 }}",
        "{{ '{:>1000000000}'.format('a') }}",
        "{{ '{:>{}}'.format('a', 10**9) }}",
        "{% set x = 'a' * 10**6 %}{{ ('{0}' * 10**4).format(x) }}",
        "{% set x = 'a' * 10**6 %}{{ '{a}{a}{a}{a}'.format_map({'a': x}) * 300 }}",
        "{% set x = 'a' * 10**6 %}{{ ([x] * 1000) | join(x) }}",
        "{% set x = 'a' * 10**6 %}{{ x.join(['a'] * 10**4) }}",
        "{% set ns = namespace(x=['a']) %}{% for _ in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}{{ ns.x }}",
        "{% set ns = namespace(x=['a']) %}{% for _ in range(99) %}{% set ns.x = [ns.x, ns.x] %}{% endfor %}"
        "{{ ns.x | tojson }}",
        "{% set ns = namespace(x='a') %}"
        "{% for _ in range(99) %}{% set ns.x %}{{ ns.x }}{{ ns.x }}{% endset %}{% endfor %}",
        "{% set x = range(99999) | list %}{% for _ in range(99999) %}{{ x | sum }}{% endfor %}",
    ],
)
def test_a_template_that_does_not_end_is_ended(source: str) -> None:
    with pytest.raises(InvalidRequest, match="more than any chat needs"):
        render(source, USER)


def test_what_no_step_pays_for_ends_with_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sandbox, "MAX_S", 0.5)
    source = "{% set x = range(99999) | list %}{% for _ in range(99999) %}{{ 'a' in x }}{% endfor %}"
    with pytest.raises(InvalidRequest, match="more than any chat needs"):
        render(source, USER)


def test_filters_and_methods_are_as_they_were() -> None:
    for source, text in (
        ("{{ 'ab' | center(4) }}|{{ 'ab'.ljust(3) }}|{{ 'a' | replace('a', 'bc') }}", " ab |ab |bc"),
        ("{{ 'a\nb' | indent(2) }}|{{ '%s-%03d' | format('a', 7) }}|{{ '{:>3}'.format(1) }}", "a\n  b|a-007|  1"),
        ("{{ [1, 'b'] | join('-') }}|{{ messages | join(',', attribute='role') }}", "1-b|user"),
        ("{{ [1, 2, 3] | batch(2, 0) | list }}|{{ '-'.join(['a', 'b']) }}", "[[1, 2], [3, 0]]|a-b"),
        ("{{ messages | selectattr('role', 'equalto', 'user') | list | length }}|{{ '%s' % 'x' }}", "1|x"),
        ("{{ {'b': 1, 'a': [2]} | tojson(indent=1) }}", '{\n "b": 1,\n "a": [\n  2\n ]\n}'),
    ):
        assert render(source, USER) == text


def test_nobody_names_the_budget_and_each_rendering_has_its_own() -> None:
    counts = template("{% for a in range(50000) %}{% for b in range(9) %}{% endfor %}{% endfor %}{{ the_budget }}done")
    assert [counts.render(ChatPrompt((USER,)), None) for _ in range(3)] == ["done"] * 3


def test_loops_know_where_they_are() -> None:
    source = (
        "{% for m in messages %}{{ loop.index }}/{{ loop.length }}{{ '.' if loop.last else ',' }}"
        "{{ loop.nextitem.content if loop.nextitem }}{% else %}none{% endfor %}"
    )
    assert render(source, *(Message("user", text) for text in "abc")) == "1/3,b2/3,c3/3."
    assert render(source) == "none"
    assert render("{{ 1 ~ 'a' ~ none ~ [2] }}", USER) == "1aNone[2]"
    assert render("{% for k, v in {'a': 1}.items() if v %}{{ k }}{{ v }}{% endfor %}", USER) == "a1"


async def test_others_go_on_while_a_template_does_not_end() -> None:
    endless = template("{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}")
    rendering = asyncio.ensure_future(asyncio.to_thread(endless.render, ChatPrompt((USER,)), None))
    num_turns = 0
    while not rendering.done():
        await asyncio.sleep(0)
        num_turns += 1
    assert num_turns > 10
    with pytest.raises(InvalidRequest):
        rendering.result()
