"""Sparse features: the same answers as dense ones, and never a dense copy of all of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import sparse

from subsetsel import Problem, prune, solve, verify
from subsetsel.errors import OptionError, ProblemError
from subsetsel.influence import Head, device, fit_head, influence_rows, lissa_influence
from subsetsel.influence.head.conjugate_gradients import IterativeInverse
from subsetsel.influence.head.features import SparseFeatures
from subsetsel.influence.head.inverse import InverseKind
from subsetsel.influence.head.woodbury import WoodburyInverse
from subsetsel.rows.kronecker import KroneckerRows

L2 = 1e-2


def counts(n: int = 150, h: int = 12, num_classes: int = 3, seed: int = 0) -> tuple[Any, Any]:
    """Word counts, a fifth of them not zero, of very different sizes, and labels they decide."""
    rng = np.random.default_rng(seed)
    X = rng.poisson(0.3, (n, h)) * 10.0 ** rng.integers(-1, 2, h)
    y = (X @ rng.normal(size=(h, num_classes)) / np.abs(X).sum(axis=0).max()).argmax(axis=1)
    y[:num_classes] = np.arange(num_classes)
    return X, y


X, Y = counts()
KEPT = np.random.default_rng(1).random(len(Y)) < 0.7
WEIGHTS = np.random.default_rng(2).uniform(0.5, 2.0, len(Y))


def close(found: Any, expected: Any, rtol: float = 1e-8) -> bool:
    """Whether two arrays agree to a share of the largest number."""
    return bool(np.allclose(found, expected, rtol=0, atol=rtol * np.abs(expected).max()))


HEADS: dict[str, dict[str, Any]] = {
    "factor": {"inverse": "cholesky"},
    "cg": {"inverse": "cg"},
    "weights": {"inverse": "cg", "sample_weight": WEIGHTS},
    "squared": {"loss": "squared"},
    "bias": {"penalize_bias": False},
}


@pytest.fixture(scope="module", params=list(HEADS))
def pair(request: pytest.FixtureRequest) -> tuple[Head, Head]:
    """One head of sparse and one of dense features."""
    options = HEADS[request.param]
    return fit_head(sparse.csr_array(X), Y, l2=L2, **options), fit_head(X, Y, l2=L2, **options)


@pytest.fixture
def never_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no more than a third of all examples be made dense at a time."""
    toarray = sparse.csr_array.toarray

    def refuse(self: Any, *args: Any, **options: Any) -> Any:
        assert self.shape[0] <= len(Y) // 3, "made dense as a whole"
        return toarray(self, *args, **options)

    for kind in (sparse.csr_array, sparse.csc_array):
        monkeypatch.setattr(kind, "toarray", refuse)
        monkeypatch.setattr(kind, "todense", refuse)
    monkeypatch.setattr("subsetsel.rows.base.BLOCK_BYTES", 8 * 20 * 26)
    monkeypatch.setattr(device, "CPU", replace(device.CPU, block_bytes=8 * 20 * 26))


# --- the same answers -----------------------------------------------------------------------------


def test_the_head_is_that_of_dense_features(pair: tuple[Head, Head]) -> None:
    """And its error bound covers the difference."""
    found, expected = pair
    assert close(found.theta, expected.theta)
    distance = np.linalg.norm(found.theta - expected.theta)
    assert distance <= found.error + expected.error
    assert found.error < 1e-8


def test_sparse_columns_are_scaled_as_dense_ones_are(pair: tuple[Head, Head]) -> None:
    """By the same powers of two."""
    found, expected = (head.objective_function.scale for head in pair)
    assert torch.equal(found, expected)
    assert found.max() > 8 * found.min()


def test_products_with_S_are_those_of_dense_features(pair: tuple[Head, Head]) -> None:
    """Sums of rows, products with a direction, and single rows."""
    found, expected = (influence_rows(head, storage="factored", dtype=np.float64) for head in pair)
    direction = np.random.default_rng(3).normal(size=found.d)
    assert close(found.sum(~KEPT), expected.sum(~KEPT))
    assert close(found.dot(direction), expected.dot(direction))
    assert close(found.take(np.array([0, 7, 149])), expected.take(np.array([0, 7, 149])))


def test_a_refit_is_that_of_dense_features(pair: tuple[Head, Head]) -> None:
    """With its Newton step, the curvature kept, and the curvature along a direction."""
    found, expected = (head.kept(KEPT) for head in pair)
    assert close(found.refit().theta, expected.refit().theta)
    assert close(found.newton_step(), expected.newton_step())
    assert found.curvature() == pytest.approx(expected.curvature(), rel=1e-2)
    theta = pair[1].theta
    assert close(pair[0].curvature_along(theta), pair[1].curvature_along(theta))


