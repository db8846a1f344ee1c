"""How an engine is set up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from backends.errors import BackendFailed

MAX_DEFAULT_TOKENS = 65_536


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """folder: a Hugging Face model's: config.json, tokenizer.json, safetensors.

    max_batch_size: the most sequences that run at once. block_size: tokens in a block of the KV cache.
    num_blocks: blocks in all. None: enough for 4 windows, but for no more than 65,536 tokens unless one window is
    longer. A token takes `2 * layers * kv_heads * head_dim * 4` bytes in numpy: 2.5 KiB in the embedded model (at most
    160 MiB in all), 24 KiB in a Qwen2.5 of 0.5 B parameters (1.5 GiB); memory is only taken as it is first used.
    step_tokens: the most tokens that a step evaluates; a long prompt holds up other answers for one step at a time.
    max_waiting: sequences that may wait beyond those in a full batch; more are refused with Busy. completion_slots:
    places of the batch for which others are paused when completions need them. None: every eighth, but one at least.
    step_deadline_s: a step that takes longer is taken to hang, and the backend fails. restarts_on_hang: then the whole
    process begins anew, once everyone has been told: a device that hangs is held until then. max_hangs: so many within
    an hour, and it does so no more.
    window: tokens of prompt and answer together. None: as many as the model and the blocks allow.
    """

    folder: Path
    max_batch_size: int = 32
    block_size: int = 16
    num_blocks: int | None = None
    step_tokens: int = 256
    max_waiting: int = 256
    completion_slots: int | None = None
    step_deadline_s: float = 60.0
    restarts_on_hang: bool = False
    max_hangs: int = 3
    window: int | None = None

    def window_within(self, model_window: int) -> int:
        """The window that one sequence alone can always fill. Raises BackendFailed where more was asked for."""
        most = model_window if self.num_blocks is None else min(model_window, self.num_blocks * self.block_size)
        if self.window is None:
            return most
        if self.window > most:
            limit = "the model's window" if most == model_window else f"what {self.num_blocks} blocks hold"
            raise BackendFailed(f"{self.folder}: a window of {self.window} tokens is more than {limit}, {most}")
        return self.window

    def num_blocks_for(self, window: int) -> int:
        if self.num_blocks is not None:
            return self.num_blocks
        return -(-max(window, min(4 * window, MAX_DEFAULT_TOKENS)) // self.block_size)
