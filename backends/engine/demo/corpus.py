"""The text that the embedded model learns from: the Python standard library, nothing else.

Owns the split into training and held-out files, and the four kinds of document: plain code, fill-in-the-middle,
chat and tool calls. Knows nothing of tensors. The chat's own questions and answers live in `conversations.py`.
"""

from __future__ import annotations

import ast
import hashlib
import json
import random
import re
import sysconfig
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from conversations import ANSWERS, ARGUMENT_OF, ASK, PERSONAS, TOOLS, UNKNOWN, unknown_question

SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>",
    "<fim_prefix>", "<fim_middle>", "<fim_suffix>", "<fim_pad>", "<|file_sep|>",
    "<tool_call>", "</tool_call>", "<tool_response>", "</tool_response>", "<think>", "</think>",
)  # fmt: skip
END, TURN, TURN_END, FIM_PREFIX, FIM_MIDDLE, FIM_SUFFIX = SPECIAL_TOKENS[:6]

NOT_CODE = {"site-packages", "encodings", "pydoc_data", "_bundled", "__pycache__"}
TESTS = {"test", "tests", "idle_test"}
TEST_WEIGHT = 0.12  # a test file counts this much of a library file: variety, without drowning the library

Turn = tuple[str, str]


@dataclass(frozen=True, slots=True)
class SourceFile:
    name: str
    text: str

    @property
    def is_test(self) -> bool:
        return bool(TESTS & set(Path(self.name).parts))

    @property
    def is_held_out(self) -> bool:
        """About 3 % of the library's files, chosen by the hash of their name, so that every machine agrees."""
        return not self.is_test and hashlib.sha256(self.name.encode()).digest()[0] < 8


def standard_library() -> Iterator[SourceFile]:
    root = Path(sysconfig.get_paths()["stdlib"])
    for path in sorted(root.rglob("*.py")):
        name = path.relative_to(root)
        if NOT_CODE & set(name.parts):
            continue
        try:
            text = path.read_text("utf-8")
        except UnicodeDecodeError:
            continue
        if len(text) >= 200:
            yield SourceFile(str(name), text.expandtabs(4))


@dataclass(frozen=True, slots=True)
class Function:
    name: str
    header: str
    summary: str  # first paragraph of its docstring
    body: str  # the source without the docstring


def functions(files: list[SourceFile]) -> Iterator[Function]:
    """Every short function that has a docstring."""
    for file in files:
        try:
            tree = ast.parse(file.text)
        except (SyntaxError, ValueError):
            continue
        lines = file.text.splitlines()
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and len(node.body) > 1:
                found = _describe(node, lines)
                if found:
                    yield found


def _describe(node: ast.FunctionDef | ast.AsyncFunctionDef, lines: list[str]) -> Function | None:
    summary = " ".join((ast.get_docstring(node) or "").strip().split("\n\n")[0].split())
    docstring = node.body[0]
    header = lines[node.lineno - 1 : docstring.lineno - 1]
    body = textwrap.dedent("\n".join(header + lines[docstring.end_lineno : node.end_lineno])).strip()
    if not (12 < len(summary) < 200 and 20 < len(body) < 1100):
        return None
    return Function(node.name, textwrap.dedent("\n".join(header)).strip(), summary, body)


