"""A first look at the data: what stands out before anything is trained."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import blobs, call, prune, refused

from subsetsel import ProblemError
from subsetsel.report.look import NEAR, first_look
from subsetsel.report.manifest import Manifest


def spread(n: int = 400, h: int = 20, dtype: Any = np.float64) -> tuple[Any, Any]:
    """Rows that have nothing to do with each other, and three classes."""
    X = np.random.default_rng(0).normal(size=(n, h)) * np.geomspace(1e-3, 1e3, h)
    return X.astype(dtype), np.arange(n) % 3


def test_nothing_is_said_of_data_in_which_nothing_stands_out() -> None:
    """No line is better than a line about nothing."""
    look = first_look(*spread())
    assert look.lines() == []
    assert (look.n, look.num_features, look.num_near) == (400, 20, 0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.bool_])
def test_exact_duplicates_are_counted_in_any_type(dtype: Any) -> None:
    """As many as rows that `np.unique` leaves out; those with another label apart."""
    X = np.random.default_rng(1).integers(0, 2, size=(300, 7)).astype(dtype)
    y = np.arange(300) % 3
    look = first_look(X, y)
    assert look.num_duplicates == 300 - len(np.unique(X, axis=0)) > 0
    first = [int(np.flatnonzero((row == X).all(axis=1))[0]) for row in X]
    assert look.num_contradicting == np.count_nonzero(y[first] != y) > 0
    assert "exact duplicates of earlier examples: remove them" in look.lines()[0]


def test_zeros_of_either_sign_are_one_number() -> None:
    """-0.0 equals 0.0, and rows that hold them are duplicates."""
    X, y = spread(50)
    X[0], X[1] = 0.0, -0.0
    assert first_look(X, y).num_duplicates == 1


def test_rows_of_one_sum_are_no_duplicates() -> None:
    """Rows are compared, not their hashes alone: permuted rows differ."""
    X = np.array([[1.0, 2.0], [2.0, 1.0], [0.0, 3.0], [3.0, 0.0]])
    assert first_look(X, np.array([0, 0, 1, 1])).num_duplicates == 0


@pytest.mark.parametrize("offset", [0.0, 1e9])
def test_near_duplicates_are_found_whatever_the_units_of_the_features(offset: float) -> None:
    """Half as far as counts as near: nearly all are found; twice as far: none.

    Mutation: projections of features that were not taken from their means: fails.
    """
    X, y = spread(4000)
    scale = X.std(axis=0)
    way = np.random.default_rng(2).normal(size=(200, 20))
    way /= np.linalg.norm(way, axis=1, keepdims=True)
    limit = NEAR * np.sqrt(2 * 20)
    found: list[Any] = []
    for reach in (0.5, 2.0):
        Z = X.copy()
        Z[1000:1200] = X[:200] + reach * limit * way * scale
        found.append(first_look(Z + offset * scale, y).num_near)
    assert 180 <= found[0] <= 200
    assert found[1] == 0


def test_near_duplicates_are_not_counted_where_chance_makes_them() -> None:
    """With two features thousands of rows lie near each other; nothing is said."""
    X = np.random.default_rng(0).normal(size=(5000, 2))
    assert first_look(X, np.arange(5000) % 2).num_near is None


def test_features_that_tell_nothing_and_rows_that_are_not_finite_are_named() -> None:
    """A constant feature by its number; a row with NaN or infinity is counted."""
    X, y = spread()
    X[:, 3] = 7.0
    X[5, 0], X[6, 1] = np.nan, np.inf
    look = first_look(X, y)
    assert (look.constant, look.not_finite, look.num_near) == ([3], 2, None)
    lines = look.lines()
    assert lines[0].startswith("2 examples with NaN or infinite features: repair or remove")
    assert "1 feature with one value in all examples (3): drop" in lines[1]


def test_numbers_of_any_size_are_looked_at_without_a_word() -> None:
    """1e300 and dates in nanoseconds raise neither error nor warning."""
    X, y = spread()
    X[:, 0] = 1e300 * np.arange(400)
    X[:, 1] = 1.7e18 + np.arange(400)
    assert first_look(X, y).num_duplicates == 0


def test_classes_with_few_examples_are_named() -> None:
    """The rarest first, with what to do about it."""
    X, y = spread()
    names = np.array(["a", "b", "c"], dtype="U9")[y]
    names[:3], names[3] = "rare", "once"
    look = first_look(X, names)
    assert look.few == {"once": 1, "rare": 3}
    assert "2 classes with fewer than 10 examples (once: 1, rare: 3)" in look.lines()[-1]


def test_what_is_no_table_is_refused_with_a_cure() -> None:
    """A sparse X is looked at in part, as the message says."""
    sparse = pytest.importorskip("scipy.sparse")
    X, y = spread(50)
    with pytest.raises(ProblemError, match=r"X\[:1000\].toarray\(\)"):
        first_look(sparse.csr_array(X), y)
    assert first_look(sparse.csr_array(X)[:1000].toarray(), y).n == 50


# --- on the command line ------------------------------------------------------------------------


def copied(path: Path) -> Path:
    """Data with two copies, of which one has another label."""
    X, y = blobs(0, 120)
    X[100], X[101] = X[10], X[11]
    y[100], y[101] = y[10], (y[11] + 1) % 3
    np.savez(path, X=X, y=y)
    return path


def test_prune_says_what_stands_out(tmp_path: Path) -> None:
    """On stderr; for machines in the JSON; and it stays in the manifest."""
    data, out = copied(tmp_path / "data.npz"), tmp_path / "p.npz"
    result = prune(data, "--size", 30, "--out", out, "--json")
    said = "look: 2 exact duplicates of earlier examples"
    assert said in result.stderr
    assert json.loads(result.stdout)["look"]["num_duplicates"] == 2
    look = Manifest.read(tmp_path / "p.manifest.json").look
    assert look is not None
    assert look["num_contradicting"] == 1


def test_what_stands_out_is_said_before_a_head_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever reads it can stop the command before it costs anything."""

    def train(*_: Any, **__: Any) -> None:
        raise ProblemError("a head is trained")

    monkeypatch.setattr("subsetsel.influence.fit_head", train)
    data = copied(tmp_path / "data.npz")
    lines = refused("prune", data, "--l2", 1e-2, "--size", 30).splitlines()
    assert lines[0].startswith("look: 2 exact duplicates")
    assert lines[-1] == "error: a head is trained"


