"""One structlog line a request, and a few about life. No prompt text unless the config asks for it."""

from __future__ import annotations

import logging
import sys
import time
from typing import Literal

import orjson
import structlog
from aiohttp.http_exceptions import HttpProcessingError
from structlog.typing import Processor

from adapters.base import Call
from backends.errors import DragomanError, FieldTooLarge, InvalidRequest, MissingField, PromptTooLong, Unsupported
from backends.events import Event, Finished, Started
from gateway.intent import Verdict
from gateway.queue import Standing

logger = structlog.get_logger()

_QUOTES_NOTHING = (MissingField, FieldTooLarge, PromptTooLong, Unsupported)


def configure(level: str, style: Literal["auto", "json", "text"]) -> None:
    """auto: text on a terminal, JSON lines elsewhere. Logs go to stderr."""
    text = sys.stderr.isatty() if style == "auto" else style == "text"
    renderer: Processor = structlog.dev.ConsoleRenderer() if text else structlog.processors.JSONRenderer(_dumps)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(getattr(logging, level.upper())),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )


def http_logger() -> logging.Logger:
    """For the HTTP library: what it says of a request that is no HTTP quotes it, a key in it included."""
    http = logging.Logger("http")
    http.addHandler(_WithoutContent())
    return http


class _WithoutContent(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            logger.warning("a request that isn't HTTP", kind=type(error).__name__)
        else:
            logger.error(record.getMessage(), exc_info=record.exc_info)


def without_content(error: DragomanError) -> str:
    """What may be logged of an error. A complaint about a request may quote it: then only its kind and place are
    told."""
    if isinstance(error, InvalidRequest) and not isinstance(error, _QUOTES_NOTHING):
        return f"{error.code}: {error.param}" if error.param else error.code
    return error.message


def _dumps(value: object, **_options: object) -> str:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()


class RequestLine:
    """The one line about a request. Times in milliseconds; prompts: whether the operator wants to read them."""

    def __init__(self, call: Call, client: str, prompts: bool) -> None:
        self.route = ""
        self.verb = ""
        self.model = ""
        self.status = 0
        self.streamed = False
        self.error = ""
        self.verdict: Verdict | None = None
        self.shared_with = ""
        self.superseded_by = ""
        self.hold_s = 0.0  # a keystroke's, before the backend was asked
        self.unread_s = 0.0  # spent on sending: next to nothing, unless the client reads slowly
        self.others_share = 0.0
        self.standing = Standing(0, 0.0)
        self._parse_s = 0.0
        self._load_s = 0.0
        self.id = call.id
        self._call = call
        self._client = client
        self._prompts = prompts
        self._prompt_texts: list[str] = []
        self._ends: list[Finished] = []
        self._began = time.monotonic()

    def parsed(self) -> None:
        """Until now it was read and understood."""
        self._parse_s = time.monotonic() - self._began

    def loaded(self) -> None:
        """Until now it waited for a place of its client's, and for the model to be loaded."""
        self._load_s = time.monotonic() - self._began - self._parse_s

    def server_timing(self) -> str:
        """What is known by now, in milliseconds. Source: W3C Server Timing."""
        spent = {"parse": self._parse_s, "load": self._load_s}
        if self.hold_s:
            spent["hold"] = self.hold_s
        if self._ends:
            timings = [end.timings for end in self._ends]
            spent["queue"] = max(each.queue_s for each in timings)
            spent["prefill"] = max(each.prefill_s for each in timings)
            spent["decode"] = max(each.decode_s for each in timings)
        spent["total"] = time.monotonic() - self._began
        return ", ".join(f"{name};dur={_ms(seconds)}" for name, seconds in spent.items())

    def observe(self, event: Event) -> None:
        match event:
            case Finished():
                self._ends.append(event)
            case Started() if self._prompts:
                self._prompt_texts.append(event.prompt_text)
            case _:
                pass

    def write(self) -> None:
        fields: dict[str, object] = {
            "id": self.id,
            "listener": self._call.persona,
            "dialect": self.verb.partition(".")[0],
            "route": self.route or f"{self._call.method} {self._call.path}",
            "client": self._client,
            "model": self.model,
            "status": self.status,
            "streamed": self.streamed,
            "total_ms": _ms(time.monotonic() - self._began),
            **self._generated(),
        }
        if self.verdict is not None:
            fields |= {"intent": self.verdict.intent.name.lower(), "because": self.verdict.reason}
        optional = {
            "error": self.error,
            "ignored": self._call.ignored,
            "shared_with": self.shared_with,
            "superseded_by": self.superseded_by,
            "hold_ms": _ms(self.hold_s),
            "prompts": self._prompt_texts,
        }
        fields |= {name: value for name, value in optional.items() if value}
        (logger.warning if self.status >= 500 else logger.info)("request", **fields)

    def _generated(self) -> dict[str, object]:
        ends = self._ends
        if not ends:
            return {}
        return {
            "tokens_in": max(end.usage.prompt_tokens for end in ends),
            "tokens_cached": max(end.usage.cached_tokens for end in ends),
            "tokens_out": sum(end.usage.completion_tokens for end in ends),
            "queue_ms": _ms(max(end.timings.queue_s for end in ends)),
            "prefill_ms": _ms(max(end.timings.prefill_s for end in ends)),
            "decode_ms": _ms(max(end.timings.decode_s for end in ends)),
            "parse_ms": _ms(self._parse_s),
            "load_ms": _ms(self._load_s),
            "unread_ms": _ms(self.unread_s),
            "others_share": round(self.others_share, 3),
        }


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 1)
