"""How families of models write tool calls: what opens them, who reads them, and the shape that a grammar forces."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass, replace

from backends.engine.tool_readers import (
    CALL_BEGIN,
    CALL_END,
    CALL_SEP,
    CALLS_BEGIN,
    CALLS_END,
    Reader,
    read_deepseek,
    read_hermes,
    read_marked_list,
    read_mistral,
    read_objects,
)


@dataclass(frozen=True, slots=True)
class Shape:
    """begin, then for each call: head, its name, middle, its arguments, tail; end. between stands between two calls;
    None where there is only ever one."""

    head: str
    middle: str
    tail: str = ""
    between: str | None = None
    begin: str = ""
    end: str = ""


@dataclass(frozen=True, slots=True)
class ToolFormat:
    """opens: the markers before calls. is_bare: an answer that begins with `{` may be a call, too.
    markers: everything that the detokenizer must not skip. short_ids: ids are nine letters and digits."""

    name: str
    read: Reader
    shape: Shape
    opens: tuple[str, ...] = ()
    markers: tuple[str, ...] = ()
    is_bare: bool = False
    has_short_ids: bool = False

    def new_id(self) -> str:
        """OpenAI's way, or Mistral's, whose templates refuse any other."""
        if not self.has_short_ids:
            return f"call_{secrets.token_hex(12)}"
        return "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(9))


HERMES = ToolFormat(
    "hermes",
    read_hermes,
    Shape('<tool_call>\n{"name": "', '", "arguments": ', "}\n</tool_call>", between="\n"),
    opens=("<tool_call>",),
    markers=("<tool_call>", "</tool_call>"),
)
LLAMA3 = ToolFormat(
    "llama3",
    read_objects,
    Shape('{"name": "', '", "parameters": ', "}"),
    opens=("<|python_tag|>",),
    markers=("<|python_tag|>",),
    is_bare=True,
)
GRANITE = ToolFormat(
    "granite",
    read_marked_list,
    Shape('{"name": "', '", "arguments": ', "}", ", ", "<|tool_call|>[", "]"),
    opens=("<|tool_call|>",),
    markers=("<|tool_call|>", "<|/tool_call|>"),
)
MISTRAL = ToolFormat(
    "mistral",
    read_mistral,
    Shape('{"name": "', '", "arguments": ', "}", ", ", "[TOOL_CALLS][", "]"),
    opens=("[TOOL_CALLS]",),
    markers=("[TOOL_CALLS]",),
    has_short_ids=True,
)
MISTRAL_V11 = replace(
    MISTRAL,
    name="mistral-v11",
    shape=Shape("[TOOL_CALLS]", "[ARGS]", between=""),
    markers=("[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"),
)
DEEPSEEK_V3 = ToolFormat(
    "deepseek-v3",
    read_deepseek,
    Shape(f"{CALL_BEGIN}function{CALL_SEP}", "\n```json\n", f"\n```{CALL_END}", "\n", begin=CALLS_BEGIN, end=CALLS_END),
    opens=(CALLS_BEGIN,),
    markers=(CALLS_BEGIN, CALLS_END, CALL_BEGIN, CALL_END, CALL_SEP),
)
DEEPSEEK_V31 = replace(
    DEEPSEEK_V3,
    name="deepseek-v3.1",
    shape=Shape(CALL_BEGIN, CALL_SEP, CALL_END, "", begin=CALLS_BEGIN, end=CALLS_END),
)
PLAIN = ToolFormat("json", read_objects, Shape('{"name": "', '", "arguments": ', "}"), is_bare=True)
"""For a template that lists tools but names no syntax that we know: an object and nothing else."""


def detect(template: str) -> ToolFormat:
    """From what the chat template writes for earlier calls."""
    if CALLS_BEGIN in template:
        return DEEPSEEK_V3 if "```json" in template else DEEPSEEK_V31
    if "[TOOL_CALLS]" in template:
        return MISTRAL_V11 if "[ARGS]" in template else MISTRAL
    if "<|tool_call|>" in template:
        return GRANITE
    if "<tool_call>" in template:
        return HERMES
    if "<|python_tag|>" in template or "<|start_header_id|>ipython" in template or '"parameters": ' in template:
        return LLAMA3
    return PLAIN
