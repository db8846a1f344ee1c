"""Ollama's management of models: pull, push, create, copy, delete, blobs.

What is served stands in the gateway's configuration, so a model can't be brought here by a request. But it can get
another name: `copy`, or `create` with nothing but `from`; and `delete` takes such a name away. `pull` of a model that
is here tells the truth: nothing is left to load. Wire facts: ollama server/routes.go, server/images.go (PullModel,
PushModel), server/create.go, manifest/paths.go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from pydantic import Field

from adapters.base import Call, Reply, Served
from adapters.framing import NDJSON
from adapters.ollama.body import GoBody
from adapters.ollama.errors import JSON
from adapters.ollama.json import go_json, quoted
from adapters.ollama.models import digest
from adapters.ollama.names import is_valid
from backends.errors import InvalidRequest, NotFound, UnknownModel, Unsupported

Line = dict[str, Any]

_DIGEST = re.compile(r"sha256[:-][0-9a-fA-F]{64}")
_PULLING = {"status": "pulling manifest"}
_NOWHERE = {"error": "pull model manifest: file does not exist"}
_SUCCESS = ({"status": "writing manifest"}, {"status": "success"})
_NO_REGISTRY = "models served here can't be pushed: the gateway has them from its configuration, not from a registry"


class ProgressBody(GoBody):
    """model, or as older clients say it, name."""

    model: str = ""
    name: str = ""
    stream: bool = True
    insecure: bool = False
    username: str = ""
    password: str = ""

    tolerated: ClassVar[frozenset[str]] = frozenset({"insecure", "username", "password"})

    @property
    def asked(self) -> str:
        return (self.model or self.name).strip()


class PullBody(ProgressBody):
    go_struct: ClassVar[str] = "PullRequest"


class PushBody(ProgressBody):
    go_struct: ClassVar[str] = "PushRequest"


class CreateBody(ProgressBody):
    """from_: the model that the new one is made from; whatever else would change it can't be honoured."""

    go_struct: ClassVar[str] = "CreateRequest"

    from_: str = Field(default="", alias="from")

    def refuse_changes(self) -> None:
        changes = [name for name, value in (self.model_extra or {}).items() if value]
        if changes:
            raise Unsupported(
                f"'{changes[0]}' can't be set here: a model made by a request is another name for an existing one",
                feature="create",
                param=changes[0],
            )


class CopyBody(GoBody):
    go_struct: ClassVar[str] = "CopyRequest"

    source: str = ""
    destination: str = ""


class DeleteBody(GoBody):
    go_struct: ClassVar[str] = "DeleteRequest"

    model: str = ""
    name: str = ""


async def pull(call: Call) -> Reply:
    body = PullBody.parse(call)
    if not body.asked:
        raise InvalidRequest("invalid model name", param="model")
    served = call.models.find(body.asked)
    lines = [_PULLING, _NOWHERE] if served is None else [_PULLING, *_present(served), *_SUCCESS]
    return _progress(lines, streams=body.stream)


def _present(served: Served) -> Iterator[Line]:
    """All of it is here already, as Ollama says it of a blob that it needn't load."""
    name, size = digest(served), served.info.size_bytes
    blob = {"status": f"pulling {name[:12]}", "digest": f"sha256:{name}", "total": size, "completed": size}
    yield {key: value for key, value in blob.items() if value}
    yield {"status": "verifying sha256 digest"}


async def push(call: Call) -> Reply:
    body = PushBody.parse(call)
    if not body.asked:
        raise InvalidRequest("model is required", param="model")
    lines: list[Line] = [{"status": "retrieving manifest"}]
    if call.models.find(body.asked) is None:
        lines += [{"status": "couldn't retrieve manifest"}, {"error": UnknownModel(body.asked).message}]
    else:
        lines.append({"error": _NO_REGISTRY})
    return _progress(lines, streams=body.stream)


async def create(call: Call) -> Reply:
    body = CreateBody.parse(call)
    body.refuse_changes()
    if not is_valid(body.asked):
        raise InvalidRequest("invalid model name", param="model")
    if not body.from_:
        message = "neither 'from' or 'files' was specified"
        return Reply(go_json({"error": message}), 400, JSON)
    served = call.models.find(body.from_)
    if served is None:
        return _progress([_PULLING, _NOWHERE], streams=body.stream)
    call.models.add_alias(served, _short(body.asked))
    lines = [{"status": f"using existing layer sha256:{digest(served)}"}, *_SUCCESS]
    return _progress(lines, streams=body.stream)


async def copy(call: Call) -> Reply:
    body = CopyBody.parse(call)
    for field, name in (("source", body.source), ("destination", body.destination)):
        if not is_valid(name):
            raise InvalidRequest(f"{field} {quoted(name)} is invalid", param=field)
    served = call.models.find(body.source)
    if served is None:
        raise NotFound(f"model {quoted(body.source)} not found", param="source")
    call.models.add_alias(served, _short(body.destination))
    return _nothing()


async def delete(call: Call) -> Reply:
    body = DeleteBody.parse(call)
    asked = body.model or body.name
    if not asked:
        raise InvalidRequest("model is required", param="model")
    if call.models.find(asked) is None:
        raise UnknownModel(asked)
    call.models.remove_alias(_short(asked))
    return _nothing()


async def blob_head(call: Call) -> Reply:
    """Is this blob here? The weights of what is served are."""
    name = _blob(call)
    if not _has_blob(call, name):
        raise NotFound(f"blob {quoted(name)} not found")
    return _nothing()


async def blob_create(call: Call) -> Reply:
    name = _blob(call)
    if _has_blob(call, name):
        return _nothing()
    found = f"sha256:{hashlib.sha256(call.body).hexdigest()}"
    if found != name:
        raise InvalidRequest(f"digest mismatch, expected {quoted(name)}, got {quoted(found)}")
    raise Unsupported("blobs can't be kept here: models come from the gateway's configuration", feature="blobs")


def _blob(call: Call) -> str:
    name = call.params["digest"]
    if not _DIGEST.fullmatch(name):
        raise InvalidRequest("invalid digest format")
    return name


def _has_blob(call: Call, name: str) -> bool:
    return any(name[7:].lower() == digest(served) for served in call.models.all())


def _short(name: str) -> str:
    return name.removesuffix(":latest")


def _nothing() -> Reply:
    return Reply(content_type="")


def _progress(lines: Sequence[Line], *, streams: bool) -> Reply:
    """All lines, or when nothing is streamed the last: an error is then a plain 500."""
    if streams:
        return Reply(frames=[go_json(line) + b"\n" for line in lines], content_type=NDJSON)
    return Reply(go_json(lines[-1]), 500 if "error" in lines[-1] else 200, JSON)
