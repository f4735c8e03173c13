"""The certificate: what it claims can be checked by NumPy alone, and a false claim shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_oracle import blobs
from scipy import sparse

import subsetsel
from subsetsel.errors import FileFormatError, ProblemError
from subsetsel.guarantee.certificate import gradient_bound, recheck_certificate, write_certificate

L2 = 1e-2
X, Y = blobs()
PROBLEM = subsetsel.Problem.from_features(X, Y, l2=L2, size=30, dtype=np.float64)
MASK = np.isin(np.arange(90), np.random.default_rng(0).choice(90, size=30, replace=False))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A certificate of a random subset, epsilon well above its change."""
    write_certificate(tmp_path / "claim.json", PROBLEM, MASK, X, Y, epsilon=10.0)
    return tmp_path / "claim.json"


def change_json(path: Path, **fields: Any) -> None:
    """Overwrite fields."""
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def change_arrays(path: Path, **arrays: Any) -> None:
    """Overwrite arrays."""
    with np.load(path.with_suffix(".npz")) as data:
        held = dict(data) | arrays
    np.savez_compressed(path.with_suffix(".npz"), **held)


def test_a_certificate_is_confirmed_by_its_own_data(path: Path) -> None:
    """The recomputed change is that of `verify`, within both error bars."""
    found = recheck_certificate(path, X, Y)
    check = subsetsel.verify(PROBLEM, MASK)
    assert found.is_confirmed, str(found)
    assert abs(found.change - check.change) <= found.change_error + check.change_error
    assert found.change_error < 1e-8


def test_the_bound_without_refit_is_above_the_change(path: Path) -> None:
    """The looser bound holds too."""
    found = recheck_certificate(path, X, Y)
    assert found.bound_without_refit >= found.change


@pytest.mark.parametrize(
    ("fields", "word"),
    [
        ({"change": 1e-3}, "does not imply"),
        ({"change_error": 1e-15}, "does not imply"),
        ({"bound_without_refit": 1e-9}, "the bound without refit is"),
        ({"n": 6000}, "n is 90, not 6000"),
        ({"num_pruned": 50}, "num_pruned is 30, not 50"),
        ({"num_features": 7}, "num_features is"),
        ({"epsilon": 1e-3}, "exceeds epsilon"),
        ({"l2": 2 * L2}, "does not imply"),
        ({"l2": 0.5 * L2}, "does not imply"),
        ({"l2": 0.0}, "l2 <= 0"),
    ],
)
def test_a_changed_number_is_noticed(path: Path, fields: dict[str, Any], word: str) -> None:
    """The gradients contradict it, or the claim no longer follows.

    Mutation: `recheck_certificate` without `_contradictions`: fails.
    """
    change_json(path, **fields)
    found = recheck_certificate(path, X, Y)
    assert not found.is_confirmed
    assert word in str(found)


def test_a_claim_a_little_below_the_change_is_noticed(path: Path) -> None:
    """However small the difference: the true change is outside of what is claimed.

    Mutation: the two changes are compared to 1e-9 of their size: fails.
    """
    record = json.loads(path.read_text())
    change_json(path, change=record["change"] * (1 - 9e-10))
    assert "does not imply" in str(recheck_certificate(path, X, Y))


def test_a_claim_covers_gradients_that_are_rounded_otherwise(path: Path) -> None:
    """Errors a quarter larger than here, as of another machine, still imply it.

    Mutation: `_SLACK` is 0: fails.
    """
    record = json.loads(path.read_text())
    error = recheck_certificate(path, X, Y).change_error
    assert record["change_error"] > 1.25 * error
    change_json(path, change_error=record["change_error"] - 0.25 * error)
    assert recheck_certificate(path, X, Y).is_confirmed


def test_changed_parameters_are_noticed_by_their_gradient(path: Path) -> None:
    """Whoever writes a smaller change than the true one gets a larger error."""
    with np.load(path.with_suffix(".npz")) as data:
        closer = 0.5 * (data["theta"] + data["theta_kept"])
    change_arrays(path, theta_kept=closer)
    found = recheck_certificate(path, X, Y)
    assert found.change + found.change_error > subsetsel.verify(PROBLEM, MASK).change
    assert not found.is_confirmed


