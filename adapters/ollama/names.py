"""Model names as Ollama reads them, and what it says of a model that can't do what is asked.

A name is `[[host/]namespace/]model[:tag]`; the tag `latest` may be left out. Wire facts: ollama types/model/name.go,
server/images.go (CheckCapabilities), server/routes.go.
"""

from __future__ import annotations

import re

from adapters.base import Call, Served
from adapters.ollama.json import quoted
from backends.errors import InvalidRequest, UnknownModel

LATEST = ":latest"

_START = "[A-Za-z0-9_]"
_NAME = re.compile(
    rf"((?P<host>{_START}[\w.:-]{{0,349}})/(?=[^/]+/))?"
    rf"((?P<namespace>{_START}[\w-]{{0,79}})/)?"
    rf"(?P<model>{_START}[\w.-]{{0,79}})"
    rf"(:(?P<tag>{_START}[\w.-]{{0,79}}))?",
    re.ASCII,
)


def is_valid(name: str) -> bool:
    return _NAME.fullmatch(name) is not None


def namespace(name: str) -> str:
    found = _NAME.fullmatch(name)
    return (found and found["namespace"]) or "library"


def full_name(name: str) -> str:
    """`m` → `registry.ollama.ai/library/m:latest`."""
    found = _NAME.fullmatch(name)
    if found is None:
        return name
    host = found["host"] or "registry.ollama.ai"
    return f"{host}/{namespace(name)}/{found['model']}:{found['tag'] or 'latest'}"


def resolve(call: Call, name: str) -> Served:
    """Raises UnknownModel, or InvalidRequest for what can't be a name."""
    try:
        return call.models.resolve(name)
    except UnknownModel:
        if is_valid(name):
            raise
        raise InvalidRequest("invalid model name", param="model") from None


def require(served: Served, name: str, *capabilities: str) -> None:
    """Raises InvalidRequest that names all that the model lacks."""
    missing = [capability for capability in capabilities if capability not in served.info.capabilities]
    if missing:
        raise InvalidRequest(f"{full_name(name)} does not support {chr(10).join(missing)}", param="model")


def refuse_route(served: Served, name: str, verb: str) -> None:
    """A model that doesn't complete text has no business with `generate` or `chat`. Raises InvalidRequest."""
    if "completion" not in served.info.capabilities:
        raise InvalidRequest(f"{quoted(name)} does not support {verb}", param="model")
