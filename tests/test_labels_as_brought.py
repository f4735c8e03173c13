"""Labels and features in whatever users hold them: taken as meant, or refused with a cure."""

from __future__ import annotations

import datetime
import re
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import scipy.sparse
import torch

pytest.importorskip("pandas", reason="needs pandas")
pytest.importorskip("pyarrow", reason="needs pyarrow")

import pandas as pd
import pyarrow as pa

from subsetsel import Problem, ProblemError
from subsetsel.errors import FormulationWarning
from subsetsel.influence.head.data import check_features
from subsetsel.influence.head.labels import encode_labels, encode_like
from subsetsel.support.arrays import to_numpy
from subsetsel.support.labels import to_labels

CODES = np.arange(12) % 3
TEXTS = ["abc"[code] for code in CODES]
SIGNS = np.array([-1, 1] * 6)
X = np.random.default_rng(0).normal(size=(12, 2))
FRAME = pd.DataFrame(X, columns=["p", "q"])


def executed(error: object, pattern: str, **names: Any) -> Any:
    """Run the code that a message gives as the cure; the pattern's group holds it."""
    found = re.search(pattern, str(error))
    assert found is not None, str(error)
    return eval(found[1], {"numpy": np, "pandas": pd, **names})


# --- labels that are taken ----------------------------------------------------------------------


@pytest.mark.parametrize(
    "labels",
    [
        CODES[:, None],
        CODES.astype(float),
        CODES.astype(np.float32),
        CODES.astype(object),
        CODES.astype(float).astype(object),
        [Decimal(int(code)) for code in CODES],
        pd.Series(CODES, dtype="Int64"),
        pd.Series(CODES, dtype="Float64"),
        pd.Series(CODES, dtype="int64[pyarrow]"),
        pd.Series(CODES, dtype="category"),
        pd.DataFrame({"y": CODES}),
        np.ma.array(CODES[:, None]),
        torch.as_tensor(CODES).bfloat16(),
        torch.as_tensor(CODES)[:, None],
        [torch.tensor(float(code), requires_grad=True) for code in CODES],
        pa.array(CODES),
    ],
    ids=lambda labels: f"{type(labels).__name__}-{getattr(labels, 'dtype', '')}",
)
def test_integers_come_in_many_types(labels: Any) -> None:
    """One column, whole floats, Python's objects, nullable columns, tensors that want gradients."""
    codes, classes = encode_labels(labels)
    assert codes.tolist() == CODES.tolist()
    assert classes.dtype == np.int64
    assert classes.tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    "labels",
    [
        np.array(TEXTS, dtype=object),
        np.array([text.encode() for text in TEXTS]),
        [text.encode() for text in TEXTS],
        np.array(TEXTS, dtype=np.dtypes.StringDType()),
        pd.Series(TEXTS, dtype="string"),
        pd.Series(TEXTS, dtype="string[pyarrow]"),
        pd.Categorical(TEXTS, categories=list("zcba")),
        pd.DataFrame({"y": TEXTS}),
        pa.array(TEXTS).dictionary_encode(),
    ],
    ids=lambda labels: f"{type(labels).__name__}-{getattr(labels, 'dtype', '')}",
)
def test_texts_come_in_many_types(labels: Any) -> None:
    """Bytes, categories and the text columns of three libraries; unused categories are none."""
    codes, classes = encode_labels(labels)
    assert codes.tolist() == CODES.tolist()
    assert classes.tolist() == ["a", "b", "c"]


@pytest.mark.parametrize("labels", [SIGNS, SIGNS.astype(float), SIGNS.tolist(), SIGNS[:, None]])
def test_minus_one_and_one_are_two_classes(labels: Any) -> None:
    """As support vector machines have them; the head then knows both on other examples too."""
    codes, classes = encode_labels(labels)
    assert classes.tolist() == [-1, 1]
    assert codes.tolist() == [0, 1] * 6
    assert encode_like([-1.0, -1.0], classes).tolist() == [0, 0]


def test_labels_of_any_type_give_the_same_problem() -> None:
    """From the same labels in three types."""
    problems = [
        Problem.from_features(X, labels, l2=0.1, size=3)
        for labels in (SIGNS, SIGNS.astype(float)[:, None], pd.Series(SIGNS > 0, dtype="boolean"))
    ]
    for problem in problems[1:]:
        assert np.array_equal(np.asarray(problem.S), np.asarray(problems[0].S))


