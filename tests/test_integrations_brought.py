"""Frames, data sets and matrices as users bring them: given back, or refused with a cure."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

pytest.importorskip("pandas", reason="needs pandas")
pytest.importorskip("pyarrow", reason="needs pyarrow")

import pandas as pd
import pyarrow as pa

from subsetsel import ProblemError, Solution
from subsetsel.integrations import take_kept, take_pruned
from subsetsel.integrations.pandas import data_from_frame, subset_frame

N = 6
SOLUTION = Solution(mask=np.isin(np.arange(N), [1, 4]), norm=0.5, status="feasible")
KEPT, PRUNED = [0, 2, 3, 5], [1, 4]
X = np.arange(2.0 * N).reshape(N, 2)
FRAME = pd.DataFrame(X, columns=["p", "q"]).assign(y=list("ababab"))


def executed(error: object, pattern: str, **names: Any) -> Any:
    """Run the code that a message gives as the cure; the pattern's group holds it."""
    found = re.search(pattern, str(error))
    assert found is not None, str(error)
    known = {"numpy": np, "pandas": pd, "solution": SOLUTION, "take_kept": take_kept}
    return eval(found[1], {**known, **names})


# --- taking -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["array", "matrix"])
@pytest.mark.parametrize(
    ("format_", "taken"),
    [(name, name) for name in ("csr", "csc", "lil", "dok")]
    + [(name, "csr") for name in ("coo", "bsr", "dia")],
)
def test_rows_of_every_sparse_format_are_taken(format_: str, taken: str, kind: str) -> None:
    """A format whose rows cannot be taken comes back as CSR, which its rows fit into."""
    data = getattr(scipy.sparse, f"{format_}_{kind}")(X)
    assert take_kept(data, SOLUTION).format == taken
    assert np.array_equal(take_kept(data, SOLUTION).toarray(), X[KEPT])
    assert np.array_equal(take_pruned(data, SOLUTION).toarray(), X[PRUNED])


@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.parametrize(
    "make",
    [
        lambda dense: dense.to_sparse(),
        lambda dense: dense.to_sparse(1),
        lambda dense: dense.to_sparse_csr(),
        lambda dense: dense.to_sparse_csc(),
        lambda dense: dense.to_sparse_bsr((2, 1)),
    ],
    ids=["coo", "hybrid", "csr", "csc", "bsr"],
)
def test_rows_of_sparse_tensors_are_taken(make: Callable[[Any], Any]) -> None:
    """Of every layout that torch has."""
    taken = take_kept(make(torch.as_tensor(X)), SOLUTION)
    assert taken.layout != torch.strided
    assert np.array_equal(taken.to_dense().numpy(), X[KEPT])


@pytest.mark.parametrize(
    "data",
    [
        pd.Index(list("abcdef")),
        pd.date_range("2020", periods=N),
        pd.MultiIndex.from_product([[1, 2], list("abc")]),
        pd.Categorical(list("abcdef")),
        pd.array([1, 2, 3, 4, 5, None]),
        pa.chunked_array([list(range(N))]),
    ],
    ids=lambda data: type(data).__name__,
)
def test_one_column_is_taken_in_kind(data: Any) -> None:
    """An index, a categorical, an array of pandas, a column of Arrow."""
    taken = take_kept(data, SOLUTION)
    assert type(taken) is type(data) or isinstance(taken, pd.DatetimeIndex)
    assert list(taken) == [list(data)[k] for k in KEPT]


def test_a_data_set_of_several_splits_is_asked_for_one() -> None:
    """A solution speaks of one of them, and which is not guessed; a dict of arrays likewise."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    split = datasets.Dataset.from_dict({"label": list(range(N))})
    for data in (datasets.DatasetDict(train=split, test=split), {"train": list(range(N))}):
        with pytest.raises(ProblemError, match="give the part that was pruned") as caught:
            take_kept(data, SOLUTION)
        taken = executed(caught.value, r"as (take_kept.*)\.$", data=data)
        assert len(taken) == len(KEPT)


def test_a_column_of_a_data_set_is_taken() -> None:
    """What a Hugging Face data set gives for the name of a column."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    split = datasets.Dataset.from_dict({"label": list(range(N))})
    assert list(take_kept(split["label"], SOLUTION)) == KEPT


