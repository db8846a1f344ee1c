"""The runner judges rightly: a recording replayed over a socket passes, and a damaged one fails for its damage."""

from __future__ import annotations

import json
import socketserver
import threading
from collections.abc import Callable, Iterator
from typing import cast

import pytest

from tests.conformance import expectations, recordings
from tests.conformance.case import GOLDEN, Case
from tests.conformance.compare import compare
from tests.conformance.deviations import reason_not_compared
from tests.conformance.paths import missing_path
from tests.conformance.shape import differences, nothing_extra
from tests.conformance.stream import is_stream, parse_events
from tests.conformance.vectors import load as load_vectors
from tests.conformance.wire import Answer, BadFraming, exchange

FOLDERS = [GOLDEN / "llama-server", GOLDEN / "llama-cpp-python"]
CASES = [case for folder in FOLDERS for case in recordings.load(folder) if not reason_not_compared(case.id)]
BY_ID = {case.id: case for case in CASES}

CHAT_STREAM = "llama-server/chat_stream_usage"
NATIVE = "llama-server/cmpl_basic"
ERROR = "llama-server/cmpl_missing_prompt"


class Replay(socketserver.ThreadingTCPServer):
    """Answers every request with the same bytes."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _ReplayOne)
        self.answer = b""

    @property
    def port(self) -> int:
        _host, port = self.server_address[:2]
        return port


class _ReplayOne(socketserver.StreamRequestHandler):
    """Reads the whole request first: a socket closed on unread bytes is reset, and its answer is lost."""

    def handle(self) -> None:
        length, chunked = 0, False
        while (line := self.rfile.readline().lower()) not in {b"\r\n", b""}:
            name, _, value = line.partition(b":")
            length = int(value) if name == b"content-length" else length
            chunked = chunked or name == b"transfer-encoding"
        self.rfile.read(length)
        while chunked and self.rfile.readline() not in {b"0\r\n", b""}:
            pass
        server = cast("Replay", self.server)
        self.wfile.write(server.answer)


@pytest.fixture(scope="module")
def replay() -> Iterator[Replay]:
    with Replay() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def framed(recorded: Answer) -> bytes:
    """As bytes again, each event in a chunk of its own: llama.cpp itself joins a stream's first two."""
    head = f"HTTP/1.1 {recorded.status} Whatever\r\n".encode()
    head += b"".join(f"{name}: {value}\r\n".encode() for name, value in recorded.headers)
    if recorded.chunks is None:
        return head + b"Content-Length: %d\r\n\r\n" % len(recorded.body) + recorded.body
    chunks = recorded.chunks
    if is_stream(recorded.content_type):
        chunks = tuple(event.raw for event in parse_events(recorded.content_type, recorded.body))
    return head + b"Transfer-Encoding: chunked\r\n\r\n" + b"".join(map(chunk, (*chunks, b"")))


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def recording_of(case: Case) -> Answer:
    return recordings.read_recording(GOLDEN / f"{case.id}.resp", case.request.method)


def asked(case_id: str, answer: bytes, replay: Replay) -> list[str]:
    """What the runner finds wrong when it gets this answer to this case."""
    replay.answer = answer
    case = BY_ID[case_id]
    try:
        return case.check(exchange("127.0.0.1", replay.port, case.request))
    except BadFraming as error:
        return [str(error)]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_replayed_recording_passes(case: Case, replay: Replay) -> None:
    assert asked(case.id, framed(recording_of(case)), replay) == []


