"""The one door to S: what it accepts, what it refuses, and its products in float64."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from subsetsel.errors import ProblemError
from subsetsel.rows import DenseRows, as_rows
from subsetsel.rows.base import Rows

_S = np.random.default_rng(0).normal(size=(23, 4))

_LAYOUTS: dict[str, Callable[[Any], Any]] = {
    "c_order": np.ascontiguousarray,
    "fortran_order": np.asfortranarray,
    "negative_strides": lambda S: np.ascontiguousarray(S[::-1, ::-1])[::-1, ::-1],
    "gaps": lambda S: np.repeat(S, 2, axis=1)[:, ::2],
}


@pytest.fixture(params=["one block", "many blocks"])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run a test with S in one block and in blocks of five rows."""
    if request.param == "many blocks":
        monkeypatch.setattr("subsetsel.rows.base.BLOCK_BYTES", 5 * 8 * 4)


@pytest.mark.parametrize(
    ("S", "words"),
    [
        ([[1.0, 2.0], [3.0, np.nan]], ["S[1, 1] is nan", "remove or repair"]),
        ([[1.0, np.inf], [3.0, 4.0]], ["S[0, 1] is inf"]),
        ([[1.0, 2.0], [-np.inf, np.nan]], ["S[1, 0] is -inf", "2 such entries"]),
        ([[np.inf, -np.inf], [3.0, 4.0]], ["S[0, 0] is inf", "2 such entries"]),
        (np.empty((0, 3)), ["S is empty", "(0, 3)"]),
        (np.empty((3, 0)), ["S is empty", "(3, 0)"]),
        ([1.0, 2.0], ["two dimensions", "(2,)", "S[:, None]"]),
        (3.0, ["two dimensions", "()"]),
        (np.ones((2, 2, 2)), ["two dimensions", "(2, 2, 2)"]),
        (np.ones((2, 2), dtype=np.int64), ["float32 or float64", "int64", "astype"]),
        (np.ones((2, 2), dtype=np.float16), ["float32 or float64", "float16"]),
        (np.ones((2, 2), dtype=np.complex128), ["float32 or float64", "complex128"]),
        (np.ones((2, 2), dtype=np.bool_), ["float32 or float64", "bool"]),
        (np.ones((2, 2), dtype=">f8"), ["float32 or float64", ">f8"]),
        ([["a", "b"]], ["float32 or float64", "<U1"]),
        ([[None, 1.0]], ["float32 or float64", "object"]),
        ([[1.0, 2.0], [3.0]], ["S is not an array of numbers"]),
        (np.ma.masked_array(np.ones((2, 2)), mask=np.eye(2, dtype=np.bool_)), ["masked array"]),
        (torch.ones(2, 2, dtype=torch.bfloat16), ["bfloat16", "S.float()"]),
        (torch.ones(2, 2, dtype=torch.float16), ["float32 or float64", "float16"]),
        (torch.ones(2, dtype=torch.float32), ["two dimensions"]),
    ],
)
def test_refuses(S: Any, words: list[str]) -> None:
    """Whatever is no influence matrix is refused, saying what it is and what to do."""
    with pytest.raises(ProblemError) as error:
        as_rows(S)
    for word in words:
        assert word in str(error.value)


def test_says_where_in_a_later_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """The row named in the error counts from the start of S, not of its block."""
    monkeypatch.setattr("subsetsel.rows.base.BLOCK_BYTES", 5 * 8 * 4)
    S = _S.copy()
    S[17, 2] = np.nan
    with pytest.raises(ProblemError, match=r"S\[17, 2\] is nan .* in 5 rows"):
        as_rows(S)


def test_entries_whose_squares_overflow_are_refused() -> None:
    """Finite entries too large to be squared are an error that says what to do."""
    with pytest.raises(ProblemError, match="Rescale S and epsilon together"):
        as_rows(np.full((4, 2), 1e308))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", _LAYOUTS)
