"""The little of torch that passes between Dragoman and the Generator: tensors made of numpy arrays, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

int32, int64, float32 = np.dtype(np.int32), np.dtype(np.int64), np.dtype(np.float32)


class Tensor:
    def __init__(self, array: npt.NDArray[Any]) -> None:
        self._array = array
        self.shape = array.shape
        self.dtype = array.dtype

    def numpy(self) -> npt.NDArray[Any]:
        return self._array


def from_numpy(array: npt.NDArray[Any]) -> Tensor:
    """Shares the memory, as the real one does."""
    if not isinstance(array, np.ndarray):
        raise TypeError(f"expected np.ndarray (got {type(array).__name__})")
    return Tensor(array)
