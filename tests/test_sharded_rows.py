"""S in shards is the same S: every method beside that of one array, for any cut."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from strategies import matrices

import subsetsel
from subsetsel.errors import OptionError, OutOfMemoryError, ProblemError
from subsetsel.rows import DenseRows, as_rows
from subsetsel.rows.sharded import ShardedRows, open_rows, rows_in_shards
from subsetsel.shards.table import Shards
from subsetsel.shards.workers import Serial

S = np.random.default_rng(0).normal(size=(23, 4))


def identity(value: Any) -> Any:
    """What is held of an array: itself."""
    return value


def sharded(array: Any, cuts: list[int], most_kept: int | None = None) -> ShardedRows:
    """The rows of an array, cut before each of the rows named; the same cut twice is empty."""
    parts = np.split(array, sorted(cuts))
    workers = Serial(most_kept)
    held = workers.hold(identity, [(part,) for part in parts])
    return rows_in_shards(Shards(workers, held, [len(part) for part in parts]))


@st.composite
def both(draw: st.DrawFn) -> tuple[DenseRows, ShardedRows]:
    """One S as an array and in shards, some of one row and some empty."""
    array = draw(matrices(max_n=12))
    cuts = draw(st.lists(st.integers(0, len(array)), max_size=5))
    return DenseRows(array), sharded(array, cuts, most_kept=draw(st.sampled_from([0, None])))


@settings(max_examples=40, deadline=None)
@given(pair=both(), seed=st.integers(0, 99))
def test_every_product_is_that_of_one_array(pair: tuple[DenseRows, ShardedRows], seed: int) -> None:
    """S u, S^T w, sums of subsets, norms, rows and blocks agree, within the limits of rounding."""
    dense, rows = pair
    rng = np.random.default_rng(seed)
    u, w, mask = rng.normal(size=dense.d), rng.random(dense.n), rng.random(dense.n) < 0.4
    assert (rows.shape, rows.dtype, rows.is_exact) == (dense.shape, dense.dtype, True)
    miss = dense.row_error + rows.row_error
    assert (abs(rows.dot(u) - dense.dot(u)) <= miss * np.linalg.norm(u)).all()
    for weights in (w, mask, ~mask, np.zeros(dense.n)):
        off = np.linalg.norm(rows.sum(weights) - dense.sum(weights))
        assert off <= abs(weights.astype(float)) @ miss
    np.testing.assert_array_equal(rows.squared_norms, dense.squared_norms)
    chosen = rng.integers(0, dense.n, size=7)
    np.testing.assert_array_equal(rows.take(chosen), dense.take(chosen))
    np.testing.assert_array_equal(rows.block(0, dense.n), dense.block(0, dense.n))
    np.testing.assert_array_equal(rows.search_matrix(), dense.block(0, dense.n))
    assert rows.take(chosen).dtype == dense.dtype
    blocks = list(rows.blocks())
    assert [start for start, _, _ in blocks] == [0, *(stop for _, stop, _ in blocks[:-1])]
    np.testing.assert_array_equal(np.vstack([part for *_, part in blocks]), dense.block(0, dense.n))
    assert rows.choices()["num_shards"] == len(rows.shards)


@settings(max_examples=30, deadline=None)
@given(pair=both())
def test_a_problem_is_the_same_in_shards(pair: tuple[DenseRows, ShardedRows]) -> None:
    """The norm of a subset, and what is feasible, do not depend on how S is held."""
    dense, rows = pair
    mask = np.arange(dense.n) % 2 == 0
    here, there = (subsetsel.Problem(one, size=int(mask.sum())) for one in (dense, rows))
    assert here.norm(mask) == pytest.approx(there.norm(mask), rel=1e-12, abs=1e-12)
    assert there.is_feasible(mask)


def test_rows_sorted_by_class_are_the_rows_of_one_array() -> None:
    """Shards that hold one class each give the sums of the whole."""
    y = np.repeat([0, 1, 2], [9, 1, 13])
    array = S + 10.0 * y[:, None]
    rows = sharded(array, [9, 10, 10])
    np.testing.assert_allclose(rows.total, array.sum(axis=0), rtol=1e-13)
    np.testing.assert_allclose(rows.sum(y == 1), array[9], rtol=1e-13)


def test_one_round_a_product_and_none_for_shards_that_add_nothing() -> None:
    """Rounds do not grow with shards; a sum asks only the shards that have a weight."""
    rows = sharded(S, [3, 9, 9, 20])
    before = rows.shards.num_rounds
    rows.dot(np.ones(4))
    rows.sum(np.arange(23) == 5)
    _ = rows.squared_norms, rows.squared_norms, rows.total
    rows.take(np.array([0, 22, 11]))
    assert rows.shards.num_rounds == before + 5


def test_shards_of_both_types_are_handed_out_as_float64() -> None:
    """A shard of float32 beside one of float64 loses nothing."""
    parts: list[Any] = [S[:9].astype(np.float32), S[9:]]
    workers = Serial()
    held = workers.hold(identity, [(part,) for part in parts])
    rows = rows_in_shards(Shards(workers, held, [9, 14]))
    np.testing.assert_array_equal(rows.block(0, 23), np.vstack(parts))
    assert rows.dtype == np.float64


def test_limits_of_rounding_count_the_sum_over_shards() -> None:
    """Where each shard adds less than float64 can see, the limit covers all that is lost."""
    little = 0.99 * 2.0**-53
    rows = sharded(np.array([[1.0], *[[little]] * 200]), list(range(1, 201)))
    lost = 1.0 + 200 * little - float(rows.total[0])
    assert 0 < lost <= rows.row_error.sum()


# --- what is refused, each with its cure tried ---------------------------------------------------


def saved(folder: Path, *parts: Any) -> list[Path]:
    """Files part-0.npy, part-1.npy, ... of arrays."""
    paths = [folder / f"part-{k}.npy" for k in range(len(parts))]
    for path, part in zip(paths, parts, strict=True):
        np.save(path, part)
    return paths


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_named_by_file_and_row(value: float, tmp_path: Path) -> None:
    """The file, its row and the column are in the message; without the row S is taken."""
    bad = S[9:].copy()
    bad[[2, 6], [3, 0]] = value
    paths = saved(tmp_path, S[:9], bad)
    with pytest.raises(ProblemError) as error:
        as_rows(tmp_path / "part-*.npy")
    for word in (f"column 3 of row 2 of {paths[1]} is {value}", "2 such entries", "remove"):
        assert word in str(error.value)
    saved(tmp_path, S[:9], np.delete(bad, [2, 6], axis=0))
    assert as_rows(tmp_path / "part-*.npy").n == 21


def test_a_bad_entry_of_a_range_is_named_by_the_row_of_its_file(tmp_path: Path) -> None:
    """Rows count from the start of the file, not of the shard."""
    bad = S.copy()
    bad[17, 2] = np.nan
    (path,) = saved(tmp_path, bad)
    with pytest.raises(ProblemError, match=rf"column 2 of row 17 of {path} is nan"):
        open_rows(path, rows_per_shard=5)


def test_entries_that_cannot_be_squared_are_refused(tmp_path: Path) -> None:
    """As for an array: too large in one shard, too small in all; rescaled they are taken."""
    saved(tmp_path, S[:9], 1e200 * S[9:])
    with pytest.raises(ProblemError, match="Rescale S and epsilon together"):
        as_rows(tmp_path / "part-*.npy")
    saved(tmp_path, 1e-200 * S[:9], 1e-200 * S[9:])
    with pytest.raises(ProblemError, match="vanish"):
        as_rows(tmp_path / "part-*.npy")
    saved(tmp_path, 1e-200 * S[:9], S[9:])
    assert as_rows(tmp_path / "part-*.npy").n == 23


def test_one_number_per_example_is_no_matrix(tmp_path: Path) -> None:
    """A single column is taken once it is stored as a column."""
    paths = saved(tmp_path, S[:9, 0], S[9:, 0])
    with pytest.raises(ProblemError, match=r"two dimensions.*S\[:, None\]"):
        as_rows(paths)
    assert as_rows(saved(tmp_path, S[:9, :1], S[9:, :1])).shape == (23, 1)


def test_shards_of_different_widths_are_refused() -> None:
    """Arrays in shards name the shards that differ."""
    workers = Serial()
    held = workers.hold(identity, [(S,), (S[:, :3],)])
    with pytest.raises(ProblemError, match="shard 0 has 4 and shard 1 has 3"):
        rows_in_shards(Shards(workers, held, [23, 23]))


def test_an_engine_for_an_array_is_refused() -> None:
    """An array lies in this process already; without the engine it is taken."""
    with pytest.raises(
        OptionError, match="give the paths of files or a dask array, or leave engine"
    ):
        subsetsel.Problem(S, size=2, engine="tcp://127.0.0.1:8786")
    with pytest.raises(OptionError, match="engine='tcp://here:1' computes with rows in shards"):
        subsetsel.solve(S, size=2, engine="tcp://here:1")
    assert subsetsel.Problem(S, size=2).n == 23


def test_a_search_of_every_row_is_refused_where_they_do_not_fit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Beyond the plan of memory S is not brought here; with a larger plan it is.

    Mutation: all rows are brought here: fails.
    """
    rows = sharded(S, [9])
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", "1e-6")
    with pytest.raises(OutOfMemoryError, match="set SUBSETSEL_MEMORY_GIB"):
        rows.search_matrix()
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", "1e-3")
    np.testing.assert_array_equal(rows.search_matrix(), S)


