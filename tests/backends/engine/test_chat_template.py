from __future__ import annotations

import re
from typing import Any

import pytest

from backends.engine.chat_template import ChatTemplate
from backends.errors import BackendFailed, InvalidRequest, Unsupported
from backends.request import ChatPrompt, FunctionCall, Image, Message, Tool
from tests.backends.engine.toy_tokenizers import byte_level

CHATML = """{% for message in messages %}
<|im_start|>{{ message.role }}
{{ message.content }}<|im_end|>
{% endfor %}
{% if add_generation_prompt %}
<|im_start|>assistant
{% endif %}"""
USER = Message("user", "Hi")
CALL = Message("assistant", tool_calls=(FunctionCall("call_abcdef", "f", '{"x": "<é>"}'),))
TOOL = Tool("f", "Does f.", {"type": "object"})


def template(source: str | dict[str, str] | None, **settings: str) -> ChatTemplate:
    named = [{"name": name, "template": text} for name, text in source.items()] if isinstance(source, dict) else source
    return ChatTemplate(byte_level(settings={"chat_template": named, **settings}))


def render(source: str, *messages: Message, reasoning: bool | None = None, **prompt: Any) -> str:
    return template(source).render(ChatPrompt(messages, **prompt), reasoning)


def test_blocks_are_trimmed_as_in_transformers() -> None:
    assert render(CHATML, USER) == "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"
    assert render(CHATML, USER, add_generation_prompt=False) == "<|im_start|>user\nHi<|im_end|>\n"


def test_the_special_tokens_have_names() -> None:
    named = template("{{ bos_token }}|{{ eos_token }}", bos_token="<s>", eos_token="</s>")  # noqa: S106
    assert named.render(ChatPrompt((USER,)), None) == "<s>|</s>"


def test_tojson_writes_for_models_not_for_html() -> None:
    source = (
        "{{ {'b': '<é&>', 'a': 1} | tojson }} {{ {'b': 2, 'a': 1} | tojson(sort_keys=True, separators=(',', ':')) }}"
    )
    assert render(source, USER) == '{"b": "<é&>", "a": 1} {"a":1,"b":2}'


def test_tools_come_as_functions() -> None:
    source = "{% for tool in tools %}{{ tool | tojson }}{% endfor %}"
    written = (
        '{"type": "function", "function": {"name": "f", "description": "Does f.", "parameters": {"type": "object"}}}'
    )
    assert render(source, USER, tools=(TOOL,)) == written


def test_without_tools_the_template_sees_none() -> None:
    source = "{{ 'none' if tools is none else 'some' }}"
    assert render(source, USER) == "none"
    assert render(source, USER, tools=(TOOL,), tool_choice="none") == "none"
    assert render(source, USER, tools=(TOOL,)) == "some"


def test_arguments_are_an_object_to_templates_that_want_one() -> None:
    source = "{% for call in messages[0].tool_calls %}{{ call.id }} {{ call.function.arguments | tojson }}{% endfor %}"
    assert render(source, CALL) == 'call_abcdef {"x": "<é>"}'
    assert render("{{ messages[0].tool_calls[0].function.arguments.x }}", CALL) == "<é>"


def test_arguments_are_text_to_templates_that_add_them_to_text() -> None:
    for source in ("{{ '<' + messages[0].tool_calls[0].function.arguments + '>' }}",
                   "{{ '<' ~ messages[0].tool_calls[0].function.arguments ~ '>' }}"):  # fmt: skip
        assert render(source, CALL) == '<{"x": "<é>"}>'


@pytest.mark.parametrize("arguments", ["{broken", "[1]", ""])
def test_arguments_that_are_no_object_stay_text(arguments: str) -> None:
    message = Message("assistant", tool_calls=(FunctionCall("1", "f", arguments),))
    assert render("{{ messages[0].tool_calls[0].function.arguments }}", message) == arguments


