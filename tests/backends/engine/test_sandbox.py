"""What a chat template must not get at, and must not go on with for ever."""

from __future__ import annotations

import asyncio

import pytest

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
    ],
)
def test_a_template_that_does_not_end_is_ended(source: str) -> None:
    with pytest.raises(InvalidRequest, match="more than any chat needs"):
        render(source, USER)


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