def test_the_data_set_of_a_loader_is_taken_as_the_message_says() -> None:
    """A loader holds batches, in an order of its own."""
    loader = torch.utils.data.DataLoader(range(N), batch_size=1, shuffle=True)  # type: ignore[arg-type,var-annotated]
    with pytest.raises(ProblemError, match="DataLoader") as caught:
        take_kept(loader, SOLUTION)
    assert executed(caught.value, r": (take_kept.*)\.$", data=loader) == KEPT


def test_a_torch_stream_with_a_length_is_refused() -> None:
    """A subset of it would fail only when it is read."""

    class Stream(torch.utils.data.IterableDataset[int]):
        def __len__(self) -> int:
            return N

        def __iter__(self) -> Any:
            return iter(range(N))

    with pytest.raises(ProblemError, match="turn a stream into a list"):
        take_kept(Stream(), SOLUTION)
    assert take_kept(list(Stream()), SOLUTION) == KEPT


def test_a_text_is_no_list_of_examples() -> None:
    """Not even one with as many letters."""
    with pytest.raises(ProblemError, match="do not know how to take examples of a str"):
        take_kept("abcdef", SOLUTION)


def test_what_is_no_solution_is_named() -> None:
    """`prune` returns two things, of which the first is meant."""
    for wrong in ((SOLUTION, None), SOLUTION.mask, None):
        with pytest.raises(ProblemError, match="solution must be a Solution"):
            take_kept(X, wrong)  # type: ignore[arg-type]


# --- pandas -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "index",
    [
        pd.RangeIndex(N),
        pd.Index(range(10, 10 + N), name="number"),
        pd.Index(list("uvwxyz"), dtype="string"),
        pd.Index([1, 2, 3, 4, 5, 6], dtype="Int64"),
        pd.Index([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]),
        pd.Index([1, "a", 2, "b", 3, "c"]),
        pd.date_range("2020", periods=N),
        pd.date_range("2020", periods=N, tz="UTC"),
        pd.period_range("2020", periods=N),
        pd.timedelta_range(0, periods=N),
        pd.interval_range(0, N),
        pd.CategoricalIndex(list("uvwxyz")),
        pd.MultiIndex.from_product([[1, 2], list("abc")]),
        pd.MultiIndex.from_product([pd.date_range("2020", periods=2), list("abc")]),
        pd.Index([(k, k) for k in range(N)], tupleize_cols=False),
    ],
    ids=lambda index: f"{type(index).__name__}-{index.inferred_type}",
)
def test_a_subset_joins_the_frame_it_is_of(index: Any) -> None:
    """Whatever names its rows, by the ids read from it, by its index and by itself."""
    frame = FRAME.set_index(index)
    data = data_from_frame(frame, label="y")
    for ids in (data.ids, frame.index, frame):
        joined = frame.join(subset_frame(SOLUTION, ids))
        assert joined["pruned"].tolist() == SOLUTION.mask.tolist()


@pytest.mark.parametrize("index", [pd.Index(list("aabbcc")), pd.Index([0, 1, 0, 2, 3, 4])])
def test_repeated_labels_of_rows_are_refused_before_they_multiply(index: Any) -> None:
    """A join would give more rows than there are; the mask alone needs no labels.

    Mutation: the check for repeated labels left out: fails.
    """
    frame = FRAME.set_index(index)
    ids = data_from_frame(frame, label="y").ids
    with pytest.raises(ProblemError, match=r"once, but .* stands in rows 0 and") as caught:
        subset_frame(SOLUTION, ids)
    marked = executed(caught.value, r"; (frame.*) needs none\.$", frame=frame)
    assert len(marked) == N
    assert marked["pruned"].tolist() == SOLUTION.mask.tolist()


@pytest.mark.parametrize(
    ("ids", "message"),
    [([1, 2], "speaks of 6, got 2"), (X, r"shape \(6,\), got \(6, 2\)")],
)
def test_ids_of_other_examples_are_refused(ids: Any, message: str) -> None:
    """One for each."""
    with pytest.raises(ProblemError, match=message):
        subset_frame(SOLUTION, ids)


