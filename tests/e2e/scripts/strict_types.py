"""Validates JSON against an SDK's own types, strictly: nothing is coerced, nothing required may be missing.

Reads lines of `{"type": "package.Type", "value": …}` from stdin; prints as JSON what is wrong with each.
"""

from __future__ import annotations

import importlib
import json
import sys

import pydantic


def complaints(line: str) -> list[str]:
    asked = json.loads(line)
    module, _, name = asked["type"].rpartition(".")
    adapter = pydantic.TypeAdapter(getattr(importlib.import_module(module), name))
    try:
        adapter.validate_json(json.dumps(asked["value"]), strict=True)
    except pydantic.ValidationError as invalid:
        return [f"{asked['type']} {error['loc']}: {error['msg']}" for error in invalid.errors(include_url=False)]
    return []


print(json.dumps([complaint for line in sys.stdin for complaint in complaints(line)]))