class Documents:
    """An endless, seeded supply of training documents (strings)."""

    def __init__(self, files: list[SourceFile], rng: random.Random) -> None:
        self.rng = rng
        self.files = files
        self.weights = [len(file.text) * (TEST_WEIGHT if file.is_test else 1.0) for file in files]
        self.functions = list(functions([file for file in files if not file.is_test]))
        self.words = sorted({word for file in files[:400] for word in re.findall(r"[a-z_]{3,12}", file.text)})
        self.kinds = (self.plain, self.infill, self.chat, self.tool_use)

    def sample(self) -> str:
        """Of all tokens about a third is plain code, two fifths infilling, a sixth chat and the rest tool calls."""
        return self.rng.choices(self.kinds, (0.12, 0.43, 0.34, 0.11))[0]()

    def _file(self) -> str:
        return self.rng.choices(self.files, self.weights)[0].text

    def _window(self, text: str, size: int) -> str:
        """`size` characters from the start of some line."""
        start = text.rfind("\n", 0, self.rng.randrange(max(1, len(text) - size // 2))) + 1
        return text[start : start + size]

    def plain(self) -> str:
        text = self._file()
        window = self._window(text, self.rng.choice((2000, 2000, 2000, 8000)))
        return window + (END if text.endswith(window) else "")

    def infill(self) -> str:
        """Nine times in ten the suffix comes first and the prefix runs on into the middle (the joined form of SPM,
        Bavarian et al. 2022): a model this small learns it far sooner than to go on from the end of a distant prefix.
        """
        whole_function = self.rng.random() < 0.3
        text = self.rng.choice(self.functions).body if whole_function else self._file()
        window = text if whole_function else self._window(text, self.rng.randint(300, 1400))
        prefix, middle, suffix = self._split(window)
        if self.rng.random() < 0.9:
            return f"{FIM_PREFIX}{FIM_SUFFIX}{suffix}{FIM_MIDDLE}{prefix}{middle}{END}"
        return f"{FIM_PREFIX}{prefix}{FIM_SUFFIX}{suffix}{FIM_MIDDLE}{middle}{END}"

    def _split(self, text: str) -> tuple[str, str, str]:
        lines = text.splitlines(keepends=True)
        if self.rng.random() < 0.5 and len(lines) >= 5:  # whole lines
            first = self.rng.randint(1, len(lines) - 2)
            last = min(len(lines) - 1, first + self.rng.choice((1, 1, 1, 2, 3, 4, 6)))
            return "".join(lines[:first]), "".join(lines[first:last]), "".join(lines[last:])
        start = self.rng.randrange(len(text))  # from a cursor to the end of its line or a later one
        end = start
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):
            newline = text.find("\n", end + 1)
            end = newline if newline >= 0 else len(text)
        return text[:start], text[start:end], text[end:]

    def chat(self) -> str:
        kind = self.rng.random()
        if kind < 0.30:
            turns = [self._write_function()]
        elif kind < 0.38:
            turns = [self._explain_function()]
        elif kind < 0.46:
            turns = [self._repeat()]
        elif kind < 0.60:
            turns = [(unknown_question(self.rng, self._phrase), UNKNOWN)]
        else:
            turns = self._small_talk()
        answered = [turn for question, answer in turns for turn in (("user", question), ("assistant", answer))]
        return render_chat(self._system() + answered)

    def _small_talk(self) -> list[Turn]:
        questions = self.rng.sample(list(ANSWERS), self.rng.choice((1, 1, 2, 3)))
        turns = [(self.rng.choice(ANSWERS[answer]), answer) for answer in questions]
        return [(self._scuff(question), answer) for question, answer in turns]

    def _scuff(self, question: str) -> str:
        """People type in lower case and leave out the question mark."""
        if self.rng.random() < 0.3:
            question = question.lower()
        return question.rstrip("?.!") if self.rng.random() < 0.3 else question

    def _write_function(self) -> Turn:
        f = self.rng.choice(self.functions)
        ask = self.rng.choice((
            "Write a Python function `{name}`: {summary}.", "Write a function {name} in Python. {summary}.",
            "Implement `{name}`. {summary}.", "```python\n{header}\n```\n{summary}.", "write python: {summary}",
        ))  # fmt: skip
        question = ask.format(name=f.name, summary=f.summary.rstrip("."), header=f.header)
        return question, f"```python\n{f.body}\n```"

    def _explain_function(self) -> Turn:
        f = self.rng.choice(self.functions)
        ask = self.rng.choice(("What does this function do?\n", "Explain:\n", "Explain this code.\n"))
        return f"{ask}```python\n{f.body}\n```", f.summary

    def _repeat(self) -> Turn:
        """Copying: teaches the answer to depend on the question."""
        phrase = self._phrase(self.rng.randint(1, 8))
        return self.rng.choice(("Repeat: {}", "Repeat after me: {}", "Say: {}", "Echo: {}")).format(phrase), phrase

    def _phrase(self, num_words: int) -> str:
        return " ".join(self.rng.choice(self.words) for _ in range(num_words))

    def _system(self) -> list[Turn]:
        chance = self.rng.random()
        if chance < 0.5:
            return []
        if chance < 0.85:
            return [("system", self.rng.choice(PERSONAS))]
        return [("system", self._window(self._file(), self.rng.randint(100, 1200)))]  # agents send long ones

    def tool_use(self) -> str:
        """Hermes-style calls: one JSON object between `<tool_call>` tags."""
        tools = self.rng.sample(TOOLS, self.rng.randint(1, 4))
        tool = self.rng.choice(tools)["name"]
        argument = self._argument(tool)
        call = json.dumps({"name": tool, "arguments": {ARGUMENT_OF[tool]: argument}})
        turns = [
            ("user", self.rng.choice(ASK[tool]).format(argument)),
            ("assistant", f"<tool_call>\n{call}\n</tool_call>"),
        ]
        if self.rng.random() < 0.4:
            result = self._phrase(self.rng.randint(1, 6))
            turns += [
                ("user", f"<tool_response>\n{result}\n</tool_response>"),
                ("assistant", f"It says: {result}"),
            ]
        return render_chat((self._system() if self.rng.random() < 0.5 else []) + turns, tools)

    def _argument(self, tool: str) -> str:
        path = "/".join(self.rng.choice(self.words) for _ in range(self.rng.randint(1, 3)))
        path += self.rng.choice((".py", ".txt", ".md", ".json", ".toml", ""))
        if tool in ("read_file", "list_dir"):
            return path
        if tool == "run":
            command = self.rng.choice(("ls -la", "pytest -q", "python {}", "git status", "make test", "wc -l {}"))
            return command.format(path)
        return self.rng.choice(self.words)


def render_chat(turns: list[Turn], tools: list[dict[str, object]] | None = None) -> str:
    """ChatML, letter for letter what `chat_template.jinja` makes of the same messages (a test compares them)."""
    text = ""
    if tools:
        first = turns[0][1] + "\n" if turns[0][0] == "system" else ""
        listing = "".join(json.dumps(tool, ensure_ascii=False) + "\n" for tool in tools)
        text = f"{TURN}system\n{first}Tools:\n{listing}{TURN_END}\n"
        turns = turns[1:] if first else turns
    return text + "".join(f"{TURN}{role}\n{content}{TURN_END}\n" for role, content in turns) + END