@pytest.mark.parametrize("name", ["p", "y"])
def test_a_frame_with_two_columns_of_one_name_is_refused(name: str) -> None:
    """Which is meant is not guessed; the cure keeps the first."""
    frame = pd.concat([FRAME, FRAME[[name]]], axis=1)
    with pytest.raises(ProblemError, match=f"the column '{name}' twice") as caught:
        data_from_frame(frame, label="y")
    cured = executed(caught.value, r"by (frame.*)\.$", frame=frame)
    assert np.array_equal(data_from_frame(cured, label="y").X, X)


def test_an_empty_frame_is_refused() -> None:
    """By its own name."""
    with pytest.raises(ProblemError, match="the frame has no rows"):
        data_from_frame(FRAME.iloc[:0], label="y")


def test_a_frame_of_another_library_is_converted_as_the_message_says() -> None:
    """Arrow here, polars where it is installed."""
    frame: Any = pa.table({"p": X[:, 0], "q": X[:, 1], "y": list("ababab")})
    with pytest.raises(ProblemError, match="DataFrame, got a Table") as caught:
        data_from_frame(frame, label="y")
    cured = executed(caught.value, r"give (frame.*)\.$", frame=frame)
    assert np.array_equal(data_from_frame(cured, label="y").X, X)
    polars = pytest.importorskip("polars", reason="needs polars")
    frame = polars.from_arrow(frame)
    with pytest.raises(ProblemError, match=r"give frame\.to_pandas\(\)"):
        data_from_frame(frame, label="y")


@pytest.mark.parametrize("frame", [X, FRAME["p"], {"p": [1.0], "y": [1]}])
def test_what_is_no_frame_is_refused(frame: Any) -> None:
    """The type is named."""
    with pytest.raises(ProblemError, match=r"needs a pandas\.DataFrame"):
        data_from_frame(frame, label="y")


@pytest.mark.parametrize(
    "column",
    [
        pd.date_range("2020", periods=N),
        pd.timedelta_range("1s", periods=N),
        pd.period_range("2020", periods=N),
        pd.interval_range(0, N),
        pd.Categorical([1, 2, 3] * 2),
        ["1", "2"] * 3,
        [1j] * N,
        [np.array(["2020"], dtype="datetime64[ns]")] * N,
    ],
    ids=["date", "span", "period", "interval", "category", "text", "complex", "dates"],
)
def test_a_column_of_no_amounts_is_left_out_as_the_message_says(column: Any) -> None:
    """It is never turned into numbers by its own storage."""
    frame = FRAME.assign(c=column)
    with pytest.raises(ProblemError, match="column 'c' cannot be a feature") as caught:
        data_from_frame(frame, label="y")
    drop = executed(caught.value, r"by (frame\.drop)\(columns=\.\.\.\)", frame=frame)
    assert np.array_equal(data_from_frame(drop(columns="c"), label="y").X, X)


def test_labels_of_a_frame_keep_their_type() -> None:
    """Integers and Booleans are not read as texts, nor 1 and "1" as one class."""
    for labels in ([0, 1] * 3, np.array([0, 1] * 3, dtype=object), pd.array([False, True] * 3)):
        assert data_from_frame(FRAME.assign(y=labels), label="y").y.tolist() == [0, 1] * 3
    frame = FRAME.assign(y=np.array([1, "1"] * 3, dtype=object))
    with pytest.raises(ProblemError, match=r"frame\['y'\]\[0\] is 1.*beside texts") as caught:
        data_from_frame(frame, label="y")
    cured = executed(caught.value, r"texts of them all by (.*)\.$", frame=frame)
    assert data_from_frame(frame.assign(y=cured), label="y").y.tolist() == ["1"] * N


@pytest.mark.parametrize(
    ("features", "message"),
    [
        (["p", "y"], "names the label 'y'"),
        (["p", "p"], "names the column 'p' twice"),
        ([], "no column of features"),
    ],
)
def test_features_that_make_no_sense_are_refused(features: Any, message: str) -> None:
    """The label as a feature gives it away."""
    with pytest.raises(ProblemError, match=message):
        data_from_frame(FRAME, label="y", features=features)