# --- labels that are refused, with a cure that works --------------------------------------------


@pytest.mark.parametrize(
    ("labels", "first"),
    [
        (np.where(CODES == 1, np.nan, CODES), "nan"),
        ([1, None, 2] * 4, "None"),
        (["a", float("nan"), "b"] * 4, "nan"),
        (["a", None, "b"] * 4, "None"),
        (pd.Series([1, None, 2] * 4, dtype="Int64"), "nan"),
        (pd.Series(["a", None, "b"] * 4, dtype="string"), "<NA>"),
        (pd.Series(["a", None, "b"] * 4, dtype="category"), "nan"),
        (pd.Series([True, None, False] * 4, dtype="boolean"), ""),
        (torch.tensor([0.0, float("nan"), 1.0] * 4), "nan"),
        (pa.array([1, None, 2] * 4), ""),
        (pa.array(["a", None, "b"] * 4), "None"),
    ],
    ids=lambda labels: f"{type(labels).__name__}-{getattr(labels, 'dtype', '')}",
)
def test_a_missing_label_is_no_class(labels: Any, first: str) -> None:
    """None, NaN and NA are named by number, and the mask in the message leaves them out."""
    with pytest.raises(ProblemError, match=rf"y\[1\] is {first}.*a missing value") as caught:
        encode_labels(labels)
    labelled = np.asarray(executed(caught.value, r"keep the examples of (.*)\.$", y=labels))
    assert labelled.tolist() == [True, False, True] * 4
    kept = np.asarray(labels, dtype=object)[labelled]
    assert len(encode_labels(kept)[0]) == 8


def test_masked_labels_are_not_read_behind_the_mask() -> None:
    """What a mask hides is no label."""
    labels = np.ma.array(CODES, mask=CODES == 1)
    with pytest.raises(ProblemError, match="y holds masked values, the first in row 1") as caught:
        encode_labels(labels)
    kept = executed(caught.value, r"keep the examples of (.*)\.$", y=labels)
    assert encode_labels(labels[kept])[1].tolist() == [0, 2]


@pytest.mark.parametrize(
    "labels",
    [
        [1, "a"] * 6,
        ["1", 1, "2"] * 4,
        (1.5, "a") * 6,
        np.array([1, "a"] * 6, dtype=object),
        [datetime.date(2020, 1, 1 + int(code)) for code in CODES],
        np.array(["2020-01-01", "2020-01-02"] * 6, dtype="datetime64[D]"),
        pd.Series(pd.to_datetime(["2020-01-01", "2020-01-02"] * 6)),
        pd.Series(pd.period_range("2020", periods=2).tolist() * 6),
        CODES.astype(complex),
        CODES.astype(np.uint64) + 2**63,
    ],
    ids=lambda labels: f"{type(labels).__name__}-{getattr(labels, 'dtype', '')}",
)
def test_labels_of_no_one_type_can_be_made_texts(labels: Any) -> None:
    """Numbers among texts, dates and the like are not merged or guessed at.

    Mutation: texts among numbers passed over: fails.
    """
    with pytest.raises(ProblemError, match="if these are classes") as caught:
        encode_labels(labels)
    cured = executed(caught.value, r"texts of them all by (.*)\.$", y=labels)
    assert encode_labels(cured)[1].tolist() == sorted(set(cured))


@pytest.mark.parametrize("labels", [X[:, 0], CODES + 0.5, np.where(CODES == 0, np.inf, CODES)])
def test_amounts_are_no_classes(labels: Any) -> None:
    """Targets of a regression are not cut off to integers; the message says how to make classes.

    Mutation: the check for amounts left out: fails.
    """
    with pytest.raises(ProblemError, match=r"y\[0\] is .*no whole number") as caught:
        encode_labels(labels)
    bins = [float(np.median(labels))]
    cured = executed(caught.value, r"as by (.*)\.$", y=labels, bins=bins)
    assert len(encode_labels(cured)[1]) == 2