def test_a_dry_run_looks_too(tmp_path: Path) -> None:
    """It reads the data anyway."""
    result = prune(copied(tmp_path / "data.npz"), "--size", 30, "--dry-run")
    assert "look: 2 exact duplicates" in result.stderr


def test_the_page_shows_what_stands_out(tmp_path: Path) -> None:
    """From the manifest, and from the data where an older manifest has no look."""
    data = copied(tmp_path / "data.npz")
    prune(data, "--size", 30, "--out", tmp_path / "p.npz")
    path = tmp_path / "p.manifest.json"
    words = "2 exact duplicates of earlier examples"
    assert words in call("report", path, "--out", "-").stdout
    record = json.loads(path.read_text())
    del record["look"]
    path.write_text(json.dumps(record))
    assert words not in call("report", path, "--out", "-").stdout
    assert words in call("report", path, "--data", data, "--out", "-").stdout


@pytest.mark.parametrize("look", [{"n": 1}, {"n": 1, "num_features": 2, "few": 3}, {"x": 1}])
def test_a_look_that_was_tampered_with_is_refused(look: Any, data: Path, tmp_path: Path) -> None:
    """One line, no traceback."""
    prune(data, "--size", 30, "--out", tmp_path / "p.npz")
    path = tmp_path / "p.manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "look": look}))
    assert "the first look of the manifest is damaged" in refused("report", path)