def test_changed_indices_are_noticed(path: Path) -> None:
    """Another subset, or none at all."""
    change_arrays(path, kept=np.arange(60), pruned=np.arange(60, 90))
    assert "does not imply" in str(recheck_certificate(path, X, Y))
    change_arrays(path, kept=np.arange(60), pruned=np.arange(50, 90))
    assert "partition" in str(recheck_certificate(path, X, Y))


def test_a_certificate_of_an_earlier_version_is_read(path: Path) -> None:
    """It held digests of both files besides, which nobody compares any more."""
    record = json.loads(path.read_text())
    change_json(path, digest="0" * 64, sha256=record["sha256"] | {"arrays": "0" * 64})
    assert recheck_certificate(path, X, Y).is_confirmed


def test_other_data_are_noticed(path: Path) -> None:
    """One feature or one label is enough."""
    other = X.copy()
    other[3, 0] += 1e-9
    assert "X is not" in str(recheck_certificate(path, other, Y))
    assert "y is not" in str(recheck_certificate(path, X, np.roll(Y, 1)))


def test_a_false_claim_is_not_written(tmp_path: Path) -> None:
    """Below the change there is no certificate."""
    with pytest.raises(ProblemError, match="exceeds epsilon"):
        write_certificate(tmp_path / "claim.json", PROBLEM, MASK, X, Y, epsilon=1e-6)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("features", "labels", "word"),
    [
        (X + np.eye(*X.shape) * 1e-9, Y, "X are not the features"),
        (X[:, :1], Y, "X has shape"),
        (X, np.roll(Y, 1), "y are not the labels"),
    ],
)
def test_data_of_another_head_are_refused(
    features: Any, labels: Any, word: str, tmp_path: Path
) -> None:
    """Without a limit any claim holds for them, but it is not about this head.

    Mutation: `write_certificate` without `require_data_of`: fails.
    """
    with pytest.raises(ProblemError, match=word):
        write_certificate(tmp_path / "claim.json", PROBLEM, MASK, features, labels)
    assert not list(tmp_path.iterdir())


def test_a_head_of_sparse_features_is_certified_with_dense_ones(tmp_path: Path) -> None:
    """They are compared number by number, however they are stored.

    Mutation: what is compared is still divided by the scale: fails.
    """
    wide = X * [1e3, *[1e-3] * (X.shape[1] - 1)]
    problem = subsetsel.Problem.from_features(sparse.csr_array(wide), Y, l2=L2, size=30)
    assert write_certificate(tmp_path / "claim.json", problem, MASK, wide, Y).is_confirmed


def test_an_epsilon_of_the_loss_is_not_certified(tmp_path: Path) -> None:
    """Its unit is not that of the change.

    Mutation: `epsilon_of` does not look at the metric: fails.
    """
    loss = subsetsel.Problem.from_features(X, Y, l2=L2, metric="loss", epsilon=0.3)
    solution = subsetsel.solve(loss, max_iterations=500)
    assert write_certificate(tmp_path / "claim.json", PROBLEM, solution, X, Y).epsilon is None


def test_a_damaged_file_is_named(path: Path) -> None:
    """Truncated, of another format, or without its arrays."""
    path.write_text(path.read_text()[:-40])
    with pytest.raises(FileFormatError, match=r"claim\.json"):
        recheck_certificate(path, X, Y)


def test_texts_may_be_labels(tmp_path: Path) -> None:
    """Labels are compared as what they are."""
    names = np.array(["ant", "bee", "fox"])[Y]
    problem = subsetsel.Problem.from_features(X, names, l2=L2, size=30)
    outcome = write_certificate(tmp_path / "claim.json", problem, MASK, X, names)
    assert outcome.is_confirmed
    assert recheck_certificate(tmp_path / "claim.json", X, names).is_confirmed


def test_the_gradient_bound_covers_the_gradient() -> None:
    """Against extended precision, at the minimum and away from it."""
    rng = np.random.default_rng(1)
    for theta in (PROBLEM.head.theta, rng.normal(size=PROBLEM.head.theta.shape)):  # type: ignore[union-attr]
        wide = np.column_stack([X, np.ones(len(X))]).astype(np.longdouble)
        logits = wide @ theta.T.astype(np.longdouble)
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        share[np.arange(len(Y)), Y] -= 1
        gradient = share.T @ wide / len(X) + np.longdouble(L2) * theta
        bound = gradient_bound(theta, X, Y, L2)
        exact = float(np.sqrt((gradient * gradient).sum()))
        assert exact <= bound <= exact + 1e-11
