"""The certificate: what it claims can be checked by NumPy alone, and a false claim shows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from head_oracle import blobs

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
        ({"change": 1e-3}, "the change is"),
        ({"change_error": 1e-15}, "the error is"),
        ({"epsilon": 1e-3}, "exceeds epsilon"),
        ({"l2": 2 * L2}, "the error is"),
        ({"l2": 0.5 * L2}, "the error is"),
        ({"l2": 0.0}, "l2 <= 0"),
    ],
)
def test_a_changed_number_is_noticed(path: Path, fields: dict[str, Any], word: str) -> None:
    """The gradients contradict it, or the claim no longer follows."""
    change_json(path, **fields)
    found = recheck_certificate(path, X, Y)
    assert not found.is_confirmed
    assert word in str(found)


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
    assert "the error is" in str(recheck_certificate(path, X, Y))
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
