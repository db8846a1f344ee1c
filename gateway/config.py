"""The typed shape of config.yaml, and what no single option can say. How the file is read: see document.py."""

from __future__ import annotations

import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from adapters.registry import DIALECTS
from gateway.document import ConfigError, Document, Place
from gateway.origins import is_loopback
from gateway.routes import ROUTES

_REACHABLE = (
    "is reached by other machines, and there are no `keys:`; "
    "add some, or say `access: {without_keys: anyone on the network}`"
)
_BACKENDS = "'engine', 'ttnn', 'vllm' or 'server'"
Url = Annotated[str, Field(pattern=r"^https?://[^\s/]+")]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Listener(Options):
    port: int = Field(ge=0, le=65535)
    persona: str
    host: str = "127.0.0.1"


class Model(Options):
    """What every kind of backend has. exclusive: models of one such group are never loaded together. pinned: nothing
    unloads it once it is loaded. when_left: as in gateway.generation."""

    aliases: tuple[str, ...] = ()
    load: Literal["start", "demand"] = "start"
    unload_after_s: float | None = Field(default=None, ge=0)
    pinned: bool = False
    exclusive: str | None = None
    when_left: Literal["cancel", "drain", "cache"] = "cancel"


class EngineModel(Model):
    """The options of its own are those of backends.engine.backend.EngineOptions."""

    backend: Literal["engine"]
    folder: str | None = None
    window: int | None = Field(default=None, ge=16)
    max_batch_size: int = Field(default=32, ge=1, le=1024)
    block_size: int = Field(default=16, ge=1, le=1024)
    num_blocks: int | None = Field(default=None, ge=1)
    step_tokens: int = Field(default=256, ge=1)
    max_waiting: int = Field(default=256, ge=0)
    completion_slots: int | None = Field(default=None, ge=0)
    step_deadline_s: float = Field(default=60.0, gt=0)


class TtnnModel(Model):
    """The options of its own are those of backends.engine.tt_options.TtOptions and EngineOptions."""

    backend: Literal["ttnn"]
    hf_model: str | None = None
    mesh_device: str | None = None
    tt_metal_home: str | None = None
    max_batch_size: Literal[1, 2, 4, 8, 16, 32] = 32
    max_seq_len: int = Field(default=2048, ge=256)
    block_size: int = Field(default=64, ge=32, multiple_of=32)
    num_blocks: int | None = Field(default=None, ge=1)
    precision: Literal["performance", "accuracy"] = "performance"
    trace: Literal["all", "decode", "none"] = "all"
    trace_region_size: int = Field(default=50_000_000, ge=0)
    sampling: Literal["auto", "device", "host"] = "auto"
    data_parallel: int = Field(default=1, ge=1)
    step_tokens: int = Field(default=1024, ge=128)
    max_waiting: int = Field(default=256, ge=0)
    completion_slots: int | None = Field(default=None, ge=0)
    step_deadline_s: float = Field(default=120.0, gt=0)
    restart: bool = False
    max_hangs: int = Field(default=3, ge=1)


class ServedElsewhere(Model):
    """What models in servers have in common. Those that start one: see backends.server.Keeping."""

    resume: bool = False
    retries: int = Field(default=1, ge=0)
    max_batch_size: int | None = Field(default=None, ge=1)
    completion_slots: int | None = Field(default=None, ge=0)
    window: int | None = Field(default=None, ge=16)
    env: Mapping[str, str] = Field(default_factory=dict)
    setup: str | None = None
    start_timeout_s: float = Field(default=600.0, gt=0)
    grace_s: float = Field(default=10.0, ge=0)
    hang_s: float = Field(default=120.0, gt=0)
    health_s: float = Field(default=5.0, gt=0)
    max_deaths: int = Field(default=5, ge=1)
    log_lines: int = Field(default=1000, ge=1)


class VllmModel(ServedElsewhere):
    """The options of its own are those of backends.vllm.VllmOptions."""

    backend: Literal["vllm"]
    model: str
    python: str | None = None
    device: Literal["tt", "cuda", "cpu"] | None = None
    args: tuple[str, ...] = ()
    priorities: bool = True
    listens: Literal["unix", "loopback"] = "unix"


