"""Where a completion of code ends, by its language: at a blank line, a comment, or a keyword of the top level.

Source: tabby crates/tabby-common/src/languages.rs and assets/languages.toml, the languages that editors ask for most.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Language:
    """Each at the begin of a line. keywords: separated by blanks."""

    comment: str
    keywords: str


_SCRIPT = Language("//", "abstract async class const export function interface module package type var enum let")
_C = "const enum extern inline register static struct typedef union volatile"
_LANGUAGES: Mapping[str, Language] = {
    "python": Language("#", "def from class import"),
    "rust": Language("//", "fn trait impl enum pub extern static trait unsafe use"),
    "java": Language(
        "//",
        "abstract public private class const exports extends implements static import interface module package var "
        "enum return",
    ),
    "javascript": _SCRIPT,
    "typescript": _SCRIPT,
    "javascriptreact": _SCRIPT,
    "typescriptreact": _SCRIPT,
    "go": Language("//", "func interface struct package type import var const"),
    "ruby": Language("#", "begin class def end ensure include module require rescue self"),
    "c": Language("//", _C),
    "cpp": Language("//", f"auto class concept namespace template {_C}"),
    "csharp": Language("//", "class struct enum interface abstract static extern namespace using var dynamic async"),
}


def stop_words(language: str) -> tuple[str, ...]:
    found = _LANGUAGES.get(language)
    if found is None:
        return ("\n\n",)
    return ("\n\n", f"\n{found.comment}", *(f"\n{word}" for word in found.keywords.split()))
