"""How a Tenstorrent card is set up: options, and the environment that tt-metal reads and its lessons set."""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from backends.engine.runner import SamplingPlace
from backends.errors import BackendFailed

Precision: TypeAlias = Literal["performance", "accuracy"]
TraceMode: TypeAlias = Literal["all", "decode", "none"]

MESHES: Mapping[str, tuple[int, int]] = {
    "N150": (1, 1), "P100": (1, 1), "P150": (1, 1), "N300": (1, 2), "P300": (1, 2), "N150x4": (1, 4),
    "P150x4": (1, 4), "P150x8": (1, 8), "T3K": (1, 8), "TG": (8, 4),
}  # fmt: skip
"""Rows and columns of chips, as vllm-tt-plugin has them (utils/dp_discovery.py)."""

MOCK_CLUSTER = "TT_METAL_MOCK_CLUSTER_DESC_PATH"
"""Names the description of a machine that ttnn shall pretend to be."""

DEFAULT_KV_TOKENS = 32_768
"""As tt-metal's own demos reserve for a batch of 32 (simple_text_demo.py: 1,024 pages of 32)."""


@dataclass(frozen=True, slots=True)
class TtOptions:
    """model: what HF_MODEL says: a folder, or a name at Hugging Face that has been downloaded. mesh_device: as in
    MESH_DEVICE; None: every chip that there is, in a row. tt_metal_home: a checkout of tt-metal, for its `models`;
    None: these can be imported already. trace: which programs are captured to be replayed. trace_region_size: bytes on
    the device for them. data_parallel: copies of the model, each on its share of the chips. max_batch_size: of each
    copy."""

    model: str
    mesh_device: str | None = None
    tt_metal_home: Path | None = None
    max_batch_size: int = 32
    max_seq_len: int = 2048
    precision: Precision = "performance"
    trace: TraceMode = "all"
    trace_region_size: int = 50_000_000
    sampling: SamplingPlace = "auto"
    data_parallel: int = 1

    @property
    def mesh_shape(self) -> tuple[int, int] | None:
        """Raises BackendFailed for a name that nobody has."""
        if self.mesh_device is None:
            return None
        if self.mesh_device in MESHES:
            return MESHES[self.mesh_device]
        try:
            rows, columns = ast.literal_eval(self.mesh_device)
            return int(rows), int(columns)
        except (ValueError, SyntaxError, TypeError):
            known = ", ".join(MESHES)
            raise BackendFailed(f"mesh_device: '{self.mesh_device}' is none of {known}, nor (rows, columns)") from None

    @property
    def environment(self) -> dict[str, str]:
        """What tt-metal must find in the environment."""
        found = {"HF_MODEL": self.model}
        if self.mesh_device is not None:
            found["MESH_DEVICE"] = self.mesh_device
        if self.tt_metal_home is not None:
            found["TT_METAL_HOME"] = str(self.tt_metal_home)
        return found


def default_num_blocks(max_seq_len: int, num_sequences: int, block_size: int) -> int:
    """Enough for every sequence's window, but for no more than 32,768 tokens unless one window is longer."""
    return -(-max(max_seq_len, min(num_sequences * max_seq_len, DEFAULT_KV_TOKENS)) // block_size)


def model_folder(model: str, environment: Mapping[str, str]) -> Path:
    """Where the tokenizer of HF_MODEL is: the folder itself, or the newest copy in Hugging Face's cache; if it is in
    neither, where it would be looked for in vain."""
    folder = Path(model).expanduser()
    if folder.is_dir():
        return folder
    home = Path(environment.get("HF_HOME", "~/.cache/huggingface")).expanduser()
    snapshots = Path(environment.get("HF_HUB_CACHE", home / "hub")) / f"models--{model.replace('/', '--')}/snapshots"
    found = sorted(snapshots.glob("*/config.json"), key=lambda path: path.stat().st_mtime)
    return found[-1].parent if found else folder