class ServerModel(ServedElsewhere):
    """The options of its own are those of backends.server.ServerOptions."""

    backend: Literal["server"]
    urls: tuple[Url, ...] = ()
    command: tuple[str, ...] = ()
    port: int | None = Field(default=None, ge=1, le=65535)
    model: str | None = None
    speaks: Literal["vllm", "sglang", "llamacpp", "ollama", "openai"] | None = None
    key: str | None = None
    pass_key: bool = False
    health: str = "/health"
    folder: str | None = None
    probe_s: float = Field(default=5.0, gt=0)
    connect_s: float = Field(default=5.0, gt=0)
    first_byte_s: float = Field(default=600.0, gt=0)
    idle_s: float = Field(default=120.0, gt=0)

    @model_validator(mode="after")
    def _has_one_place(self) -> ServerModel:
        if bool(self.urls) == bool(self.command):
            raise PydanticCustomError("place", "give either urls or a command")
        if self.pass_key and self.command:
            raise PydanticCustomError("pass_key", "clients have no keys for a command's server: use urls")
        return self


AnyModel = Annotated[EngineModel | TtnnModel | VllmModel | ServerModel, Field(discriminator="backend")]


class Quota(Options):
    """What one client may have: see gateway.quota. None: as much as there is."""

    concurrent: int | None = Field(default=None, ge=1)
    queued: int | None = Field(default=None, ge=0)
    tokens_per_minute: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)
    models: tuple[str, ...] | None = None


class Key(Options):
    """An API key: written here (or in the environment), or the first line of a file. limits: its own, where they
    differ from limits.client."""

    key: SecretStr | None = Field(default=None, min_length=1)
    file: str | None = None
    limits: Quota = Quota()

    @model_validator(mode="after")
    def _has_one_source(self) -> Key:
        if (self.key is None) == (self.file is None):
            raise PydanticCustomError("source", "give either the key or a file")
        return self

    def secret(self) -> str:
        """Raises OSError, and ValueError for a file whose first line is empty."""
        if self.key is not None:
            return self.key.get_secret_value()
        text = Path(self.file or "").expanduser().read_text("utf-8").partition("\n")[0].strip()
        if not text:
            raise ValueError("the file's first line is empty")
        return text


class Access(Options):
    """Who may call. hosts, origins: see gateway.origins."""

    without_keys: Literal["this machine", "anyone on the network"] = "this machine"
    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    image_urls: Literal["refuse", "fetch"] = "refuse"


class Limits(Options):
    max_body_mib: int = Field(default=64, ge=1)
    max_header_kib: int = Field(default=64, ge=1)
    max_json_depth: int = Field(default=100, ge=1, le=900)  # beyond that Python's own recursion would end first
    max_prompts: int = Field(default=2048, ge=1)
    max_prompt_chars: int = Field(default=8_000_000, ge=1)
    max_n: int = Field(default=128, ge=1)
    max_stops: int = Field(default=64, ge=1)
    max_stop_chars: int = Field(default=1000, ge=1)
    max_schema_chars: int = Field(default=1_000_000, ge=1)
    body_s: float = Field(default=60.0, gt=0)
    headers_s: float = Field(default=10.0, gt=0)
    unread_s: float = Field(default=60.0, gt=0)
    idle_connection_s: float = Field(default=75.0, gt=0)
    client: Quota = Quota()
    load_timeout_s: float = Field(default=600.0, gt=0)
    patience_s: float = Field(default=30.0, ge=0)


class Reload(Options):
    """watch: the file is read again once it was saved. drain_s: for how long a changed model, and
    a listener that goes, may finish what they have."""

    watch: bool = True
    drain_s: float = Field(default=30.0, ge=0)


class Scheduling(Options):
    """header: in which a request may say its own class. classes: by a part of who the client is."""

    header: str | None = "X-Priority"
    classes: Mapping[str, Literal["completion", "chat", "agent", "bulk"]] = Field(default_factory=dict)


class Log(Options):
    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "text"] = "auto"
    prompts: bool = False


class Config(Options):
    listeners: tuple[Listener, ...] = Field(min_length=1)
    models: Mapping[str, AnyModel] = Field(min_length=1)
    default_model: str | None = None
    unknown_model: Literal["default", "refuse"] = "default"
    routes: Mapping[str, str] = Field(default_factory=dict)
    keys: Mapping[str, Key] = Field(default_factory=dict)
    access: Access = Access()
    limits: Limits = Limits()
    reload: Reload = Reload()
    scheduling: Scheduling = Scheduling()
    log: Log = Log()


