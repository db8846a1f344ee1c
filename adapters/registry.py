"""Every dialect by name. A listener's persona is one of these names."""

from __future__ import annotations

from collections.abc import Mapping

from adapters import copilot, fauxpilot, mistral, tenstorrent
from adapters.anthropic import dialect as anthropic
from adapters.base import Dialect
from adapters.kobold import dialect as kobold
from adapters.llamacpp import dialect as llamacpp
from adapters.llamacpp_python import dialect as llamacpp_python
from adapters.lmstudio import dialect as lmstudio
from adapters.ollama import dialect as ollama
from adapters.openai import dialect as openai
from adapters.tabby import dialect as tabby
from adapters.textgen import dialect as textgen
from adapters.tgi import dialect as tgi

DIALECTS: Mapping[str, Dialect] = {
    module.DIALECT.name: module.DIALECT
    for module in (
        openai,
        llamacpp,
        llamacpp_python,
        ollama,
        anthropic,
        tgi,
        kobold,
        tenstorrent,
        tabby,
        lmstudio,
        textgen,
        mistral,
        copilot,
        fauxpilot,
    )
}
