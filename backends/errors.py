"""Everything that can go wrong with a request, as one tree.

    DragomanError
    ├── InvalidRequest 400            the request itself is at fault; `param` names the field
    │   ├── MalformedBody             not JSON, or not an object
    │   ├── MissingField
    │   ├── InvalidField              wrong type, or out of range
    │   │   └── FieldTooLarge         larger than the gateway's config allows
    │   ├── Unsupported               well-formed, but this model or backend can't honour it
    │   └── PromptTooLong             carries both counts
    ├── Unauthorized 401
    │   ├── MissingKey
    │   └── WrongKey                  one that nobody has
    ├── Forbidden 403
    │   └── ForeignPage               a web page, or a host name, that has no business here
    ├── NotFound 404
    │   └── UnknownModel
    ├── TooSlow 408                   the body didn't arrive in time
    ├── TooLarge 413                  the body, before it was read
    ├── RateLimited 429               this client has had its share for now; `retry_after_s` as below
    ├── Busy 503                      the queue is full; `retry_after_s` says when to come again
    ├── NotReady 503                  the backend is loading; the message says in which phase
    └── BackendFailed 500             the model, its engine or its worker broke

Adapters translate the shape, never the meaning: each dialect has its own status and body for these.
`origin` tells who failed: the request, the gateway or the backend.
"""

from __future__ import annotations

from typing import ClassVar, Literal

Origin = Literal["request", "gateway", "backend"]


class DragomanError(Exception):
    """message: one sentence for a person; param: the field at fault, in the caller's own spelling."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "server_error"
    origin: ClassVar[Origin] = "gateway"

    def __init__(self, message: str, *, param: str | None = None, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.param = param
        self.retry_after_s = retry_after_s


class InvalidRequest(DragomanError):
    status = 400
    code = "invalid_request"
    origin = "request"


class MalformedBody(InvalidRequest):
    code = "malformed_body"

    def __init__(self, message: str, *, body: bytes = b"", position: int = 0) -> None:
        super().__init__(message)
        self.body = body
        self.position = position  # bytes from the start of `body` to the first that doesn't parse


class MissingField(InvalidRequest):
    code = "missing_field"

    def __init__(self, param: str) -> None:
        super().__init__(f"'{param}' is required", param=param)


class InvalidField(InvalidRequest):
    """value: what was sent, so that an adapter can word the error as its own server does."""

    code = "invalid_field"

    def __init__(self, param: str, reason: str, value: object = None) -> None:
        super().__init__(f"'{param}': {reason}", param=param)
        self.reason = reason
        self.value = value


class FieldTooLarge(InvalidField):
    pass


class Unsupported(InvalidRequest):
    """feature: one word for what is missing, such as `infill`, `tools`, `images`, `embeddings`."""

    code = "unsupported"

    def __init__(self, message: str, *, feature: str, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.feature = feature


class PromptTooLong(InvalidRequest):
    code = "context_length_exceeded"

    def __init__(self, num_prompt_tokens: int, window: int) -> None:
        super().__init__(f"the prompt has {num_prompt_tokens} tokens, but the model's window is {window} tokens")
        self.num_prompt_tokens = num_prompt_tokens
        self.window = window


class Unauthorized(DragomanError):
    status = 401
    code = "invalid_api_key"
    origin = "request"


class MissingKey(Unauthorized):
    def __init__(self) -> None:
        super().__init__("an API key is required")


class WrongKey(Unauthorized):
    def __init__(self) -> None:
        super().__init__("the API key is not valid")


class Forbidden(DragomanError):
    status = 403
    code = "forbidden"
    origin = "request"


class ForeignPage(Forbidden):
    code = "foreign_page"


class NotFound(DragomanError):
    status = 404
    code = "not_found"
    origin = "request"


class UnknownModel(NotFound):
    code = "model_not_found"

    def __init__(self, model: str) -> None:
        super().__init__(f"model '{model}' not found", param="model")
        self.model = model


class TooSlow(DragomanError):
    status = 408
    code = "request_timeout"
    origin = "request"


class TooLarge(DragomanError):
    status = 413
    code = "request_too_large"
    origin = "request"


class RateLimited(DragomanError):
    status = 429
    code = "rate_limit_exceeded"


class Busy(DragomanError):
    status = 503
    code = "busy"


class NotReady(DragomanError):
    status = 503
    code = "loading"
    origin = "backend"


class BackendFailed(DragomanError):
    code = "backend_failed"
    origin = "backend"
