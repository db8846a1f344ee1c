"""llm-ls, the language server behind llm.nvim, llm-vscode and llm-intellij: five backends, none of which streams."""

from __future__ import annotations

from typing import Any

from tests.clients.client import Answer, Client, post
from tests.clients.reading import native, ollama_generate, openai_text

AGENT = "llm-ls/0.5.3; rust/unknown; ide/Neovim"
PARAMETERS: Any = {"max_new_tokens": 60, "temperature": 0.2, "top_p": 0.95}


def text_generation(answer: Answer) -> object:
    """An array means another backend to it."""
    return answer.json["generated_text"]


def inference_api(answer: Answer) -> object:
    """An object or an array."""
    found = answer.json[0] if isinstance(answer.json, list) else answer.json
    return found["generated_text"]


CLIENT = Client(
    "llm-ls",
    "huggingface/llm-ls crates/llm-ls/src/{backend,adaptors}.rs",
    ("openai", "llamacpp", "ollama", "tgi"),
    [
        post("complete", "/generate", {"inputs": "x", "parameters": PARAMETERS | {"return_full_text": False}},
             text_generation, user_agent=AGENT),
        post("complete", "/models/bigcode/starcoder", {"inputs": "x", "parameters": {"return_full_text": False}},
             inference_api, user_agent=AGENT, authorization="Bearer hf_x"),
        post("complete", "/completion", {"prompt": "x", "n_predict": 60, "temperature": 0.2, "top_p": 0.95}, native),
        post("complete", "/v1/completions", {"prompt": "x", "model": "codellama", "stream": False, "max_tokens": 60},
             openai_text, user_agent=AGENT),
        post("complete", "/api/generate", {"prompt": "x", "model": "demo", "stream": False,
                                           "options": {"num_predict": 60, "stop": ["<EOT>"]}}, ollama_generate),
    ],
)  # fmt: skip