def test_whole_amounts_are_asked_about() -> None:
    """Many labels with few examples each are rarely classes, and are said to be many."""
    amounts = np.random.default_rng(0).integers(0, 300, size=400).astype(float)
    with pytest.warns(FormulationWarning, match="different floats of 400 examples") as caught:
        encode_labels(amounts)
    cured = executed(caught[0].message, r"by (numpy\.dig.*);", y=amounts, bins=[100, 200])
    assert len(encode_labels(cured)[1]) == 3
    cured = executed(caught[0].message, r"by (numpy\.as.*)\.$", y=amounts)
    assert len(encode_labels(cured)[1]) == len(set(amounts))


@pytest.mark.parametrize(
    "labels",
    [
        np.eye(3)[CODES],
        np.eye(3, dtype=bool)[CODES],
        np.eye(3)[CODES].tolist(),
        pd.get_dummies(pd.Series(CODES)),
        torch.eye(3)[CODES],
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_one_hot_rows_are_turned_into_labels_as_the_message_says(labels: Any) -> None:
    """In a way that works on what was given."""
    with pytest.raises(ProblemError, match="turn one-hot rows into labels") as caught:
        encode_labels(labels)
    cured = executed(caught.value, r"with (.*)\.$", y=labels)
    assert encode_labels(cured)[0].tolist() == CODES.tolist()


@pytest.mark.parametrize(
    "labels", [np.full((12, 2), 0.5), np.stack([CODES, CODES], axis=1), np.ones((12, 2), dtype=int)]
)
def test_rows_of_several_numbers_are_not_taken_for_one_hot(labels: Any) -> None:
    """Soft and multiple labels have no one class; argmax would invent one."""
    with pytest.raises(ProblemError, match="not one-hot") as caught:
        encode_labels(labels)
    assert executed(caught.value, r"as (numpy.*)\.$", y=labels).shape == (12,)


def test_a_row_of_labels_is_turned_as_the_message_says() -> None:
    """Shape (1, n) is one dimension too many."""
    with pytest.raises(ProblemError, match=r"shape \(1, 12\)") as caught:
        encode_labels(CODES[None])
    cured = executed(caught.value, r"give (numpy.*)\.$", y=CODES[None])
    assert encode_labels(cured)[0].tolist() == CODES.tolist()


def test_a_frame_of_several_columns_is_asked_for_one() -> None:
    """Which column holds the labels is not guessed."""
    frame = pd.DataFrame({"y": TEXTS, "source": TEXTS})
    with pytest.raises(ProblemError, match="a frame of 2 columns") as caught:
        encode_labels(frame)
    cured = executed(caught.value, r"as (y\[.*\])\.$", y=frame)
    assert encode_labels(cured)[0].tolist() == CODES.tolist()


@pytest.mark.parametrize(
    "labels",
    [
        scipy.sparse.csr_array(CODES[:, None]),
        scipy.sparse.coo_matrix(CODES[:, None]),
        torch.as_tensor(CODES).to_sparse(),
    ],
    ids=lambda labels: type(labels).__name__,
)
def test_sparse_labels_are_made_dense_as_the_message_says(labels: Any) -> None:
    """Zeros that are not stored are labels too."""
    with pytest.raises(ProblemError, match="sparse") as caught:
        encode_labels(labels)
    cured = executed(caught.value, r"give (.*)\.$", y=labels)
    assert encode_labels(cured)[0].tolist() == CODES.tolist()


@pytest.mark.parametrize("labels", [CODES - 1, np.where(CODES == 2, -1, CODES), CODES - 100.0])
def test_negative_labels_but_for_the_pair_are_asked_about(labels: Any) -> None:
    """They commonly mark what has no label; texts say that they are classes."""
    with pytest.raises(ProblemError, match="must not hold negative labels") as caught:
        encode_labels(labels)
    assert len(executed(caught.value, r"keep (.*?)\) or", y=labels)) == 12
    cured = executed(caught.value, r"give texts: (.*)\.$", y=labels)
    assert encode_labels(cured)[1].tolist() == sorted(set(cured))


@pytest.mark.parametrize(
    ("labels", "got"),
    [((code for code in CODES), "generator"), (set(TEXTS), "set"), (None, "None")],
)
def test_what_has_no_order_holds_no_labels(labels: Any, got: str) -> None:
    """A stream, a set, nothing."""
    with pytest.raises(ProblemError, match=f"y must be a list or an array.*{got}"):
        encode_labels(labels)


def test_a_single_value_is_no_list_of_labels() -> None:
    """The value is shown."""
    with pytest.raises(ProblemError, match="not the single value 3"):
        encode_labels(3)


def test_texts_that_end_in_nul_are_not_merged() -> None:
    """NumPy would take a NUL at the end for padding."""
    labels = ["a", "a\0"] * 6
    with pytest.raises(ProblemError, match="NUL"):
        encode_labels([label.encode() for label in labels])
    with pytest.raises(ProblemError, match="NUL") as caught:
        encode_labels([*labels, "b"])
    cured = [executed(caught.value, r"give (.*)\.$", label=label) for label in labels]
    assert set(cured) == {"a"}


def test_bytes_of_another_encoding_are_decoded_as_the_message_says() -> None:
    """Bytes are read as UTF-8."""
    labels = ["caf\xe9".encode("latin-1"), b"tea"] * 6
    with pytest.raises(ProblemError, match="no UTF-8") as caught:
        encode_labels(labels)
    cured = [executed(caught.value, r"as by (.*)\.$", label=label) for label in labels]
    assert encode_labels(cured)[1].tolist() == ["caf\xe9", "tea"]


@pytest.mark.parametrize(
    ("trained", "other"), [(TEXTS, [0, 1]), (["0", "1"] * 6, [0, 1]), (CODES, ["0", "1"])]
)
def test_labels_of_another_kind_than_the_head_knows_are_named(trained: Any, other: Any) -> None:
    """Under the name of their argument; the cure works where the labels are written alike."""
    classes = encode_labels(trained)[1]
    with pytest.raises(ProblemError, match="the head was trained on") as caught:
        encode_like(other, classes, "test")
    cured = executed(caught.value, r"as by (.*) where", test=other)
    if trained is not TEXTS:
        assert encode_like(cured, classes).tolist() == [0, 1]
    else:
        with pytest.raises(ProblemError, match=r"y\[0\] is '0'.*trained on \('a', 'b', 'c'\)"):
            encode_like(cured, classes)


# --- features -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("features", "last"),
    [
        (pd.get_dummies(FRAME.assign(kind=TEXTS)), [1.0, 0.0, 0.0]),
        (FRAME.assign(flag=CODES > 0), [0.0]),
        (FRAME.assign(flag=pd.array(CODES > 0, dtype="boolean")), [0.0]),
        (FRAME.assign(count=pd.array(CODES, dtype="Int64")), [0.0]),
        (FRAME.assign(count=pd.array(CODES, dtype="Int64")).astype("Float64"), [0.0]),
        (FRAME.assign(count=CODES.astype(object)), [0.0]),
        (FRAME.assign(count=pd.arrays.SparseArray(CODES)), [0.0]),
        (FRAME.assign(price=pd.Series(CODES, dtype=pd.ArrowDtype(pa.float64()))), [0.0]),
        (FRAME.assign(embedding=X.tolist()), X[0].tolist()),
        (np.column_stack([X, CODES]).astype(object), [0.0]),
        (pd.Series(np.column_stack([X, CODES]).tolist()), [0.0]),
        (pa.array(np.column_stack([X, CODES]).tolist()), [0.0]),
        ([torch.tensor([*row, 0.0], requires_grad=True) for row in X], [0.0]),
    ],
)
def test_numbers_come_in_many_columns(features: Any, last: list[float]) -> None:
    """Boolean, nullable and object columns beside floats, lists in a column, lists of tensors."""
    found = check_features(features)
    assert found.dtype == np.float64
    tolerance = 1e-7 if isinstance(features, list) else 0.0
    assert np.allclose(found[:, :2], X, rtol=tolerance, atol=0)
    assert np.allclose(found[0, 2:], last, rtol=tolerance, atol=0)


@pytest.mark.parametrize(
    ("column", "pattern"),
    [
        (pd.date_range("2020", periods=12), r"as by (.*)\.$"),
        (pd.date_range("2020", periods=12, tz="UTC"), r"as by (.*)\.$"),
        (pd.timedelta_range("1s", periods=12), r"as by (.*)\.$"),
        (pd.Categorical(CODES), r"numbers by (.*)\.$"),
        ([str(code) for code in CODES], r"make numbers by (.*)\.$"),
        (np.array([str(code) for code in CODES], dtype=object), r"make numbers by (.*)\.$"),
    ],
    ids=["dates", "zone", "spans", "categories", "texts", "objects"],
)
def test_a_column_that_holds_no_amounts_is_named(column: Any, pattern: str) -> None:
    """Dates are no features of 1.6e15, codes of categories no amounts; the cures give numbers."""
    frame = FRAME.assign(when=column)
    with pytest.raises(ProblemError, match="column 'when' of X cannot be a feature") as caught:
        check_features(frame)
    cured = executed(caught.value, pattern, column=frame["when"])
    found = check_features(frame.assign(when=cured))
    assert found.shape == (12, 3)
    assert np.abs(found).max() < 1e7


def test_categories_become_columns_as_the_message_says() -> None:
    """One for each."""
    frame = FRAME.assign(kind=pd.Categorical(TEXTS))
    with pytest.raises(ProblemError, match=r"pandas\.get_dummies\(frame, columns="):
        check_features(frame)
    assert check_features(pd.get_dummies(frame, columns=["kind"])).shape == (12, 5)


def test_a_missing_value_of_a_nullable_column_is_not_finite() -> None:
    """It is named as NaN is, not by the type of its column."""
    frame = FRAME.assign(count=pd.array([1, None, *CODES[2:]], dtype="Int64"))
    with pytest.raises(ProblemError, match="NaN or infinite values stand in row 1"):
        check_features(frame)


@pytest.mark.parametrize("features", [np.ma.array(X, mask=X > 1), [*np.ma.array(X, mask=X > 1)]])
def test_masked_features_are_not_read_behind_the_mask(features: Any) -> None:
    """Also where the rows of a list are masked; filled as the message says they are numbers.

    Mutation: the mask passed over: fails.
    """
    with pytest.raises(ProblemError, match="holds masked values") as caught:
        check_features(features)
    assert (X[int(re.search(r"\d+", str(caught.value))[0])] > 1).any()  # type: ignore[index]
    cured = executed(caught.value, r"fill them in, as (.*)\.$", X=features)
    assert np.isfinite(to_numpy(cured, "X")).all()


@pytest.mark.filterwarnings("ignore:Sparse CSR")
@pytest.mark.parametrize("layout", [torch.sparse_coo, torch.sparse_csr])
def test_sparse_tensors_are_made_dense_as_the_message_says(layout: Any) -> None:
    """Where they are not taken: a line of ours, not of torch.

    Mutation: the layout passed over: fails.
    """
    features = torch.as_tensor(X).to_sparse(layout=layout)
    with pytest.raises(ProblemError, match="X is a sparse tensor") as caught:
        to_numpy(features, "X")
    cured = executed(caught.value, r"give (.*)\.$", X=features)
    assert np.array_equal(to_numpy(cured, "X"), X)


def test_a_tensor_without_data_is_refused() -> None:
    """As one on the device meta is."""
    with pytest.raises(ProblemError, match="holds no data"):
        check_features(torch.empty(3, 2, device="meta"))


def test_named_fields_become_columns_as_the_message_says() -> None:
    """A record array is no matrix."""
    import numpy.lib.recfunctions  # noqa: F401 - the cure imports it

    features = np.rec.fromarrays(X.T)
    with pytest.raises(ProblemError, match="named fields") as caught:
        check_features(features)
    cured = executed(caught.value, r"as by (.*)\.$", X=features)
    assert np.array_equal(check_features(cured), X)


def test_lists_that_differ_in_length_are_refused() -> None:
    """Also as objects of a column."""
    for rows in ([[1.0], [1.0, 2.0]], pd.Series([[1.0], [1.0, 2.0]])):
        with pytest.raises(ProblemError, match="X is not a rectangular array"):
            to_numpy(rows, "X")


def test_labels_are_named_as_their_argument() -> None:
    """Not always y."""
    with pytest.raises(ProblemError, match=r"groups\[0\] is None"):
        to_labels([None, "a"], "groups")


@pytest.mark.parametrize("items", [["a", 1], ("1", 1), ["a", None], ["a", float("nan")], ["a"]])
def test_what_stands_among_texts_stays_as_it_is(items: Any) -> None:
    """Whoever reads the list can still tell 1 from "1", and NaN from "nan"."""
    assert to_numpy(items, "groups").tolist() == list(items)