def test_products_agree_with_numpy(block_bytes: None, layout: str, dtype: Any) -> None:
    """S u, S^T w and the norms are those of a float64 copy, for every layout."""
    S = _LAYOUTS[layout](_S.astype(dtype))
    wide = np.ascontiguousarray(S).astype(np.float64)
    rows = as_rows(S)
    rng = np.random.default_rng(1)
    u, w, mask = rng.normal(size=4), rng.random(23), rng.random(23) < 0.3
    np.testing.assert_allclose(rows.dot(u), wide @ u, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(rows.sum(w), w @ wide, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(rows.sum(mask), wide[mask].sum(axis=0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(rows.sum(~mask), wide[~mask].sum(axis=0), rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(rows.squared_norms, (wide**2).sum(axis=1), rtol=1e-13)
    np.testing.assert_allclose(rows.total, wide.sum(axis=0), rtol=1e-13, atol=1e-13)
    for product in (rows.dot(u), rows.sum(w), rows.squared_norms, rows.total):
        assert product.dtype == np.float64


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_blocks_and_rows_are_contiguous(block_bytes: None, layout: str) -> None:
    """Blocks cover S once, in order; blocks and chosen rows are C-contiguous in S's own dtype."""
    S = _LAYOUTS[layout](_S.astype(np.float32))
    rows = as_rows(S)
    blocks = list(rows.blocks())
    assert [start for start, _, _ in blocks] == [0, *(stop for _, stop, _ in blocks[:-1])]
    np.testing.assert_array_equal(np.concatenate([block for *_, block in blocks]), S)
    chosen = rows.take(np.array([7, 0, 7]))
    np.testing.assert_array_equal(chosen, S[[7, 0, 7]])
    for part in [*(block for *_, block in blocks), chosen]:
        assert part.flags.c_contiguous
        assert part.dtype == np.float32


def test_float32_is_summed_in_float64() -> None:
    """A long sum of small float32 numbers loses nothing to float32."""
    S = np.full((100_000, 1), 1e-8, dtype=np.float32)
    S[0] = 1.0
    total = as_rows(S).sum(np.ones(len(S), dtype=np.bool_))
    assert total[0] == pytest.approx(1.0 + 99_999 * float(np.float32(1e-8)), rel=1e-12)


def test_empty_choice_sums_to_zero() -> None:
    """No example chosen, no influence."""
    assert not as_rows(_S).sum(np.zeros(23, dtype=np.bool_)).any()


def test_contiguous_array_is_not_copied() -> None:
    """S is used in place where it can be."""
    dense = as_rows(_S).dense()
    assert dense is not None
    assert np.shares_memory(dense, _S)
    assert np.shares_memory(as_rows(_S).block(3, 9), _S)


def test_no_dense_view_of_other_layouts() -> None:
    """`dense` gives nothing where it would have to copy."""
    assert as_rows(np.asfortranarray(_S)).dense() is None


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_search_matrix_has_every_row(block_bytes: None, layout: str) -> None:
    """Random access is to S itself where it is contiguous, else to a contiguous copy."""
    S = _LAYOUTS[layout](_S.astype(np.float32))
    matrix = as_rows(S).search_matrix()
    np.testing.assert_array_equal(matrix, S)
    assert matrix.flags.c_contiguous
    assert np.shares_memory(matrix, S) == S.flags.c_contiguous


def test_taken_rows_are_a_copy() -> None:
    """Writing to chosen rows leaves S alone."""
    S = _S.copy()
    as_rows(S).take(np.array([2]))[:] = 0.0
    np.testing.assert_array_equal(S, _S)


def test_tensor_is_shared() -> None:
    """A CPU tensor is read in place, in its own dtype, even one that requires gradients."""
    S = torch.tensor(_S, dtype=torch.float32, requires_grad=True)
    rows = as_rows(S)
    assert rows.dtype == np.float32
    dense = rows.dense()
    assert dense is not None
    assert np.shares_memory(dense, S.detach().numpy())


def test_transposed_tensor() -> None:
    """A tensor with other strides gives the same products."""
    S = torch.tensor(_S).T.contiguous().T
    np.testing.assert_allclose(as_rows(S).total, _S.sum(axis=0), rtol=1e-13)


def test_memory_map_is_read_only_to_us(tmp_path: Path) -> None:
    """A memory map opened for reading is enough."""
    np.save(tmp_path / "S.npy", _S)
    rows = as_rows(np.load(tmp_path / "S.npy", mmap_mode="r"))
    np.testing.assert_allclose(rows.total, _S.sum(axis=0), rtol=1e-13)
    np.testing.assert_array_equal(rows.block(0, 23), _S)


def test_nested_lists_are_an_array() -> None:
    """Lists of floats are what they look like."""
    assert as_rows([[1.0, 2.0], [3.0, 4.0]]).shape == (2, 2)


def test_rows_pass_through() -> None:
    """Rows are taken as they are."""
    rows = DenseRows(_S)
    assert as_rows(rows) is rows


def test_another_storage_needs_two_methods() -> None:
    """A new kind of storage implements `block` and `take`; products follow."""

    class Doubled(Rows):
        shape = (23, 4)
        dtype = np.dtype(np.float64)

        def block(self, start: int, stop: int) -> Any:
            return 2 * _S[start:stop]

        def take(self, indices: Any) -> Any:
            return 2 * _S[indices]

    rows = Doubled()
    assert (rows.n, rows.d) == (23, 4)
    assert rows.dense() is None
    np.testing.assert_allclose(rows.total, 2 * _S.sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(rows.dot(np.ones(4)), 2 * _S.sum(axis=1), rtol=1e-13)
