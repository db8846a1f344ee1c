"""API keys: in which forms clients bring them, and whose a key is. Keeps hashes only."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Iterator, Mapping

_SCHEMES = frozenset({"bearer", "token"})
_HEADERS = ("X-Api-Key", "Api-Key", "X-Goog-Api-Key")
"""Anthropic's and llama.cpp's, Azure's, Google's."""


def presented_keys(headers: Mapping[str, str], query: Mapping[str, str]) -> Iterator[str]:
    """Every key that a request brings, in whichever family's form: a client that was made for one server is often
    pointed at another, and some send two forms at once. headers: case-insensitive."""
    authorization = headers.get("Authorization", "").strip()
    scheme, _, rest = authorization.partition(" ")
    yield rest.strip() if scheme.lower() in _SCHEMES else authorization
    for name in _HEADERS:
        yield headers.get(name, "").strip()
    yield query.get("key", "")


class KeyRing:
    """keys: by name. Empty: nobody is asked for a key."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        self._digests = {name: _digest(key) for name, key in keys.items()}

    def __len__(self) -> int:
        return len(self._digests)

    def name_of(self, keys: Iterable[str]) -> str | None:
        """Whose the first key is that is somebody's. Each is compared with all that there are, by hash, so that the
        time it takes tells nothing about any of them."""
        digests = [_digest(key) for key in keys if key]
        owners = [
            name
            for digest in digests
            for name, known in self._digests.items()
            if hmac.compare_digest(digest, known)
        ]  # fmt: skip
        return owners[0] if owners else None

    def foreign(self, keys: Iterable[str]) -> str | None:
        """The first key that is nobody's here: what is brought for whom we ask in turn. A key of ours never leaves."""
        return next((key for key in keys if key and self.name_of([key]) is None), None)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).digest()
