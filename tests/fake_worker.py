"""A worker executable that speaks vLLM's API and misbehaves on demand. Run as `python fake_worker.py [options]`.

Options decide how it starts and ends; the prompt of a request how that request goes:

    five          five words, then the end            half          two words, then a cut connection
    broken        two words, an error, then [DONE]    die           two words, then the whole process exits with 0
    five after a death   nothing in the first process, five words in the next
    slow 50       fifty words, a hundredth of a second apart, then the end
    hang          two words, then nothing             garbage       two words, then what isn't JSON
    silent end    two words, then [DONE]              wait          nothing until the client leaves
    refuse 503    that status, with Retry-After: 7    refuse 400    that status, with a param

What it is asked only to see which check fails isn't among the requests that /seen tells.
Knows nothing of Dragoman: the standard library alone.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

DEAF_CHILD = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"


class State:
    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.ready_at = time.monotonic() + options.slow_start
        self.requests: list[dict[str, Any]] = []
        self.num_left = 0  # clients that left before their answer's end
        self.is_sick = False
        self.has_died = options.mark is not None and Path(options.mark).exists()  # a file outlives the process
        if options.mark is not None:
            Path(options.mark).touch()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    state: State

    def address_string(self) -> str:
        return "unix"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        pass

    def do_GET(self) -> None:
        state = self.state
        if self.path == "/health":
            self.reply(503 if state.is_sick or state.options.never_ready else 200, b"")
        elif self.path == "/v1/models":
            if state.options.guards_list and not self.has_key():
                return self.reply_json({"error": "Unauthorized"}, 401)
            name, owner = state.options.served_model_name, state.options.owner
            model = {"id": name, "owned_by": owner, "max_model_len": state.options.window}
            adapters = [{"id": each, "owned_by": owner, "parent": name} for each in state.options.adapter]
            self.reply_json({"object": "list", "data": "garbage" if state.options.garbage else [model, *adapters]})
        elif self.path == "/openapi.json":
            self.reply_json({"paths": {"/v1/completions": {}, "/v1/embeddings": {}}})
        elif self.path == "/seen":
            self.reply_json({"requests": state.requests, "num_left": state.num_left, "pid": os.getpid()})
        else:
            self.reply_json({"detail": "Not Found"}, 404)
        return None

    def has_key(self) -> bool:
        keys = self.state.options.key
        return not keys or self.headers.get("Authorization") in [f"Bearer {key}" for key in keys.split(",")]

    def objection(self, body: dict[str, Any]) -> str:
        """To what is refused in any case."""
        options = self.state.options
        if body.get("tools") and not options.tools:
            return '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set'
        if body.get("top_logprobs", 0) > 20:
            return "Requested sample logprobs of more than max allowed: 20"
        if "image_url" in str(body.get("messages")) and not options.vision:
            return f"{options.served_model_name} is not a multimodal model"
        return ""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if objection := self.objection(body):
            return self.reply_json({"error": {"message": objection, "param": None, "code": 400}}, 400)
        self.state.requests.append({"path": self.path, "key": self.headers.get("Authorization"), **body})
        if not self.has_key():
            return self.reply_json({"error": "Unauthorized"}, 401)
        match self.path:
            case "/tokenize" if "messages" in body:
                return self.reply_json({"tokens": list(str(body["messages"]).encode())})
            case "/tokenize":
                return self.reply_json({"tokens": list(body["prompt"].encode())})
            case "/detokenize":
                return self.reply_json({"prompt": bytes(body["tokens"]).decode()})
            case "/v1/embeddings":
                usage = {"prompt_tokens": len(body["input"])}
                return self.reply_json({"data": [{"embedding": [1, 0.5]}], "usage": usage})
            case _:
                return self.answer(body, self.path.endswith("/chat/completions"))

    def answer(self, body: dict[str, Any], is_chat: bool) -> None:
        prompt = body["messages"][-1]["content"] if is_chat else body["prompt"]
        prompt = bytes(prompt).decode() if isinstance(prompt, list) else prompt
        if prompt.startswith("refuse"):
            error = {"message": f"no: {prompt}", "param": "temperature", "code": int(prompt[7:])}
            return self.reply_json({"error": error}, int(prompt[7:]), {"Retry-After": "7"})
        self.begin(200, {"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"})
        try:
            self.stream(prompt, is_chat)
        except (BrokenPipeError, ConnectionResetError):
            self.state.num_left += 1
            self.close_connection = True
        return None

    def stream(self, prompt: str, is_chat: bool) -> None:
        if prompt == "wait" or (prompt == "five after a death" and not self.state.has_died):
            while True:  # a comment, as servers keep a connection alive with
                self.chunk(b": still here\n\n")
                time.sleep(0.02)
        is_slow = prompt.startswith("slow ")
        num_words = int(prompt[5:]) if is_slow else 5 if prompt.startswith("five") else 2
        for number in range(num_words):
            time.sleep(0.01 if is_slow else 0)
            self.data(word(number, is_chat, prompt if number == 0 else None))
        match prompt:
            case "half":
                self.close_connection = True
                return
            case "broken":
                self.data({"error": {"message": "EngineCore encountered an issue", "param": None, "code": 500}})
                self.state.is_sick = True
            case "die":
                print("ValueError: the device is on fire", flush=True)
                os._exit(0)
            case "hang":
                time.sleep(600)
            case "garbage":
                self.chunk(b"data: {not json\n\n")
            case "silent end":
                pass
            case _:
                end = {"index": 0, "finish_reason": "stop", "stop_reason": None, "token_ids": []}
                self.data({"choices": [{**end, "delta": {}} if is_chat else {**end, "text": ""}]})
                self.data({"choices": [], "usage": {"prompt_tokens": len(prompt), "completion_tokens": num_words}})
        self.chunk(b"data: [DONE]\n\n")
        self.wfile.write(b"0\r\n\r\n")

    # HTTP

    def data(self, value: object) -> None:
        self.chunk(b"data: " + json.dumps(value).encode() + b"\n\n")

    def chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def reply_json(self, value: object, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.reply(status, json.dumps(value).encode(), {"Content-Type": "application/json", **(headers or {})})

    def reply(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.begin(status, {"Content-Length": str(len(body)), **(headers or {})})
        self.wfile.write(body)

    def begin(self, status: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()


def word(number: int, is_chat: bool, prompt: str | None) -> dict[str, Any]:
    text = f"w{number} "
    choice: dict[str, Any] = {"index": 0, "finish_reason": None, "token_ids": [number]}
    choice |= {"delta": {"content": text}} if is_chat else {"text": text}
    if prompt is not None:
        choice["prompt_token_ids"] = list(prompt.encode())
    return {"choices": [choice]}


class Server(socketserver.ThreadingMixIn, socketserver.TCPServer):
    daemon_threads = True
    allow_reuse_address = True


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


def read_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--uds")
    parser.add_argument("--served-model-name", default="fake")
    parser.add_argument("--owner", default="vllm")
    parser.add_argument("--key", default=os.environ.get("VLLM_API_KEY"), help="several with commas between")
    parser.add_argument("--window", type=int, default=1000)
    parser.add_argument("--adapter", action="append", default=[])
    parser.add_argument("--mark")
    parser.add_argument("--slow-start", type=float, default=0.0)
    parser.add_argument("--exit-at-start", type=int)
    for flag in ("--never-ready", "--garbage", "--deaf", "--forks", "--tools", "--vision", "--guards-list"):
        parser.add_argument(flag, action="store_true")
    return parser.parse_known_args()[0]


def main() -> None:
    options = read_options()
    print("Starting to load model fake", flush=True)
    if options.deaf:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if options.forks:
        child = subprocess.Popen([sys.executable, "-c", DEAF_CHILD])
        print("child", child.pid, flush=True)
    if options.exit_at_start is not None:
        print("RuntimeError: no such device", flush=True)
        raise SystemExit(options.exit_at_start)
    time.sleep(options.slow_start)
    Handler.state = State(options)
    server = UnixServer(options.uds, Handler) if options.uds else Server((options.host, options.port), Handler)
    print("Application startup complete", server.server_address, flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    signal.pause()


if __name__ == "__main__":
    main()
