"""What a browser's page is told that it may send to Ollama's listener.

Wire facts: ollama server/routes.go (GenerateRoutes), gin-contrib/cors.
"""

from __future__ import annotations

from collections.abc import Mapping

from adapters.base import Call, Reply

_METHODS = "GET,POST,PUT,PATCH,DELETE,HEAD,OPTIONS"
_HEADERS = (
    "Authorization,Content-Type,User-Agent,Accept,X-Requested-With,Openai-Beta,X-Stainless-Arch,X-Stainless-Async,"
    "X-Stainless-Custom-Poll-Interval,X-Stainless-Helper-Method,X-Stainless-Lang,X-Stainless-Os,"
    "X-Stainless-Package-Version,X-Stainless-Poll-Helper,X-Stainless-Retry-Count,X-Stainless-Runtime,"
    "X-Stainless-Runtime-Version,X-Stainless-Timeout"
)
_PREFLIGHT = {
    "Access-Control-Allow-Methods": _METHODS,
    "Access-Control-Allow-Headers": _HEADERS,
    "Access-Control-Max-Age": "43200",
    "Vary": "Origin, Access-Control-Request-Method, Access-Control-Request-Headers",
}


def cors(origin: str | None) -> Mapping[str, str]:
    """A Dialect's `cors`."""
    return {} if origin is None else {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def preflight(call: Call) -> Reply | None:
    """A Dialect's `preflight`: only a page is told what it may send, and one of our own asks for nothing."""
    return None if call.origin is None else Reply(status=204, content_type="", headers=_PREFLIGHT)
