"""The weights of a Hugging Face folder: tensors by name, as float32, from one safetensors file or several.

Reads the format itself, since the safetensors package has no bfloat16 for numpy; the files are mapped, so that a
tensor costs memory only while it is being read. It knows nothing of what the tensors are for.

Source: the safetensors README, "Format": 8 bytes of header size, a JSON header, then the tensors, all little-endian.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, TypeAdapter

from backends.engine.folder_json import read_json
from backends.engine.runner import Floats
from backends.errors import BackendFailed

_Bytes: TypeAlias = npt.NDArray[np.uint8]

_ONE_FILE = "model.safetensors"
_INDEX = "model.safetensors.index.json"
_MAX_HEADER_SIZE = 100_000_000  # the format's own limit
_NUM_BYTES = {"BF16": 2, "F16": 2, "F32": 4}


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """data: its bytes in the file. dtype: of `BF16`, `F16`, `F32`, or another that only its owner understands."""

    dtype: str
    shape: tuple[int, ...]
    data: _Bytes

    @property
    def num_elements(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64))

    def to_float32(self) -> Floats:
        match self.dtype:
            case "BF16":  # the upper half of a float32
                return (self.data.view("<u2").astype(np.uint32) << 16).view(np.float32).reshape(self.shape)
            case "F16":
                return self.data.view("<f2").astype(np.float32).reshape(self.shape)
            case _:
                return self.data.view("<f4").astype(np.float32).reshape(self.shape)


class Weights:
    """Every tensor of a folder. `take` notes which were used, so that none is overlooked.

    files: where they lie, in order of their names.
    """

    def __init__(self, folder: Path) -> None:
        """Raises BackendFailed, in one line, when there are no weights, or a file isn't what it says."""
        self.folder = folder
        self.files = _files(folder)
        self._tensors: dict[str, StoredTensor] = {}
        self._untaken: set[str] = set()
        for path in self.files:
            self._tensors |= _read(path)
        self._untaken |= self._tensors.keys()

    def __contains__(self, name: str) -> bool:
        return name in self._tensors

    @property
    def num_parameters(self) -> int:
        return sum(tensor.num_elements for tensor in self._tensors.values())

    @property
    def dtype(self) -> str:
        """The one that most elements have."""
        sizes: Counter[str] = Counter()
        for tensor in self._tensors.values():
            sizes[tensor.dtype] += tensor.num_elements
        return sizes.most_common(1)[0][0] if sizes else ""

    def take(self, name: str, *shape: int) -> Floats:
        """A new array. Raises BackendFailed when it is missing, of another shape, or of a type that can't be run."""
        tensor = self._tensors.get(name)
        if tensor is None:
            raise BackendFailed(f"{self.folder}: the weights have no '{name}'")
        if tensor.shape != shape:
            raise BackendFailed(f"{self.folder}: '{name}' is {list(tensor.shape)}, but config.json says {list(shape)}")
        if tensor.dtype not in _NUM_BYTES:
            raise BackendFailed(f"{self.folder}: '{name}' is {tensor.dtype}, but only bf16, fp16 and fp32 can be run")
        self._untaken.discard(name)
        return tensor.to_float32()

    def refuse_untaken(self, ignored: Iterable[str]) -> None:
        """Raises BackendFailed when a tensor was never taken: then the model is another one than was thought.

        ignored: endings of names that don't matter.
        """
        endings = tuple(ignored)
        left = sorted(name for name in self._untaken if not name.endswith(endings))
        if left:
            raise BackendFailed(f"{self.folder}: '{left[0]}' has no place in a model of this architecture")


class _Entry(BaseModel):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


_OBJECT = TypeAdapter(dict[str, object])


class _Index(BaseModel):
    weight_map: dict[str, str]


def _files(folder: Path) -> tuple[Path, ...]:
    """The one file, or those that the index names."""
    one, index = folder / _ONE_FILE, folder / _INDEX
    if one.is_file():
        return (one,)
    if not index.is_file():
        raise BackendFailed(f"{folder}: has no {_ONE_FILE} and no {_INDEX}")
    names = set(read_json(index, _Index).weight_map.values())
    return tuple(folder / name for name in sorted(names))


def _read(path: Path) -> Mapping[str, StoredTensor]:
    try:
        data = np.memmap(path, np.uint8, "r")
        start = 8 + int(data[:8].view("<u8")[0])
        if start > min(len(data), _MAX_HEADER_SIZE):
            raise ValueError("the header is longer than the file")
        entries = _OBJECT.validate_json(data[8:start].tobytes())
        entries.pop("__metadata__", None)
        return {name: _stored(_Entry.model_validate(entry), data[start:]) for name, entry in entries.items()}
    except OSError as error:
        raise BackendFailed(f"{path}: {error.strerror}") from None
    except (ValueError, IndexError):  # pydantic's errors are ValueErrors
        raise BackendFailed(f"{path}: isn't a safetensors file, or is damaged or incomplete") from None


def _stored(entry: _Entry, data: _Bytes) -> StoredTensor:
    begin, end = entry.data_offsets
    tensor = StoredTensor(entry.dtype, entry.shape, np.asarray(data[begin:end]))
    size = _NUM_BYTES.get(entry.dtype)
    if not 0 <= begin <= end <= len(data) or (size and end - begin != tensor.num_elements * size):
        raise ValueError("a tensor lies outside the file")
    return tensor