def load(path: Path, environment: Mapping[str, str] = os.environ) -> Config:
    """Raises ConfigError."""
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    return parse(text, str(path), environment)


def parse(text: str, name: str, environment: Mapping[str, str]) -> Config:
    document = Document(name, environment)
    value = document.read(text)
    try:
        config = Config.model_validate(value)
    except ValidationError as invalid:
        raise document.error(*_complaint(invalid)) from None
    _check_names(config, document)
    _check_routes(config, document)
    _check_keys(config, document)
    _check_quotas(config, document)
    _check_pinned(config, document)
    return config


def _check_names(config: Config, document: Document) -> None:
    owner: dict[str, str] = {}
    for name, model in config.models.items():
        for alias in (name, *model.aliases):
            if alias in owner:
                raise document.error(("models", name), f"the name '{alias}' is taken by models.{owner[alias]}")
            owner[alias] = name
    if config.default_model is not None and config.default_model not in owner:
        raise document.error(("default_model",), f"no model or alias is called '{config.default_model}'")
    for index, listener in enumerate(config.listeners):
        if listener.persona not in DIALECTS:
            known = ", ".join(DIALECTS)
            raise document.error(("listeners", index, "persona"), f"'{listener.persona}' is none of {known}")
        if not (is_loopback(listener.host) or config.keys or config.access.without_keys == "anyone on the network"):
            raise document.error(("listeners", index, "host"), f"{listener.host} {_REACHABLE}")


def _check_quotas(config: Config, document: Document) -> None:
    names = {alias for name, model in config.models.items() for alias in (name, *model.aliases)}
    quotas: dict[Place, Quota] = {("limits", "client"): config.limits.client}
    quotas |= {("keys", name, "limits"): key.limits for name, key in config.keys.items()}
    for place, quota in quotas.items():
        for name in quota.models or ():
            if name not in names:
                raise document.error((*place, "models"), f"no model or alias is called '{name}'")


def _check_routes(config: Config, document: Document) -> None:
    verbs = {verb for route in ROUTES for verb in route.verbs}
    for path, verb in config.routes.items():
        place = ("routes", path)
        if not path.startswith("/"):
            raise document.error(place, "a path begins with '/'")
        if verb not in verbs:
            near = difflib.get_close_matches(verb, verbs, n=1)
            hint = f"did you mean {near[0]}?" if near else "`dragoman routes` lists them"
            raise document.error(place, f"there is no verb '{verb}': {hint}")


def _check_keys(config: Config, document: Document) -> None:
    owner: dict[str, str] = {}
    for name, key in config.keys.items():
        try:
            secret = key.secret()
        except (OSError, ValueError) as error:
            complaint = error.strerror if isinstance(error, OSError) else str(error)
            raise document.error(("keys", name, "file"), str(complaint)) from None
        if secret in owner:
            raise document.error(("keys", name), f"the same key as keys.{owner[secret]}")
        owner[secret] = name


def _check_pinned(config: Config, document: Document) -> None:
    for name, model in config.models.items():
        others = [other for other, its in config.models.items() if its.exclusive == model.exclusive and other != name]
        if model.pinned and model.exclusive and others:
            place = ("models", name, "pinned")
            raise document.error(place, f"models.{others[0]} shares its device and could never be loaded")
        if model.pinned and model.unload_after_s is not None:
            raise document.error(("models", name, "pinned"), "it has unload_after_s too")


def _complaint(invalid: ValidationError) -> tuple[Place, str]:
    first = invalid.errors(include_url=False, include_context=False)[0]
    place = first["loc"]
    match first["type"]:
        case "extra_forbidden":
            complaint = "there is no such option"
        case "union_tag_invalid":
            place, complaint = (*place, "backend"), f"input should be {_BACKENDS}"
        case "union_tag_not_found":
            place, complaint = (*place, "backend"), "field required"
        case _:
            complaint = first["msg"][:1].lower() + first["msg"][1:]
    return _without_tag(place), complaint


def _without_tag(place: Place) -> Place:
    """pydantic puts the kind of backend between a model's name and its option; the file doesn't."""
    return (*place[:2], *place[3:]) if place[:1] == ("models",) and len(place) > 2 and place[2] != "backend" else place
