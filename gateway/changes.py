"""What a new config means for the models of the old one. Pure."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from gateway.config import AnyModel, Config, Model


@dataclass(frozen=True, slots=True)
class Changes:
    """Names of models. replaced: a new backend, or another group. tuned: only its names, or how long it stays."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    replaced: tuple[str, ...] = ()
    tuned: tuple[str, ...] = ()


def changes_between(old: Config, new: Config, failed: Collection[str]) -> Changes:
    """failed: models that are to be given another chance."""
    kept = [name for name in new.models if name in old.models]
    differing = [name for name in kept if old.models[name] != new.models[name]]
    replaced = [name for name in kept if name in failed or _place(old.models[name]) != _place(new.models[name])]
    return Changes(
        added=tuple(name for name in new.models if name not in old.models),
        removed=tuple(name for name in old.models if name not in new.models),
        replaced=tuple(replaced),
        tuned=tuple(name for name in differing if name not in replaced),
    )


def _place(model: AnyModel) -> tuple[object, ...]:
    """What can't change without starting anew: what the backend is made of, and who shares its device."""
    own = {name: getattr(model, name) for name in type(model).model_fields if name not in Model.model_fields}
    return own, model.exclusive
