"""Which host names a listener goes by, and which web pages may call it: Ollama's rules, on every persona.

A page may when it comes from this machine, from the listener itself, or from an application that shows pages of its
own. A host name that isn't this machine's is refused on a listener that only this machine reaches, because a page
elsewhere could have had the name point here (DNS rebinding). Clients that are no pages send no Origin. What a page may
then do (CORS) is the dialect's affair.

Source: ollama server/routes.go (allowedHost, allowedHostsMiddleware), envconfig/config.go (AllowedOrigins).
"""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Mapping, Sequence
from fnmatch import translate
from urllib.parse import urlsplit

_ORIGIN = re.compile(
    r"https?://(localhost|127\.0\.0\.1|0\.0\.0\.0|\[::1\])(:\d+)?"
    r"|(app|file|tauri|vscode-webview|vscode-file)://.*"
    r"|(chrome|safari|moz|ms-browser)-extension://.*",
    re.DOTALL,
)
_LOCAL_DOMAINS = (".localhost", ".local", ".internal")


class OriginPolicy:
    """is_local: only this machine reaches the listener. hosts, origins: more of each, from the config; `*` in an
    origin stands for anything."""

    def __init__(self, *, is_local: bool, hosts: Sequence[str] = (), origins: Sequence[str] = ()) -> None:
        self._is_local = is_local
        self._hosts = frozenset(host.lower() for host in hosts)
        self._origins = re.compile("|".join(translate(origin) for origin in origins) or r"(?!)")

    def page(self, headers: Mapping[str, str]) -> str | None:
        """The Origin of the page that asks; None for one that the listener itself served, and for what is no page."""
        origin = headers.get("Origin")
        return None if not origin or _is_own(origin, headers) else origin

    def objection(self, headers: Mapping[str, str]) -> str | None:
        """Why this caller isn't answered, or None. headers: case-insensitive."""
        host, origin = headers.get("Host", ""), self.page(headers)
        if self._is_local and not self._is_ours(host_name(host)):
            return f"this gateway doesn't go by the name of '{host}': list it under access.hosts in the config"
        if origin and not self._may_call(origin):
            return f"the page {origin} may not call this gateway: list it under access.origins in the config"
        return None

    def _is_ours(self, host: str) -> bool:
        try:
            address = ipaddress.ip_address(host)
        except ValueError:
            names = {"", "localhost", socket.gethostname().lower(), *self._hosts}
            return host in names or host.endswith(_LOCAL_DOMAINS)
        return address.is_loopback or address.is_private or address.is_unspecified

    def _may_call(self, origin: str) -> bool:
        return bool(_ORIGIN.fullmatch(origin) or self._origins.fullmatch(origin))


def _is_own(origin: str, headers: Mapping[str, str]) -> bool:
    host = headers.get("Host", "")
    return origin in (f"http://{host}", f"https://{host}")


def host_name(host: str) -> str:
    """A Host header without its port, in lower case; one that can't be read is no name of ours: `?`."""
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return "?"


def is_loopback(host: str) -> bool:
    """By name or by address; `::ffff:127.0.0.1` is what a socket for both families says of 127.0.0.1."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host == "localhost"
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