def test_mistral_gets_ids_of_nine_letters() -> None:
    source = "[TOOL_CALLS]{{ messages[0].tool_calls[0].id }} {{ messages[1].tool_call_id }}"
    written = render(source, CALL, Message("tool", "1", tool_call_id="call_abcdef"))
    assert re.fullmatch(r"\[TOOL_CALLS\](\w{9}) \1", written)
    kept = Message("assistant", tool_calls=(FunctionCall("abcDEF123", "f", "{}"),))
    assert "abcDEF123 abcDEF123" in render(source, kept, Message("tool", "1", tool_call_id="abcDEF123"))


def test_the_request_says_whether_to_think() -> None:
    source = "{{ enable_thinking is defined }} {{ enable_thinking }} {{ thinking }}"
    assert render(source, USER) == "False  "
    assert render(source, USER, reasoning=False) == "True False False"
    assert render(source, USER, reasoning=True, template_args={"enable_thinking": False}) == "True False True"


def test_earlier_thoughts_are_given() -> None:
    assert render("{{ messages[0].reasoning_content }}", Message("assistant", "a", reasoning="hm")) == "hm"


def test_a_final_message_is_continued_where_it_ends() -> None:
    started = (USER, Message("assistant", "Once upon "))
    assert render(CHATML, *started, continue_final=True).endswith("<|im_start|>assistant\nOnce upon ")


def test_a_final_message_is_continued_where_the_template_trims_it() -> None:
    trimming = CHATML.replace("message.content", "message.content | trim")
    started = (USER, Message("assistant", "Once upon "))
    assert render(trimming, *started, continue_final=True).endswith("<|im_start|>assistant\nOnce upon")


def test_a_final_message_that_the_template_drops_cannot_be_continued() -> None:
    with pytest.raises(InvalidRequest, match="drops the final message"):
        render("{{ messages[0].content }}", USER, Message("assistant", "x"), continue_final=True)


def test_the_templates_own_complaint_is_the_error() -> None:
    with pytest.raises(InvalidRequest) as refused:
        render("{{ raise_exception('Roles must alternate!') }}", USER)
    assert refused.value.message == "Roles must alternate!"


@pytest.mark.parametrize(
    "source", ["{{ 1 + messages }}", "{{ nobody.knows }}", "{{ ''.__class__.mro() }}", "{{ 1 / 0 }}"]
)
def test_a_template_that_fails_is_an_error_of_the_request(source: str) -> None:
    with pytest.raises(InvalidRequest):
        render(source, USER)


def test_a_template_that_never_stops_writing_is_stopped() -> None:
    with pytest.raises(InvalidRequest, match="without end"):
        render("{% for _ in range(90000) %}{{ 'x' * 10000 }}{% endfor %}", USER)


def test_a_template_cannot_change_the_messages() -> None:
    with pytest.raises(InvalidRequest):
        render("{{ messages.append(1) }}", USER)


def test_loop_controls_time_and_generation_marks_are_known() -> None:
    source = "{% for m in messages %}{% generation %}{{ m.content }}{% endgeneration %}{% break %}{% endfor %}"
    assert render(source, USER, USER) == "Hi"
    assert re.fullmatch(r"\d{4}", render("{{ strftime_now('%Y') }}", USER))


def test_a_model_without_a_template_has_no_chat() -> None:
    with pytest.raises(Unsupported, match="no chat template"):
        template(None).render(ChatPrompt((USER,)), None)


def test_what_a_template_has_no_place_for_is_refused() -> None:
    assert not template(CHATML).supports_tools
    with pytest.raises(Unsupported, match="no place for tools"):
        render(CHATML, USER, tools=(TOOL,))
    with pytest.raises(Unsupported, match="no images"):
        render(CHATML, Message("user", "See", images=(Image(data=b"x"),)))


def test_a_template_of_its_own_for_tools() -> None:
    both = template({"default": "plain", "tool_use": "with {{ tools | length }}"})
    assert both.supports_tools
    assert both.render(ChatPrompt((USER,)), None) == "plain"
    assert both.render(ChatPrompt((USER,), (TOOL,)), None) == "with 1"


def test_thinking_shows_in_the_template() -> None:
    assert template("{{ '<think>' }}").supports_thinking
    assert not template(CHATML).supports_thinking


def test_a_broken_template_is_named_at_once() -> None:
    with pytest.raises(BackendFailed, match="line 2"):
        template("\n{% if %}")
