"""HTTP as bytes: one request sent as it is, and its answer down to the boundaries of chunks.

A client library would hide what this suite is about: how an answer is cut into chunks, and how each line ends.
"""

from __future__ import annotations

import contextlib
import re
import socket
from dataclasses import dataclass, field
from typing import BinaryIO

TIMEOUT_S = 60.0


class BadFraming(Exception):
    """The answer's bytes are not HTTP, or end too early."""


@dataclass(frozen=True, slots=True)
class Answer:
    """chunks: the body as it was cut, where the transfer was chunked; else None."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    chunks: tuple[bytes, ...] | None = None

    def header(self, name: str) -> str | None:
        """Several lines of one name are joined by a comma, as RFC 9110 §5.3 allows."""
        values = [value for key, value in self.headers if key.lower() == name.lower()]
        return ", ".join(values) if values else None

    @property
    def content_type(self) -> str:
        return self.header("Content-Type") or ""


@dataclass(frozen=True, slots=True)
class Request:
    """raw: everything that is sent, with `Host: ` and its value to be filled in."""

    method: str
    path: str
    raw: bytes
    body: bytes = field(default=b"", compare=False)

    @classmethod
    def build(cls, method: str, path: str, body: bytes | None, headers: dict[str, str]) -> Request:
        given = {name.lower() for name in headers}
        defaults = {"Host": "", "Content-Type": "application/json"} if body is not None else {"Host": ""}
        lines = {name: value for name, value in defaults.items() if name.lower() not in given} | headers
        if body is not None:
            lines["Content-Length"] = str(len(body))
        head = f"{method} {path} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
        return cls(method, path, head.encode() + b"\r\n" + (body or b""), body or b"")


def exchange(host: str, port: int, request: Request) -> Answer:
    """Raises BadFraming."""
    raw = re.sub(
        rb"(?im)^Host: *(?:127\.0\.0\.1:\d+)?\r$", b"Host: %b:%d\r" % (host.encode(), port), request.raw, count=1
    )
    with socket.create_connection((host, port), timeout=TIMEOUT_S) as connection:
        with contextlib.suppress(BrokenPipeError):  # the server may refuse before it has read everything
            connection.sendall(raw)
        with connection.makefile("rb") as reader:
            return read_answer(reader, request.method)


def read_answer(reader: BinaryIO, method: str) -> Answer:
    status, headers = _read_head(reader)
    while 100 <= status < 200:
        status, headers = _read_head(reader)
    head = Answer(status, headers, b"")
    if method == "HEAD" or status in {204, 304}:
        return head
    if (head.header("Transfer-Encoding") or "").lower() == "chunked":
        chunks = tuple(_read_chunks(reader))
        return Answer(status, headers, b"".join(chunks), chunks)
    length = head.header("Content-Length")
    if length is None:
        return Answer(status, headers, reader.read())
    body = reader.read(int(length))
    if len(body) < int(length):
        raise BadFraming(f"Content-Length says {length}, but {len(body)} bytes came")
    return Answer(status, headers, body)


def _read_head(reader: BinaryIO) -> tuple[int, tuple[tuple[str, str], ...]]:
    status_line = reader.readline().decode("latin-1")
    found = re.fullmatch(r"HTTP/1\.[01] (\d{3})(?: .*)?\r\n", status_line)
    if not found:
        raise BadFraming(f"not a status line: {status_line!r}")
    headers = []
    while (line := reader.readline()) not in {b"\r\n", b""}:
        name, _, value = line.decode("utf-8", "replace").rstrip("\r\n").partition(":")
        headers.append((name, value.strip()))
    return int(found[1]), tuple(headers)


def _read_chunks(reader: BinaryIO) -> list[bytes]:
    chunks: list[bytes] = []
    while True:
        size_line = reader.readline()
        if not re.fullmatch(rb"[0-9a-fA-F]+\r\n", size_line):
            raise BadFraming(f"not the size of a chunk: {size_line!r}")
        size = int(size_line, 16)
        chunk, end = reader.read(size), reader.readline()
        if len(chunk) < size or end != b"\r\n":
            raise BadFraming(f"a chunk of {size} bytes ended early, or without CRLF")
        if size == 0:
            return chunks
        chunks.append(chunk)
