"""Matrix products that are fast for few rows, and whose rows don't depend on their neighbours.

A BLAS picks its kernel by the shape of the product, and each kernel adds up in its own order. So a row of `x @ w` may
differ in its last bits between a batch of one and a batch of 32, and a near-tie between two tokens may then fall
differently. A `Tiling` is a way to cut products that was found not to do that on this machine. It knows no model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from backends.engine.buffer import Buffer
from backends.engine.runner import Floats

ROWS_MULTIPLE = 4  # one row alone would be a product of a matrix and a vector: another kernel, in every BLAS
_SLAB_WIDTH = 64
_MAX_PRODUCT = 1_000_000  # multiplications; above it OpenBLAS leaves its kernel for small products
_MAX_SUMMANDS = 1024  # more would leave too few rows for that kernel


@dataclass(frozen=True, slots=True)
class Tiling:
    """max_rows: of one product; every product has that many rows, or fewer but a multiple of ROWS_MULTIPLE."""

    max_rows: int

    def rows_for(self, num_summands: int, num_columns: int) -> int:
        """The most rows of a product that is still small."""
        most = _MAX_PRODUCT // (num_summands * num_columns) // ROWS_MULTIPLE * ROWS_MULTIPLE
        return min(self.max_rows, most)

    def split(self, num_rows: int) -> tuple[int, int]:
        """For so many rows of one kind: how many products of how many rows hold them."""
        size = min(pad(num_rows), self.max_rows)
        return -(-num_rows // size), size


def pad(num_rows: int) -> int:
    return -(-num_rows // ROWS_MULTIPLE) * ROWS_MULTIPLE


class Projection:
    """x @ weight + bias, for x [M, num_inputs] with M a multiple of ROWS_MULTIPLE; valid until `out` is used again.

    weight: [num_inputs, num_outputs]; kept as [num_slabs, num_inputs, 64], so that the kernels run along the outputs
    and never along the sum. out: shared with projections of as many outputs that take turns with this one.

    Every product is small enough for the kernel that OpenBLAS has for small products with AVX-512: it reads a slab
    where it is, in the order in which it lies, while the other kernel copies the weights first, which for few rows is
    most of the work. Measured on a Zen 4 core against one product with the whole weight: 4 times as fast for 4 rows of
    an output layer, 1.5 times for 32 rows, 1.1 times for 256.
    """

    def __init__(self, weight: Floats, tiling: Tiling, out: Buffer | None = None, bias: Floats | None = None) -> None:
        num_inputs, self._num_outputs = weight.shape
        num_summands = min(num_inputs, _MAX_SUMMANDS)
        self._max_rows = tiling.rows_for(num_summands, _SLAB_WIDTH)
        slabs = _slabs(weight)
        ranges = [slice(start, start + num_summands) for start in range(0, num_inputs, num_summands)]
        self._parts = [(summands, slabs[:, summands]) for summands in ranges]
        self._bias = bias
        self.out = out or Buffer(len(slabs), _SLAB_WIDTH)

    def __call__(self, x: Floats) -> Floats:
        out = self.out.rows(len(x))
        slabs = out.swapaxes(0, 1)
        (summands, weight), *others = self._parts
        self._multiply(x[:, summands], weight, slabs)
        for summands, weight in others:
            more = np.empty(slabs.shape, np.float32)
            self._multiply(x[:, summands], weight, more)
            slabs += more
        result = out.reshape(len(x), -1)[:, : self._num_outputs]
        if self._bias is not None:
            result += self._bias
        return result

    def _multiply(self, x: Floats, weight: Floats, slabs: Floats) -> None:
        """slabs [num_slabs, M, 64]: where the product goes."""
        num_rows, size = len(x), self._max_rows
        num_even = num_rows - num_rows % size if num_rows > size else 0
        if num_even:
            tiles = slabs[:, :num_even].reshape(len(slabs), -1, size, _SLAB_WIDTH).swapaxes(0, 1)
            np.matmul(x[:num_even].reshape(-1, 1, size, x.shape[1]), weight, out=tiles)
        if num_even < num_rows:
            np.matmul(x[num_even:], weight, out=slabs[:, num_even:])


def _slabs(weight: Floats) -> Floats:
    """Zeros beyond the last column, because a kernel adds up ragged ones in another order."""
    num_inputs, num_outputs = weight.shape
    num_full, rest = divmod(num_outputs, _SLAB_WIDTH)
    slabs = np.zeros((num_full + bool(rest), num_inputs, _SLAB_WIDTH), np.float32)
    full = weight[:, : num_outputs - rest].reshape(num_inputs, num_full, _SLAB_WIDTH)
    slabs[:num_full] = full.swapaxes(0, 1)
    slabs[num_full:, :, :rest] = weight[:, num_outputs - rest :]
    return slabs


def product_shapes(num_inputs: int) -> set[tuple[int, int]]:
    """[number of summands, number of columns] of a projection's products."""
    rest = num_inputs % _MAX_SUMMANDS or _MAX_SUMMANDS
    return {(min(num_inputs, size), _SLAB_WIDTH) for size in (_MAX_SUMMANDS, rest)}


def choose_tiling(shapes: Iterable[tuple[int, int]]) -> Tiling:
    """The fastest tiling that is exact for products of these shapes: [number of summands, number of columns].

    Found by trying, since it depends on the BLAS and the processor. OpenBLAS is exact by 32 rows with AVX-512, and on
    old processors; with AVX2 by 8, because from 12 rows on a row's place decides how it is added up.
    """
    shapes = set(shapes)
    candidates = (Tiling(32), Tiling(8), Tiling(4))  # more than 32 rows are no faster
    for tiling in candidates:
        if all(is_exact(tiling, *shape) for shape in shapes):
            return tiling
    return candidates[-1]


def is_exact(tiling: Tiling, num_summands: int, num_columns: int) -> bool:
    """Do neither the row count nor a row's place make a difference to any row?"""
    max_rows = tiling.rows_for(num_summands, num_columns)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((2 * max_rows, num_summands), np.float32)
    weight = rng.standard_normal((num_summands, num_columns), np.float32)
    expected = np.concatenate((x[:max_rows] @ weight, x[max_rows:] @ weight))
    trials = [(first, num) for num in range(ROWS_MULTIPLE, max_rows + 1, ROWS_MULTIPLE) for first in range(0, num, 3)]
    return all(np.array_equal(x[first : first + num] @ weight, expected[first : first + num]) for first, num in trials)