def test_one_feature_is_named_by_a_text() -> None:
    """Not by its letters."""
    frame = FRAME.rename(columns={"p": "width"})
    assert data_from_frame(frame, label="y", features="width").X.tolist() == X[:, :1].tolist()


def test_ids_that_are_missing_or_repeated_are_refused_before_the_work() -> None:
    """In a column that is named for them; the cures work."""
    frame = FRAME.assign(i=list("aabbcc"))
    with pytest.raises(ProblemError, match="'a' stands in rows 0 and 1; without identity="):
        data_from_frame(frame, label="y", identity="i")
    ids = data_from_frame(frame.drop(columns="i"), label="y").ids
    assert ids is not None
    assert ids.tolist() == list(range(N))
    frame = FRAME.assign(i=["a", None, *"cdef"])
    with pytest.raises(ProblemError, match="column 'i' has no value in row 1") as caught:
        data_from_frame(frame, label="y", identity="i")
    cured = executed(caught.value, r"by (frame.*)\.$", frame=frame)
    assert data_from_frame(cured, label="y", identity="i").n == N - 1


# --- Hugging Face datasets ----------------------------------------------------------------------


def test_classes_of_a_data_set_come_with_their_names() -> None:
    """Which the numbers of `ClassLabel` stand for."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    from subsetsel.integrations.datasets import data_from_dataset

    kinds = datasets.ClassLabel(names=["dog", "cat", "cow"])
    features = datasets.Features({"x": datasets.Value("float32"), "label": kinds})
    split = datasets.Dataset.from_dict({"x": X[:, 0], "label": [0, 1] * 3}, features=features)
    assert data_from_dataset(split, features="x").y.tolist() == ["dog", "cat"] * 3
    split = datasets.Dataset.from_dict({"x": X[:, 0], "label": [0, -1] * 3}, features=features)
    with pytest.raises(ProblemError, match="'label' is -1 in row 1: this example has no") as caught:
        data_from_dataset(split, features="x")
    cured = executed(caught.value, r"by (dataset.*)\.$", dataset=split)
    assert data_from_dataset(cured, features="x").y.tolist() == ["dog"] * 3


def test_a_mark_is_put_on_once() -> None:
    """A second one needs another name, or the first one to go; both cures work."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    from subsetsel.integrations.datasets import mark_pruned

    marked = mark_pruned(datasets.Dataset.from_dict({"label": list(range(N))}), SOLUTION)
    with pytest.raises(ProblemError, match="has a column 'pruned' already") as caught:
        mark_pruned(marked, SOLUTION)
    bare = executed(caught.value, r"by (dataset.*?), or", dataset=marked)
    assert mark_pruned(bare, SOLUTION)["pruned"][:] == SOLUTION.mask.tolist()
    assert mark_pruned(marked, SOLUTION, column="again")["again"][:] == SOLUTION.mask.tolist()


def test_what_is_no_one_split_is_made_one_as_the_message_says() -> None:
    """Several splits, a stream, a frame."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    from subsetsel.integrations.datasets import mark_pruned

    split = datasets.Dataset.from_dict({"label": list(range(N))})
    with pytest.raises(ProblemError, match=r"as mark_pruned\(dataset\['train'\]"):
        mark_pruned(datasets.DatasetDict(train=split), SOLUTION)
    for wrong in (split.to_iterable_dataset(), split.to_pandas()):
        with pytest.raises(ProblemError, match="needs one split") as caught:
            mark_pruned(wrong, SOLUTION)
        cured = executed(caught.value, r"by (datasets.*)\.$", dataset=wrong, datasets=datasets)
        assert mark_pruned(cured, SOLUTION)["pruned"][:] == SOLUTION.mask.tolist()


def test_repeated_ids_of_a_data_set_are_refused_before_the_work() -> None:
    """As those of a frame."""
    datasets = pytest.importorskip("datasets", reason="needs datasets")
    from subsetsel.integrations.datasets import data_from_dataset

    columns = {"x": X[:, 0], "label": [0, 1] * 3, "i": list("abcdea")}
    split = datasets.Dataset.from_dict(columns)
    with pytest.raises(ProblemError, match="'a' stands in rows 0 and 5"):
        data_from_dataset(split, features="x", identity="i")
    assert data_from_dataset(split, features="x").ids is None
