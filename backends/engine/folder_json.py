"""The JSON files of a model's folder, read into a shape; a bad one is refused in one line that says where and why."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from backends.errors import BackendFailed

_Shape = TypeVar("_Shape", bound=BaseModel)


def read_json(path: Path, shape: type[_Shape]) -> _Shape:
    """Raises BackendFailed when it can't be read, isn't JSON, or hasn't that shape."""
    try:
        return shape.model_validate_json(path.read_bytes())
    except OSError as error:
        raise BackendFailed(f"{path}: {error.strerror}") from None
    except ValidationError as invalid:
        first = invalid.errors(include_url=False, include_context=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise BackendFailed(": ".join(part for part in (str(path), where, first["msg"]) if part)) from None
