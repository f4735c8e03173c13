"""Dask arrays and data frames as shards: the same numbers and labels, each computed once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

pytest.importorskip("dask.array")
pytest.importorskip("dask.dataframe")
pytest.importorskip("distributed")

import dask.array as da
import dask.dataframe as dd
import pandas as pd
from distributed import Client

from subsetsel.errors import OptionError, ProblemError
from subsetsel.rows.given import as_rows
from subsetsel.shards.collections import from_dask, is_dask
from subsetsel.shards.workers import Serial

N, D = 23, 4
NUMBERS = np.random.default_rng(0).standard_normal((N, D))
LABELS = np.arange(N) % 3
LENGTHS = (10, 0, 6, 7)
calls: list[int] = []


def itself(value: Any) -> Any:
    """Bring a shard here."""
    return value


def brought(shards: Any) -> tuple[np.ndarray[Any, Any], Any]:
    """All rows and labels, with the lengths of the shards checked."""
    values = shards.map(itself)
    pairs = [value if isinstance(value, tuple) else (value, None) for value in values]
    assert [len(rows) for rows, _ in pairs] == np.diff(shards.starts).tolist()
    labels = [part for _, part in pairs if part is not None]
    return np.concatenate([rows for rows, _ in pairs]), np.concatenate(labels) if labels else None


def array(chunks: Any = (LENGTHS, (1, 3)), numbers: Any = NUMBERS) -> Any:
    """X as a dask array."""
    return da.from_array(numbers, chunks=chunks)


def frame(dtype: Any = np.float64) -> Any:
    """X and its labels as a data frame of three partitions."""
    table = pd.DataFrame(NUMBERS.astype(dtype), columns=list("abcd"))
    table["label"] = np.array(["x", "y", "z"])[LABELS]
    return dd.from_pandas(table, npartitions=3)


@pytest.fixture(scope="module")
def client() -> Iterator[Client]:
    """A cluster of threads of this process, which is active."""
    with Client(processes=False, n_workers=1, threads_per_worker=2, dashboard_address=":0") as own:
        yield own


@pytest.mark.parametrize("labels", [LABELS, da.from_array(LABELS, chunks=5)], ids=["array", "dask"])
def test_an_array_in_chunks_becomes_shards(labels: Any) -> None:
    """Columns are merged, an empty chunk stays, and labels follow the rows.

    Mutation: labels keep their chunks: fails.
    """
    shards = from_dask(array(), labels)
    assert isinstance(shards.workers, Serial)
    assert np.diff(shards.starts).tolist() == list(LENGTHS)
    rows, found = brought(shards)
    assert np.array_equal(rows, NUMBERS)
    assert np.array_equal(found, LABELS)


def test_known_lengths_are_not_computed() -> None:
    """Nothing is read before it is asked for."""
    lazy = da.map_blocks(count, array(((10, 13), D)), dtype=float)
    calls.clear()
    shards = from_dask(lazy)
    assert (shards.n, calls) == (N, [])


def count(block: Any) -> Any:
    """Note that a chunk is computed."""
    if len(block):
        calls.append(len(block))
    return block


def test_unknown_lengths_are_computed() -> None:
    """As after a choice of rows."""
    lazy = array()
    chosen = lazy[lazy[:, 0] > 0]
    rows, found = brought(from_dask(chosen, LABELS[NUMBERS[:, 0] > 0]))
    assert np.array_equal(rows, NUMBERS[NUMBERS[:, 0] > 0])
    assert np.array_equal(found, LABELS[NUMBERS[:, 0] > 0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16])
def test_a_frame_becomes_shards_with_its_column_of_labels(dtype: Any) -> None:
    """The other columns, in their order; float32 stays, and whole numbers become float64."""
    rows, found = brought(from_dask(frame(dtype), label="label"))
    assert rows.dtype == (np.float32 if dtype == np.float32 else np.float64)
    assert np.array_equal(rows, NUMBERS.astype(dtype))
    assert found.tolist() == np.array(["x", "y", "z"])[LABELS].tolist()


def test_labels_of_a_frame_may_be_a_series() -> None:
    """As others' methods take them."""
    table = frame()
    rows, found = brought(from_dask(table[["a", "b"]], table["label"]))
    assert np.array_equal(rows, NUMBERS[:, :2])
    assert found.tolist() == np.array(["x", "y", "z"])[LABELS].tolist()


