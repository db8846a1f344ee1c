"""What a Hugging Face folder says of its model without running it: sizes, type of weights, a digest, sampling defaults.

It doesn't read the tokenizer or the chat template: who does adds what they tell (capabilities, special tokens).
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from backends.base import ModelInfo
from backends.engine.folder_json import read_json
from backends.engine.llama_config import read_config
from backends.engine.weights import Weights

_WHOLE_SIZE = 64 << 20  # bytes of a file that are hashed in a few hundredths of a second
_NUM_SAMPLES = 64
_SAMPLE_SIZE = 64 << 10


def read_model_info(folder: Path) -> ModelInfo:
    """Raises BackendFailed, in one line, for a folder that can't be run."""
    config = read_config(folder)
    weights = Weights(folder)
    return ModelInfo(
        window=config.window,
        family=config.family,
        path=str(folder),
        num_parameters=weights.num_parameters,
        size_bytes=sum(file.stat().st_size for file in weights.files),
        vocab_size=config.vocab_size,
        hidden_size=config.hidden_size,
        quantization=weights.dtype,
        digest=digest(weights.files),
        modified_at=max(file.stat().st_mtime for file in weights.files),
        trained_window=config.trained_window,
        generation_defaults=read_generation_defaults(folder),
    )


def digest(files: Iterable[Path]) -> str:
    """sha256, hex, of the files one after the other.

    Of a file of more than 64 MiB only its size, its beginning and 63 places spread over it are hashed: enough to tell
    models apart, and gigabytes needn't be read at every start. For one such file it isn't what sha256sum says.
    """
    hashed = hashlib.sha256()
    for path in files:
        size = path.stat().st_size
        with path.open("rb") as file:
            if size <= _WHOLE_SIZE:
                hashed.update(file.read())
                continue
            hashed.update(size.to_bytes(8, "little"))
            for sample in range(_NUM_SAMPLES):
                file.seek(sample * (size - _SAMPLE_SIZE) // (_NUM_SAMPLES - 1), os.SEEK_SET)
                hashed.update(file.read(_SAMPLE_SIZE))
    return hashed.hexdigest()


class _GenerationJson(BaseModel):
    """The part that says how to sample. transformers has more, which means nothing without its generate()."""

    do_sample: bool | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    repetition_penalty: float | None = None


def read_generation_defaults(folder: Path) -> dict[str, float]:
    """From generation_config.json, by the names of `Sampling`; without that file, none.

    A model that says `do_sample: false` is greedy, whatever else is there. Raises BackendFailed for a malformed file.
    """
    path = folder / "generation_config.json"
    if not path.is_file():
        return {}
    written = read_json(path, _GenerationJson)
    defaults: dict[str, float] = written.model_dump(exclude={"do_sample"}, exclude_none=True)
    if written.do_sample is False:
        defaults["temperature"] = 0.0
    return defaults