# --- files ----------------------------------------------------------------------------------------


def test_one_file_that_fits_is_an_array_and_others_are_shards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One npy file is mapped; several, a size of shards, or more than the plan make shards."""
    paths = saved(tmp_path, S, S)
    rows = as_rows(str(paths[0]))
    assert isinstance(rows.dense(), np.memmap)
    for found in (as_rows(paths), as_rows(tmp_path), open_rows(paths[0], rows_per_shard=30)):
        assert isinstance(found, ShardedRows)
    monkeypatch.setenv("SUBSETSEL_MEMORY_GIB", "1e-6")
    assert isinstance(as_rows(paths[0]), ShardedRows)


def test_the_chunks_of_a_dask_array_are_shards() -> None:
    """Uneven chunks, cut along the columns too, are the rows of the array; NaN is named."""
    dask_array = pytest.importorskip("dask.array", reason="needs dask")
    rows = subsetsel.Problem(dask_array.from_array(S, chunks=((9, 1, 13), 3)), size=2).rows
    np.testing.assert_array_equal(rows.block(0, 23), S)
    assert rows.choices()["num_shards"] == 3
    bad = S.copy()
    bad[11, 2] = np.nan
    with pytest.raises(ProblemError, match="column 2 of row 1 of chunk 2"):
        as_rows(dask_array.from_array(bad, chunks=((9, 1, 13), 3)))


def test_problem_and_solve_take_paths(tmp_path: Path) -> None:
    """A list, a glob and a folder ask the question of the array."""
    paths = saved(tmp_path, S[:9], S[9:])
    mask = np.arange(23) < 4
    expected = subsetsel.Problem(S, epsilon=3.0)
    for given_ in (paths, str(tmp_path / "*.npy"), tmp_path):
        problem = subsetsel.Problem(given_, epsilon=3.0)
        assert (problem.n, problem.d) == (23, 4)
        assert problem.norm(mask) == pytest.approx(expected.norm(mask), rel=1e-12)
    assert subsetsel.solve(str(paths[0]), size=3, solver="greedy").size == 3
