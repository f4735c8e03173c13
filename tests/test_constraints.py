"""Linear constraints on W, groups as a convenience on them, and balanced quotas."""

from __future__ import annotations

from datetime import date
from typing import Any

import numpy as np
import pytest

from subsetsel.errors import ProblemError
from subsetsel.problem.constraints import Constraints, LinearConstraint
from subsetsel.problem.groups import balanced_limits, group_constraints

_LABELS = np.array(["a", "a", "b", "b", "b"])


def _mask(*pruned: int, n: int = 5) -> Any:
    mask = np.zeros(n, dtype=np.bool_)
    mask[list(pruned)] = True
    return mask


def test_rows_are_stacked() -> None:
    """Tuples and `LinearConstraint` become rows of one sparse matrix, names kept."""
    built = Constraints.build(
        3, [([1, 0, 2], 0, 1), LinearConstraint([0, 1, 0], upper=2, name="cap")]
    )
    np.testing.assert_array_equal(built.matrix.toarray(), [[1, 0, 2], [0, 1, 0]])
    np.testing.assert_array_equal(built.lower, [0, -np.inf])
    np.testing.assert_array_equal(built.upper, [1, 2])
    assert built.names == ("constraint 0", "cap")


def test_no_constraints_hold_for_all() -> None:
    """An empty set has no rows and is never violated."""
    empty = Constraints.build(4, [])
    assert len(empty) == 0
    assert empty.matrix.shape == (0, 4)
    assert empty.violations(_mask(0, 1, n=4)) == []


def test_join_keeps_both() -> None:
    """Joining appends rows; an empty side changes nothing."""
    one = Constraints.build(2, [([1, 1], 0, 1)])
    two = Constraints.build(2, [([1, -1], 0, 0)])
    both = one.join(two)
    np.testing.assert_array_equal(both.matrix.toarray(), [[1, 1], [1, -1]])
    assert one.join(Constraints.build(2, [])) is one
    assert Constraints.build(2, []).join(one) is one


def test_violation_says_which_value_and_limits() -> None:
    """A broken constraint is named with its value and its limits."""
    built = Constraints.build(3, [LinearConstraint([1, 1, 1], 1, 2, "quota")])
    assert built.violations(_mask(0, 1, 2, n=3)) == ["quota is 3, outside [1, 2]"]
    assert built.violations(_mask(n=3)) == ["quota is 0, outside [1, 2]"]
    assert built.violations(_mask(1, n=3)) == []


def test_rounding_of_a_sum_is_no_violation() -> None:
    """0.1 + 0.1 + 0.1 is 0.3 as far as a limit is concerned, one example more is not."""
    built = Constraints.build(4, [(np.full(4, 0.1), 0.3, 0.3)])
    assert built.violations(_mask(0, 1, 2, n=4)) == []
    assert built.violations(_mask(0, 1, n=4))
    assert built.violations(_mask(0, 1, 2, 3, n=4))


def test_limits_in_small_units_hold() -> None:
    """Of eight examples that cost 1e-10 each, 5e-10 pays for five and not for six.

    Mutation: the tolerance of a limit is never below that of a limit of 1.
    """
    built = Constraints.build(8, [(np.full(8, 1e-10), None, 5e-10)])
    assert built.violations(_mask(0, 1, 2, 3, 4, n=8)) == []
    assert built.violations(_mask(0, 1, 2, 3, 4, 5, n=8))


def test_a_price_that_forbids_one_example_leaves_the_limit_of_the_others() -> None:
    """Beside a coefficient of 1e10, a limit of two examples holds for those that count 1.

    Mutation: the tolerance grows with the largest coefficient.
    """
    built = Constraints.build(4, [([1e10, 1, 1, 1], None, 2)])
    assert built.violations(_mask(1, 2, n=4)) == []
    assert built.violations(_mask(1, 2, 3, n=4))


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (([1, 2], 0, 1), ["constraint 0", "shape (3,)", "(2,)"]),
        ((np.ones((1, 3)), 0, 1), ["shape (3,)", "(1, 3)"]),
        (([1, np.nan, 1], 0, 1), ["constraint 0", "finite"]),
        (([1, np.inf, 1], 0, 1), ["finite"]),
        (([1, 1, 1], 2, 1), ["lower must not exceed upper", "2", "1"]),
        (([1, 1, 1], np.nan, 1), ["NaN"]),
        ((np.ones(3), 1), ["constraints[0]", "LinearConstraint or a tuple"]),
        (7, ["constraints[0]", "int"]),
        (LinearConstraint([1, 2], name="cap"), ["cap", "shape (3,)"]),
        ((["a", "b", "c"], 0, 1), ["coefficients"]),
        (([1, 1, 1], "few", 1), ["constraint 0", "few", "None stands for no limit"]),
        (([1, 1, 1], np.inf, np.inf), ["lower", "inf"]),
        (([1, 1, 1], -np.inf, -np.inf), ["upper", "inf"]),
    ],
)
def test_build_refuses(item: Any, words: list[str]) -> None:
    """A malformed constraint is refused, saying which one and why."""
    with pytest.raises(ProblemError) as error:
        Constraints.build(3, [item])
    for word in words:
        assert word in str(error.value)


def test_none_is_no_limit() -> None:
    """None on either side leaves it open, as in group_limits."""
    built = Constraints.build(2, [([1, 1], None, 1), ([1, 1], 1, None)])
    np.testing.assert_array_equal(built.lower, [-np.inf, 1])
    np.testing.assert_array_equal(built.upper, [1, np.inf])