def _with_body(edit: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    def damage(answer: bytes) -> bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        edited = edit(body)
        assert edited != body, "the damage must do something"
        return (
            head.replace(b"Content-Length: %d" % len(body), b"Content-Length: %d" % len(edited)) + b"\r\n\r\n" + edited
        )

    return damage


def _rechunked(edit: Callable[[list[bytes]], list[bytes]]) -> Callable[[bytes], bytes]:
    def damage(answer: bytes) -> bytes:
        head, _, body = answer.partition(b"\r\n\r\n")
        events = [part.partition(b"\r\n")[2] + b"\n\n" for part in body.split(b"\n\n\r\n")[:-1]]
        return head + b"\r\n\r\n" + b"".join(map(chunk, [*edit(events), b""]))

    return damage


def _replaced_everywhere(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return _rechunked(lambda events: [event.replace(old, new) for event in events])


def _replaced(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return _with_body(lambda body: body.replace(old, new, 1))


def _header(old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    return lambda answer: answer.replace(old, new, 1)


DAMAGES: list[tuple[str, str, Callable[[bytes], bytes], str]] = [
    ("a status", NATIVE, _header(b" 200 ", b" 201 "), "status 200 expected, not 201"),
    ("a content type", NATIVE, _header(b"; charset=utf-8", b""), "Content-Type"),
    ("a header", CHAT_STREAM, _header(b"X-Accel-Buffering: no\r\n", b""), "X-Accel-Buffering"),
    ("a lost key", NATIVE, _replaced(b'"tokens":[],', b""), "$: no 'tokens'"),
    ("a key too many", NATIVE, _replaced(b'{"index"', b'{"choices":[],"index"'), "'choices' is not sent"),
    ("an order", NATIVE, _replaced(b'"stop_type":"eos","stopping_word":""', b'"stopping_word":"","stop_type":"x"'),
     "keys in the order"),
    ("an integer for a float", NATIVE, _replaced(b'"temperature":0.0', b'"temperature":0'), "float expected, not int"),
    ("a null for a string", NATIVE, _replaced(b'"stopping_word":""', b'"stopping_word":null'), "str expected"),
    ("a word of the protocol", NATIVE, _replaced(b'"stop":true', b'"stop":false'), "$.stop: True expected"),
    ("a default", NATIVE, _replaced(b'"top_k":40', b'"top_k":50'), "top_k: 40 expected, not 50"),
    ("blanks after separators", NATIVE, _replaced(b'"index":0', b'"index": 0'), "without blanks"),
    ("an error's text", ERROR, _replaced(b"not found", b"is missing"), "error "),
    ("a sum", CHAT_STREAM, _replaced_everywhere(b'"total_tokens":', b'"total_tokens":9'), "doesn't add up"),
    ("a body cut short", NATIVE, lambda answer: answer[:-7], "Content-Length says"),
    ("a stream without its end", CHAT_STREAM, lambda answer: answer[:-5], "not the size of a chunk"),
    ("no terminator", CHAT_STREAM, _rechunked(lambda events: events[:-1]), "kinds of events"),
    ("no first event", CHAT_STREAM, _rechunked(lambda events: events[1:]), "kinds of events"),
    ("no usage", CHAT_STREAM, _rechunked(lambda events: [*events[:-2], events[-1]]), "kinds of events"),
    ("two events in a chunk", CHAT_STREAM, _rechunked(lambda events: [events[0] + events[1], *events[2:]]),
     "chunk 0 is not exactly one event"),
    ("half an event in a chunk", CHAT_STREAM, _rechunked(lambda e: [e[0][:9], e[0][9:], *e[1:]]),
     "chunk 0 is not exactly one event"),
    ("CRLF in a stream", CHAT_STREAM, _replaced_everywhere(b"\n\n", b"\r\n\r\n"),
     "chunk 0 is not exactly one event"),
    ("an event that got a name", CHAT_STREAM, _rechunked(lambda events: [b"event: x\n" + events[0], *events[1:]]),
     "named None there, 'x' here"),
]  # fmt: skip


@pytest.mark.parametrize(("case_id", "damage", "complaint"), [d[1:] for d in DAMAGES], ids=[d[0] for d in DAMAGES])
def test_damage_is_found(case_id: str, damage: Callable[[bytes], bytes], complaint: str, replay: Replay) -> None:
    whole = framed(recording_of(BY_ID[case_id]))
    problems = asked(case_id, damage(whole), replay)
    assert any(complaint in problem for problem in problems), problems


def test_the_length_of_a_stream_and_its_words_are_the_models_affair(replay: Replay) -> None:
    whole = framed(recording_of(BY_ID[CHAT_STREAM]))
    longer = _rechunked(
        lambda events: [events[0], *[events[1].replace(b'"content":"', b'"content":"~')] * 5, *events[2:]]
    )
    assert asked(CHAT_STREAM, longer(whole), replay) == []


def test_an_extra_key_passes_only_where_it_is_allowed() -> None:
    recorded = Answer(200, (("Content-Type", "application/json"),), b'{"a":1}')
    ours = Answer(200, (("Content-Type", "application/json"),), b'{"a":1,"b":2}')
    assert compare(recorded, ours, allows=lambda path: path == "$.b") == []
    assert compare(recorded, ours, allows=nothing_extra) == ["$: 'b' is not sent by that server"]


def test_lists_are_compared_by_the_shapes_of_their_items() -> None:
    assert differences([1, "a"], ["b", 2, 3], nothing_extra) == []
    assert differences([1], [1, "a"], nothing_extra) == ["$[]: int expected, not str"]
    assert differences([1], [], nothing_extra) == ["$: a list with items expected"]


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("a.b", True), ("a.c", False), ("!a.c", True), ("!a.b", False), ("a.b=1", True), ("a.b=2", False),
        ("list[].x", True), ("list[].y", False), ("list[0].x=1", True), ("list[-1].x=2", True), ("list[5].x", False),
        ("none[].x", False), ("none=[]", True), ("word=yes|no", True), ("word=true", False), ("nothing=null", True),
        ("z|a.b", True), ("$.word=no", True),
    ],
)  # fmt: skip
def test_the_notation_of_paths(rule: str, holds: bool) -> None:
    body = {"a": {"b": 1}, "list": [{"x": 1, "y": 1}, {"x": 2}], "none": [], "word": "no", "nothing": None}
    assert (missing_path(rule, body, None) is None) == holds


@pytest.mark.parametrize(
    ("rule", "holds"),
    [
        ("first.n=1", True),
        ("last.n=3", True),
        ("any.n=2", True),
        ("any.n=4", False),
        ("!any.m", True),
        ("!any.n", False),
    ],
)
def test_the_notation_of_paths_in_streams(rule: str, holds: bool) -> None:
    assert (missing_path(rule, None, [{"n": 1}, {"n": 2}, {"n": 3}]) is None) == holds


@pytest.mark.parametrize(
    ("vector_id", "content_type", "chunks", "complaint"),
    [
        ("oa-002", "text/event-stream", [b'data: {"object":"x"}\n\n'], "first.object is 'x'"),
        ("oa-002", "text/event-stream", [b'data: {"object":"chat.completion.chunk"}\n\n'], "[DONE] at []"),
        (
            "ol-009",
            "application/x-ndjson",
            [b'{"response":"a","done":false}\n{"done":true}\n'],
            "chunk 0 is not exactly",
        ),
        ("ol-009", "application/x-ndjson", [b'{"response":"a","done":false}'], "must end in LF"),
        ("ol-009", "application/json", [b"{}\n"], "Content-Type application/x-ndjson expected"),
    ],
)
def test_a_vector_can_fail(vector_id: str, content_type: str, chunks: list[bytes], complaint: str) -> None:
    vector = next(case for case in load_vectors(GOLDEN / "vectors.jsonl") if case.id == f"vectors/{vector_id}")
    answer = Answer(200, (("Content-Type", content_type),), b"".join(chunks), tuple(chunks))
    assert any(complaint in problem for problem in vector.check(answer)), vector.check(answer)


def test_every_expectation_of_ollama_can_fail() -> None:
    for case in expectations.load(GOLDEN / "ollama"):
        empty = Answer(599, (), json.dumps({"nothing": 1}).encode())
        assert case.check(empty), case.id
