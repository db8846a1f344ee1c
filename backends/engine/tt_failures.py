"""Why a Tenstorrent card can't be used, in words: exceptions of ttnn's are pages of C++.

The texts looked for are those of tt-metal's sources: tt_metal/impl/allocator/bank_manager.cpp, models/tt_transformers.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

_DEVICES = Path("/dev/tenstorrent")
_PROCESSES = Path("/proc")
_MAX_LENGTH = 300

NO_DEVICE = "no Tenstorrent device was found"
_PATTERNS = (
    (r"Out of Memory.*?(DRAM|L1)", "the device is out of {0} memory: lower max_batch_size, max_seq_len or num_blocks"),
    (r"[Tt]race.*region|trace_region_size", "the traces don't fit: raise trace_region_size, or set trace: none"),
    (r"Batch size (\d+) not supported", "max_batch_size: tt-metal has no batch of {0}"),
    (r"No chips detected|No devices? (?:found|detected)|no supported devices", "no Tenstorrent device was found"),
)


def in_words(error: BaseException) -> str:
    """One line."""
    text = str(error)
    if isinstance(error, ModuleNotFoundError):
        return _missing(error)
    for pattern, words in _PATTERNS:
        if found := re.search(pattern, text, re.DOTALL):
            return words.format(*found.groups())
    return f"{type(error).__name__}: {_first_line(text)}"


def _missing(error: ModuleNotFoundError) -> str:
    package = (error.name or "").partition(".")[0]
    match package:
        case "models":
            return "tt-metal's `models` can't be imported: set tt_metal_home to a checkout that matches ttnn"
        case "ttnn":
            return "ttnn isn't installed: pip install ttnn, in Python 3.10 or 3.12"
        case _:
            return f"tt-metal's models need '{package}', which isn't installed"


def _first_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("info:")]
    line = lines[0] if lines else "no reason given"
    return line if len(line) <= _MAX_LENGTH else f"{line[:_MAX_LENGTH]}…"


def holders(devices: Path = _DEVICES, processes: Path = _PROCESSES) -> dict[int, str]:
    """Other processes that have a device open, by pid, and their commands. Those of other users can't be seen."""
    found: dict[int, str] = {}
    for process in processes.iterdir():
        is_other = process.name.isdigit() and int(process.name) != os.getpid()
        if is_other and any(target.startswith(f"{devices}/") for target in _open_files(process)):
            found[int(process.name)] = _command(process)
    return found


def _open_files(process: Path) -> Iterator[str]:
    try:
        for link in (process / "fd").iterdir():
            yield os.readlink(link)
    except OSError:  # it has ended, or isn't ours
        return


def _command(process: Path) -> str:
    try:
        return (process / "cmdline").read_text().replace("\0", " ").strip()[:80]
    except OSError:
        return "?"