def test_losses_on_sparse_examples_are_those_on_dense_ones(pair: tuple[Head, Head]) -> None:
    """Whichever kind the head was trained on."""
    for head in pair:
        losses, is_right = head.judge(head.theta, sparse.csc_array(X), Y)
        expected, was_right = head.judge(head.theta, X, Y)
        assert close(losses, expected)
        assert (is_right == was_right).all()


@pytest.mark.parametrize("inverse", ["auto", "cg"])
def test_verify_measures_what_it_measures_on_dense_features(inverse: InverseKind) -> None:
    """Every number of the verification."""
    found, expected = (
        verify(
            Problem.from_head(fit_head(kind(X), Y, l2=L2, inverse=inverse), epsilon=1.0),
            ~KEPT,
            test=(kind(X), Y),
        ).to_dict()
        for kind in (sparse.csr_array, np.asarray)
    )
    for name in ("change", "predicted_kept", "predicted_newton", "objective_gap", "loss_gap"):
        assert found[name] == pytest.approx(expected[name], rel=1e-6), name
    assert found["curvature"] == pytest.approx(expected["curvature"], rel=1e-2)
    assert found["accuracy"] == expected["accuracy"]


def test_a_search_keeps_what_it_keeps_of_dense_features() -> None:
    """With a factor: the rows are equal to rounding, and so is the choice."""
    found, expected = (
        solve(Problem.from_features(kind(X), Y, l2=L2, size=40), seed=0, max_iterations=20_000)
        for kind in (sparse.csr_array, np.asarray)
    )
    assert found.norm == pytest.approx(expected.norm, rel=1e-3)


def test_the_woodbury_inverse_takes_sparse_features() -> None:
    """Few examples and many classes: the same solves as by conjugate gradients."""
    few, labels = counts(60, 90, 30)
    head = fit_head(sparse.csr_array(few), labels, l2=L2)
    assert isinstance(head.inverse, WoodburyInverse)
    columns = torch.randn(head.objective_function.d, 2, dtype=torch.float64)
    by_products = IterativeInverse(head.objective_function, head.to_scaled(head.theta))
    found, expected = head.inverse.solve(columns).numpy(), by_products.solve(columns).numpy()
    assert close(found, expected, rtol=1e-6)


def test_lissa_takes_sparse_features() -> None:
    """To its own tolerance."""
    head = fit_head(sparse.csr_array(X > 0), Y, l2=1.0)
    rows = influence_rows(head, dtype=np.float64)
    found = lissa_influence(head, num_steps=200, tolerance=1e-3).S
    assert close(found, rows.block(0, rows.n), rtol=1e-2)