def test_missing_values_become_nan() -> None:
    """They are refused later, by name."""
    table = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")})
    rows, _ = brought(from_dask(dd.from_pandas(table, npartitions=1)))
    assert np.array_equal(rows, np.array([[1], [np.nan], [3]]), equal_nan=True)


@pytest.mark.parametrize("values", [da.from_array(LABELS, chunks=5), frame()["label"]])
def test_one_column_stays_as_it_is(values: Any) -> None:
    """Labels and weights are read so."""
    rows, _ = brought(from_dask(values))
    assert rows.tolist() == values.compute().tolist()


def test_the_active_client_computes_each_chunk_once(client: Client) -> None:
    """And holds it; a second round computes nothing again, and the bits are the same."""
    calls.clear()
    lazy = da.map_blocks(count, array(((10, 13), D)), dtype=float, meta=np.zeros((0, 0)))
    shards = from_dask(lazy, da.from_array(LABELS, chunks=N))
    assert not isinstance(shards.workers, Serial)
    rows, found = brought(shards)
    brought(shards)
    assert sorted(calls) == [10, 13]
    assert np.array_equal(rows, NUMBERS)
    assert np.array_equal(found, LABELS)
    table = frame()
    rows, found = brought(from_dask(table, label="label", engine=client))
    assert np.array_equal(rows, NUMBERS)


BAD = [
    pytest.param(lambda: (array(), LABELS[:-1]), {}, "shape (23,)", id="short labels"),
    pytest.param(
        lambda: (array(), da.from_array(LABELS[:-1], chunks=5)), {}, "y has 22", id="short dask"
    ),
    pytest.param(
        lambda: (array()[array()[:, 0] > 0], da.from_array(LABELS, chunks=N)),
        {},
        "compute_chunk_sizes",
        id="chunks nobody knows",
    ),
    pytest.param(
        lambda: (frame().loc[:, ["a"]], da.from_array(LABELS, chunks=((9, 7, 7),))),
        {},
        "8 rows and the chunk of y has 9",
        id="other chunks",
    ),
    pytest.param(lambda: (array(), da.zeros((N, 2))), {}, "y[:, 0]", id="two columns of labels"),
    pytest.param(lambda: (array(), "label"), {}, "shape (23,)", id="a name for labels"),
    pytest.param(lambda: (array(), None), {"label": "label"}, "is an array", id="array by name"),
    pytest.param(lambda: (frame(), None), {"label": "lable"}, "a, b, c, d, label", id="no column"),
    pytest.param(lambda: (frame(), LABELS), {"label": "label"}, "given twice", id="two labels"),
    pytest.param(lambda: (frame(), None), {}, "'label' of X is of type", id="text as feature"),
    pytest.param(lambda: (da.zeros((2, 3, 4)), None), {}, "reshape((len(X), -1))", id="pictures"),
    pytest.param(lambda: (da.zeros((3, 2), dtype=complex), None), {}, "complex", id="complex"),
    pytest.param(lambda: (da.ma.masked_greater(array(), 1), None), {}, "MaskedArray", id="masked"),
    pytest.param(lambda: (NUMBERS, None), {}, "got ndarray", id="no collection"),
    pytest.param(
        lambda: (array(), None), {"engine": "tcp:/x"}, "engine must be None", id="an engine"
    ),
]


@pytest.mark.parametrize(("make", "options", "text"), BAD)
def test_what_cannot_be_meant_is_refused_by_name(
    make: Any, options: dict[str, Any], text: str
) -> None:
    """With the value, the rule and the cure."""
    X, y = make()
    with pytest.raises((ProblemError, OptionError)) as caught:
        from_dask(X, y, **options)
    assert text in str(caught.value)


def test_an_array_of_dask_may_be_an_influence_matrix() -> None:
    """It stays in its chunks, of which empty ones are none."""
    rows = as_rows(array())
    assert rows.shards is not None
    assert np.array_equal(rows.take(np.arange(N)), NUMBERS)
    with pytest.raises(ProblemError, match="two dimensions"):
        as_rows(array()[:, 0])


def test_collections_are_known_without_loading_dask() -> None:
    """Arrays of NumPy are none."""
    assert is_dask(array())
    assert is_dask(frame())
    assert not is_dask(NUMBERS)
    assert not is_dask("features/*.npy")