def test_groups_become_rows() -> None:
    """Each named group is one row with its limits; None means no limit; others are free."""
    built = group_constraints(5, _LABELS, {"a": (1, 1), "b": (None, None)})
    np.testing.assert_array_equal(built.matrix.toarray(), [[1, 1, 0, 0, 0], [0, 0, 1, 1, 1]])
    np.testing.assert_array_equal(built.lower, [1, 0])
    np.testing.assert_array_equal(built.upper, [1, 3])
    assert "'a'" in built.violations(_mask())[0]


def test_labels_may_be_of_any_type() -> None:
    """Strings, integers and Booleans name groups."""
    for labels in (["x", "x", "y"], [3, 3, -1], [True, True, False]):
        built = group_constraints(3, labels, {labels[0]: (0, 1)})
        np.testing.assert_array_equal(built.matrix.toarray(), [[1, 1, 0]])


@pytest.mark.parametrize(
    ("groups", "limits", "words"),
    [
        (_LABELS, None, ["groups and group_limits belong together"]),
        (None, {"a": (0, 1)}, ["groups and group_limits belong together"]),
        (_LABELS[:4], {"a": (0, 1)}, ["shape (5,)", "(4,)"]),
        (_LABELS, {"c": (0, 1)}, ["'c'", "no example has"]),
        (_LABELS, {1: (0, 1)}, ["1", "no example has"]),
        (_LABELS, {"a": 1}, ["group_limits['a']", "pair"]),
        (_LABELS, {"a": (0, 1, 2)}, ["group_limits['a']", "pair"]),
        (_LABELS, {"a": (2, 1)}, ["group_limits['a']", "fewest <= most"]),
        (_LABELS, {"a": (-1, 1)}, ["group_limits['a']", "0 <= fewest"]),
        (_LABELS, {"a": ("x", 1)}, ["group_limits['a']", "'x'"]),
    ],
)
def test_groups_refuse(groups: Any, limits: Any, words: list[str]) -> None:
    """Limits that cannot be meant are refused by the group's name."""
    with pytest.raises(ProblemError) as error:
        group_constraints(5, groups, limits)
    for word in words:
        assert word in str(error.value)


@pytest.mark.parametrize(
    ("labels", "first", "second"),
    [
        (np.array([2**53, 2**53 + 1]), 2**53 + 1, float(2**53)),
        (
            np.array(["2020-01-01", "2021-01-01"], dtype="M8[D]"),
            np.datetime64("2020-01-01"),
            date(2020, 1, 1),
        ),
    ],
)
def test_two_limits_of_the_same_examples_are_refused(labels: Any, first: Any, second: Any) -> None:
    """Two keys that NumPy takes for the same label are named. Mutation: the later one wins."""
    with pytest.raises(ProblemError) as error:
        group_constraints(2, labels, {first: (0, 0), second: (0, 1)})
    assert f"group_limits[{first!r}] and group_limits[{second!r}]" in str(error.value)


@pytest.mark.parametrize("policy", ["proportional", "equal_kept"])
@pytest.mark.parametrize("size", range(11))
def test_quotas_add_up(policy: Any, size: int) -> None:
    """Quotas sum to the size, and no group is asked for more than it has."""
    labels = np.repeat([0, 1, 2], [1, 3, 6])
    limits = balanced_limits(labels, size=size, policy=policy)
    assert sum(low for low, _ in limits.values()) == size
    for label, (low, high) in limits.items():
        assert low == high
        assert 0 <= low <= np.count_nonzero(labels == label)


def test_proportional_prunes_the_same_share() -> None:
    """Half of everything is half of each group."""
    labels = np.repeat(["a", "b"], [4, 8])
    assert balanced_limits(labels, size=6) == {"a": (2, 2), "b": (4, 4)}


def test_equal_kept_keeps_small_groups_whole() -> None:
    """Groups smaller than the common level stay; the others share what is left."""
    labels = np.repeat(["small", "large", "larger"], [2, 10, 20])
    limits = balanced_limits(labels, size=20, policy="equal_kept")
    assert limits == {"small": (0, 0), "large": (5, 5), "larger": (15, 15)}


def test_no_examples_no_quotas() -> None:
    """Nobody to prune, nobody pruned."""
    assert balanced_limits([], size=0) == {}


def test_quotas_of_times_in_nanoseconds_are_limits() -> None:
    """What balances dates of pandas limits them. Mutation: the labels are made plain integers."""
    dates = np.array(["2020-01-01", "2020-01-01", "2021-01-01"], dtype="M8[ns]")
    built = group_constraints(3, dates, balanced_limits(dates, size=3))
    np.testing.assert_array_equal(built.lower, [2, 1])


def test_largest_remainders_get_the_rest() -> None:
    """What rounding leaves over goes where the share was cut most; ties go to the first label."""
    labels = np.repeat([0, 1, 2], [3, 3, 3])
    assert balanced_limits(labels, size=4) == {0: (2, 2), 1: (1, 1), 2: (1, 1)}


def test_quota_labels_are_plain_python() -> None:
    """Keys can be looked up and written as JSON: no NumPy scalars."""
    assert all(type(label) is int for label in balanced_limits(np.array([1, 1, 2]), size=1))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"groups": _LABELS, "size": 6}, ["size", "n = 5", "6"]),
        ({"groups": _LABELS, "size": -1}, ["size", "-1"]),
        ({"groups": _LABELS, "size": 1.5}, ["size", "1.5"]),
        ({"groups": _LABELS, "size": 2, "policy": "fair"}, ["policy", "'fair'"]),
    ],
)
def test_quotas_refuse(arguments: Any, words: list[str]) -> None:
    """A size or a policy that makes no sense is refused by name."""
    with pytest.raises(ProblemError) as error:
        balanced_limits(arguments.pop("groups"), **arguments)
    for word in words:
        assert word in str(error.value)
