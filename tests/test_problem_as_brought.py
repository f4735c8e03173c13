"""Masks, indices and groups as users bring them: read as they are meant, or refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from subsetsel import Problem, ProblemError, balanced_limits, solve

_S = np.array([[3.0, 0.0], [0.0, 4.0], [-3.0, 0.0], [0.0, 1.0], [1.0, 1.0]])


def _mask(*pruned: int) -> Any:
    mask = np.zeros(5, dtype=np.bool_)
    mask[list(pruned)] = True
    return mask


@pytest.mark.parametrize("name", ["must_prune", "must_keep"])
@pytest.mark.parametrize("dtype", [int, np.uint8, np.int8, np.uint64])
def test_a_mask_of_numbers_is_no_list_of_indices(name: str, dtype: Any) -> None:
    """Zeros and ones were read as the indices 0 and 1; the cure fixes the right ones.

    Mutation: repeated indices are taken.
    """
    given = np.array([0, 1, 0, 1, 0], dtype=dtype)
    asked: dict[str, Any] = {"size": 2, name: given}
    with pytest.raises(ProblemError, match=rf"np\.asarray\({name}, dtype=bool\)"):
        Problem(_S, **asked)
    asked[name] = np.asarray(given, dtype=bool)
    fixed = getattr(Problem(_S, **asked), name)
    np.testing.assert_array_equal(fixed, _mask(1, 3))


@pytest.mark.parametrize("given", [[3, 1, 3], [1, 1], np.array([4, 3, 1, 1], dtype=np.uint8)])
def test_an_index_that_is_given_twice_is_named(given: Any) -> None:
    """The cure makes a set of them."""
    with pytest.raises(
        ProblemError, match=r"got [13] more than once; give np\.unique\(must_keep\)"
    ):
        Problem(_S, size=1, must_keep=given)
    fixed = Problem(_S, size=1, must_keep=np.unique(given)).must_keep
    assert fixed.sum() == len(set(np.asarray(given).tolist()))


def test_a_mask_of_objects_is_a_mask() -> None:
    """Booleans that are held as objects are Booleans."""
    given = np.array([False, True, False, True, False], dtype=object)
    np.testing.assert_array_equal(Problem(_S, size=1, must_keep=given).must_keep, _mask(1, 3))


def test_a_mask_of_floats_is_named() -> None:
    """Zeros and ones as floats: both cures of the message work."""
    given = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    with pytest.raises(ProblemError, match=r"np\.asarray\(must_keep, dtype=bool\)"):
        Problem(_S, size=1, must_keep=given)
    fixed = Problem(_S, size=1, must_keep=np.asarray(given, dtype=bool)).must_keep
    np.testing.assert_array_equal(fixed, _mask(1, 3))
    indices = np.array([1.0, 3.0])
    with pytest.raises(ProblemError, match=r"np\.asarray\(must_keep, dtype=int\)"):
        Problem(_S, size=1, must_keep=indices)
    fixed = Problem(_S, size=1, must_keep=np.asarray(indices, dtype=int)).must_keep
    np.testing.assert_array_equal(fixed, _mask(1, 3))


def test_a_masked_array_is_no_mask() -> None:
    """What it hides was taken for what is pruned; the cure reads its values.

    Mutation: masked arrays are taken.
    """
    given = np.ma.MaskedArray(_mask(1, 3), mask=_mask(3))
    problem = Problem(_S, size=1)
    for call in (problem.norm, lambda m: Problem(_S, size=1, must_keep=m)):
        with pytest.raises(ProblemError, match=r"is a masked array.*\.filled\(False\)"):
            call(given)
    assert problem.norm(given.filled(False)) == problem.norm(_mask(1))


def test_a_series_of_pandas_is_a_subset() -> None:
    """It has a method called ``mask``. Mutation: the method is taken for the subset."""
    problem = Problem(_S, size=1)
    assert problem.norm(pd.Series(_mask(1, 3))) == problem.norm(_mask(1, 3))


def test_a_series_of_pandas_is_a_guess() -> None:
    """The search begins there. Mutation: `Run` reads the guess in a way of its own."""
    found = solve(Problem(_S, size=2), initial_guess=pd.Series(_mask(1, 3)), max_iterations=0)
    assert found.size == 2


def test_a_subset_of_numbers_is_cured() -> None:
    """Zeros and ones where a mask is meant."""
    given = np.array([0.0, 1.0, 0.0, 1.0, 0.0])
    problem = Problem(_S, size=1)
    with pytest.raises(ProblemError, match=r"np\.asarray\(mask, dtype=bool\)"):
        problem.norm(given)
    assert problem.norm(np.asarray(given, dtype=bool)) == problem.norm(_mask(1, 3))


@pytest.mark.parametrize(
    ("groups", "words", "cured"),
    [
        (["a", None, "a", "b", "b"], "example 1 \\(None", ["a", "None", "a", "b", "b"]),
        ([1.0, np.nan, 1.0, 2.0, 2.0], "example 1 .*nan", ["1.0", "nan", "1.0", "2.0", "2.0"]),
        (["1", 1, "a", "a", "b"], "mixes types", ["1", "1", "a", "a", "b"]),
    ],
)
def test_groups_that_belong_to_none_are_named(groups: Any, words: str, cured: Any) -> None:
    """Missing labels and mixed types; the cure gives a group to each."""
    given = np.array(groups, dtype=float if groups[0] == 1.0 else object)
    limits = {cured[0]: (0, 1)}
    with pytest.raises(ProblemError, match=words):
        Problem(_S, epsilon=1.0, groups=given, group_limits=limits)
    with pytest.raises(ProblemError, match=words):
        balanced_limits(given, size=2)
    names = [str(group) for group in given]
    assert names == cured
    assert len(Problem(_S, epsilon=1.0, groups=names, group_limits=limits).constraints) == 1


def test_hidden_groups_are_named() -> None:
    """A masked array of groups, whose cure is a group of its own."""
    given = np.ma.MaskedArray([1, 1, 2, 2, 2], mask=_mask(0))
    with pytest.raises(ProblemError, match=r"groups\.filled\(-1\)"):
        balanced_limits(given, size=2)
    assert balanced_limits(given.filled(-1), size=0) == {-1: (0, 0), 1: (0, 0), 2: (0, 0)}


def test_texts_as_objects_are_groups() -> None:
    """What pandas gives for texts: labels without an ``item``."""
    given = np.array(["b", "a", "b", "b", "a"], dtype=object)
    assert sum(most for _, most in balanced_limits(given, size=3).values()) == 3
    assert set(balanced_limits(given, size=3)) == {"a", "b"}
