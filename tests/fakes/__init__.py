"""Stand-ins for tests: a backend that says what it is told to, a tokenizer of bytes, models, and calls.

They stand only where a real part would make a test slow or its outcome unsure. Nothing here knows a wire format.
"""

from tests.fakes.backend import INFO, TIMINGS, Fails, Fault, Hangs, ScriptedBackend, logprob, prompt_text
from tests.fakes.calls import Answer, answer, call
from tests.fakes.models import CREATED, FakeModels
from tests.fakes.scripts import (
    CUT,
    EMOJI,
    HELLO,
    STOPPED,
    THINKING,
    TWO_CALLS,
    WEATHER,
    Piece,
    Script,
    called,
    said,
    thought,
)
from tests.fakes.tokenizer import TOKENIZER, ByteTokenizer

__all__ = [
    "CREATED",
    "CUT",
    "EMOJI",
    "HELLO",
    "INFO",
    "STOPPED",
    "THINKING",
    "TIMINGS",
    "TOKENIZER",
    "TWO_CALLS",
    "WEATHER",
    "Answer",
    "ByteTokenizer",
    "Fails",
    "FakeModels",
    "Fault",
    "Hangs",
    "Piece",
    "Script",
    "ScriptedBackend",
    "answer",
    "call",
    "called",
    "logprob",
    "prompt_text",
    "said",
    "thought",
]
