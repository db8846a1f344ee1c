"""A client that leaves takes its generation along: its slot is free again, seen where llama.cpp shows it."""

from __future__ import annotations

import json
import socket
import time

import pytest

from tests.e2e.gateway_process import Gateway

ENDLESS = {"prompt": "import os\n", "n_predict": 12_000, "ignore_eos": True, "cache_prompt": False}


def num_busy(dragoman: Gateway) -> int:
    slots = dragoman.ask("llamacpp", "GET", "/slots").json
    return sum(slot["is_processing"] for slot in slots)


def wait_for(dragoman: Gateway, wanted: int) -> None:
    deadline = time.monotonic() + 20
    while num_busy(dragoman) != wanted:
        assert time.monotonic() < deadline, f"{num_busy(dragoman)} slots are busy, not {wanted}"
        time.sleep(0.02)


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
def test_a_client_that_leaves_frees_its_slot(dragoman: Gateway, stream: bool) -> None:
    body = json.dumps(ENDLESS | {"stream": stream}).encode()
    with socket.create_connection(dragoman.address("llamacpp"), timeout=30) as connection:
        connection.sendall(b"POST /completion HTTP/1.1\r\nHost: localhost\r\n")
        connection.sendall(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
        wait_for(dragoman, 1)
        if stream:
            assert connection.recv(4096).startswith(b"HTTP/1.1 200")
    wait_for(dragoman, 0)


def test_sixty_four_clients_that_leave_free_all(dragoman: Gateway) -> None:
    """More than there are slots: those that wait in the queue must go as well."""
    body = json.dumps(ENDLESS | {"stream": True}).encode()
    request = b"POST /completion HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    connections = [socket.create_connection(dragoman.address("llamacpp"), timeout=30) for _ in range(64)]
    for connection in connections:
        connection.sendall(request)
    wait_for(dragoman, 32)
    for connection in connections:
        connection.close()
    wait_for(dragoman, 0)
    assert dragoman.ask("llamacpp", "POST", "/completion", {"prompt": "x = ", "n_predict": 2}).status == 200
