"""One server that speaks OpenAI's API, over HTTP: what is asked of it, and how it fails.

Owns the connections, the time-outs and the count of answers under way. Knows nothing of requests or events. Questions
go by httpx, answers by the aiohttp session beneath it: httpx's own layers cost more than the rest of a short answer.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from backends.alarm import Alarm
from backends.sse import LineTooLong, SseSplitter
from backends.upstream_errors import WorkerLost, refusal

_DONE = b"[DONE]"
_JSON = {"Content-Type": "application/json"}
_QUESTION_S = 30.0  # for everything that isn't an answer of the model
_KEEPALIVE_S = 3.0  # uvicorn closes idle connections after 5 s, and who uses one just then loses the request


@dataclass(frozen=True, slots=True)
class Timeouts:
    """connect_s: until the connection stands. first_byte_s: until the first piece of an answer, idle_s: until each
    further one; the model may be busy with others meanwhile."""

    connect_s: float = 5.0
    first_byte_s: float = 600.0
    idle_s: float = 120.0


class Upstream:
    """url: without `/v1`. socket: the path of a unix socket to be used in place of its host and port. key: ours.
    passes_keys: a client's own goes in its place; no server else ever gets one.

    progress_at: when anything of any answer came last, on the monotonic clock.
    """

    def __init__(
        self, url: str, *, key: str | None = None, passes_keys: bool = False, socket: str | None = None,
        timeouts: Timeouts = Timeouts(),
    ) -> None:  # fmt: skip
        self.url = url.rstrip("/").removesuffix("/v1")
        self.passes_keys = passes_keys
        self.num_running = 0
        self.progress_at = 0.0
        self._socket = socket
        self._timeouts = timeouts
        self._headers = {"Accept-Encoding": "identity"} | _authorization(key)
        self._connections: aiohttp.ClientSession | None = None
        self._reading: set[aiohttp.StreamReader] = set()  # of the answers under way
        self._http = httpx.AsyncClient(
            base_url=self.url,
            transport=AiohttpTransport(client=self._session),
            headers=self._headers,
            timeout=httpx.Timeout(None, connect=timeouts.connect_s),  # the others are Alarm's
            trust_env=False,
        )

    def _session(self) -> aiohttp.ClientSession:
        """Without a limit of connections (aiohttp's is 100) or cookies, and blind to proxies in the environment. Opened
        at first use, on the loop that runs then."""
        if self._connections is None:
            connector = (
                aiohttp.UnixConnector(self._socket, limit=0, keepalive_timeout=_KEEPALIVE_S)
                if self._socket
                else aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEPALIVE_S, ttl_dns_cache=60)
            )
            self._connections = aiohttp.ClientSession(
                connector=connector, cookie_jar=aiohttp.DummyCookieJar(), auto_decompress=False
            )
        return self._connections

    async def close(self) -> None:
        """Answers under way are lost, and who reads them is told: aiohttp tells nobody whose connection we close."""
        for content in self._reading:
            content.set_exception(aiohttp.ClientConnectionError("the connection was closed"))
        await self._http.aclose()
        if self._connections is not None:
            await self._connections.close()

    async def ask(
        self, method: str, path: str, body: object = None, *, key: str | None = None, timeout_s: float = _QUESTION_S
    ) -> Any:
        """A short question, answered with JSON (None: with nothing). key: the client's.

        Raises DragomanError and its kin.
        """
        content = None if body is None else orjson.dumps(body)
        headers = self._passed_on(key) | ({} if content is None else _JSON)
        with _as_lost(self.url), Alarm(timeout_s, f"{self.url}{path} didn't answer within {timeout_s:g} s"):
            response = await self._http.request(method, path, content=content, headers=headers)
        content = _checked(response.status_code, response.content, response.headers, body)
        return _parsed(content) if content.strip() else None

    async def answer(
        self, path: str, body: Mapping[str, Any], *, key: str | None = None
    ) -> AsyncGenerator[list[bytes], None]:
        """The chunks of an answer as JSON, as many as came at once; a body that isn't streamed is one chunk.
        key: the client's.

        Closing the iterator closes the connection, which ends the answer there. Raises DragomanError and its kin.
        """
        self._begin()
        first_s, idle_s = self._timeouts.first_byte_s, self._timeouts.idle_s
        content: aiohttp.StreamReader | None = None
        try:
            with _as_lost(self.url), Alarm(first_s, f"{self.url} didn't answer within {first_s:g} s") as alarm:
                async with self._posted(path, body, key) as response:
                    content = response.content
                    self._reading.add(content)
                    if response.status != 200 or "json" in response.headers.get("Content-Type", ""):
                        whole = await response.read()
                        alarm.rest()
                        yield [_checked(response.status, whole, response.headers, body)]
                        return
                    alarm.rest()
                    yield []  # the request is accepted
                    alarm.ring_after(first_s)
                    splitter = SseSplitter()
                    while piece := await content.readany():
                        alarm.rest()
                        self.progress_at = time.monotonic()
                        if chunks := [data for data in splitter.feed(piece) if data != _DONE]:
                            yield chunks
                        alarm.ring_after(idle_s, f"{self.url} stopped answering for {idle_s:g} s")
        finally:
            self.num_running -= 1
            if content is not None:
                self._reading.discard(content)

    def _begin(self) -> None:
        if not self.num_running:
            self.progress_at = time.monotonic()
        self.num_running += 1

    def _posted(
        self, path: str, body: Mapping[str, Any], key: str | None
    ) -> AbstractAsyncContextManager[aiohttp.ClientResponse]:
        return self._session().post(
            self.url + path,
            data=orjson.dumps(body),
            headers=self._headers | self._passed_on(key) | _JSON,
            timeout=aiohttp.ClientTimeout(sock_connect=self._timeouts.connect_s),  # the others are Alarm's
            allow_redirects=False,
        )

    def _passed_on(self, key: str | None) -> dict[str, str]:
        return _authorization(key) if self.passes_keys else {}


def _checked(status: int, content: bytes, headers: Mapping[str, str], asked: object) -> bytes:
    """The body of an answer. Raises what a status other than 2xx means. headers: with case-insensitive names."""
    if 200 <= status < 300:
        return content
    model = str(asked.get("model", "")) if isinstance(asked, Mapping) else ""
    raise refusal(status, content, headers.get("Retry-After"), model)


def _authorization(key: str | None) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"} if key else {}


@contextlib.contextmanager
def _as_lost(url: str) -> Iterator[None]:
    """aiohttp's own errors come through where the transport doesn't know them."""
    try:
        yield
    except (httpx.TransportError, aiohttp.ClientError, OSError) as error:
        raise WorkerLost(f"{url}: {_words(error)}") from error
    except LineTooLong:
        raise WorkerLost(f"{url} sends a line without end") from None


def _words(error: BaseException) -> str:
    unreachable = aiohttp.ClientConnectorError
    if isinstance(error, unreachable) or isinstance(error.__cause__, unreachable):  # httpx's transport: a time-out
        return "can't be reached"
    return "the connection was cut" if not str(error) else str(error)


def _parsed(data: bytes) -> Any:
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError:
        raise WorkerLost(f"the model's server sends what isn't JSON: {data[:100].decode('utf-8', 'replace')}") from None
