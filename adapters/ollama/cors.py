"""Who may call Ollama's listener from a browser, and under which host name.

A page may when it comes from this machine, or from an application that shows pages of its own. A host name that is not
this machine's is refused on a local listener, because a page elsewhere could have had it point here (DNS rebinding).
Wire facts: ollama server/routes.go (allowedHost, allowedHostsMiddleware, GenerateRoutes), envconfig/config.go
(AllowedOrigins), gin-contrib/cors.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping

from adapters.base import Call, Reply

_ORIGIN = re.compile(
    r"https?://(localhost|127\.0\.0\.1|0\.0\.0\.0)(:.*)?"
    r"|(app|file|tauri|vscode-webview|vscode-file)://.*"
    r"|(chrome|safari|moz|ms-browser)-extension://.*",
    re.DOTALL,
)
_LOCAL_DOMAINS = (".localhost", ".local", ".internal")
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
_FORBIDDEN = Reply(status=403, content_type="")


def admit(call: Call) -> Reply | None:
    """A Dialect's `admit`: 403 without a word for a page or a host name that has no business here."""
    host = call.headers.get("Host", "")
    origin = call.headers.get("Origin", "")
    if not _is_our_own(origin, host) and not _ORIGIN.fullmatch(origin):
        return _FORBIDDEN
    return _FORBIDDEN if call.is_local and not _is_local_host(_without_port(host)) else None


def cors(origin: str | None) -> Mapping[str, str]:
    """A Dialect's `cors`."""
    if origin is None or not _ORIGIN.fullmatch(origin):
        return {}
    return {"Access-Control-Allow-Origin": origin, "Vary": "Origin"}


def preflight(call: Call) -> Reply | None:
    """A Dialect's `preflight`: only a page is told what it may send, and one of our own asks for nothing."""
    if _is_our_own(call.headers.get("Origin", ""), call.headers.get("Host", "")):
        return None
    return Reply(status=204, content_type="", headers=_PREFLIGHT)


def _is_our_own(origin: str, host: str) -> bool:
    return origin in ("", f"http://{host}", f"https://{host}")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _is_local_host(host: str) -> bool:
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower()
        return name in ("", "localhost", socket.gethostname().lower()) or name.endswith(_LOCAL_DOMAINS)
    return address.is_loopback or address.is_private or address.is_unspecified
