"""Products are right, whatever their shape, and a row doesn't depend on its neighbours."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.engine import projection
from backends.engine.projection import Projection, Tiling, choose_tiling, is_exact, product_shapes
from backends.engine.runner import Floats


def random(*shape: int, seed: int = 0) -> Floats:
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


@settings(max_examples=60)
@given(
    num_rows=st.integers(1, 40).map(lambda count: 4 * count),
    num_inputs=st.sampled_from([1, 16, 100, 1024, 1025, 2500]),
    num_outputs=st.sampled_from([1, 16, 64, 65, 200]),
    max_rows=st.sampled_from([4, 8, 32]),
    has_bias=st.booleans(),
)
def test_a_projection_is_the_product_and_the_bias(
    num_rows: int, num_inputs: int, num_outputs: int, max_rows: int, has_bias: bool
) -> None:
    x, weight = random(num_rows, num_inputs), random(num_inputs, num_outputs, seed=1)
    bias = random(num_outputs, seed=2) if has_bias else None
    found = Projection(weight, Tiling(max_rows), bias=bias)(x)
    expected = x.astype(np.float64) @ weight + (0 if bias is None else bias)
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("num_inputs", [32, 192, 512, 1500, 4864])
def test_a_row_is_the_same_bits_in_any_company(num_inputs: int) -> None:
    shapes = product_shapes(num_inputs)
    tiling = choose_tiling(shapes)
    if not all(is_exact(tiling, *shape) for shape in shapes):
        pytest.skip("this machine's BLAS can't promise it")
    project = Projection(random(num_inputs, 200), tiling)
    x = random(300, num_inputs, seed=1)
    whole = project(x).copy()
    for first, num_rows in ((0, 4), (7, 4), (13, 8), (1, 36), (6, 100), (3, 256)):
        np.testing.assert_array_equal(project(x[first : first + num_rows]), whole[first : first + num_rows])


@pytest.mark.parametrize("num_rows", [1, 3, 4, 31, 32, 33, 1000])
@pytest.mark.parametrize("max_rows", [4, 8, 32])
def test_a_split_has_room_for_every_row_and_keeps_to_the_rules(num_rows: int, max_rows: int) -> None:
    num_products, size = Tiling(max_rows).split(num_rows)
    assert (num_products - 1) * size < num_rows <= num_products * size
    assert size % 4 == 0
    assert size <= max_rows


def test_a_blas_whose_rows_depend_on_their_number_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with AVX2, where up to 8 rows are exact, and with one where nothing is."""
    tried: list[int] = []

    def exact_up_to_8(tiling: Tiling, num_summands: int, num_columns: int) -> bool:
        tried.append(tiling.max_rows)
        return tiling.max_rows <= 8

    monkeypatch.setattr(projection, "is_exact", exact_up_to_8)
    assert choose_tiling({(64, 64)}) == Tiling(8)
    assert tried == [32, 8]
    monkeypatch.setattr(projection, "is_exact", lambda *_: False)
    assert choose_tiling({(64, 64)}) == Tiling(4)
