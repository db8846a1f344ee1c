"""Templates in Go's notation that come with a request."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.ollama.errors import Fault
from adapters.ollama.template import Template

CHATML = (
    "{{ if .System }}<|im_start|>system\n{{ .System }}<|im_end|>\n{{ end }}"
    "{{ if .Prompt }}<|im_start|>user\n{{ .Prompt }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n{{ .Response }}<|im_end|>\n"
)
WITH_MESSAGES = """{{- range $i, $_ := .Messages }}
{{- $last := eq (len (slice $.Messages $i)) 1 -}}
{{- if eq .Role "user" }}<|user|>{{ .Content }}
{{- else if eq .Role "system" }}<|system|>{{ .Content }}{{ end }}
{{- if and $last (ne .Role "assistant") }}<|assistant|>{{ end }}
{{- end }}"""


def test_what_stands_behind_the_response_is_left_to_the_model() -> None:
    assert Template(CHATML).chat(system="S", prompt="P") == (
        "<|im_start|>system\nS<|im_end|>\n<|im_start|>user\nP<|im_end|>\n<|im_start|>assistant\n"
    )
    assert Template(CHATML).chat(system="", prompt="P").startswith("<|im_start|>user")


def test_a_response_inside_a_branch_ends_the_prompt_too() -> None:
    template = Template("{{ .Prompt }}{{ if true }}>{{ .Response }}<{{ else }}x{{ end }} tail")
    assert template.chat(system="", prompt="P") == "P>"


def test_a_template_over_messages_gets_the_system_text_as_one() -> None:
    assert Template(WITH_MESSAGES).chat(system="S", prompt="P") == "<|system|>S<|user|>P<|assistant|>"
    assert Template(WITH_MESSAGES).chat(system="", prompt="P") == "<|user|>P<|assistant|>"


def test_filling_in_writes_the_whole_template() -> None:
    template = Template("<PRE>{{ .Prompt }}<SUF>{{ .Suffix }}<MID>{{ .Response }}|")
    assert template.fill_in("a", "b") == "<PRE>a<SUF>b<MID>|"


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("a {{- .Prompt -}} b", "aPb"),
        ("{{/* a \"comment */}}{{ .Prompt }}", "P"),
        ("{{ .Prompt | json }}", '"P"'),
        ("{{ len .Prompt }}{{ index .Prompt 0 }}", "1P"),
        ("{{ with .System }}<{{ . }}>{{ else }}none{{ end }}", "<S>"),
        ("{{ not .System }} {{ or \"\" .Prompt }} {{ and .System .Prompt }}", "false P P"),
        ("{{ $x := 1 }}{{ if .Prompt }}{{ $x = 2 }}{{ end }}{{ $x }}", "2"),
        ("{{ $x := 1 }}{{ if .Prompt }}{{ $x := 2 }}{{ end }}{{ $x }}", "1"),
        ("{{ if lt 1 2 }}y{{ end }}{{ if ge 1.5 2 }}n{{ end }}", "y"),
        ("{{ `raw \"}}` }}{{ \"tab\\t\" }}", 'raw "}}tab\t'),
        ("{{ .Nope }}", "<no value>"),
        ("no action at all", "no action at all"),
    ],
)  # fmt: skip
def test_notation(template: str, text: str) -> None:
    assert Template(template).chat(system="S", prompt="P") == text


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("x\n{{ .Prompt", "template: :2: unclosed action"),
        ("{{ if .Prompt }}", "template: :1: unexpected EOF"),
        ("{{ end }}", "template: :1: unexpected {{end}} or {{else}}"),
        ("{{ nope .Prompt }}", 'template: :1: function "nope" not defined'),
        ("{{ (len .Prompt }}", "template: :1: unclosed left paren"),
        ("{{ .Prompt.Length }}", "template: :1:1: executing"),
        ("{{if 1}}" * 60, "template: :1: the blocks are nested too deeply"),
        ("{{ " + "(" * 60 + "}}", "template: :1: the expression is nested too deeply"),
    ],
)
def test_what_is_no_template_is_refused_by_line(template: str, complaint: str) -> None:
    with pytest.raises(Fault) as error:
        Template(template).chat(system="", prompt="P")
    assert error.value.message.startswith(complaint)


@given(st.text(st.sampled_from(list('{}.-"`/*$|() \nPromptifend')), max_size=40))
def test_any_text_is_a_template_or_refused(text: str) -> None:
    with contextlib.suppress(Fault):
        Template(text).chat(system="S", prompt="P")