def test_the_gram_matrix_is_made_in_strips(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where a strip does not come out even, with weights of both signs."""
    monkeypatch.setattr("subsetsel.influence.head.features._STRIP_BYTES", 8 * len(Y) * 5)
    weights = np.random.default_rng(4).normal(size=len(Y))
    found = SparseFeatures(sparse.csr_array(X)).gram(torch.as_tensor(weights))
    assert close(found, X.T @ (weights[:, None] * X), rtol=1e-12)


# --- large heads ----------------------------------------------------------------------------------


def test_no_large_head_is_made_dense(never_dense: None) -> None:
    """From the features to the verification, by conjugate gradients.

    Mutation: sparse features whitened like dense ones: fails.
    """
    head = fit_head(sparse.csr_array(X), Y, l2=L2, inverse="cg")
    problem = Problem.from_head(head, size=30)
    solution = solve(problem, seed=0, max_iterations=2000)
    check = verify(problem, solution)
    assert solution.size == 30
    assert check.change == pytest.approx(check.predicted_newton, rel=0.2)


def test_the_proxy_of_sparse_features_is_consistent() -> None:
    """Its rows, norms, sums and products are those of the matrix that it stands for."""
    head = fit_head(sparse.csr_array(X), Y, l2=L2, inverse="cg")
    proxy = influence_rows(head).proxy
    assert isinstance(proxy, KroneckerRows)
    S = proxy.block(0, proxy.n).astype(np.float64)
    direction = np.random.default_rng(5).normal(size=proxy.d)
    assert close(proxy.squared_norms, np.square(S).sum(axis=1), rtol=1e-5)
    assert close(proxy.sum(KEPT), S[KEPT].sum(axis=0), rtol=1e-5)
    assert close(proxy.dot(direction), S @ direction, rtol=1e-5)
    assert close(proxy.take(np.array([3, 1])), S[[3, 1]], rtol=1e-6)


def test_a_search_on_many_sparse_features_works_on_a_projection() -> None:
    """Of 1,024 columns, where all of d would fit into the memory as well."""
    many, labels = counts(80, 1500, 2)
    head = fit_head(sparse.csr_array(many), labels, l2=L2, inverse="cg")
    rows = influence_rows(head)
    assert rows.search_width == 1024
    projected, exact = rows.search_matrix(), rows.proxy.block(0, 80)
    chosen = np.arange(0, 80, 3)
    ratio = np.linalg.norm(projected[chosen].sum(axis=0)) / np.linalg.norm(
        exact[chosen].sum(axis=0)
    )
    assert ratio == pytest.approx(1.0, abs=0.1)


# --- whatever they are held in --------------------------------------------------------------------


HOLDERS = {
    "csr": sparse.csr_matrix,
    "csc": sparse.csc_matrix,
    "coo": sparse.coo_matrix,
    "lil": sparse.lil_matrix,
    "dok": sparse.dok_matrix,
    "bsr": sparse.bsr_array,
    "dia": lambda x: sparse.dia_array((x[:, :1].T.repeat(3, axis=0), [0, -1, -2]), shape=x.shape),
    "coo array": sparse.coo_array,
    "float32": lambda x: sparse.csr_array(x, dtype=np.float32),
    "integers": lambda x: sparse.csr_array((x * 10).round().astype(np.int64)),
    "booleans": lambda x: sparse.csr_array(x > 0),
    "64-bit places": lambda x: _with_long_places(sparse.csr_array(x)),
    "torch coo": lambda x: torch.tensor(x).to_sparse(),
    "torch csr": lambda x: torch.tensor(x).to_sparse_csr(),
    "torch half": lambda x: torch.tensor(x, dtype=torch.bfloat16).to_sparse(),
    "pandas": lambda x: pd.DataFrame(x).astype(pd.SparseDtype(float, 0.0)),
    "wrapped by NumPy": lambda x: np.asarray(sparse.csr_matrix(x)),
}


def _with_long_places(array: Any) -> Any:
    array.indices, array.indptr = array.indices.astype(np.int64), array.indptr.astype(np.int64)
    return array


def _dense(held: Any) -> Any:
    """What a holder holds."""
    if isinstance(held, torch.Tensor):
        return held.to_dense().double().numpy()
    if isinstance(held, np.ndarray):
        held = held.item()
    return held.toarray() if sparse.issparse(held) else held.to_numpy()


@pytest.mark.parametrize("holder", list(HOLDERS))
@pytest.mark.filterwarnings("ignore:Sparse CSR tensor support")
def test_sparse_features_of_any_kind_give_the_head_of_dense_ones(holder: str) -> None:
    """Every format of SciPy, torch and pandas."""
    held = HOLDERS[holder](X)
    found = fit_head(held, Y, l2=L2)
    assert found.objective_function.X.is_sparse
    assert close(found.theta, fit_head(_dense(held), Y, l2=L2).theta)


def test_places_given_twice_are_added_up() -> None:
    """As SciPy does; the user's own array stays as it was.

    Mutation: the user's matrix changed in place: fails.
    """
    rows, columns = np.nonzero(X)
    twice = sparse.csr_array(
        (
            np.tile(X[rows, columns] / 2, 2),
            (np.tile(rows, 2), np.tile(columns, 2)),
        ),
        shape=X.shape,
    )
    doubled = sparse.csr_array(X)
    doubled = sparse.csr_array((
        np.repeat(doubled.data / 2, 2),
        np.repeat(doubled.indices, 2),
        2 * doubled.indptr,
    ))
    number = doubled.nnz
    for given in (twice, doubled):
        assert close(fit_head(given, Y, l2=L2).theta, fit_head(X, Y, l2=L2).theta)
    assert doubled.nnz == number


def test_empty_columns_and_rows_do_no_harm() -> None:
    """A word that no text holds has the weight 0, and a text without words is an example."""
    bare = X.copy()
    bare[:, 4], bare[9] = 0.0, 0.0
    head = fit_head(sparse.csr_array(bare), Y, l2=L2)
    assert close(head.theta, fit_head(bare, Y, l2=L2).theta)
    assert np.abs(head.theta[:, 4]).max() == 0.0


# --- what is refused ------------------------------------------------------------------------------


def _with(value: float) -> Any:
    spoiled = sparse.csr_array(X)
    spoiled.data[spoiled.indptr[17]] = value
    return spoiled


@pytest.mark.parametrize(
    ("features", "words"),
    [
        (_with(np.nan), ["finite", "row 17"]),
        (_with(np.inf), ["finite", "row 17"]),
        (_with(1e200), ["1e+200", "scale"]),
        (sparse.csr_array(X.astype(complex)), ["real numbers", "complex128"]),
        (sparse.csr_array((150, 0)), ["empty"]),
        (sparse.csr_array(X[:20]), ["20 rows", "150 labels"]),
        (sparse.coo_array(X[:, 0]), ["two dimensions"]),
    ],
)
def test_bad_sparse_features_are_refused_by_name(features: Any, words: list[str]) -> None:
    """A NaN with its row.

    Mutation: the place among the stored numbers taken for the row: fails.
    """
    with pytest.raises(ProblemError) as caught:
        fit_head(features, Y, l2=L2)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_sparse_features_with_other_columns_than_the_head_are_refused() -> None:
    """Both numbers are named."""
    head = fit_head(sparse.csr_array(X), Y, l2=L2)
    with pytest.raises(ProblemError, match="X has 11 features, the head has 12"):
        head.judge(head.theta, sparse.csr_array(X[:, :11]), Y)


def test_sparse_features_stay_on_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another device is refused, and the cures it names work."""
    monkeypatch.setattr(
        "subsetsel.influence.head.fit.head_device", lambda name: torch.device("meta")
    )
    given = sparse.csr_array(X)
    with pytest.raises(OptionError, match=r"device='cpu', or X\.toarray\(\)"):
        fit_head(given, Y, l2=L2, device="cuda")
    assert fit_head(given, Y, l2=L2).device == "cpu"
    monkeypatch.undo()
    assert fit_head(given, Y, l2=L2, device="cpu").device == "cpu"
    assert fit_head(given.toarray(), Y, l2=L2, device="cpu").device == "cpu"


def test_the_loss_metric_of_many_sparse_features_names_a_cure() -> None:
    """metric='parameter' works."""
    head = fit_head(sparse.csr_array(X), Y, l2=L2, inverse="cg")
    with pytest.raises(ProblemError, match="use metric='parameter'"):
        influence_rows(head, metric="loss").sum(KEPT)
    assert np.isfinite(influence_rows(head, metric="parameter").sum(KEPT)).all()


# --- whole jobs -----------------------------------------------------------------------------------


def test_texts_and_a_column_of_numbers_are_pruned_together() -> None:
    """The output of a ColumnTransformer with a TfidfVectorizer, held out examples included."""
    from sklearn.compose import ColumnTransformer
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    rng = np.random.default_rng(6)
    words = {"good": ["warm", "kind", "bright"], "bad": ["cold", "mean", "dark"]}
    labels = rng.choice(list(words), 200)
    frame = pd.DataFrame({
        "text": [
            " ".join([*rng.choice(words[label], 3), *rng.choice(["day", "house", "sea"], 4)])
            for label in labels
        ],
        "place": rng.choice(["north", "south"], 200),
        "length": rng.normal(size=200),
    })
    columns = ColumnTransformer(
        [
            ("text", TfidfVectorizer(), "text"),
            ("place", OneHotEncoder(), ["place"]),
            ("length", StandardScaler(), ["length"]),
        ],
        sparse_threshold=1.0,
    )
    features = columns.fit_transform(frame)
    assert sparse.issparse(features)
    solution, check = prune(
        features[:150],
        labels[:150],
        l2=L2,
        rel_epsilon=0.05,
        max_loss_gap=0.1,
        validation=(features[150:], labels[150:]),
        max_iterations=20_000,
    )
    assert check.is_verified
    assert solution.size > 0


def test_a_search_of_sparse_features_resumes_from_its_own_checkpoint_alone(tmp_path: Path) -> None:
    """The features and the validation examples are compared by their numbers."""
    limits: dict[str, Any] = {"l2": L2, "max_loss_gap": 0.05, "max_iterations": 2000}
    path, other = tmp_path / "run.npz", X.copy()
    other[100, np.flatnonzero(other[100])[0]] *= 1.5
    train = sparse.csr_array(X[:100]), Y[:100]
    held_out = sparse.csr_array(X[100:]), Y[100:]
    first, _ = prune(*train, validation=held_out, checkpoint=path, **limits)
    again, _ = prune(*train, validation=held_out, checkpoint=path, **limits)
    assert (first.mask == again.mask).all()
    assert again.stats["num_resumed"] > 0
    with pytest.raises(ProblemError, match="progress of another run"):
        prune(
            *train, validation=(sparse.csr_array(other[100:]), Y[100:]), checkpoint=path, **limits
        )
